//! CouchDB's multipart answers in any pieces, cut off and lied about: the client gets the whole truth or a cut
//! connection, and never a part that looks complete.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{Answer, Client, Fake, Seen, Step, World, chunked};

const RULES: &str = r#"
[[rule]]
name      = "readers"
databases = ["notes"]
callers   = { roles = ["reader"] }
permit    = ["read"]
hide      = ["salt", "_attachments.shut"]
documents = { kind = "open" }
"#;

/// A leaf with two attachments, one of which is hidden and the other looks like an end; a hidden leaf; a plain one.
const UPSTREAM: &str = "--outer\r\nContent-Type: multipart/related; boundary=\"inner\"\r\n\r\n\
--inner\r\nContent-Type: application/json\r\n\r\n\
{\"_id\":\"a\",\"_rev\":\"2-a\",\"kind\":\"open\",\"salt\":\"s-1\",\"_attachments\":{\
\"one\":{\"content_type\":\"text/plain\",\"length\":12,\"follows\":true},\
\"shut\":{\"content_type\":\"text/plain\",\"length\":9,\"encoded_length\":8,\"encoding\":\"gzip\",\"follows\":true}}}\r\n--inner\r\n\
Content-Disposition: attachment; filename=\"one\"\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\n\
\r\n--inner--x\r\n--inner\r\n\
Content-Disposition: attachment; filename=\"shut\"\r\nContent-Type: text/plain\r\nContent-Length: 8\r\nContent-Encoding: gzip\r\n\r\n\
s-secret\r\n--inner--\r\n--outer\r\n\
Content-Type: multipart/related; boundary=\"inner\"\r\n\r\n\
--inner\r\nContent-Type: application/json\r\n\r\n\
{\"_id\":\"a\",\"_rev\":\"2-b\",\"kind\":\"shut\",\"_attachments\":{\"one\":{\"content_type\":\"text/plain\",\"length\":8,\"follows\":true}}}\r\n--inner\r\n\
Content-Disposition: attachment; filename=\"one\"\r\nContent-Type: text/plain\r\nContent-Length: 8\r\n\r\n\
s-secret\r\n--inner--\r\n--outer\r\n\
Content-Type: application/json\r\n\r\n\
{\"_id\":\"a\",\"_rev\":\"1-c\",\"kind\":\"open\",\"salt\":\"s-2\"}\r\n--outer--";

const SHOWN: &str = "--outer\r\nContent-Type: multipart/related; boundary=\"inner\"\r\n\r\n\
--inner\r\nContent-Type: application/json\r\n\r\n\
{\"_id\":\"a\",\"_rev\":\"2-a\",\"kind\":\"open\",\"_attachments\":{\
\"one\":{\"content_type\":\"text/plain\",\"length\":12,\"follows\":true}}}\r\n--inner\r\n\
Content-Disposition: attachment; filename=\"one\"\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\n\
\r\n--inner--x\r\n--inner--\r\n--outer\r\n\
Content-Type: application/json\r\n\r\n\
{\"_id\":\"a\",\"_rev\":\"1-c\",\"kind\":\"open\"}\r\n--outer--";

/// The same pieces as an answer in several parts.
fn mixed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Step> {
    let mut steps = chunked(pieces);
    let head = "HTTP/1.1 200 OK\r\ncontent-type: multipart/mixed; boundary=\"outer\"\r\ntransfer-encoding: chunked\r\n\r\n";
    steps[0] = Step::Send(head.into());
    steps
}

async fn before(script: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static) -> (World, Fake) {
    let fake = Fake::start(script).await;
    (World::before(&fake, RULES, "").await, fake)
}

async fn ask(client: &Client) -> Answer {
    let accept = [("accept", "multipart/mixed")];
    client
        .ask("GET", "/notes/a?open_revs=all", &accept, "")
        .await
}

#[track_caller]
fn assert_broken(answer: &Answer, what: &str) {
    let broken = answer.cut || answer.status >= 500;
    assert!(broken, "{what}: {} {:?}", answer.status, answer.body);
    assert!(!answer.seen().1.contains("s-"), "{what}: {:?}", answer.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_may_come_in_any_pieces() {
    let place = Arc::new(AtomicUsize::new(0));
    let at = Arc::clone(&place);
    let (world, fake) = before(move |_| match at.load(Ordering::SeqCst) {
        0 => mixed(UPSTREAM.as_bytes().chunks(1)),
        place => mixed([&UPSTREAM.as_bytes()[..place], &UPSTREAM.as_bytes()[place..]]),
    })
    .await;
    let rita = world.as_("rita");
    for at in (0..UPSTREAM.len()).step_by(5) {
        place.store(at, Ordering::SeqCst);
        let answer = ask(&rita).await;
        assert_eq!((answer.text(), answer.cut), (SHOWN, false), "{at}");
    }
    assert!(fake.seen()[0].head.contains("accept: multipart/mixed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_break_off_never_look_complete() {
    for ends in [true, false] {
        let place = Arc::new(AtomicUsize::new(0));
        let at = Arc::clone(&place);
        let (world, _fake) = before(move |_| {
            let mut steps = mixed([&UPSTREAM.as_bytes()[..at.load(Ordering::SeqCst)]]);
            if !ends {
                steps.pop();
                steps.push(Step::Close);
            }
            steps
        })
        .await;
        let rita = world.as_("rita");
        let last = UPSTREAM.len() - 1;
        for at in (0..last).step_by(17).chain([last]) {
            place.store(at, Ordering::SeqCst);
            assert_broken(&ask(&rita).await, &format!("at {at}, ends: {ends}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_do_not_fit_their_document_are_not_passed_on() {
    for (is, was) in [
        ("Content-Length: 13", "Content-Length: 12"),
        ("\"length\":11", "\"length\":12"),
        ("\"length\":13", "\"length\":12"),
        ("filename=\"two\"", "filename=\"one\""),
        ("\"two\":{", "\"one\":{"),
        ("", "\"follows\":true"),
        ("\"salt\":\"s-1\",\"salt\":2", "\"salt\":\"s-1\""),
        (
            "Content-Type: text/html\r\n\r\n{",
            "Content-Type: application/json\r\n\r\n{",
        ),
        ("boundary=\"other\"", "boundary=\"inner\""),
        (
            "s-secret\r\n--inner--\r\n--outer--",
            "s-secret\r\n--inner--\r\n--outer",
        ),
        ("--outer--x", "\r\n--outer--"),
    ] {
        let told = UPSTREAM.replacen(was, is, 1);
        assert_ne!(told, UPSTREAM);
        // The text of a part is no more than a word before the document that is judged.
        let harmless = is.contains("text/html");
        let (world, _fake) = before(move |_| mixed([told.as_bytes()])).await;
        let answer = ask(&world.as_("rita")).await;
        match harmless {
            true => assert!(answer.text().contains("1-c") && !answer.text().contains("s-")),
            false => assert_broken(&answer, is),
        }
    }
}
