//! Passes over a row that is too long or too deep to be held, up to its end.
//!
//! Invariant: nothing is proven of it but where it ends, so nothing of it is ever shown.

use super::frame::State;

/// How much of its beginning is kept: enough to tell whose row it is.
const HEAD: usize = 64 * 1024;

/// A row on its way past.
#[derive(Debug)]
pub(super) struct Skip {
    /// What is due behind it.
    pub(super) next: State,
    head: Vec<u8>,
    depth: usize,
    inside_string: bool,
    escaped: bool,
}

impl Skip {
    /// An object, whose first byte is the next one.
    pub(super) fn until(next: State) -> Self {
        Self {
            next,
            head: Vec::new(),
            depth: 0,
            inside_string: false,
            escaped: false,
        }
    }

    /// Takes the next bytes; gives how many of them belong to it, once its end is there.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Option<usize> {
        let last = bytes.iter().position(|byte| self.closes(*byte));
        let end = last.map(|last| last.saturating_add(1));
        let room = HEAD.saturating_sub(self.head.len());
        let own = bytes.iter().take(end.unwrap_or(bytes.len()).min(room));
        self.head.extend(own);
        end
    }

    fn closes(&mut self, byte: u8) -> bool {
        if self.inside_string {
            self.inside_string = self.escaped || byte != b'"';
            self.escaped = byte == b'\\' && !self.escaped;
            return false;
        }
        match byte {
            b'"' => self.inside_string = true,
            b'{' | b'[' => self.depth = self.depth.saturating_add(1),
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            _ => {}
        }
        false
    }

    /// Its beginning.
    pub(super) fn into_head(self) -> Vec<u8> {
        self.head
    }
}
