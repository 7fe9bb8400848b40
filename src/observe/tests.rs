//! One line for each request, at its end, and nothing in it that does not belong there.

use super::{Record, clean};
use crate::body::{self, Body, Cut};
use bytes::Bytes;
use futures_util::stream;
use http::{Response, Version};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use std::io;
use std::sync::{Arc, Mutex};
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// What is written when this record's answer is read `frames` times and dropped.
fn line(method: &str, caller: &str, answer: Response<Body>, frames: usize) -> serde_json::Value {
    let lines = Lines::default();
    let log = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_writer(lines.clone());
    tracing::subscriber::with_default(log.finish(), || {
        let address = "10.0.0.1".parse().unwrap();
        let mut record = Record::begin(method, address, Version::HTTP_11, "id");
        record.caller(caller);
        record.kind("/{db}/_all_docs");
        record.db("cdrs");
        record.verdict("permit");
        record.rules("cdr-dashboard");
        let mut body = record.attach(answer).into_body();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        for _ in 0..frames {
            runtime.block_on(body.frame());
        }
    });
    let bytes = lines.0.lock().unwrap().clone();
    // Exactly one line.
    serde_json::from_slice(&bytes).unwrap()
}

fn two_pieces(last: Result<&'static str, Cut>) -> Response<Body> {
    let pieces = [Ok("abc"), last].map(|piece| piece.map(|text| Frame::data(Bytes::from(text))));
    Response::new(body::boxed(StreamBody::new(stream::iter(pieces))))
}

fn ending(answer: Response<Body>, frames: usize) -> String {
    line("GET", "jan", answer, frames)["end"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn a_line_says_who_asked_what_and_how_it_ended() {
    let mut line = line("GET", "jan", two_pieces(Ok("de")), 3);
    let fields = line.as_object_mut().unwrap();
    for unsteady in ["timestamp", "ms"] {
        assert!(fields.remove(unsteady).is_some());
    }
    insta::assert_snapshot!(line, @r#"{"bytes_in":0,"bytes_out":5,"caller":"jan","client":"10.0.0.1","db":"cdrs","end":"complete","id":"id","level":"INFO","method":"GET","protocol":"HTTP/1.1","route":"/{db}/_all_docs","rules":"cdr-dashboard","status":200,"target":"request","verdict":"permit"}"#);
}

#[test]
fn every_ending_has_its_name() {
    assert_eq!(ending(two_pieces(Ok("de")), 3), "complete");
    assert_eq!(ending(two_pieces(Ok("de")), 1), "client-gone");
    assert_eq!(ending(two_pieces(Err(Cut::Filter)), 2), "cut");
    assert_eq!(
        ending(two_pieces(Err(Cut::UpstreamSlow)), 2),
        "upstream-slow"
    );
    assert_eq!(ending(two_pieces(Err(Cut::Upstream)), 2), "upstream-gone");
    assert_eq!(ending(Response::new(body::empty()), 0), "complete");
    // A body of known length is not asked again after its last byte.
    assert_eq!(ending(Response::new(body::full("abc")), 1), "complete");
    assert_eq!(ending(Response::new(body::full("abc")), 0), "client-gone");
}

#[test]
fn an_answer_without_a_body_on_the_wire_is_complete() {
    let answer = Response::new(body::full("abc"));
    assert_eq!(line("HEAD", "jan", answer, 0)["end"], "complete");
    let answer = Response::builder()
        .status(304)
        .body(body::full("abc"))
        .unwrap();
    assert_eq!(line("GET", "jan", answer, 0)["end"], "complete");
}

#[test]
fn a_name_cannot_write_into_the_log() {
    let answer = Response::new(body::empty());
    let evil = "jan\r\n{\"status\":200}\u{1b}[2J\u{2028}";
    let line = line("GET", evil, answer, 0);
    let caller = line["caller"].as_str().unwrap();
    assert_eq!(caller, "jan\\u{d}\\u{a}{\"status\":200}\\u{1b}[2J\\u{2028}");
    assert_eq!(clean(&"x".repeat(1000)).len(), 256);
}
