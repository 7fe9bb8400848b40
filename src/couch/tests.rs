use std::time::Duration;

use super::fake::{Fake, json};
use super::{CouchError, basic};
use crate::caller::UserName;
use crate::json::Value;
use crate::refusal::Refusal;
use crate::route::{DbName, DocId};
use crate::secret::Secret;

fn db() -> DbName {
    DbName::parse("db").unwrap()
}

fn id(text: &str) -> DocId {
    DocId::parse(text).unwrap()
}

fn ids(documents: &[Option<Value>]) -> Vec<Option<String>> {
    let id = |document: &Value| document.get("_id").unwrap().as_str().unwrap().to_owned();
    documents
        .iter()
        .map(|document| document.as_ref().map(id))
        .collect()
}

async fn filled() -> Fake {
    let fake = Fake::start().await;
    fake.put("db", r#"{"_id":"a","x":1}"#);
    fake.put("db", r#"{"_id":"b","x":2}"#);
    fake.put("db", r#"{"_id":"gone","_deleted":true,"x":3}"#);
    fake
}

#[tokio::test]
async fn a_document_is_read_if_it_is_there() {
    let couch = filled().await.couch();
    assert_eq!(
        couch.read(&db(), &id("a")).await.unwrap().unwrap().get("x"),
        Some(&json("1"))
    );
    assert_eq!(couch.read(&db(), &id("gone")).await, Ok(None));
    assert_eq!(couch.read(&db(), &id("never")).await, Ok(None));
}

#[tokio::test]
async fn many_documents_come_in_the_order_of_their_ids() {
    let fake = filled().await;
    let found = fake
        .couch()
        .read_many(&db(), &["b", "never", "gone", "a", "a"])
        .await
        .unwrap();
    let some = |id: &str| Some(id.to_owned());
    assert_eq!(
        ids(&found),
        [some("b"), None, some("gone"), some("a"), some("a")]
    );
    assert_eq!(
        found[2].as_ref().unwrap().get("_deleted"),
        Some(&Value::Bool(true))
    );
    fake.heard();
    let many: Vec<String> = (0..1200).map(|at| at.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(
        fake.couch().read_many(&db(), &many).await.unwrap().len(),
        1200
    );
    assert_eq!(fake.heard().len(), 3);
    assert_eq!(fake.couch().read_many(&db(), &[]).await, Ok(vec![]));
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_asked_for_in_pieces() {
    let fake = filled().await;
    let found = fake
        .couch_with_limit(300)
        .read_many(&db(), &["b", "a", "x", "b", "a"])
        .await
        .unwrap();
    let some = |id: &str| Some(id.to_owned());
    assert_eq!(
        ids(&found),
        [some("b"), some("a"), None, some("b"), some("a")]
    );
    let outcome = fake
        .couch_with_limit(30)
        .read_many(&db(), &["b", "a"])
        .await;
    assert_eq!(outcome, Err(CouchError::TooLong(30)));
}

#[tokio::test]
async fn revisions_come_in_the_order_asked() {
    let fake = filled().await;
    let couch = fake.couch();
    let rev = format!("2-{}", "a".repeat(32));
    let wanted = [
        ("b", Some(rev.as_str())),
        ("b", Some("9-x")),
        ("gone", None),
        ("never", None),
    ];
    let found = couch.read_revisions(&db(), &wanted).await.unwrap();
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0, 1, 0]);
    assert_eq!(found[2][0].get("x"), Some(&json("3")));
    assert_eq!(couch.leaves(&db(), &id("gone")).await.unwrap().len(), 1);
    assert_eq!(couch.leaves(&db(), &id("never")).await.unwrap().len(), 0);
    assert!(
        fake.heard()
            .iter()
            .any(|heard| heard == "GET /db/gone?open_revs=all&revs=true")
    );
}

#[tokio::test]
async fn many_revisions_of_one_document_are_asked_for_together() {
    let fake = filled().await;
    let couch = fake.couch();
    let there = format!("2-{}", "a".repeat(32));
    let mut revs: Vec<String> = (0..400).map(|n| format!("2-{n:032x}")).collect();
    revs.insert(300, there);
    // A list that holds the first of these would be an error, and no line holds the last one.
    revs.extend([
        "x".to_owned(),
        format!("1-{}", "z".repeat(32)),
        "1-\"".to_owned(),
        format!("1-{}", "b".repeat(200)),
        format!("1-{}", "b".repeat(9000)),
    ]);
    let mut wanted: Vec<(&str, Option<&str>)> =
        revs.iter().map(|rev| ("b", Some(rev.as_str()))).collect();
    wanted.push(("gone", None));
    fake.heard();
    let found = couch.read_revisions(&db(), &wanted).await.unwrap();
    let lengths: Vec<usize> = found.iter().map(Vec::len).collect();
    let expected = (0..lengths.len()).map(|at| usize::from(at == 300 || at == 406));
    assert_eq!(lengths, expected.collect::<Vec<_>>());
    assert_eq!(found[300][0].get("x"), Some(&json("2")));
    let heard = fake.heard();
    assert!(heard.len() < 6, "{heard:?}");
    for line in &heard {
        assert!(line.len() < 8000, "{}", line.len());
    }
}

/// CouchDB reads all that a document has for each revision that is asked for by itself.
#[tokio::test]
async fn revisions_of_odd_names_are_asked_for_together_too() {
    let fake = filled().await;
    let couch = fake.couch();
    let long = |n: usize| format!("1-{n:0300}");
    let odd = |n: usize| format!("1-\"ü\\ {n}");
    let names: [&dyn Fn(usize) -> String; 3] = [&long, &odd, &|n| format!("9{n:030}-a")];
    let long_id = "ü".repeat(600);
    for id in ["b", &long_id] {
        for name in names {
            let revs: Vec<String> = (1..=200).map(name).collect();
            let wanted = revs.iter().map(|rev| (id, Some(rev.as_str())));
            couch
                .read_revisions(&db(), &wanted.collect::<Vec<_>>())
                .await
                .unwrap();
            let heard = fake.heard();
            assert!(heard.len() < 40, "{}: {}", revs[0], heard.len());
            for line in &heard {
                assert!(line.contains("open_revs="), "{line}");
                assert!(line.len() < 8000, "{}", line.len());
            }
        }
    }
}

#[tokio::test]
async fn a_write_names_its_revision_or_conflicts() {
    let couch = filled().await.couch();
    let rev = couch
        .put(&db(), &id("new"), &json(r#"{"x":1}"#))
        .await
        .unwrap();
    assert!(rev.generation() > 1, "{rev:?}");
    let outcome = couch.put(&db(), &id("a"), &json(r#"{"x":1}"#)).await;
    assert_eq!(outcome, Err(CouchError::Conflict));
}

#[tokio::test]
async fn a_password_is_the_users_if_couchdb_names_him() {
    let fake = filled().await;
    fake.user("alice", "secret", "[]");
    let couch = fake.couch();
    let alice = UserName::parse("alice").unwrap();
    let verify = async |name: &UserName, password: &str| {
        couch
            .verify_password(name, &Secret::new(password), "192.0.2.7".parse().unwrap())
            .await
    };
    assert_eq!(
        verify(&alice, "secret").await.unwrap().unwrap().name,
        "alice"
    );
    assert_eq!(
        fake.store.lock().unwrap().forwarded_for.as_deref(),
        Some("192.0.2.7")
    );
    assert_eq!(verify(&alice, "wrong").await, Ok(None));
    let colon = UserName::parse("ali:ce").unwrap();
    assert_eq!(verify(&colon, "secret").await, Ok(None));
    let answers = [
        (403, Err(CouchError::LockedOut)),
        (400, Ok(None)),
        (500, Err(CouchError::Status(500))),
    ];
    for (status, expected) in answers {
        fake.store.lock().unwrap().answer = Some((status, "{}".into()));
        assert_eq!(verify(&alice, "secret").await, expected);
    }
}

#[tokio::test]
async fn an_answer_about_somebody_else_proves_nothing() {
    let fake = Fake::start().await;
    let alice = UserName::parse("alice").unwrap();
    for context in [
        r#"{"name":null,"roles":[]}"#,
        r#"{"name":"bob","roles":[]}"#,
        "{}",
    ] {
        fake.store.lock().unwrap().answer = Some((200, format!(r#"{{"userCtx":{context}}}"#)));
        let peer = "192.0.2.7".parse().unwrap();
        let outcome = fake
            .couch()
            .verify_password(&alice, &Secret::new("x"), peer)
            .await;
        assert_eq!(outcome, Ok(None), "{context}");
    }
}

/// `proxy_use_secret` is off by CouchDB's default.
#[tokio::test]
async fn a_couchdb_that_believes_anybody_is_noticed() {
    let fake = Fake::start().await;
    for (name, open) in [
        (r#""couchwarden-impostor""#, true),
        ("null", false),
        (r#""warden""#, false),
    ] {
        let session = format!(r#"{{"userCtx":{{"name":{name},"roles":[]}}}}"#);
        fake.store.lock().unwrap().answer = Some((200, session));
        assert_eq!(fake.couch().believes_anybody().await, Ok(open), "{name}");
    }
    fake.store.lock().unwrap().answer = Some((401, "{}".to_owned()));
    assert_eq!(fake.couch().believes_anybody().await, Ok(false));
}

#[tokio::test]
async fn a_couchdb_with_virtual_hosts_is_noticed() {
    let fake = Fake::start().await;
    for (status, hosts, some) in [
        (
            200,
            r#"{"old.example:5984":"/notes/_design/app/_rewrite"}"#,
            true,
        ),
        (200, "{}", false),
        (200, r#"{"switched-off.example":""}"#, false),
        // What it does not say by default, and what is no CouchDB.
        (404, "{}", false),
    ] {
        fake.store.lock().unwrap().answer = Some((status, hosts.to_owned()));
        assert_eq!(fake.couch().has_virtual_hosts().await, Ok(some), "{hosts}");
    }
}

#[tokio::test]
async fn changes_are_told_as_they_happen() {
    let fake = filled().await;
    let couch = fake.couch();
    let start = couch.changes(&db(), "now", None).await.unwrap();
    assert_eq!((start.ids.len(), start.last_seq.as_str()), (0, "3"));
    let db = db();
    let wait = couch.changes(&db, &start.last_seq, Some(Duration::from_secs(5)));
    let write = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        fake.put("db", r#"{"_id":"new"}"#);
    };
    let (changes, ()) = tokio::join!(wait, write);
    assert_eq!(changes.unwrap().ids, ["new"]);
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_an_error() {
    let fake = filled().await;
    for answer in [
        "",
        "[]",
        r#"{"rows":[]}"#,
        r#"{"rows":[{"key":"b","error":"not_found"}]}"#,
        r#"{"rows":[{"key":"a"}]}"#,
        r#"{"rows":[{"key":"a","id":"a","value":{},"doc":null}],"rows":[]}"#,
    ] {
        fake.store.lock().unwrap().answer = Some((200, answer.into()));
        let outcome = fake.couch().read_many(&db(), &["a"]).await;
        assert!(
            matches!(outcome, Err(CouchError::Unreadable(_))),
            "{answer}"
        );
    }
    fake.store.lock().unwrap().answer = Some((401, "{}".into()));
    let error = fake.couch().read(&db(), &id("a")).await.unwrap_err();
    assert_eq!(Refusal::from(error).status(), 502);
}

#[test]
fn a_name_with_a_colon_is_no_account() {
    assert_eq!(basic("a:b", &Secret::new("c")), Err(CouchError::Name));
    assert!(basic("a", &Secret::new("c")).unwrap().is_sensitive());
}
