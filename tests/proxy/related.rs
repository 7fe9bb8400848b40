//! Writes in parts: a document with its attachments behind it, and forms.

use serde_json::{Value, json};

use crate::attachments::{filled, rev, stored};
use crate::support::{Answer, Client, World};

/// The body that CouchDB's replicator would send.
fn related(document: &impl std::fmt::Display, parts: &[&str]) -> String {
    let mut body = format!("--limit\r\nContent-Type: application/json\r\n\r\n{document}");
    for part in parts {
        body.push_str(&format!(
            "\r\n--limit\r\nContent-Disposition: attachment; filename=\"x\"\r\nContent-Length: {}\r\n\r\n{part}",
            part.len()
        ));
    }
    body.push_str("\r\n--limit--");
    body
}

async fn put(who: &Client, path: &str, body: String) -> Answer {
    let kind = [("content-type", "multipart/related; boundary=\"limit\"")];
    who.ask("PUT", path, &kind, body).await
}

fn follows(length: usize) -> Value {
    json!({ "follows": true, "content_type": "image/x", "length": length })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_comes_with_its_attachments_behind_it() {
    let world = filled().await;
    let walt = world.as_("walt");
    // In another order than they are stored in, one kept as a stub, one hidden from him.
    let document = format!(
        r#"{{"_rev":"{}","team":"red","_attachments":{{"z":{},"photo":{},"text/long name.txt":{{"stub":true}}}}}}"#,
        rev(&world, "a").await,
        follows(4),
        follows(6)
    );
    let done = put(&walt, "/@notes/a", related(&document, &["zzzz", "photos"])).await;
    assert_eq!(done.status, 201, "{done:?}");
    let now = stored(&world, "a").await;
    let all = json!({ "z": "zzzz", "photo": "photos", "text/long name.txt": "long", "hidden": "hidden of a" });
    assert_eq!(
        (&now["_attachments"], &now["secret"]),
        (&all, &json!("s-a"))
    );
    // As the replicator sends it.
    let leaf = rev(&world, "a").await;
    let tail = leaf.split_once('-').unwrap().1;
    let document = json!({ "_id": "a", "_rev": "3-ab", "_revisions": { "start": 3, "ids": ["ab", tail] }, "team": "red",
        "_attachments": { "photo": follows(5), "z": { "stub": true } } });
    let done = put(
        &walt,
        "/@notes/a?new_edits=false",
        related(&document, &["third"]),
    )
    .await;
    assert_eq!(done.status, 201, "{done:?}");
    let now = stored(&world, "a").await;
    let all = json!({ "z": "zzzz", "photo": "third", "hidden": "hidden of a" });
    assert_eq!((&now["_rev"], &now["_attachments"]), (&json!("3-ab"), &all));
    // A new document, and one of another team.
    let document = json!({ "team": "red", "_attachments": { "photo": follows(3) } });
    assert_eq!(
        put(&walt, "/@notes/new", related(&document, &["new"]))
            .await
            .status,
        201
    );
    assert_eq!(stored(&world, "new").await["_attachments"]["photo"], "new");
    let document = json!({ "team": "blue", "_attachments": { "photo": follows(3) } });
    put(&walt, "/@notes/blue", related(&document, &["new"]))
        .await
        .no(403, "forbidden");
    let document = json!({ "team": "red", "_attachments": { "hidden": follows(3) } });
    put(&walt, "/@notes/newer", related(&document, &["new"]))
        .await
        .no(403, "forbidden");
    let document =
        json!({ "_rev": "1-ab", "_revisions": { "start": 1, "ids": ["ab"] }, "team": "red" });
    put(&walt, "/@notes/b?new_edits=false", related(&document, &[]))
        .await
        .no(403, "forbidden");
    assert_eq!(stored(&world, "b").await["team"], "blue");
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_are_not_those_announced_store_nothing() {
    let world = filled().await;
    let walt = world.as_("walt");
    let document = json!({ "team": "red", "_attachments": { "x": follows(3), "y": follows(2) } });
    for (case, parts) in [
        ("too few", vec!["xxx"]),
        ("too many", vec!["xxx", "yy", "z"]),
        ("too short", vec!["xx", "yy"]),
        ("too long", vec!["xxxx", "y"]),
        ("in another order", vec!["yy", "xxx"]),
    ] {
        let answer = put(&walt, "/@notes/new", related(&document, &parts)).await;
        answer.no(400, "bad_request");
        assert_eq!(stored(&world, "new").await["error"], "not_found", "{case}");
    }
    let whole = related(&document, &["xxx", "yy"]);
    for (case, body) in [
        ("no end", whole.trim_end_matches("--").to_owned()),
        ("a preamble", format!("hello\r\n{whole}")),
        ("no document", "--limit--".to_owned()),
        ("another boundary", whole.replace("limit", "other")),
        (
            "two readings",
            whole.replace("\"team\":\"red\"", "\"team\":\"blue\",\"team\":\"red\""),
        ),
    ] {
        let answer = put(&walt, "/@notes/new", body).await;
        assert_eq!(answer.status, 400, "{case}: {answer:?}");
        assert_eq!(stored(&world, "new").await["error"], "not_found", "{case}");
    }
    let text = whole.replace("application/json", "text/plain");
    assert_eq!(put(&walt, "/@notes/new", text).await.status, 415);
    let unmeasured = json!({ "team": "red", "_attachments": { "x": { "follows": true } } });
    assert_eq!(
        put(&walt, "/@notes/new", related(&unmeasured, &["x"]))
            .await
            .status,
        400
    );
    let alone = json!({ "team": "red", "_attachments": { "x": follows(3) } });
    walt.put("/@notes/new", alone).await.no(403, "forbidden");
    assert_eq!(stored(&world, "new").await["error"], "not_found");
    assert_eq!(put(&walt, "/@notes/new", whole).await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_and_is_stored_already_changes_nothing() {
    let world = filled().await;
    let tom = world.as_("tom");
    let stub = tom.get("/@notes/a").await.yes()["_attachments"].clone();
    let again = |name: &str| {
        let mut one = stub[name].clone();
        one.as_object_mut().unwrap().remove("stub");
        one["follows"] = true.into();
        one
    };
    // `hidden` may not change, and does not: the digest says so. `photo` may.
    let document = json!({ "_rev": rev(&world, "a").await, "team": "red", "secret": "s-a", "title": "T",
        "_attachments": { "hidden": again("hidden"), "photo": follows(3), "text/long name.txt": { "stub": true } } });
    let done = put(
        &tom,
        "/@notes/a",
        related(&document, &["hidden of a", "new"]),
    )
    .await;
    assert_eq!(done.status, 201, "{done:?}");
    let all = json!({ "photo": "new", "hidden": "hidden of a", "text/long name.txt": "long" });
    assert_eq!(stored(&world, "a").await["_attachments"], all);
    // Nothing is left to follow.
    let document = json!({ "_rev": rev(&world, "a").await, "team": "red", "secret": "s-a", "title": "U",
        "_attachments": { "hidden": again("hidden"), "photo": { "stub": true }, "text/long name.txt": { "stub": true } } });
    let done = put(&tom, "/@notes/a", related(&document, &["hidden of a"])).await;
    assert_eq!(done.status, 201, "{done:?}");
    let now = stored(&world, "a").await;
    assert_eq!((&now["title"], &now["_attachments"]), (&json!("U"), &all));
    let document = json!({ "_rev": rev(&world, "a").await, "team": "red", "secret": "s-a", "title": "U",
        "_attachments": { "hidden": follows(3), "photo": { "stub": true }, "text/long name.txt": { "stub": true } } });
    put(&tom, "/@notes/a", related(&document, &["new"]))
        .await
        .no(403, "forbidden");
}

/// A form as a browser sends it: name, file name, content type, data.
fn form(fields: &[(&str, Option<&str>, &str)]) -> String {
    let mut body = String::new();
    for (name, file, data) in fields {
        let file = file.map(|file| format!("; filename=\"{file}\"\r\nContent-Type: image/x"));
        let file = file.unwrap_or_default();
        body.push_str(&format!(
            "--limit\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n{data}\r\n"
        ));
    }
    body + "--limit--\r\n"
}

async fn upload(
    world: &World,
    who: &Client,
    id: &str,
    fields: &[(&str, Option<&str>, &str)],
) -> Answer {
    let page = format!("https://localhost:{}/_utils/", world.address.port());
    let headers = [
        ("content-type", "multipart/form-data; boundary=limit"),
        ("referer", page.as_str()),
    ];
    who.ask("POST", &format!("/@notes/{id}"), &headers, form(fields))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_is_judged_like_any_write() {
    let world = filled().await;
    let walt = world.as_("walt");
    let first = rev(&world, "a").await;
    let file = ("_attachments", Some("photo"), "by form");
    let done = upload(&world, &walt, "a", &[("_rev", None, &first), file]).await;
    assert_eq!(done.status, 201, "{done:?}");
    let now = stored(&world, "a").await;
    let all = json!({ "photo": "by form", "hidden": "hidden of a", "text/long name.txt": "long" });
    assert_eq!(
        (&now["_attachments"], &now["secret"], &now["team"]),
        (&all, &json!("s-a"), &json!("red"))
    );
    upload(&world, &walt, "a", &[("_rev", None, &first), file])
        .await
        .no(409, "conflict");
    let now = rev(&world, "a").await;
    let hidden = ("_attachments", Some("hidden"), "x");
    upload(&world, &walt, "a", &[("_rev", None, &now), hidden])
        .await
        .no(403, "forbidden");
    let document = json!({ "team": "red", "n": 1 }).to_string();
    let done = upload(&world, &walt, "formed", &[("_doc", None, &document), file]).await;
    assert_eq!(done.status, 201, "{done:?}");
    assert_eq!(
        stored(&world, "formed").await["_attachments"],
        json!({ "photo": "by form" })
    );
    let document = json!({ "team": "blue" }).to_string();
    upload(&world, &walt, "blue", &[("_doc", None, &document)])
        .await
        .no(403, "forbidden");
    let b = rev(&world, "b").await;
    let (hidden, absent) = (
        upload(&world, &walt, "b", &[("_rev", None, &b), file]).await,
        upload(&world, &walt, "none", &[("_rev", None, "1-abc"), file]).await,
    );
    hidden.no(404, "not_found");
    assert_eq!(hidden.seen(), absent.seen());
    assert_eq!(upload(&world, &walt, "x", &[file]).await.status, 400);
    assert_eq!(
        upload(&world, &walt, "x", &[("else", None, "x")])
            .await
            .status,
        400
    );
    // As in CouchDB, only from a page of this host.
    let headers = [
        ("content-type", "multipart/form-data; boundary=limit"),
        ("referer", "https://elsewhere.example/"),
    ];
    walt.ask(
        "POST",
        "/@notes/a",
        &headers,
        form(&[("_rev", None, &now), file]),
    )
    .await
    .no(400, "bad_request");
}

/// CouchDB knows writes that it does not check by `PUT` and `_bulk_docs` only.
#[tokio::test(flavor = "multi_thread")]
async fn neither_a_form_nor_a_delete_goes_without_the_check() {
    let world = filled().await;
    let walt = world.as_("walt");
    let document = json!({ "_rev": rev(&world, "a").await, "team": "red", "n": 99 });
    let document = document.to_string();
    let id = "a?new_edits=false";
    let done = upload(&world, &walt, id, &[("_doc", None, &document)]).await;
    assert_eq!(done.status, 201, "{done:?}");
    let now = stored(&world, "a").await;
    assert_eq!((&now["n"], &now["_rev"]), (&json!(99), &done.json()["rev"]));
    let path = format!("/@notes/a?rev={}&new_edits=false", rev(&world, "a").await);
    walt.delete(&path).await.yes();
    assert_eq!(stored(&world, "a").await["error"], "not_found");
}
