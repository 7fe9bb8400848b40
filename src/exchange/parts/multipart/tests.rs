//! Bodies in parts, however the network cuts them.

use bytes::Bytes;
use http_body_util::{BodyExt as _, StreamBody};
use proptest::prelude::*;

use super::{Parts, Several, Token, field, parameter};
use crate::body::{Cut, boxed};
use crate::route::Route;

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

const WHOLE: &[u8] = b"--b-1\r\nContent-Type: application/json\r\n\r\n{\"a\":1}\r\n--b-1\r\n\r\n\r\n--b-\r\n--b-1\r\nX: y\r\n\r\n\r\n--b-1--\r\n";

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
        b"--b-1\n\nx\n--b-1--",
        b"--b-1\r\n\r\nx\n--b-1--",
        b"--b-1\r\n\r\nx\r\n--b-1-- ",
        b"--b-1\r\n\r\nx\r\n--b-1-- \r\n",
        b"--b-1\r\n\r\nx\r\n--b-1--\r",
        b"--b-1\r\n\r\nx\r\n--b-1--\n",
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

#[test]
fn a_parameter_that_can_be_read_in_two_ways_is_none() {
    for place in [
        "x; b=one; b=two",
        "x; b=one; B=\"two\"",
        "x; b=\"one",
        "x; b=o\"ne",
        "x; b=\"one\"two",
        "x; b=\"o\\\"ne\"",
        "x; b=o\\ne",
        "x; b",
        "x; =y; b=one",
        "b=one",
    ] {
        assert_eq!(parameter(place, "b"), None, "{place}");
    }
    assert_eq!(parameter("x; a=\"1;b=2\"; b=3;", "b"), Some("3"));
    let body = || crate::body::full("--x--");
    for kind in [
        "m/r; boundary=x; boundary=x",
        "m/r; boundary=\"x ",
        "m/r; boundary=\"x \"",
        "m/r; boundary=\"\"",
        "m/r; boundary",
        "m/r; boundary=x\t",
        "m/r; boundary*=x",
        "m/r",
    ] {
        let legal = kind.ends_with('\t');
        assert_eq!(Parts::new(body(), kind).is_some(), legal, "{kind:?}");
    }
}

#[test]
fn what_couchdb_could_take_for_several_parts_is_one_of_two_kinds_or_refused() {
    let of = |method, kind| {
        let route = Route::parse(method, "/db/doc", None).unwrap();
        Several::of(&route, kind)
    };
    let related = "multipart/related; boundary=x";
    let form = "multipart/form-data; boundary=x";
    assert_eq!(of("PUT", Some(related)), Ok(Some(Several::Related)));
    assert_eq!(of("POST", Some(form)), Ok(Some(Several::Form)));
    for kind in [
        "multipart/related",
        "multipart/related ; boundary=x",
        "Multipart/Related; boundary=x",
        "MULTIPART/RELATED;boundary=x",
        "multipart/mixed; boundary=x",
        "application/json, multipart/related; boundary=x",
        "application/json;multipart/related; boundary=x",
        form,
    ] {
        assert!(of("PUT", Some(kind)).is_err(), "{kind}");
    }
    for kind in [
        None,
        Some(related),
        Some("application/json"),
        Some("Multipart/Form-Data; boundary=x"),
        Some("multipart/form-data ; boundary=x"),
    ] {
        assert!(of("POST", kind).is_err(), "{kind:?}");
    }
    assert_eq!(of("PUT", Some("application/json")), Ok(None));
    assert_eq!(of("PUT", None), Ok(None));
    assert_eq!(of("GET", Some(related)), Ok(None));
}

proptest! {
    /// The network cuts where it likes; the parts must not notice.
    #[test]
    fn cuts_do_not_matter(first in 0..WHOLE.len(), second in 0..WHOLE.len()) {
        let (low, high) = (first.min(second), first.max(second));
        let pieces = [&WHOLE[..low], &WHOLE[low..high], &WHOLE[high..]];
        prop_assert_eq!(read(&pieces).unwrap(), read(&[WHOLE]).unwrap());
    }

    /// Nothing but one line end may stand behind the last boundary, however it comes.
    #[test]
    fn nothing_may_stand_behind_the_last_boundary(
        after in prop_oneof![
            Just(Vec::new()),
            Just(b"\r\n".to_vec()),
            prop::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'-'), any::<u8>()], 0..6),
            prop::collection::vec(any::<u8>(), 0..5000),
            (1..2500_usize).prop_map(|lines| [b"\r\n".repeat(lines), b"GET /victim/_all_docs HTTP/1.1\r\n\r\n".to_vec()].concat()),
        ],
        cut in any::<prop::sample::Index>(),
    ) {
        let last = WHOLE.strip_suffix(b"\r\n").unwrap();
        let body = [last, &after].concat();
        let (one, other) = body.split_at(cut.index(body.len() + 1));
        let may = after.is_empty() || after == b"\r\n";
        prop_assert_eq!(read(&[one, other]).is_ok(), may);
    }

    /// Whatever a client sends is read or refused.
    #[test]
    fn no_body_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&[&[b"--b-1\r\n".as_slice(), &body].concat()]);
    }
}
