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

/// Reads as they are, writes under a condition.
const BY_KIND: &str = r#"
[[rule]]
name = "kinds"
databases = ["@kinds"]
callers = { names = ["$tom"] }
permit = ["read"]

[[rule]]
name = "kind-writers"
databases = ["@kinds"]
callers = { names = ["$tom"] }
permit = ["write"]
documents = { kind = 1 }
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

/// Which headers tell of what was written: as CouchDB, whatever its caller sees of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_tells_the_tag_that_a_read_would_and_where() {
    let rules = format!("{RULES}\n{BY_KIND}");
    let world = World::start(&rules).await;
    let json = json!([{ "_id": "a", "pin": 1 }]);
    world.database("notes", json).await;
    world
        .database("kinds", json!([{ "_id": "a", "kind": 1 }]))
        .await;
    for (who, db) in [("walt", "notes"), ("tom", "kinds"), ("ops", "notes")] {
        let client = world.as_(who);
        let path = |id: &str| format!("/@{db}/{id}");
        let tag = async |id: &str| {
            let read = client.get(&path(id)).await;
            read.header("etag").map(str::to_owned)
        };
        let told = |answer: &Answer| {
            assert!([200, 201].contains(&answer.status), "{who}: {answer:?}");
            let header = |name: &str| answer.header(name).map(str::to_owned);
            (header("etag"), header("location"))
        };
        let host = format!("https://localhost:{}", world.address.port());
        let at = |id: &str| Some(format!("{host}/{}/{id}", world.db(db)));
        let document = json!({ "kind": 1, "note": who });
        let id = format!("made-by-{who}");
        let made = client.put(&path(&id), document.clone()).await;
        assert_eq!(told(&made), (tag(&id).await, at(&id)), "{who}: PUT");
        // Which is what it is good for.
        let changed = document.to_string();
        let changed = if_match(&client, "PUT", &path(&id), &made, &changed).await;
        assert_eq!(told(&changed), (tag(&id).await, at(&id)), "{who}: PUT");
        let stale = if_match(&client, "PUT", &path(&id), &made, "{\"kind\":1}").await;
        assert_eq!(stale.status, 409, "{who}");

        let mut posted = document.clone();
        posted["_id"] = json!(format!("posted-by-{who}"));
        let posted = client.post(&format!("/@{db}"), posted).await;
        assert_eq!(
            told(&posted),
            (None, at(&format!("posted-by-{who}"))),
            "{who}"
        );

        let copied = [("destination", format!("copied-by-{who}"))];
        let copied = copied.each_ref().map(|(name, to)| (*name, to.as_str()));
        let to = copied[0].1;
        let copied = client.ask("COPY", &path(&id), &copied, "").await;
        assert_eq!(told(&copied), (tag(to).await, at(to)), "{who}: COPY");

        let boundary = "multipart/form-data; boundary=b";
        let referer = format!("{host}/_utils/");
        let kind = [("content-type", boundary), ("referer", &*referer)];
        let form =
            "--b\r\ncontent-disposition: form-data; name=\"_doc\"\r\n\r\n{\"kind\":1}\r\n--b--\r\n";
        let form_id = format!("form-by-{who}");
        let form = client.ask("POST", &path(&form_id), &kind, form).await;
        assert_eq!(told(&form), (tag(&form_id).await, None), "{who}: form");

        let file = format!("{id}/file.txt");
        let attached = if_match(&client, "PUT", &path(&file), &changed, "[1]").await;
        assert_eq!(told(&attached), (None, at(&file)), "{who}: attachment");
        let rev = attached.json()["rev"].as_str().unwrap().to_owned();
        let removed = format!("{}?rev={rev}", path(&file));
        let removed = client.delete(&removed).await;
        assert_eq!(told(&removed), (None, None), "{who}: attachment");

        let rev = removed.json()["rev"].as_str().unwrap().to_owned();
        let deleted = client.delete(&format!("{}?rev={rev}", path(&id))).await;
        let (tag, place) = told(&deleted);
        let rev = deleted.json()["rev"].as_str().unwrap().to_owned();
        assert!(tag.is_some_and(|tag| tag.contains(&rev)), "{who}: DELETE");
        assert_eq!(place, None, "{who}: DELETE");
    }
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
