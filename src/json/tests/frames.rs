//! Streams in CouchDB's layouts and in others, cut wherever the network likes.

use super::*;

pub(super) const CAP: usize = 4096;

pub(super) fn run(frame: Frame, pieces: &[&[u8]]) -> (Vec<String>, Result<(), JsonError>) {
    let mut splitter = Splitter::new(frame, CAP);
    let mut log = Vec::new();
    for piece in pieces {
        splitter.push(piece);
        loop {
            match splitter.next() {
                Ok(None) => break,
                Ok(Some(event)) => log.push(name(event)),
                Err(error) => {
                    // Where it is noticed depends on the cuts, that it is noticed does not.
                    let place = matches!(error, JsonError::Syntax(_));
                    return (log, Err(if place { JsonError::Syntax(0) } else { error }));
                }
            }
        }
    }
    let end = splitter.finish();
    (log, end)
}

pub(super) fn name(event: Event<'_>) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    match event {
        Event::Start => "start".into(),
        Event::Member { key, value } => format!("{key}={}", text(value)),
        Event::RowsStart => "[".into(),
        Event::Row(row) => format!("row {}", text(row)),
        Event::Unread(head) => format!("unread {}", text(head)),
        Event::RowsEnd => "]".into(),
        Event::Heartbeat => "beat".into(),
        Event::EventId(id) => format!("id {}", text(id)),
        Event::End => "end".into(),
    }
}

fn check(frame: Frame, body: &str, expected: &[&str]) {
    let (log, end) = run(frame, &[body.as_bytes()]);
    assert_eq!(
        (log, end),
        (
            expected.iter().map(|event| (*event).to_owned()).collect(),
            Ok(())
        ),
        "{body}"
    );
    for cut in 0..=body.len() {
        let (left, right) = body.as_bytes().split_at(cut);
        assert_eq!(
            run(frame, &[left, right]),
            run(frame, &[body.as_bytes()]),
            "{body} at {cut}"
        );
        if cut < body.trim_end().len() && !matches!(frame, Frame::Lines | Frame::EventSource) {
            assert!(run(frame, &[left]).1.is_err(), "{body} at {cut}");
        }
    }
}

pub(super) fn refused(frame: Frame, body: &str) -> JsonError {
    let (log, end) = run(frame, &[body.as_bytes()]);
    let single: Vec<&[u8]> = body.as_bytes().chunks(1).collect();
    assert!(run(frame, &single).1.is_err(), "{body}");
    end.expect_err(&format!("{body} {log:?}"))
}

#[test]
fn views_as_couchdb_sends_them() {
    let body =
        "{\"total_rows\":2,\"offset\":0,\"rows\":[\r\n{\"id\":\"a\"},\r\n{\"id\":\"]\"}\r\n]}\n";
    check(
        Frame::Rows("rows"),
        body,
        &[
            "start",
            "total_rows=2",
            "offset=0",
            "[",
            "row {\"id\":\"a\"}",
            "row {\"id\":\"]\"}",
            "beat",
            "]",
            "end",
        ],
    );
    check(
        Frame::Rows("rows"),
        "{\"rows\":[\r\n\r\n]}",
        &["start", "[", "beat", "]", "end"],
    );
    check(
        Frame::Rows("rows"),
        "{\"rows\":[]}",
        &["start", "[", "]", "end"],
    );
}

#[test]
fn find_as_couchdb_sends_it() {
    let body = "{\"docs\":[\r\n{\"_id\":\"a\"}\r\n],\r\n\"bookmark\": \"x\\\"y\",\n\"execution_stats\":{\"a\":[1]}}";
    check(
        Frame::Rows("docs"),
        body,
        &[
            "start",
            "[",
            "row {\"_id\":\"a\"}",
            "beat",
            "]",
            "bookmark=\"x\\\"y\"",
            "execution_stats={\"a\":[1]}",
            "end",
        ],
    );
}

#[test]
fn changes_with_heartbeats_before_between_and_after_rows() {
    let body = "{\"results\":[\n\n\n{\"seq\":1},\n{\"seq\":2}\n\n,\r\n{\"seq\":3}\n],\n\"last_seq\":\"3-x\",\"pending\":0}\n";
    check(
        Frame::Rows("results"),
        body,
        &[
            "start",
            "[",
            "beat",
            "beat",
            "row {\"seq\":1}",
            "row {\"seq\":2}",
            "beat",
            "beat",
            "row {\"seq\":3}",
            "beat",
            "]",
            "last_seq=\"3-x\"",
            "pending=0",
            "end",
        ],
    );
    check(
        Frame::Rows("results"),
        "\n{\"results\":[]}",
        &["beat", "start", "[", "]", "end"],
    );
}

#[test]
fn continuous_lines() {
    check(
        Frame::Lines,
        "{\"seq\":1}\n\n\n{\"seq\":2}\r\n{\"last_seq\":2}\n",
        &[
            "start",
            "row {\"seq\":1}",
            "beat",
            "beat",
            "row {\"seq\":2}",
            "row {\"last_seq\":2}",
        ],
    );
    check(Frame::Lines, "\n", &["start", "beat"]);
    assert_eq!(
        refused(Frame::Lines, "{\"seq\":1}{\"seq\":2}\n"),
        JsonError::Syntax(0)
    );
    assert_eq!(
        refused(Frame::Lines, "{\"error\":\"x\",\"reason\":\"y\"}\n"),
        JsonError::ErrorInside
    );
    assert_eq!(refused(Frame::Lines, "{\"seq\":"), JsonError::Truncated);
    refused(Frame::Lines, "1\n");
}

#[test]
fn eventsource_blocks() {
    let body = "data: {\"seq\":1}\nid: \"1-x\"\n\nevent: heartbeat\ndata: \n\ndata: {\"seq\":2}\r\nid: 2\r\n\r\n";
    check(
        Frame::EventSource,
        body,
        &[
            "start",
            "row {\"seq\":1}",
            "id \"1-x\"",
            "beat",
            "row {\"seq\":2}",
            "id 2",
        ],
    );
    for body in [
        "data: {\"a\":1",
        "data: {}\n",
        "data: {}\ndata: {}\n\n",
        "id: 1\n\n",
        "event: other\n\n",
        "data: {\n\n",
        "data: {}\rdata: {}\n\n",
        "{\"error\":\"x\"}\n",
        "data: {}\n{}\n\n",
    ] {
        refused(Frame::EventSource, body);
    }
}

#[test]
fn other_layouts_are_frames_too() {
    check(
        Frame::Rows("rows"),
        "{\"rows\":[{\"a\":\"[\\\\\"},{}],\"total_rows\":2}",
        &[
            "start",
            "[",
            "row {\"a\":\"[\\\\\"}",
            "row {}",
            "]",
            "total_rows=2",
            "end",
        ],
    );
    check(
        Frame::Rows("rows"),
        "{\n  \"r\\u006fws\": [\n    {\n \"a\": 1 }\n  ]\n}",
        &["start", "[", "row {\n \"a\": 1 }", "beat", "]", "end"],
    );
    check(
        Frame::Array,
        "[ \"a\",1 , null,{\"error\":\"x\"}]\n",
        &[
            "start",
            "[",
            "row \"a\"",
            "row 1",
            "row null",
            "row {\"error\":\"x\"}",
            "]",
            "end",
        ],
    );
    check(Frame::Array, "[]", &["start", "[", "]", "end"]);
    check(
        Frame::Document,
        "{\"a\":[1,{}]}\n",
        &["start", "row {\"a\":[1,{}]}", "end"],
    );
    check(Frame::Document, "1000\n", &["start", "row 1000", "end"]);
}

#[test]
fn an_error_or_text_where_a_row_or_the_end_is_due_is_an_error() {
    let rows = Frame::Rows("rows");
    assert_eq!(
        refused(
            rows,
            "{\"rows\":[\n{\"error\":\"timeout\",\"reason\":\"x\"}\n"
        ),
        JsonError::ErrorInside
    );
    assert_eq!(
        refused(rows, "{\"rows\":[\n{\"id\":1}\n{\"error\":\"timeout\"}\n"),
        JsonError::ErrorInside
    );
    assert_eq!(
        refused(rows, "{\"error\":\"timeout\",\"reason\":\"x\"}\n"),
        JsonError::ErrorInside
    );
    check(
        rows,
        "{\"rows\":[{\"error\":\"not_found\",\"key\":1}]}",
        &[
            "start",
            "[",
            "row {\"error\":\"not_found\",\"key\":1}",
            "]",
            "end",
        ],
    );
    for body in [
        "{\"rows\":[{}]}x",
        "{\"rows\":[{}]}{}",
        "{\"rows\":[{}],\"rows\":[]}",
        "{\"a\":1,\"\\u0061\":1,\"rows\":[]}",
        "{\"rows\":{}}",
        "{}",
        "{\"a\":1}",
        "[]",
        "{\"rows\":[{},]}",
        "{\"rows\":[,{}]}",
        "{\"rows\":[{}]",
        "{\"rows\":[{}]]",
        "{\"rows\":[{]}]}",
        "{\"rows\":[tru]}",
        "{\"rows\":[],}",
        "{,\"rows\":[]}",
        "{\"rows\" []}",
        "{\"rows\":[1 2]}",
        "{\"rows\":[\"\\x\"]}",
        "{\"rows\":[{\"a\":\"\n\"}]}",
    ] {
        refused(rows, body);
    }
    refused(Frame::Document, "{}{}");
    refused(Frame::Document, "{} x");
    refused(Frame::Array, "[1]]");
}

#[test]
fn a_member_without_a_value_is_an_error_in_a_row_too() {
    for text in [r#"[{"a":}]"#, r#"[{"b":{},"a":}]"#, r#"[{"a":]}]"#] {
        let mut splitter = Splitter::new(Frame::Array, CAP);
        splitter.push(text.as_bytes());
        while let Ok(Some(event)) = splitter.next() {
            if matches!(event, Event::Row(_)) {
                let row = splitter.row();
                assert!(row.members().eq(members(row.bytes())), "{text}");
                assert!(row.members().any(|member| member.is_err()), "{text}");
            }
        }
    }
}

proptest! {
    #[test]
    fn rows_are_what_serde_json_reads(rows in prop::collection::vec(tree(), 0..6), beside in document(), dice: u64, cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        let mut dice = dice;
        let mut body = String::from("{");
        let split = usize::try_from(roll(&mut dice, 9)).unwrap();
        let mut members: Vec<String> = beside.as_object().unwrap().iter().map(|(key, value)| {
            let mut out = String::new();
            spell_text(key, &mut dice, &mut out);
            out.push(':');
            spell(value, &mut dice, &mut out);
            out
        }).collect();
        let array = Value::Array(rows);
        let mut spelled = String::from("\"rows\":");
        spell(&array, &mut dice, &mut spelled);
        members.insert(split.min(members.len()), spelled);
        body.push_str(&members.join(","));
        body.push('}');

        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
        places.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for place in places {
            pieces.push(&body.as_bytes()[from..place]);
            from = place;
        }
        pieces.push(&body.as_bytes()[from..]);

        let (log, end) = run(Frame::Rows("rows"), &pieces);
        prop_assert_eq!(end, Ok(()));
        prop_assert_eq!(&log, &run(Frame::Rows("rows"), &[body.as_bytes()]).0);
        let found: Vec<Value> = log.iter().filter_map(|event| event.strip_prefix("row ")).map(|row| Value::parse(row.as_bytes()).unwrap()).collect();
        prop_assert_eq!(Value::Array(found), array);
        let whole: std::collections::HashMap<String, Box<serde_json::value::RawValue>> = serde_json::from_str(&body).unwrap();
        let raw: Vec<Box<serde_json::value::RawValue>> = serde_json::from_str(whole["rows"].get()).unwrap();
        let ours: Vec<&str> = log.iter().filter_map(|event| event.strip_prefix("row ")).collect();
        prop_assert_eq!(ours, raw.iter().map(|row| row.get()).collect::<Vec<_>>());
    }

    #[test]
    fn cuts_do_not_matter(
        body in r#"(\{"rows":\[)?([{}\[\],:"\\ \n\t1a]|"rows":|\{"a":"x"\}|data: |id: 1|\{"error":1\}|é){0,30}"#,
        cut: prop::sample::Index,
    ) {
        for frame in [Frame::Document, Frame::Array, Frame::Rows("rows"), Frame::Lines, Frame::EventSource] {
            let (left, right) = body.as_bytes().split_at(cut.index(body.len() + 1));
            let (whole, end) = run(frame, &[body.as_bytes()]);
            let (halves, end_of_halves) = run(frame, &[left, right]);
            prop_assert_eq!(end.is_ok(), end_of_halves.is_ok());
            prop_assert_eq!(whole, halves);
            if frame == Frame::Document && end.is_ok() && body.trim_start().starts_with(['[', '"', '1']) && !body.contains('{') {
                // Grammar inside containers is the reader's; structure is proven here.
                prop_assert!(body.matches('[').count() >= 1 || serde_json::from_str::<serde_json::Value>(&body).is_ok());
            }
        }
    }
}
