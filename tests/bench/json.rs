//! The streaming filter against `serde_json`, on view answers of about 10 MB: hides fields of each row's `value` and
//! `doc`, drops every tenth row, and prints MB/s. `cargo bench --bench json`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench prints, and its input is its own"
)]

use std::hint::black_box;
use std::time::Instant;

use couchwarden::json::{Event, FieldPath, Fields, Frame, Kind, Row, Splitter, members};
use serde_json::value::RawValue;

const CHUNK: usize = 64 * 1024;
const ROUNDS: usize = 15;

/// Rows of about 700 bytes, as CouchDB sends a call-record view with `include_docs`.
fn view(escapes: bool, newline: &str) -> Vec<u8> {
    let note = if escapes {
        r#"said \"call back\"\n café \\ \t"#
    } else {
        "said call back after noon, café"
    };
    let rows = (0..14_000).map(|n| {
        format!(
            concat!(
                r#"{{"id":"call-{n:010}","key":["4930{m:06}","2024-11-{d:02}T10:11:12Z"],"value":{{"duration":{m},"password":"pw{n}","#,
                r#""cost":0.{m},"direction":"inbound"}},"doc":{{"_id":"call-{n:010}","_rev":"3-0123456789abcdef0123456789abcdef","#,
                r#""type":"cdr","caller":"+4930{m:06}","callee":"+4989{n:06}","start":"2024-11-{d:02}T10:11:12Z","duration":{m},"#,
                r#""registrant":"sip:{m}@example.org","registrant_password":"secret-{n}","codec":["PCMA","G722","opus"],"answered":true,"#,
                r#""hangup":{{"cause":16,"side":"caller","text":"normal clearing"}},"note":"{note}","trunk":"trunk-{d}","#,
                r#""legs":[{{"uuid":"0a1b2c3d-{m:04}","ip":"192.0.2.{d}"}},{{"uuid":"4e5f6a7b-{m:04}","ip":"198.51.100.{d}"}}],"cost":null}}}}"#
            ),
            n = n, m = n % 7919, d = n % 28 + 1, note = note
        )
    });
    let rows: Vec<String> = rows.collect();
    let mut body = format!(r#"{{"total_rows":14000,"offset":0,"rows":[{newline}"#);
    body.push_str(&rows.join(&format!(",{newline}")));
    body.push_str(&format!("{newline}]}}"));
    body.into_bytes()
}

/// The judge: every tenth row is dropped, by its id.
fn is_dropped(id: &str) -> bool {
    id.ends_with('7')
}

/// Ours: split, find the members, judge, cut, write.
fn filter(body: &[u8], fields: &Fields, out: &mut Vec<u8>) {
    let mut splitter = Splitter::new(Frame::Rows("rows"), 16 << 20);
    let mut first = true;
    for chunk in body.chunks(CHUNK) {
        splitter.push(chunk);
        while let Some(event) = splitter.next().unwrap() {
            match event {
                Event::Start => out.push(b'{'),
                Event::Member { key, value } => {
                    out.extend_from_slice(format!("\"{key}\":").as_bytes());
                    out.extend_from_slice(value);
                    out.push(b',');
                }
                Event::RowsStart => out.extend_from_slice(b"\"rows\":["),
                Event::Row(_) => filter_row(splitter.row(), fields, &mut first, out),
                Event::RowsEnd => out.extend_from_slice(b"\r\n]"),
                Event::Heartbeat | Event::EventId(_) | Event::Unread(_) => (),
                Event::End => out.push(b'}'),
            }
        }
    }
    splitter.finish().unwrap();
}

fn filter_row(row: Row<'_>, fields: &Fields, first: &mut bool, out: &mut Vec<u8>) {
    let mut copied = 0;
    let start = out.len();
    out.extend_from_slice(if *first { b"\r\n" } else { b",\r\n" });
    for member in row.members() {
        let member = member.unwrap();
        match member.key.as_ref() {
            "id" if is_dropped(&couchwarden::json::string(member.value).unwrap()) => {
                out.truncate(start);
                return;
            }
            "value" | "doc" => {
                let kind = if member.key == "doc" {
                    Kind::Document
                } else {
                    Kind::Plain
                };
                let value = member.whole.end - member.value.len();
                out.extend_from_slice(row.bytes().get(copied..value).unwrap());
                row.cut(&member, fields, kind, out).unwrap();
                copied = member.whole.end;
            }
            _ => (),
        }
    }
    out.extend_from_slice(row.bytes().get(copied..).unwrap());
    *first = false;
}

/// The rows by newline or, on one line, as a list of raw values.
fn rows(body: &[u8]) -> Vec<&RawValue> {
    #[derive(serde::Deserialize)]
    struct View<'a> {
        #[serde(borrow)]
        rows: Vec<&'a RawValue>,
    }
    serde_json::from_slice::<View<'_>>(body).unwrap().rows
}

type Raw<'a> = Vec<(std::borrow::Cow<'a, str>, &'a RawValue)>;

/// The members of an object in their order, keys unescaped, values raw.
struct RawMembers<'a>(Raw<'a>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for RawMembers<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visit<'a>(std::marker::PhantomData<&'a ()>);
        impl<'de: 'a, 'a> serde::de::Visitor<'de> for Visit<'a> {
            type Value = RawMembers<'a>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Self::Value, A::Error> {
                let mut found = Vec::new();
                while let Some(Key(key)) = map.next_key()? {
                    found.push((key, map.next_value()?));
                }
                Ok(RawMembers(found))
            }
        }
        from.deserialize_map(Visit(std::marker::PhantomData))
    }
}

#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] std::borrow::Cow<'a, str>);

fn raw_object(
    members: &Raw<'_>,
    out: &mut Vec<u8>,
    mut value: impl FnMut(&str, &RawValue, &mut Vec<u8>) -> bool,
) {
    out.push(b'{');
    let mut first = true;
    for (key, raw) in members {
        let start = out.len();
        if !first {
            out.push(b',');
        }
        serde_json::to_writer(&mut *out, key).unwrap();
        out.push(b':');
        if value(key, raw, out) {
            first = false;
        } else {
            out.truncate(start);
        }
    }
    out.push(b'}');
}

fn with_raw(lines: &[&[u8]], out: &mut Vec<u8>) {
    let hidden = ["password", "registrant_password"];
    for line in lines {
        let row: RawMembers<'_> = serde_json::from_slice(line).unwrap();
        let id = row.0.iter().find(|(key, _)| key == "id").unwrap().1;
        if is_dropped(&serde_json::from_str::<String>(id.get()).unwrap()) {
            continue;
        }
        raw_object(&row.0, out, |key, raw, out| {
            if matches!(key, "value" | "doc") && raw.get().starts_with('{') {
                let inner: RawMembers<'_> = serde_json::from_str(raw.get()).unwrap();
                raw_object(&inner.0, out, |key, raw, out| {
                    out.extend_from_slice(raw.get().as_bytes());
                    !hidden.contains(&key)
                });
            } else {
                out.extend_from_slice(raw.get().as_bytes());
            }
            true
        });
        out.extend_from_slice(b",\r\n");
    }
}

fn with_value(lines: &[&[u8]], out: &mut Vec<u8>) {
    for line in lines {
        let mut row: serde_json::Value = serde_json::from_slice(line).unwrap();
        if is_dropped(row.get("id").unwrap().as_str().unwrap()) {
            continue;
        }
        for part in ["value", "doc"] {
            if let Some(part) = row.get_mut(part).and_then(|part| part.as_object_mut()) {
                part.remove("password");
                part.remove("registrant_password");
            }
        }
        serde_json::to_writer(&mut *out, &row).unwrap();
        out.extend_from_slice(b",\r\n");
    }
}

/// The best of some rounds, in MB/s.
fn best(bytes: usize, mut work: impl FnMut(&mut Vec<u8>)) -> f64 {
    let mut out = Vec::with_capacity(bytes + 4096);
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        out.clear();
        let start = Instant::now();
        work(&mut out);
        best = best.min(start.elapsed().as_secs_f64());
        black_box(&out);
    }
    bytes as f64 / best / 1e6
}

fn main() {
    let paths = ["password", "registrant_password"].map(|path| FieldPath::parse(path).unwrap());
    let fields = Fields::except(paths);
    let deep = Fields::except([
        FieldPath::parse("**.password").unwrap(),
        FieldPath::parse("registrant_password").unwrap(),
    ]);
    println!(
        "{:34} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "MB/s", "ours", "RawValue", "Value", "x Raw", "x Value"
    );
    for (name, escapes, newline) in [
        ("view rows of 700 bytes", false, "\r\n"),
        ("the same on one line", false, ""),
        ("with escapes", true, "\r\n"),
    ] {
        let body = view(escapes, newline);
        // The rivals get their rows framed for nothing.
        let lines: Vec<&[u8]> = rows(&body)
            .into_iter()
            .map(|row| row.get().as_bytes())
            .collect();
        let ours = best(body.len(), |out| filter(&body, &fields, out));
        let raw = best(body.len(), |out| with_raw(&lines, out));
        let value = best(body.len(), |out| with_value(&lines, out));
        println!(
            "{name:34} {ours:8.0} {raw:8.0} {value:8.0} {:8.1} {:8.1}",
            ours / raw,
            ours / value
        );
        if !escapes {
            let split = best(body.len(), |out| {
                let mut splitter = Splitter::new(Frame::Rows("rows"), 16 << 20);
                for chunk in body.chunks(CHUNK) {
                    splitter.push(chunk);
                    while let Some(event) = splitter.next().unwrap() {
                        out.push(u8::from(matches!(event, Event::Row(_))));
                    }
                }
            });
            let walk = best(body.len(), |out| {
                for line in &lines {
                    black_box(
                        members(line)
                            .map(|member| member.unwrap().value.len())
                            .sum::<usize>(),
                    );
                    out.clear();
                }
            });
            let deep = best(body.len(), |out| filter(&body, &deep, out));
            println!(
                "  split only {split:.0}, members only {walk:.0}, hiding `**.password` {deep:.0}"
            );
        }
    }
}
