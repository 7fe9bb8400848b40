//! The tag of a document as it was seen, in `If-Match` and `If-None-Match`: what any client of HTTP does.

use serde_json::json;

use crate::support::{Answer, Client, World};

const RULES: &str = r#"
[[rule]]
name = "writers"
databases = ["@notes"]
callers = { names = ["$walt", "$rita"] }
permit = ["replicate"]

[[rule]]
name = "hidden"
databases = ["@notes"]
callers = { names = ["$walt"] }
hide = ["pin"]

[[rule]]
name = "more-hidden"
databases = ["@notes"]
callers = { names = ["$rita"] }
hide = ["pin", "note"]
"#;

async fn if_match(client: &Client, method: &str, path: &str, tag: &Answer, body: &str) -> Answer {
    let headers = [
        ("if-match", tag.header("etag").unwrap()),
        ("content-type", "application/json"),
        ("destination", "b"),
    ];
    let sent = headers.get(..if method == "COPY" { 3 } else { 2 }).unwrap();
    client.ask(method, path, sent, body.to_owned()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tag_of_a_document_is_taken_back() {
    let world = World::start(RULES).await;
    let stored = json!([{ "_id": "a", "pin": 1, "note": "old" }]);
    world.database("notes", stored).await;
    let (walt, rita) = (world.as_("walt"), world.as_("rita"));
    let (new, newer) = (r#"{"note":"new"}"#, r#"{"note":"newer"}"#);
    let tag = walt.get("/@notes/a").await;
    // Who sees something else can't mean this one.
    let foreign = rita.get("/@notes/a").await;
    assert_ne!(tag.header("etag"), foreign.header("etag"));
    let refused = if_match(&walt, "PUT", "/@notes/a", &foreign, new).await;
    refused.no(409, "conflict");
    if_match(&walt, "PUT", "/@notes/a", &tag, new).await.yes();
    // It has been used up.
    let refused = if_match(&walt, "PUT", "/@notes/a", &tag, newer).await;
    refused.no(409, "conflict");
    let tag = walt.get("/@notes/a").await;
    let attached = if_match(&walt, "PUT", "/@notes/a/file", &tag, "[1]").await;
    attached.yes();
    let tag = walt.get("/@notes/a").await;
    let copied = if_match(&walt, "COPY", "/@notes/a", &tag, "").await;
    copied.yes();
    if_match(&walt, "DELETE", "/@notes/a", &tag, "").await.yes();
    assert_eq!(walt.get("/@notes/a").await.status, 404);
    let copy = world.backend().get("/@notes/b").await.yes();
    assert_eq!(copy["note"], "new", "{copy}");
}

/// A browser asks with the tag that it has by itself: by one of the revision it would never see a new conflict.
#[tokio::test(flavor = "multi_thread")]
async fn what_changes_without_the_revision_has_no_tag() {
    let world = World::start(RULES).await;
    let leaf = |hash: &str| json!({ "_id": "a", "_rev": format!("1-{}", hash.repeat(32)) });
    let force = async |leaf| {
        let forced = json!({ "docs": [leaf], "new_edits": false });
        let backend = world.backend();
        backend.post("/@notes/_bulk_docs", forced).await.yes();
    };
    world.database("notes", json!([])).await;
    force(leaf("b")).await;
    let walt = world.as_("walt");
    let tag = walt
        .get("/@notes/a")
        .await
        .header("etag")
        .unwrap()
        .to_owned();
    let again = async |method: &str, query: &str| {
        let path = format!("/@notes/a{query}");
        let condition = [("if-none-match", tag.as_str())];
        walt.ask(method, &path, &condition, "").await
    };
    let alone = again("GET", "?conflicts=true").await.yes();
    assert_eq!(alone.get("_conflicts"), None, "{alone}");
    force(leaf("a")).await;
    let split = again("GET", "?conflicts=true").await.yes();
    assert_eq!(split["_rev"], leaf("b")["_rev"]);
    assert_eq!(split["_conflicts"], json!([leaf("a")["_rev"]]));
    for name in [
        "conflicts",
        "deleted_conflicts",
        "revs_info",
        "meta",
        "local_seq",
    ] {
        for method in ["GET", "HEAD"] {
            let answer = again(method, &format!("?{name}=true")).await;
            let told = (answer.status, answer.header("etag"));
            assert_eq!(told, (200, None), "{method} {name}");
        }
    }
    for query in ["", "?conflicts=false", "?revs=true"] {
        assert_eq!(again("GET", query).await.status, 304, "{query}");
    }
}
