//! Each shape of CouchDB's answers, cut, stammered, garbled and lied about: the client gets the whole truth, an
//! error, or a cut connection, never a part that looks complete.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::{Answer, Client, Fake, Seen, Step, World, chunked, plain};

const RULES: &str = r#"
[[rule]]
name      = "readers"
databases = ["notes"]
callers   = { roles = ["reader"] }
permit    = ["read", "changes", "find"]
hide      = ["salt"]
documents = { kind = "open" }
"#;

/// Small, so that a long row is soon made.
const LIMITS: &str = "[limits]\nrow = \"2KiB\"\n";

/// An answer of CouchDB's, what begins the row of its hidden document, and what must come out of it.
struct Case {
    request: &'static str,
    upstream: &'static str,
    hidden: &'static str,
    shown: &'static str,
}

const CASES: &[Case] = &[
    Case {
        request: "GET /notes/_all_docs?include_docs=true",
        upstream: r#"{"total_rows":3,"offset":0,"rows":[
{"id":"a","key":"a","value":{"rev":"1-a"},"doc":{"_id":"a","_rev":"1-a","kind":"open","salt":"\"},{","text":"\u00fc\\\" ]}"}},
{"id":"b","key":"b","value":{"rev":"1-b"},"doc":{"_id":"b","_rev":"1-b","kind":"shut","salt":2}},
{"id":"c","key":"c","value":{"rev":"1-c"},"doc":{"_id":"c","_rev":"1-c","sa\u006ct":[{"x":"]"}],"kind":"open"}}
]}
"#,
        hidden: r#"{"id":"b""#,
        shown: r#"{"rows":[{"id":"a","key":"a","value":{"rev":"1-a"},"doc":{"_id":"a","_rev":"1-a","kind":"open","text":"ü\\\" ]}"}},{"id":"c","key":"c","value":{"rev":"1-c"},"doc":{"_id":"c","_rev":"1-c","kind":"open"}}]}"#,
    },
    Case {
        request: "POST /notes/_find {\"selector\":{}}",
        upstream: r#"{"docs":[
{"_id":"a","_rev":"1-a","kind":"open","salt":1,"n":1.0},
{"_id":"b","_rev":"1-b","kind":"shut","salt":2}
],
"bookmark": "nil","warning":"no index"}
"#,
        hidden: r#"{"_id":"b""#,
        shown: r#"{"docs":[{"_id":"a","_rev":"1-a","kind":"open","n":1.0}]}"#,
    },
    Case {
        request: "POST /notes/_bulk_get {\"docs\":[{\"id\":\"a\"},{\"id\":\"b\"}]}",
        upstream: r#"{"results": [{"id":"a","docs":[{"ok":{"_id":"a","_rev":"1-a","kind":"open","salt":1}}]},{"id":"b","docs":[{"ok":{"_id":"b","_rev":"1-b","kind":"shut"}}]}]}"#,
        hidden: r#"{"id":"b""#,
        shown: r#"{"results":[{"id":"a","docs":[{"ok":{"_id":"a","_rev":"1-a","kind":"open"}}]},{"id":"b","docs":[]}]}"#,
    },
    Case {
        request: "GET /notes/_changes?include_docs=true",
        upstream: "{\"results\":[\n{\"seq\":\"1-x\",\"id\":\"a\",\"changes\":[{\"rev\":\"1-a\"}],\"doc\":{\"_id\":\"a\",\"_rev\":\"1-a\",\"kind\":\"open\",\"salt\":1}},\n{\"seq\":\"2-x\",\"id\":\"b\",\"changes\":[{\"rev\":\"1-b\"}],\"doc\":{\"_id\":\"b\",\"_rev\":\"1-b\",\"kind\":\"shut\"}}\n],\n\"last_seq\":\"2-x\",\"pending\":0}\n",
        hidden: r#"{"seq":"2-x""#,
        shown: r#"{"results":[{"id":"a","changes":[{"rev":"1-a"}],"doc":{"_id":"a","_rev":"1-a","kind":"open"}}]}"#,
    },
    Case {
        request: "GET /notes/a",
        upstream: "{\"_id\":\"a\",\"_rev\":\"1-a\",\"kind\":\"open\",\"salt\":{\"a\":[1,\"}\"]},\"n\":1}\n",
        hidden: "",
        shown: r#"{"_id":"a","_rev":"1-a","kind":"open","n":1}"#,
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_may_come_in_any_pieces() {
    for case in CASES {
        let place = Arc::new(AtomicUsize::new(0));
        let at = Arc::clone(&place);
        let (world, _fake) = before(move |_| match at.load(Ordering::SeqCst) {
            0 => chunked(case.upstream.as_bytes().chunks(1)),
            place => chunked([
                &case.upstream.as_bytes()[..place],
                &case.upstream.as_bytes()[place..],
            ]),
        })
        .await;
        let rita = world.as_("rita");
        for at in (0..case.upstream.len()).step_by(4) {
            place.store(at, Ordering::SeqCst);
            assert_shown(&ask(&rita, case.request).await, case, at);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_answer_never_looks_complete() {
    for case in CASES {
        for ends in [true, false] {
            let place = Arc::new(AtomicUsize::new(0));
            let at = Arc::clone(&place);
            let (world, _fake) = before(move |_| {
                let mut steps = chunked([&case.upstream.as_bytes()[..at.load(Ordering::SeqCst)]]);
                if !ends {
                    steps.pop();
                    steps.push(Step::Close);
                }
                steps
            })
            .await;
            let rita = world.as_("rita");
            let last = case.upstream.trim_end().len() - 1;
            for at in (0..last).step_by(13).chain([last]) {
                place.store(at, Ordering::SeqCst);
                assert_broken(
                    &ask(&rita, case.request).await,
                    &format!("{} at {at}, ends: {ends}", case.request),
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_may_stand_behind_an_answer() {
    for garbage in [
        "x",
        "{}",
        "]}",
        "\n\n{\"error\":\"timeout\",\"reason\":\"salt\"}\n",
    ] {
        each_is_broken(
            |case| chunked([case.upstream.as_bytes(), garbage.as_bytes()]),
            garbage,
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_in_mid_stream_is_an_error() {
    let error = "{\"error\":\"badmatch\",\"reason\":\"salt\"}";
    for case in CASES.iter().filter(|case| !case.hidden.is_empty()) {
        let (kept, _) = case
            .upstream
            .split_at(case.upstream.find(case.hidden).unwrap());
        let whole = kept.trim_end().trim_end_matches(',');
        // As CouchDB writes it, in the place of a row, and in the place of what follows the rows.
        for text in [
            format!("{kept}\n\n{error}\n"),
            format!("{kept}{error}]}}\n"),
            format!("{whole}],{}\n", error.trim_start_matches('{')),
        ] {
            let (world, _fake) = before(move |_| chunked([text.as_bytes()])).await;
            assert_broken(&ask(&world.as_("rita"), case.request).await, case.request);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_too_long_to_be_judged_is_not_shown() {
    let long = format!("\"kind\":\"open\",\"long\":\"{}\"", "x".repeat(4096));
    for case in CASES {
        let upstream = case.upstream.replacen("\"kind\":\"open\"", &long, 1);
        let steps = chunked(upstream.as_bytes().chunks(512));
        let (world, _fake) = before(move |_| steps.clone()).await;
        let answer = ask(&world.as_("rita"), case.request).await;
        assert!(!answer.text().contains("long"), "{}", case.request);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_that_lies_is_not_believed() {
    for lie in [-5_i64, 50] {
        let answer = |case: &Case| {
            let length = i64::try_from(case.upstream.trim_end().len()).unwrap() + lie;
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
            );
            vec![
                Step::Send(head.into_bytes()),
                Step::Send(case.upstream.into()),
                Step::Close,
            ]
        };
        each_is_broken(answer, &format!("{lie}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_the_frame_expected_is_not_passed_on() {
    for body in [
        "<html><body>salt</body></html>",
        "",
        "[]",
        "null",
        "\"salt\"",
        "{\"ok\":true,\"salt\":1}",
        "{\"error\":\"salt\"}",
        "{\"rows\":{\"salt\":1}}",
        "\u{feff}{\"rows\":[]}",
    ] {
        for case in CASES {
            let (world, _fake) = before(move |_| plain(200, body)).await;
            let answer = ask(&world.as_("rita"), case.request).await;
            match (case.request, answer.status) {
                // A document that has no matching field is hidden.
                ("GET /notes/a", 404) => answer.no(404, "not_found"),
                _ => assert_broken(&answer, &format!("{} and {body}", case.request)),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_couchdb_says_twice_is_not_believed() {
    for twice in [
        "\"kind\":\"open\",\"kind\":\"open\"",
        "\"kind\":\"open\",\"k\\u0069nd\":\"shut\"",
    ] {
        each_is_broken(
            |case| {
                chunked([case
                    .upstream
                    .replacen("\"kind\":\"open\"", twice, 1)
                    .as_bytes()])
            },
            twice,
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_breaks_off_is_not_the_last() {
    // The first page is whole; the one that fills it is not.
    // It holds all that were asked for.
    let rows: Vec<Value> = (1..=100)
        .map(|n| {
            let kind = if n == 1 { "open" } else { "shut" };
            json!({ "seq": format!("{n}-x"), "id": format!("d{n}"), "changes": [{ "rev": "1-a" }],
                "doc": { "_id": format!("d{n}"), "_rev": "1-a", "kind": kind } })
        })
        .collect();
    let page = json!({ "results": rows, "last_seq": "100-x", "pending": 9 }).to_string();
    for second in [
        plain(500, "{}"),
        plain(404, "{}"),
        plain(200, "{\"results\":["),
        vec![Step::Close],
    ] {
        let page = page.clone();
        let (world, fake) = before(move |seen| {
            if seen.target.contains("since=100-x") {
                second.clone()
            } else {
                plain(200, &page)
            }
        })
        .await;
        assert_broken(
            &world.as_("rita").get("/notes/_changes?limit=2").await,
            "the second page",
        );
        assert!(fake.seen().len() >= 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_answer_is_cut_over_http2_as_well() {
    for case in CASES {
        let (world, _fake) =
            before(move |_| chunked([&case.upstream.as_bytes()[..case.upstream.len() - 20]])).await;
        let rita = world.over_http2(&world.as_("rita"));
        assert_broken(&ask(&rita, case.request).await, case.request);
    }
}

/// Every request of the cases, each answered so.
async fn each_is_broken(answer: impl Fn(&Case) -> Vec<Step>, what: &str) {
    for case in CASES {
        let steps = answer(case);
        let (world, _fake) = before(move |_| steps.clone()).await;
        assert_broken(
            &ask(&world.as_("rita"), case.request).await,
            &format!("{}: {what}", case.request),
        );
    }
}

async fn before(script: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static) -> (World, Fake) {
    let fake = Fake::start(move |seen| match seen.target.contains("seq_interval=") {
        // What has changed meanwhile: nothing.
        true => plain(200, r#"{"results":[],"last_seq":"2-x","pending":0}"#),
        false => script(seen),
    })
    .await;
    let world = World::before(&fake, RULES, LIMITS).await;
    (world, fake)
}

async fn ask(client: &Client, request: &str) -> Answer {
    let (method, rest) = request.split_once(' ').unwrap();
    let (path, body) = rest.split_once(' ').unwrap_or((rest, ""));
    let headers: &[(&str, &str)] = if body.is_empty() {
        &[]
    } else {
        &[("content-type", "application/json")]
    };
    client.ask(method, path, headers, body.to_owned()).await
}

/// Everything that is visible, and nothing else.
#[track_caller]
fn assert_shown(answer: &Answer, case: &Case, place: usize) {
    assert!(
        answer.status == 200 && !answer.cut,
        "{} at {place}: {answer:?}",
        case.request
    );
    let mut shown = answer.json();
    let object = shown.as_object_mut().unwrap();
    object.remove("last_seq");
    object.remove("bookmark");
    for row in object
        .get_mut("results")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        row.as_object_mut().unwrap().remove("seq");
    }
    let wanted: Value = serde_json::from_str(case.shown).unwrap();
    assert_eq!(shown, wanted, "{} at {place}", case.request);
    for kept in ["\\u00fc\\\\\\\" ]}", "1.0"]
        .into_iter()
        .filter(|kept| case.upstream.contains(*kept))
    {
        assert!(
            answer.text().contains(kept),
            "byte for byte: {}",
            answer.text()
        );
    }
}

/// An error of ours before the head, or a connection that broke off; and nothing hidden either way.
#[track_caller]
fn assert_broken(answer: &Answer, what: &str) {
    let text = String::from_utf8_lossy(&answer.body);
    assert!(
        !text.contains("salt") && !text.contains("shut"),
        "{what}: {text}"
    );
    if answer.cut {
        assert!(
            serde_json::from_str::<Value>(&text).is_err(),
            "{what}: looks complete: {text}"
        );
        return;
    }
    assert!(
        [500, 502, 504].contains(&answer.status),
        "{what}: {} {text}",
        answer.status
    );
    assert!(answer.json()["error"].is_string(), "{what}: {text}");
}
