//! The streaming JSON filter against slow readers: where the network cuts makes no difference, rows and values are
//! what `serde_json` reads, and what is hidden is gone, as a model that knows paths only says it.

use std::collections::HashMap;

use couchwarden::json::{
    Event, FieldPath, Fields, Frame, JsonError, Kind, Row, Splitter, Value, members,
};
use serde_json::value::RawValue;

use super::model::{cuts, place, without};

/// The longest row.
const LONGEST: usize = 4096;

/// The input is the name of a frame and the paths that are hidden, with spaces between them, and below that line the
/// body of CouchDB's answer.
pub fn json(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n');
    let (head, body) = data.split_at(end.unwrap_or(data.len()));
    let (Ok(head), Some(body)) = (std::str::from_utf8(head), body.get(1..)) else {
        return;
    };
    let mut words = head.split(' ');
    let frame = match words.next() {
        Some("array") => Frame::Array,
        Some("rows") => Frame::Rows("rows"),
        Some("lines") => Frame::Lines,
        Some("events") => Frame::EventSource,
        Some(_) | None => Frame::Document,
    };
    let paths: Vec<FieldPath> = words
        .filter_map(|word| FieldPath::parse(word).ok())
        .take(8)
        .collect();
    let fields = Fields::except(paths.iter().cloned());
    let [whole, bytes, halves] =
        cuts(body, place(data)).map(|pieces| split(frame, &fields, &pieces));
    assert_eq!(whole, bytes);
    assert_eq!(whole, halves);
    if whole.sound {
        rows(frame, body, &whole.rows);
    }
    for row in whole.rows {
        cut(&fields, &paths, row.as_bytes());
    }
    value(body);
    cut(&fields, &paths, body);
}

/// What a splitter makes of a body.
#[derive(Debug, PartialEq)]
struct Split {
    /// Did the body end where its frame does?
    sound: bool,
    events: Vec<String>,
    rows: Vec<String>,
    /// What is shown of the first member of each row that has one.
    shown: Vec<Option<Vec<u8>>>,
}

fn split(frame: Frame, fields: &Fields, pieces: &[&[u8]]) -> Split {
    let mut splitter = Splitter::new(frame, LONGEST);
    let mut split = Split {
        sound: false,
        events: Vec::new(),
        rows: Vec::new(),
        shown: Vec::new(),
    };
    for piece in pieces {
        splitter.push(piece);
        loop {
            match splitter.next() {
                Ok(None) => break,
                Ok(Some(event)) => {
                    split.events.push(format!("{event:?}"));
                    if let Event::Row(bytes) = event {
                        let text = std::str::from_utf8(bytes).expect("a row is UTF-8");
                        split.rows.push(text.to_owned());
                        split.shown.push(first(fields, splitter.row()));
                    }
                }
                Err(_) => return split,
            }
        }
    }
    split.sound = splitter.finish().is_ok();
    split
}

/// What is known of a row on the way changes nothing: it is cut as the same bytes put aside.
fn first(fields: &Fields, row: Row<'_>) -> Option<Vec<u8>> {
    let shown = |row: Row<'_>| {
        let member = row.members().next()?.ok()?;
        let mut out = Vec::new();
        let cut = row.cut(&member, fields, Kind::Plain, &mut out);
        cut.ok().map(|()| out)
    };
    let aside = shown(Row::aside(row.bytes()));
    assert_eq!(shown(row), aside);
    aside
}

/// What `serde_json` reads as rows, where it can.
fn rows(frame: Frame, body: &[u8], found: &[String]) {
    let raw: Option<Vec<Box<RawValue>>> = match frame {
        Frame::Array => serde_json::from_slice(body).ok(),
        Frame::Rows(name) => {
            let whole: Option<HashMap<String, Box<RawValue>>> = serde_json::from_slice(body).ok();
            whole.and_then(|whole| serde_json::from_str(whole.get(name)?.get()).ok())
        }
        Frame::Document | Frame::Lines | Frame::EventSource => None,
    };
    if let Some(raw) = raw {
        let raw: Vec<&str> = raw.iter().map(|row| row.get()).collect();
        assert_eq!(found, raw);
    }
}

/// A value is read as `serde_json` reads it, but that ambiguous ones are refused and numbers may be of any size.
fn value(text: &[u8]) {
    let theirs = serde_json::from_slice::<serde_json::Value>(text);
    match (Value::parse(text), theirs) {
        (Ok(ours), Ok(theirs)) => {
            let again = ours.to_bytes();
            assert_eq!(serde_json::from_slice(&again).ok(), Some(theirs));
            assert_eq!(
                Value::parse(&again).map(|again| again.to_bytes()),
                Ok(again)
            );
        }
        (Ok(ours), Err(theirs)) => {
            let numbers = theirs.to_string().starts_with("number out of range");
            assert!(numbers, "{ours} but {theirs}");
        }
        (Err(ours), Ok(theirs)) => {
            let ours = matches!(ours, JsonError::DuplicateKey(_) | JsonError::TooDeep);
            assert!(ours, "{theirs}");
        }
        (Err(_), Err(_)) => {}
    }
}

/// What is hidden is gone, what is shown is there, and written back through the same eyes it is all there again.
fn cut(fields: &Fields, paths: &[FieldPath], text: &[u8]) {
    let mut shown = Vec::new();
    let cut = fields.cut(text, Kind::Document, &mut shown);
    let Ok(stored) = Value::parse(text) else {
        return;
    };
    assert_eq!(cut, Ok(()));
    let expected = fields.cut_value(&stored, Kind::Document);
    let read = Value::parse(&shown).expect("what is shown is JSON");
    assert_eq!(read.to_bytes(), expected.to_bytes());
    if stored.as_object().is_none() {
        return;
    }
    assert_eq!(expected, without(paths, &stored, &mut Vec::new()));
    assert!(members(&shown).all(|member| member.is_ok()));
    let restored = fields
        .restore(&stored, expected)
        .expect("nothing was changed");
    assert_eq!(restored.to_bytes(), stored.to_bytes());
}
