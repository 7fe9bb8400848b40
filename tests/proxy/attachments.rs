//! Attachments under a lens, whatever way they are written: judged with their document, and those that a writer
//! does not see survive.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::{Client, Pouch, World};

pub(crate) const RULES: &str = r#"
[[rule]]
name = "red-writers"
databases = ["@notes"]
callers = { roles = ["writer"] }
permit = ["replicate"]
hide = ["secret", "_attachments.hidden"]
documents = { team = "red" }

[[rule]]
name = "photographer"
databases = ["@notes"]
callers = { names = ["$tom"] }
permit = ["read", "update"]
change = ["title", "_attachments.photo"]
documents = { team = "red" }

[[rule]]
name = "dropbox"
databases = ["@notes"]
callers = { names = ["$sue"] }
permit = ["create"]
hide = ["_attachments.hidden"]
"#;

pub(crate) fn documents() -> Value {
    let file = |text: &str| json!({ "content_type": "image/x", "data": STANDARD.encode(text) });
    json!([
        { "_id": "a", "team": "red", "secret": "s-a",
          "_attachments": { "photo": file("photo of a"), "hidden": file("hidden of a"), "text/long name.txt": file("long") } },
        { "_id": "c", "team": "red", "secret": "s-c" },
        { "_id": "b", "team": "blue", "_attachments": { "photo": file("photo of b") } },
    ])
}

pub(crate) async fn filled() -> World {
    let world = World::start(RULES).await;
    world.database("notes", documents()).await;
    world
}

/// What is stored, the attachments as text.
pub(crate) async fn stored(world: &World, id: &str) -> Value {
    stored_in(world, "notes", id).await
}

pub(crate) async fn stored_in(world: &World, db: &str, id: &str) -> Value {
    let path = format!("/@{db}/{id}?attachments=true");
    let json = [("accept", "application/json")];
    let mut document = world.backend().ask("GET", &path, &json, "").await.json();
    if let Some(attachments) = document["_attachments"].as_object_mut() {
        for one in attachments.values_mut() {
            let bytes = STANDARD.decode(one["data"].as_str().unwrap()).unwrap();
            *one = String::from_utf8_lossy(&bytes).into_owned().into();
        }
    }
    document
}

pub(crate) async fn rev(world: &World, id: &str) -> String {
    stored(world, id).await["_rev"].as_str().unwrap().to_owned()
}

pub(crate) async fn put(who: &Client, path: &str, body: &str) -> crate::support::Answer {
    who.ask(
        "PUT",
        path,
        &[("content-type", "text/x-note")],
        body.to_owned(),
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attachment_is_written_as_an_update_of_its_document() {
    let world = filled().await;
    let walt = world.as_("walt");
    let path = format!("/@notes/a/photo?rev={}", rev(&world, "a").await);
    let done = put(&walt, &path, "another photo").await;
    assert_eq!(done.status, 201, "{done:?}");
    let done = done.yes();
    assert_eq!((&done["ok"], &done["id"]), (&json!(true), &json!("a")));
    let now = stored(&world, "a").await;
    assert_eq!(
        (&now["_rev"], &now["secret"]),
        (&done["rev"], &json!("s-a"))
    );
    let all =
        json!({ "photo": "another photo", "hidden": "hidden of a", "text/long name.txt": "long" });
    assert_eq!(now["_attachments"], all);
    let seen = walt.get("/@notes/a/photo").await;
    assert_eq!(
        (seen.text(), seen.header("content-type")),
        ("another photo", Some("text/x-note"))
    );
    // The revision is named by the header as well.
    let tag = format!("\"{}\"", rev(&world, "a").await);
    let head = [("if-match", tag.as_str())];
    let gone = walt
        .ask("DELETE", "/@notes/a/text/long%20name.txt", &head, "")
        .await;
    assert_eq!(gone.status, 200, "{gone:?}");
    let all = json!({ "photo": "another photo", "hidden": "hidden of a" });
    assert_eq!(stored(&world, "a").await["_attachments"], all);
    // Stale revisions, and none.
    for answer in [
        put(&walt, &path, "late").await,
        put(&walt, "/@notes/a/photo", "nothing named").await,
        walt.delete("/@notes/a/photo").await,
    ] {
        answer.no(409, "conflict");
    }
    assert_eq!(stored(&world, "a").await["_attachments"], all);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attachment_makes_a_document_for_those_who_may_create_it() {
    let world = filled().await;
    put(&world.as_("walt"), "/@notes/new/photo", "x")
        .await
        .no(403, "forbidden");
    put(&world.as_("tom"), "/@notes/new/photo", "x")
        .await
        .no(403, "forbidden");
    assert_eq!(stored(&world, "new").await["error"], "not_found");
    let sue = world.as_("sue");
    assert_eq!(
        put(&sue, "/@notes/new/photo", "of the new").await.status,
        201
    );
    assert_eq!(
        stored(&world, "new").await["_attachments"],
        json!({ "photo": "of the new" })
    );
    put(&sue, "/@notes/newer/hidden", "x")
        .await
        .no(403, "forbidden");
    put(&sue, "/@notes/a/more", "x").await.no(409, "conflict");
    let path = format!("/@notes/new/photo?rev={}", rev(&world, "new").await);
    put(&sue, &path, "x").await.no(404, "not_found");
    assert_eq!(
        stored(&world, "new").await["_attachments"],
        json!({ "photo": "of the new" })
    );
    put(&world.anonymous(), "/@notes/x/photo", "x")
        .await
        .no(401, "unauthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_attachment_is_neither_replaced_nor_removed_nor_noticed() {
    let world = filled().await;
    let walt = world.as_("walt");
    let (a, b, c) = (
        rev(&world, "a").await,
        rev(&world, "b").await,
        rev(&world, "c").await,
    );
    // `a` has one, `c` has none.
    let (with, without) = (
        put(&walt, &format!("/@notes/a/hidden?rev={a}"), "mine").await,
        put(&walt, &format!("/@notes/c/hidden?rev={c}"), "mine").await,
    );
    with.no(403, "forbidden");
    assert_eq!(with.seen(), without.seen());
    let (with, without) = (
        walt.delete(&format!("/@notes/a/hidden?rev={a}")).await,
        walt.delete(&format!("/@notes/c/hidden?rev={c}")).await,
    );
    with.no(404, "not_found");
    assert_eq!(with.seen(), without.seen());
    assert_eq!(walt.delete("/@notes/a/hidden").await.seen(), without.seen());
    // A hidden document is as one that is not there.
    for (hidden, absent) in [
        (
            put(&walt, &format!("/@notes/b/x?rev={b}"), "x").await,
            put(&walt, "/@notes/none/x?rev=1-abc", "x").await,
        ),
        (
            walt.delete(&format!("/@notes/b/photo?rev={b}")).await,
            walt.delete("/@notes/none/photo?rev=1-abc").await,
        ),
        (
            walt.delete("/@notes/b/photo").await,
            walt.delete("/@notes/none/photo").await,
        ),
        (
            put(&walt, "/@notes/b/x", "x").await,
            put(&walt, "/@notes/none/x", "x").await,
        ),
    ] {
        assert!(hidden.status >= 400, "{hidden:?}");
        assert_eq!(hidden.seen(), absent.seen());
    }
    // Nor can one be sent in a document.
    for sent in [json!({ "stub": true }), json!({ "data": "" })] {
        for (id, rev) in [("a", &a), ("c", &c)] {
            let document =
                json!({ "_rev": rev, "team": "red", "_attachments": { "hidden": sent } });
            walt.put(&format!("/@notes/{id}"), document)
                .await
                .no(403, "forbidden");
        }
    }
    for id in ["a", "b", "c"] {
        assert!(
            stored(&world, id).await["_rev"]
                .as_str()
                .unwrap()
                .starts_with("1-"),
            "{id}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_attachments_that_may_change_do() {
    let world = filled().await;
    let tom = world.as_("tom");
    let at = |name: &str, rev: &str| format!("/@notes/a/{name}?rev={rev}");
    let first = rev(&world, "a").await;
    put(&tom, &at("other", &first), "x")
        .await
        .no(403, "forbidden");
    put(&tom, &at("hidden", &first), "x")
        .await
        .no(403, "forbidden");
    tom.delete(&at("hidden", &first)).await.no(403, "forbidden");
    assert_eq!(put(&tom, &at("photo", &first), "by tom").await.status, 201);
    assert_eq!(
        tom.delete(&at("photo", &rev(&world, "a").await))
            .await
            .status,
        200
    );
    assert_eq!(
        put(&tom, &at("photo", &rev(&world, "a").await), "again")
            .await
            .status,
        201
    );
    // A document that comes with the bytes of all that was there changes nothing of it.
    let json = [("accept", "application/json")];
    let mut whole = tom
        .ask("GET", "/@notes/a?attachments=true", &json, "")
        .await
        .yes();
    whole["title"] = "T".into();
    tom.put("/@notes/a", whole).await.yes();
    let now = stored(&world, "a").await;
    assert_eq!(
        (&now["title"], &now["_attachments"]["hidden"]),
        (&json!("T"), &json!("hidden of a"))
    );
    let mut whole = tom
        .ask("GET", "/@notes/a?attachments=true", &json, "")
        .await
        .yes();
    whole["_attachments"]["hidden"]["data"] = STANDARD.encode("hidden of b").into();
    tom.put("/@notes/a", whole).await.no(403, "forbidden");
    let mut left_out = tom.get("/@notes/a").await.yes();
    left_out["_attachments"]
        .as_object_mut()
        .unwrap()
        .remove("hidden");
    tom.put("/@notes/a", left_out).await.no(403, "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn attachments_that_a_writer_does_not_see_survive() {
    let world = filled().await;
    let walt = world.as_("walt");
    let all =
        json!({ "photo": "photo of a", "hidden": "hidden of a", "text/long name.txt": "long" });
    // He saw stubs of the others.
    let mut mine = walt.get("/@notes/a").await.yes();
    assert!(mine["_attachments"]["hidden"].is_null(), "{mine}");
    mine["n"] = 1.into();
    walt.put("/@notes/a", mine.clone()).await.yes();
    assert_eq!(stored(&world, "a").await["_attachments"], all);
    // In a batch, without any that he saw.
    let bulk =
        json!({ "docs": [{ "_id": "a", "_rev": rev(&world, "a").await, "team": "red", "n": 2 }] });
    let row = walt.post("/@notes/_bulk_docs", bulk).await.yes();
    assert_eq!(row[0]["ok"], true, "{row}");
    let now = stored(&world, "a").await;
    assert_eq!(
        (&now["n"], &now["_attachments"]),
        (&json!(2), &json!({ "hidden": "hidden of a" }))
    );
    // Replicated, on top of the leaf: as a stub.
    let leaf = rev(&world, "a").await;
    let replicated = |rev: &str, ids: Value, n: u32| {
        let start: u64 = rev.split('-').next().unwrap().parse().unwrap();
        json!({ "new_edits": false, "docs": [{ "_id": "a", "_rev": rev, "_revisions": { "start": start, "ids": ids }, "team": "red", "n": n }] })
    };
    let tail = leaf.split_once('-').unwrap().1;
    walt.post(
        "/@notes/_bulk_docs",
        replicated("4-aa", json!(["aa", tail]), 3),
    )
    .await
    .yes();
    let now = stored(&world, "a").await;
    assert_eq!(
        (&now["n"], &now["_attachments"]),
        (&json!(3), &json!({ "hidden": "hidden of a" }))
    );
    // On top of something that is no leaf: CouchDB could not find the stub, so the bytes are sent.
    let rows = walt
        .post(
            "/@notes/_bulk_docs",
            replicated("9-bb", json!(["bb", "cc"]), 4),
        )
        .await
        .yes();
    assert_eq!(rows, json!([]));
    let now = stored(&world, "a").await;
    assert_eq!(
        (
            &now["_rev"],
            &now["n"],
            &now["_attachments"],
            &now["secret"]
        ),
        (
            &json!("9-bb"),
            &json!(4),
            &json!({ "hidden": "hidden of a" }),
            &json!("s-a")
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stub_of_nothing_refuses_its_row_and_no_other() {
    let world = filled().await;
    let walt = world.as_("walt");
    let stub = json!({ "none": { "stub": true } });
    for new_edits in [true, false] {
        let docs = json!([
            { "_id": "c", "_rev": rev(&world, "c").await, "team": "red", "_attachments": stub },
            { "_id": "fresh", "_rev": (!new_edits).then_some("1-ab"), "team": "red", "_attachments": stub },
            { "_id": "good", "_rev": (!new_edits).then_some("1-ab"), "team": "red" },
        ]);
        let docs: Vec<Value> = docs
            .as_array()
            .unwrap()
            .iter()
            .cloned()
            .map(|mut doc| {
                doc.as_object_mut()
                    .unwrap()
                    .retain(|_, value| !value.is_null());
                doc
            })
            .collect();
        let rows = walt
            .post(
                "/@notes/_bulk_docs",
                json!({ "docs": docs, "new_edits": new_edits }),
            )
            .await
            .yes();
        let denied = rows
            .as_array()
            .unwrap()
            .iter()
            .filter(|row| row["error"] == "forbidden");
        assert_eq!(denied.count(), 2, "{rows}");
        assert_eq!(stored(&world, "good").await["team"], "red");
    }
    let single = json!({ "_rev": rev(&world, "c").await, "team": "red", "_attachments": stub });
    walt.put("/@notes/c", single.clone())
        .await
        .no(412, "missing_stub");
    world
        .backend()
        .put("/@notes/c", single)
        .await
        .no(412, "missing_stub");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_lacks_an_attachment_destroys_none() {
    let world = filled().await;
    let mut pouch = Pouch::start(&world);
    let walt = world.as_("walt");
    pouch.ok(&walt, json!({ "op": "open", "db": "mine" }));
    pouch.ok(
        &walt,
        json!({ "op": "replicate", "source": "@notes", "target": "mine" }),
    );
    assert_eq!(pouch.ids(&walt, "mine"), "a c");
    let mut mine = pouch.ok(&walt, json!({ "op": "get", "db": "mine", "id": "a" }));
    mine["n"] = 7.into();
    mine["_attachments"]["added"] =
        json!({ "content_type": "text/plain", "data": STANDARD.encode("new") });
    pouch.ok(&walt, json!({ "op": "put", "db": "mine", "doc": mine }));
    let outcome = pouch.ok(
        &walt,
        json!({ "op": "replicate", "source": "mine", "target": "@notes" }),
    );
    assert_eq!(
        (&outcome["denied"], &outcome["result"]["docs_written"]),
        (&json!([]), &json!(1)),
        "{outcome}"
    );
    let now = stored(&world, "a").await;
    let all = json!({ "photo": "photo of a", "hidden": "hidden of a", "text/long name.txt": "long", "added": "new" });
    assert_eq!(
        (&now["n"], &now["secret"], &now["_attachments"]),
        (&json!(7), &json!("s-a"), &all)
    );
}

const DEEP: &str = r#"
[[rule]]
name = "deep"
databases = ["@notes"]
callers = { roles = ["reader"] }
permit = ["replicate"]
hide = ["**.password"]

[[rule]]
name = "no-bytes"
databases = ["@notes"]
callers = { roles = ["writer"] }
permit = ["replicate"]
hide = ["**.data"]

[[rule]]
name = "no-digests"
databases = ["@notes"]
callers = { names = ["$tom"] }
permit = ["replicate"]
hide = ["_attachments.*.digest"]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_hidden_at_any_depth_hides_attachments_only_where_it_is_of_them() {
    let world = World::start(DEEP).await;
    world.database("notes", documents()).await;
    let parts = [("accept", "multipart/mixed")];
    let copy = [("destination", "copied")];
    let rita = world.as_("rita");
    assert_eq!(rita.get("/@notes/a/photo").await.text(), "photo of a");
    let head = rita.ask("HEAD", "/@notes/a/photo", &[], "").await;
    assert_eq!(head.status, 200);
    let related = rita
        .ask(
            "GET",
            "/@notes/a?attachments=true",
            &[("accept", "multipart/related")],
            "",
        )
        .await;
    assert!(related.text().contains("photo of a"), "{related:?}");
    let leaves = rita
        .ask(
            "GET",
            "/@notes/a?open_revs=all&attachments=true",
            &parts,
            "",
        )
        .await;
    assert!(leaves.text().contains("photo of a"), "{leaves:?}");
    rita.ask("COPY", "/@notes/a", &copy, "").await.yes();
    let copied = stored(&world, "copied").await;
    assert_eq!(
        copied["_attachments"],
        stored(&world, "a").await["_attachments"]
    );
    world
        .backend()
        .delete(&format!(
            "/@notes/copied?rev={}",
            rev(&world, "copied").await
        ))
        .await
        .yes();
    for name in ["walt", "tom"] {
        let who = world.as_(name);
        who.get("/@notes/a/photo").await.no(404, "not_found");
        let leaves = who
            .ask(
                "GET",
                "/@notes/a?open_revs=all&attachments=true",
                &parts,
                "",
            )
            .await;
        assert!(!leaves.text().contains("photo of a"), "{name} {leaves:?}");
    }
}

/// CouchDB says what it does not take before it has the bytes, and hangs up on the rest.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_comes_before_the_end_of_the_bytes_arrives() {
    let rules = "[[rule]]\nname = \"open\"\ndatabases = [\"@open\"]\ncallers = { names = [\"$sam\"] }\n\
                 permit = [\"read\", \"write\"]\n";
    let world = World::start(rules).await;
    world.database("open", json!([{ "_id": "a" }])).await;
    let bytes = "x".repeat(100_000);
    let mut told = std::collections::BTreeMap::new();
    for _ in 0..100 {
        for name in ["sam", "ops"] {
            let answer = put(&world.as_(name), "/@open/a/file", &bytes).await;
            *told.entry(answer.status).or_insert(0) += 1;
        }
    }
    assert_eq!(told, [(409, 200)].into());
}

/// Names that an administrator has stored past couchwarden. PouchDB asks for each attachment by its name, and replicates
/// nothing more where it is not given one.
#[tokio::test(flavor = "multi_thread")]
async fn an_attachment_that_can_not_be_asked_for_stops_no_device_and_survives_its_edits() {
    let file = |text: &str| json!({ "content_type": "image/x", "data": STANDARD.encode(text) });
    let odd = [
        "", ".", "..", "../x", "a//b", "a/./b", "/a", "a/", "a\u{0}b",
    ];
    let mut files = json!({ "photo": file("photo"), "hidden": file("hidden") });
    for name in odd {
        files[name] = file("odd");
    }
    let world = World::start(RULES).await;
    let documents = json!([
        { "_id": "odd", "team": "red", "secret": "s", "_attachments": files },
        { "_id": "other", "team": "red" },
    ]);
    world.database("notes", documents).await;
    let before = stored(&world, "odd").await["_attachments"].clone();
    assert_eq!(before.as_object().unwrap().len(), 11);
    let walt = world.as_("walt");
    let mut pouch = Pouch::start(&world);
    pouch.ok(&walt, json!({ "op": "open", "db": "mine" }));
    let sync = |source, target| json!({ "op": "replicate", "source": source, "target": target });
    pouch.ok(&walt, sync("@notes", "mine"));
    assert_eq!(pouch.ids(&walt, "mine"), "odd other");
    for path in [
        "/@notes/odd",
        "/@notes/odd?attachments=true",
        "/@notes/odd?open_revs=all&attachments=true",
        "/@notes/_all_docs?include_docs=true&attachments=true&key=%22odd%22",
        "/@notes/_changes?include_docs=true&attachments=true",
    ] {
        let headers = [("accept", "application/json")];
        let answer = walt.ask("GET", path, &headers, "").await.yes();
        let (mut text, shown) = (answer.to_string(), STANDARD.encode("photo"));
        assert!(text.contains("photo"), "{text}");
        assert_eq!(
            text.contains(&shown),
            path.contains("attachments="),
            "{path}"
        );
        text = text.replace("\"photo\":", "");
        assert!(
            !text.contains("content_type\":\"image/x\"},"),
            "{path}: {text}"
        );
        for name in odd {
            let member = format!("{}:{{\"", json!(name));
            assert!(!text.contains(&member), "{path}: {text}");
        }
    }
    let mut mine = pouch.ok(&walt, json!({ "op": "get", "db": "mine", "id": "odd" }));
    mine["n"] = 1.into();
    pouch.ok(&walt, json!({ "op": "put", "db": "mine", "doc": mine }));
    let pushed = pouch.ok(&walt, sync("mine", "@notes"));
    assert_eq!(pushed["denied"], json!([]));
    assert_eq!(stored(&world, "odd").await["_attachments"], before);
    let mut read = walt.get("/@notes/odd").await.yes();
    read["n"] = 2.into();
    walt.put("/@notes/odd", read).await.yes();
    let rev = rev(&world, "odd").await;
    let now = stored(&world, "odd").await;
    assert_eq!((&now["n"], &now["_attachments"]), (&json!(2), &before));
    let path = format!("/@notes/odd/photo?rev={rev}");
    put(&walt, &path, "new").await.yes();
    let mut after = before.clone();
    after["photo"] = "new".into();
    assert_eq!(stored(&world, "odd").await["_attachments"], after);
    // Nobody makes one by writing what they do not see.
    let mut read = walt.get("/@notes/odd").await.yes();
    read["_attachments"]["."] = file("mine");
    walt.put("/@notes/odd", read).await.no(403, "forbidden");
    // The document goes with all that it has.
    let path = format!("/@notes/odd?rev={}", self::rev(&world, "odd").await);
    walt.delete(&path).await.yes();
}
