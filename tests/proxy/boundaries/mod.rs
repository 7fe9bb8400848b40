//! Where a message ends on a connection to CouchDB: nobody's request is put behind bytes that CouchDB has not read, and
//! nobody is given what CouchDB sends behind somebody else's answer.

mod lazy;
mod requests;
mod talkative;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::support::World;
use lazy::Lazy;
use requests::{Caller, Dice, asking, sending};

const RULES: &str = r#"
[[rule]]
name = "readers"
databases = ["notes"]
callers = { roles = ["reader"] }
permit = ["read", "changes", "create", "update", "delete", "find", "function:d/*"]
"#;

/// Sends so many requests of all kinds, by so many connections at once; others' plain reads must be answered right.
async fn many(requests: usize) {
    const AT_ONCE: usize = 8;
    let lazy = Lazy::start().await;
    let world = World::plainly_before(lazy.address, RULES, "").await;
    let next = Arc::new(AtomicUsize::new(0));
    let mut callers = Vec::new();
    for seed in 0..AT_ONCE {
        let (next, address) = (Arc::clone(&next), world.address);
        callers.push(tokio::spawn(async move {
            let mut caller = Caller::new(address);
            let mut dice = Dice::new(1 + seed as u64);
            while next.fetch_add(1, Ordering::Relaxed) < requests {
                let number = next.load(Ordering::Relaxed) * AT_ONCE + seed;
                let sending = sending(number, &mut dice);
                let answer = caller.ask(&sending).await;
                if let Some(word) = sending.word {
                    let (status, body) = answer.expect("a plain read was cut");
                    assert_eq!((status, body.contains(&word)), (200, true), "{body}");
                }
            }
        }));
    }
    for caller in callers {
        caller.await.unwrap();
    }
    lazy.is_content();
}

#[tokio::test(flavor = "multi_thread")]
async fn couchdb_never_sees_a_second_request_behind_one_that_it_has_not_read() {
    // `just boundaries` sends ten thousand.
    let requests = std::env::var("BOUNDARIES_REQUESTS").map_or(1_500, |text| {
        text.parse().expect("BOUNDARIES_REQUESTS is a number")
    });
    many(requests).await;
}

/// The document that decides about an attachment is read by the service account, a document itself as the caller; a
/// user's own account is read and written by the service account.
#[tokio::test(flavor = "multi_thread")]
async fn the_service_account_and_callers_share_no_connection() {
    const RULES: &str = r#"
[[rule]]
name = "judged"
databases = ["judged"]
callers = { roles = ["reader"] }
permit = ["read"]
documents = { word = "yes" }

[[rule]]
name = "accounts"
databases = ["_users"]
callers = { names = ["*"] }
permit = ["read", "update"]
documents = { _id = { "$pattern" = "org.couchdb.user:{user}" } }
"#;
    let lazy = Lazy::start().await;
    let world = World::plainly_before(lazy.address, RULES, "").await;
    let mut caller = Caller::new(world.address);
    for _ in 0..8 {
        for line in [
            "GET /judged/a/file",
            "GET /_users/org.couchdb.user:rita",
            "PUT /_users/org.couchdb.user:rita",
            "GET /judged/a",
        ] {
            caller.ask(&asking(line, "rita")).await.unwrap();
        }
    }
    lazy.is_content();
    lazy.has_seen("account GET /judged/a");
    lazy.has_seen("caller GET /judged/a");
    lazy.has_seen("account GET /_users/org.couchdb.user%3Arita");
}

/// Half of the requests make CouchDB send more than it should; the other half are plain reads.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_given_what_comes_behind_the_answer_of_another() {
    const ROUNDS: usize = 150;
    let couchdb = talkative::start().await;
    let world = World::plainly_before(couchdb, RULES, "").await;
    let mut callers = Vec::new();
    for seed in 0..8 {
        let address = world.address;
        callers.push(tokio::spawn(async move {
            let mut caller = Caller::new(address);
            let mut dice = Dice::new(1 + seed as u64);
            for round in 0..ROUNDS {
                if seed % 2 == 0 {
                    let requests = talkative::requests();
                    let line = requests[dice.one_of(requests.len())];
                    caller.ask(&asking(line, "ops")).await;
                    continue;
                }
                let number = seed * ROUNDS + round;
                let sending = asking(&format!("GET /notes/mark-{number}"), "rita");
                let (status, body) = caller.ask(&sending).await.expect("a plain read was cut");
                let right = body.contains(&format!("mark {number}\""));
                assert_eq!((status, right), (200, true), "{body}");
            }
        }));
    }
    for caller in callers {
        caller.await.unwrap();
    }
}

const OWN: &str = r#"
[[rule]]
name = "own"
databases = ["@own"]
callers = { roles = ["reader"] }
permit = ["replicate"]
"#;

/// A body of one attachment, and more bytes behind its closing boundary.
fn related(id: &str, smuggled: &str) -> String {
    let stub = format!(
        r#"{{"_id":"{id}","_attachments":{{"f":{{"follows":true,"length":1,"content_type":"text/plain"}}}}}}"#
    );
    format!(
        "--b\r\ncontent-type: application/json\r\n\r\n{stub}\r\n--b\r\n\r\nx\r\n--b--{smuggled}"
    )
}

/// The same, as a form for a document of this revision.
fn form(rev: &str, smuggled: &str) -> String {
    format!(
        "--b\r\nContent-Disposition: form-data; name=\"_rev\"\r\n\r\n{rev}\r\n--b\r\n\
         Content-Disposition: form-data; name=\"_attachments\"; filename=\"f\"\r\n\
         Content-Type: text/plain\r\n\r\nx\r\n--b--{smuggled}"
    )
}

const RELATED: (&str, &str) = ("content-type", "multipart/related; boundary=b");
const FORM: (&str, &str) = ("content-type", "multipart/form-data; boundary=b");
const JSON: (&str, &str) = ("content-type", "application/json");

/// The attack that was seen: what stands behind the closing boundary became the head of the next request on the same
/// connection, whoever's that was, and was done with their rights.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_reads_another_database_by_what_stands_behind_a_body() {
    let world = World::start(OWN).await;
    let own = json!([{ "_id": "plain" }, { "_id": "formed" }]);
    world.database("own", own).await;
    let secret = json!([{ "_id": "s", "text": "victim-secret" }]);
    world.database("victim", secret).await;
    let (rita, ops) = (world.as_("rita"), world.as_("ops"));
    rita.get("/@victim/s").await.no(404, "not_found");
    let referer = format!("https://localhost:{}/", world.address.port());
    let forms = [FORM, ("referer", referer.as_str())];
    let victim = world.db("victim");
    let targets = [
        format!("GET /{victim}/_all_docs?include_docs=true"),
        format!("DELETE /{victim}"),
    ];
    for (number, target) in targets.iter().cycle().take(6).enumerate() {
        let smuggled = format!("{}{target} HTTP/1.1\r\nX-I: ", "\r\n".repeat(2_500));
        let formed = world.backend().get("/@own/formed").await.yes();
        let form = form(formed["_rev"].as_str().unwrap(), &smuggled);
        let (id, second) = (format!("a{number}"), format!("b{number}"));
        let (first, second) = (related(&id, &smuggled), related(&second, &smuggled));
        let attacks = [
            (&rita, "PUT", format!("/@own/{id}"), &[RELATED][..], &first),
            (&ops, "PUT", format!("/@own/b{number}"), &[RELATED], &second),
            (&ops, "POST", "/@own/formed".to_owned(), &forms, &form),
            (&ops, "PUT", format!("/@own/{id}/f"), &[], &smuggled),
            (&ops, "PUT", "/@own".to_owned(), &[JSON], &smuggled),
            (
                &ops,
                "POST",
                "/@own/_compact".to_owned(),
                &[JSON],
                &smuggled,
            ),
            (&rita, "GET", "/@own/plain".to_owned(), &[JSON], &smuggled),
            (&rita, "DELETE", format!("/@own/{id}"), &[JSON], &smuggled),
        ];
        for (who, method, path, headers, body) in attacks {
            who.ask(method, &path, headers, body.clone()).await;
            let reads = [&rita, &ops, &rita].map(|who| who.get("/@own/plain"));
            for answer in futures_util::future::join_all(reads).await {
                assert_eq!(answer.yes()["_id"], "plain", "{method} {path}");
            }
        }
        // Somebody who has to be looked up first.
        let una = world.user("una", &["reader"]);
        assert_eq!(una.get("/@own/plain").await.yes()["_id"], "plain");
    }
    let stored = world.backend().get("/@victim/s").await.yes();
    assert_eq!(stored["text"], "victim-secret");
}
