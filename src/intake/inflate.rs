//! gzip, inflated a little at a time.
//!
//! Invariant: one step of work makes at most about one MiB out of a thousand bytes, whatever was sent; the
//! caller counts what comes out before he asks for more.

use crate::body::Cut;
use bytes::{Buf as _, Bytes};
use flate2::write::GzDecoder;
use std::io::Write as _;

/// deflate grows by at most 1032 times: a step of this many bytes stays around half a MiB.
const STEP: usize = 512;

/// What is handed on at once.
const PIECE: usize = 32 * 1024;

/// One gzip member on its way in. What follows it is a mistake.
pub(super) struct Inflate {
    decoder: GzDecoder<Vec<u8>>,
    pending: Bytes,
    finished: bool,
}

impl Inflate {
    pub(super) fn new() -> Self {
        Self {
            decoder: GzDecoder::new(Vec::new()),
            pending: Bytes::new(),
            finished: false,
        }
    }

    /// More of what was sent. To be called when `take` has nothing left.
    pub(super) fn feed(&mut self, data: Bytes) {
        self.pending = data;
    }

    /// Some of what it means; `None` when more must be fed.
    pub(super) fn take(&mut self) -> Result<Option<Bytes>, Cut> {
        while !self.pending.is_empty() && self.decoder.get_ref().len() < PIECE {
            let step = self.pending.get(..STEP).unwrap_or(&self.pending);
            let used = self.decoder.write(step).map_err(|_| Cut::ClientBroken)?;
            if used == 0 {
                // Bytes after the end of the member.
                return Err(Cut::ClientBroken);
            }
            self.pending.advance(used);
        }
        let plain = std::mem::take(self.decoder.get_mut());
        Ok((!plain.is_empty()).then(|| Bytes::from(plain)))
    }

    /// Nothing more will come: was it whole, and is the checksum right?
    pub(super) fn finish(&mut self) -> Result<(), Cut> {
        self.finished = true;
        self.decoder.try_finish().map_err(|_| Cut::ClientBroken)
    }

    pub(super) fn is_finished(&self) -> bool {
        self.finished
    }
}
