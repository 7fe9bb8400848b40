//! Rows that are longer or deeper than is allowed: an error, or passed over where that is asked for.

use super::frames::{CAP, name, refused, run};
use super::*;

#[test]
fn a_row_over_the_cap_is_an_error_before_it_is_there() {
    let long = format!("{{\"rows\":[{{\"a\":\"{}", "x".repeat(CAP));
    assert_eq!(refused(Frame::Rows("rows"), &long), JsonError::TooLong(CAP));
    assert_eq!(
        refused(
            Frame::EventSource,
            &format!("data: {}", "x".repeat(2 * CAP))
        ),
        JsonError::TooLong(CAP)
    );
    let invalid = [b"{\"rows\":[{\"a\":\"".as_slice(), &[0xff], b"\"}]}"];
    assert_eq!(
        run(Frame::Rows("rows"), &invalid).1,
        Err(JsonError::NotUtf8)
    );
}

#[test]
fn a_row_that_is_too_long_or_too_deep_can_be_passed_over() {
    let long = format!(r#"{{"id":"a","s":"}}\\\"{}"}}"#, "x".repeat(CAP));
    let deep = format!(
        r#"{{"id":"b","s":{}0{}}}"#,
        "[".repeat(200),
        "]".repeat(200)
    );
    for row in [long, deep] {
        let body = format!("{{\"rows\":[\n{{\"id\":\"0\"}},\n{row},\n{{\"id\":\"z\"}}\n]}}\n");
        for size in [1, 7, 64, 4096] {
            let mut splitter = Splitter::new(Frame::Rows("rows"), CAP).passing_over();
            let mut rows = Vec::new();
            for chunk in body.as_bytes().chunks(size) {
                splitter.push(chunk);
                while let Some(event) = splitter.next().unwrap() {
                    let name = name(event);
                    if name.contains("id") {
                        rows.push(name);
                    }
                }
            }
            splitter.finish().unwrap();
            let unread = format!("unread {row}");
            let wanted = ["row {\"id\":\"0\"}", unread.as_str(), "row {\"id\":\"z\"}"];
            assert_eq!(rows, wanted, "{size}");
        }
        let mut splitter = Splitter::new(Frame::Lines, CAP).passing_over();
        splitter.push(row.get(..row.len() - 1).unwrap().as_bytes());
        while splitter.next().unwrap().is_some() {}
        assert_eq!(splitter.finish(), Err(JsonError::Truncated));
    }
}

#[test]
fn an_event_that_is_too_long_or_too_deep_can_be_passed_over() {
    let long = format!(r#"{{"id":"a","s":"}}\\\"{}"}}"#, "x".repeat(CAP));
    let deep = format!(
        r#"{{"id":"b","s":{}0{}}}"#,
        "[".repeat(200),
        "]".repeat(200)
    );
    for row in [long, deep] {
        let body = format!("data: {{}}\nid: 1\n\ndata: {row}\nid: 2\n\ndata: {{}}\nid: 3\n\n");
        for size in [1, 7, 64, 4096] {
            let mut splitter = Splitter::new(Frame::EventSource, CAP).passing_over();
            let mut events = Vec::new();
            for chunk in body.as_bytes().chunks(size) {
                splitter.push(chunk);
                while let Some(event) = splitter.next().unwrap() {
                    events.push(name(event));
                }
            }
            splitter.finish().unwrap();
            let unread = format!("unread {row}");
            let wanted = ["row {}", "id 1", unread.as_str(), "id 2", "row {}", "id 3"];
            assert_eq!(events.get(1..).unwrap(), wanted, "{size}");
        }
        // Nothing else may stand on its line.
        let body = format!("data: {row} {{}}\nid: 2\n\n");
        let mut splitter = Splitter::new(Frame::EventSource, CAP).passing_over();
        splitter.push(body.as_bytes());
        let failed = loop {
            match splitter.next() {
                Ok(event) => assert!(event.is_some(), "{body}"),
                Err(error) => break error,
            }
        };
        assert_eq!(failed, JsonError::Syntax(0));
    }
}
