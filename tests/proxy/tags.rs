//! `If-Match` with the tag of a document as it was seen: what any client of HTTP does.

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
