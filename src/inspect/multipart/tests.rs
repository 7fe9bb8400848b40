//! Bodies in parts, however the network cuts them.

use bytes::Bytes;
use http_body_util::{BodyExt as _, StreamBody};
use proptest::prelude::*;

use super::{Parts, Token, field, parameter};
use crate::body::{Cut, boxed};

const KIND: &str = "multipart/related; boundary=\"b-1\"";

/// The parts, as (head, data), of a body that arrives in these pieces.
fn read(pieces: &[&[u8]]) -> Result<Vec<(String, Vec<u8>)>, Cut> {
    let frames = pieces
        .iter()
        .map(|piece| Ok(http_body::Frame::data(Bytes::copy_from_slice(piece))));
    let frames: Vec<Result<_, Cut>> = frames.collect();
    let body = boxed(StreamBody::new(futures_util::stream::iter(frames)).map_err(|cut| cut));
    let mut parts = Parts::new(body, KIND).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut found: Vec<(String, Vec<u8>)> = Vec::new();
        let mut open = false;
        while let Some(token) = parts.next().await? {
            match token {
                Token::Head(head) => {
                    assert!(!open);
                    open = true;
                    found.push((String::from_utf8(head.to_vec()).unwrap(), Vec::new()));
                }
                Token::Data(data) => found.last_mut().unwrap().1.extend_from_slice(&data),
                Token::PartEnd => open = false,
                Token::End => assert!(!open),
            }
        }
        Ok(found)
    })
}

const WHOLE: &[u8] = b"--b-1\r\nContent-Type: application/json\r\n\r\n{\"a\":1}\r\n--b-1\r\n\r\n\r\n--b-\r\n--b-1\r\nX: y\r\n\r\n\r\n--b-1--\r\nepilogue";

#[test]
fn parts_are_taken_apart() {
    let parts = read(&[WHOLE]).unwrap();
    let texts: Vec<&[u8]> = parts.iter().map(|(_, data)| data.as_slice()).collect();
    assert_eq!(texts, [b"{\"a\":1}".as_slice(), b"\r\n--b-", b""]);
    assert_eq!(field(&parts[0].0, "content-type"), Some("application/json"));
}

#[test]
fn what_is_no_delimiter_breaks_the_body() {
    for body in [
        b"".as_slice(),
        b"preamble\r\n--b-1\r\n\r\nx\r\n--b-1--",
        b"--b-2\r\n\r\nx\r\n--b-2--",
        b"--b-1 \r\n\r\nx\r\n--b-1--",
        b"--b-1\r\n\r\nx\r\n--b-1",
        b"--b-1\r\n\r\nx",
        b"--b-1\r\nno end of a head",
        b"--b-1\r\n\r\nx\r\n--b-1x\r\n\r\n--b-1--",
    ] {
        assert_eq!(
            read(&[body]),
            Err(Cut::ClientBroken),
            "{}",
            String::from_utf8_lossy(body)
        );
    }
    let endless = [b"--b-1\r\n".to_vec(), vec![b'x'; 20_000]].concat();
    assert_eq!(read(&[&endless]), Err(Cut::ClientBroken));
}

#[test]
fn parameters_are_read_with_and_without_quotes() {
    let place = "form-data; name=\"_attachments\"; filename=photo.jpg";
    assert_eq!(parameter(place, "NAME"), Some("_attachments"));
    assert_eq!(parameter(place, "filename"), Some("photo.jpg"));
    assert_eq!(parameter(place, "form-data"), None);
}

proptest! {
    /// The network cuts where it likes; the parts must not notice.
    #[test]
    fn cuts_do_not_matter(first in 0..WHOLE.len(), second in 0..WHOLE.len()) {
        let (low, high) = (first.min(second), first.max(second));
        let pieces = [&WHOLE[..low], &WHOLE[low..high], &WHOLE[high..]];
        prop_assert_eq!(read(&pieces).unwrap(), read(&[WHOLE]).unwrap());
    }

    /// Whatever a client sends is read or refused.
    #[test]
    fn no_body_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&[&[b"--b-1\r\n".as_slice(), &body].concat()]);
    }
}
