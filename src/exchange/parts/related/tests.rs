//! What CouchDB gets of a document and its attachments, by a model of the reader that it has.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use proptest::prelude::*;

use super::{Outgoing, Related};
use crate::body::{Body, Cut, boxed};
use crate::exchange::write::attachments::following;
use crate::json::Value;

const KIND: &str = "multipart/related; boundary=b";

/// CouchDB could store the document with no more than this: its text ends at a boundary, and the bytes of all parts,
/// one after another, are as many as it announces (`couch_httpd_multipart:mp_parse_atts`).
fn suffices(sent: &[u8]) -> bool {
    let text = String::from_utf8_lossy(sent);
    let Some((first, rest)) = text.split_once("\r\n") else {
        return false;
    };
    let mark = format!("\r\n{first}");
    let mut parts = rest.split(&*mark);
    let document = parts.next().unwrap_or_default();
    let Some((_, document)) = document.split_once("\r\n\r\n") else {
        return false;
    };
    let Ok(document) = Value::parse(document.as_bytes()) else {
        return false;
    };
    let announced = following(&document);
    let announced: u64 = announced.iter().map(|(_, length)| length.unwrap()).sum();
    let data = parts.filter_map(|part| part.split_once("\r\n\r\n"));
    let came: usize = data.map(|(_, data)| data.len()).sum();
    came as u64 >= announced && rest.contains(&mark)
}

/// A body that comes in these pieces, and whether its end has been told.
fn arriving(body: &[u8], cuts: &[prop::sample::Index]) -> (Body, Arc<AtomicBool>) {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
    places.extend([0, body.len()]);
    places.sort_unstable();
    let pieces: Vec<Bytes> = places
        .windows(2)
        .map(|pair| Bytes::copy_from_slice(&body[pair[0]..pair[1]]))
        .collect();
    let ended = Arc::new(AtomicBool::new(false));
    let tells = Arc::clone(&ended);
    let frames = stream::unfold(
        (pieces.into_iter(), tells),
        |(mut pieces, tells)| async move {
            match pieces.next() {
                Some(piece) => Some((Ok::<_, Cut>(Frame::data(piece)), (pieces, tells))),
                None => {
                    tells.store(true, Ordering::Relaxed);
                    None
                }
            }
        },
    );
    (boxed(StreamBody::new(frames)), ended)
}

/// A document that announces attachments of these lengths.
fn document(lengths: &[usize]) -> String {
    let listed: Vec<String> = lengths
        .iter()
        .enumerate()
        .map(|(at, length)| format!(r#""a{at}":{{"follows":true,"length":{length}}}"#))
        .collect();
    format!(r#"{{"_attachments":{{{}}}}}"#, listed.join(","))
}

fn body(lengths: &[usize], parts: &[usize], after: &[u8]) -> Vec<u8> {
    let mut body = format!(
        "--b\r\nContent-Type: application/json\r\n\r\n{}",
        document(lengths)
    );
    for length in parts {
        body.push_str(&format!("\r\n--b\r\n\r\n{}", "x".repeat(*length)));
    }
    body.push_str("\r\n--b--");
    [body.as_bytes(), after].concat()
}

async fn outgoing(body: Body) -> Result<Outgoing, crate::refusal::Refusal> {
    let (sent, parts) = Related::read((body, None), KIND, 1 << 20).await?;
    let document = Value::parse(&sent).unwrap();
    parts.behind(&following(&document), &document)
}

/// Everything that goes on, and whether it ends well. Each time something goes on, the law is checked.
fn send(body: &[u8], cuts: &[prop::sample::Index]) -> (Vec<u8>, bool) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (body, ended) = arriving(body, cuts);
        let Ok(mut outgoing) = outgoing(body).await else {
            return (Vec::new(), false);
        };
        let announced = outgoing.left;
        let mut sent = Vec::new();
        while let Some(frame) = outgoing.frame().await {
            let Ok(frame) = frame else {
                assert!(!suffices(&sent), "enough was sent of a body that broke");
                return (sent, false);
            };
            sent.extend_from_slice(&frame.into_data().unwrap());
            let ended = ended.load(Ordering::Relaxed);
            assert!(ended || !suffices(&sent), "enough was sent before the end");
        }
        assert_eq!(sent.len() as u64, announced, "the length is the one told");
        (sent, true)
    })
}

#[test]
fn the_model_knows_what_suffices() {
    let whole = body(&[3, 0], &[3, 0], b"");
    let enough = memchr::memmem::find(&whole, b"xxx").unwrap() + 3;
    assert!(suffices(&whole[..enough]));
    assert!(!suffices(&whole[..enough - 1]));
    assert!(!suffices(b""));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// However a body comes: what CouchDB could store goes on when the client's end has been seen, and it is right.
    #[test]
    fn nothing_that_couchdb_could_store_is_sent_before_the_clients_end(
        lengths in prop::collection::vec(prop_oneof![0..3_usize, 0..60_usize], 1..5),
        other in prop::option::weighted(0.3, prop::collection::vec(0..60_usize, 0..5)),
        after in prop_oneof![
            2 => Just(Vec::new()),
            1 => Just(b"\r\n".to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..40),
            1 => Just([b"\r\n".repeat(2500), b"GET /victim HTTP/1.1\r\nX-I: ".to_vec()].concat()),
        ],
        missing in prop::option::weighted(0.2, any::<prop::sample::Index>()),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let parts = other.as_ref().unwrap_or(&lengths);
        let mut sent = body(&lengths, parts, &after);
        if let Some(missing) = missing {
            sent.truncate(missing.index(sent.len() + 1));
        }
        let bare = body(&lengths, parts, b"");
        let after = sent.strip_prefix(bare.as_slice());
        let right = parts == &lengths && after.is_some_and(|after| after.is_empty() || after == b"\r\n");
        let (came, good) = send(&sent, &cuts);
        prop_assert_eq!(good, right);
        prop_assert_eq!(suffices(&came), right);
    }
}
