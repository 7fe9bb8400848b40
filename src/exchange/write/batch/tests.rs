use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::StreamBody;

use super::{SentBatch, SentRow};
use crate::body::boxed;
use crate::refusal::Refusal;

async fn read(pieces: &[&[u8]], longest: usize) -> Result<SentBatch, Refusal> {
    let pieces = pieces.iter().map(|piece| Bytes::copy_from_slice(piece));
    let frames: Vec<_> = pieces.map(|piece| Ok(Frame::data(piece))).collect();
    let body = boxed(StreamBody::new(stream::iter(frames)));
    SentBatch::read((body, None), longest).await
}

/// Each row as it was sent, or the id of one that is not read.
fn told(batch: &SentBatch) -> Vec<String> {
    let told = batch.rows.iter().map(|row| match row {
        SentRow::Document(bytes, _) => String::from_utf8_lossy(bytes).into_owned(),
        SentRow::Unread(id, _) => format!("unread {}", id.as_deref().unwrap_or("unnamed")),
    });
    told.collect()
}

#[tokio::test]
async fn where_a_batch_is_cut_makes_no_difference() {
    let text = r#" {"w":"1", "docs": [ {"error":"e","_id":"a"},{"b":[1,"]}"]} , {"long":"....................","_id":"\u00e4\"b"} ,{}], "new_edits" : false, "all_or_nothing":false} "#;
    let wanted = [
        r#"{"error":"e","_id":"a"}"#,
        r#"{"b":[1,"]}"]}"#,
        "unread ä\"b",
        "{}",
    ];
    for cut in 0..text.len() {
        let (first, second) = text.as_bytes().split_at(cut);
        let batch = read(&[first, second], 30).await.unwrap();
        assert_eq!(told(&batch), wanted, "{cut}");
        assert!(!batch.new_edits, "{cut}");
        let begun = read(&[first], 30).await;
        assert_eq!(begun.is_ok(), cut + 1 == text.len(), "{cut}");
    }
    let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
    assert_eq!(told(&read(&bytes, 30).await.unwrap()), wanted);
}

#[tokio::test]
async fn a_document_that_is_not_read_is_known_by_its_id_wherever_it_stands() {
    let long = format!("\"{}\"", "x".repeat(200_000));
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    for (members, wanted) in [
        (r#""_id":"a","x":LONG"#, "a"),
        (r#""x":LONG,"_id":"a""#, "a"),
        (r#" "x" : LONG , "_id" : "a" , "y" : 1 "#, "a"),
        (r#""x":LONG,"\u005fid":"a\u0062""#, "ab"),
        (r#""y":{"_id":"no"},"x":LONG,"_id":"a""#, "a"),
        (r#""y":[{"_id":"no"}],"x":LONG"#, "unnamed"),
        (r#""_id":"a","x":LONG,"y":{"_id":"no"}"#, "a"),
        (r#""y":"_id","z":"no","_id":"a","x":LONG"#, "a"),
        (r#""y":"\"_id\":\"no\"","x":LONG,"_id":"a\\""#, "a\\"),
        (r#""_id":1,"x":LONG"#, "unnamed"),
        (r#""_id":["no"],"x":LONG"#, "unnamed"),
        (r#""_id":{"_id":"no"},"x":LONG"#, "unnamed"),
        (r#""_id":LONG"#, "unnamed"),
        (r#""x":LONG"#, "unnamed"),
    ] {
        for value in [&long, &deep] {
            // What is no string is no id either.
            let text = format!("{{\"docs\":[{{{members}}},{{}}]}}").replace("LONG", value);
            let batch = read(&[text.as_bytes()], 100_000).await.unwrap();
            let told = told(&batch);
            assert_eq!(
                told,
                [format!("unread {wanted}"), "{}".to_owned()],
                "{members}"
            );
        }
    }
}

#[tokio::test]
async fn what_is_no_batch_is_refused() {
    for text in [
        "",
        "[]",
        "1",
        "{}",
        r#"{"docs":1}"#,
        r#"{"docs":{}}"#,
        r#"{"docs":[{}]"#,
        r#"{"docs":[{}]}}"#,
        r#"{"docs":[{}],}"#,
        r#"{"docs":[{},]}"#,
        r#"{"docs":[{}{}]}"#,
        r#"{"docs":[],"docs":[]}"#,
        r#"{"docs":[],"d\u006fcs":[]}"#,
        r#"{"docs":[],"new_edits":false,"new_edits":true}"#,
        r#"{"docs":[],"new_edits":0}"#,
        r#"{"docs":[],"all_or_nothing":true}"#,
        r#"{"docs":[],"unknown":1}"#,
    ] {
        let refused = read(&[text.as_bytes()], 1000).await;
        assert_eq!(
            refused.map(|_| ()).map_err(|refusal| refusal.status()),
            Err(400),
            "{text}"
        );
    }
}
