//! Documents and fields, wherever they can be read from: what a rule hides is nowhere, and the rest is as stored.

use serde_json::{Value, json};

use crate::support::World;

const RULES: &str = r#"
[[rule]]
name = "red-team"
databases = ["@notes"]
callers = { roles = ["reader"] }
permit = ["read", "changes", "find"]
hide = ["secret", "deep.*.key"]
[rule.documents]
team = "red"
"#;

pub(crate) fn notes() -> Value {
    json!([
        { "_id": "a", "team": "red", "n": 1, "secret": "s-1", "deep": { "x": { "key": "s-k", "open": 1 } }, "text": "Zo\u{eb}", "zero": 1.0 },
        { "_id": "b", "team": "blue", "n": 2, "secret": "s-2" },
        { "_id": "c", "team": "red", "n": 3, "secret": "s-3" },
        { "_id": "d", "n": 4, "secret": "s-4" },
        { "_id": "e", "team": "red", "n": 5, "secret": { "nested": "s-5" } },
        { "_id": "f", "team": "blue", "n": 6 },
    ])
}

async fn filled() -> World {
    let world = World::start(RULES).await;
    world.database("notes", notes()).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_comes_without_its_hidden_fields() {
    let world = filled().await;
    let rita = world.as_("rita");
    let whole = world.backend().get("/@notes/a").await;
    let seen = rita.get("/@notes/a").await;
    let mut expected = whole.yes();
    expected.as_object_mut().unwrap().remove("secret");
    expected["deep"]["x"] = json!({ "open": 1 });
    assert_eq!(seen.yes(), expected);
    // What is shown stays byte for byte.
    for part in ["\"zero\":1", "\"text\":"] {
        let at = |text: &str| {
            text.split(part)
                .nth(1)
                .unwrap()
                .split([',', '}'])
                .next()
                .unwrap()
                .to_owned()
        };
        assert_eq!(at(seen.text()), at(whole.text()));
    }
    let head = rita.ask("HEAD", "/@notes/a", &[], "").await;
    assert_eq!(
        (head.status, head.header("etag")),
        (200, seen.header("etag"))
    );
    assert!(seen.header("cache-control").unwrap().starts_with("private"));
    let tag = seen.header("etag").unwrap();
    assert_ne!(Some(tag), whole.header("etag"));
    assert_eq!(
        rita.ask("GET", "/@notes/a", &[("if-none-match", tag)], "")
            .await
            .status,
        304
    );
    assert_eq!(
        rita.ask(
            "GET",
            "/@notes/a",
            &[("if-none-match", whole.header("etag").unwrap())],
            ""
        )
        .await
        .status,
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_hidden_looks_like_what_is_absent() {
    let world = filled().await;
    let (rita, tom, nobody) = (world.as_("rita"), world.as_("tom"), world.anonymous());
    for rest in [
        "",
        "?rev=1-abc",
        "?revs=true",
        "?open_revs=all",
        "?conflicts=true",
        "?attachments=true",
        "/file.txt",
        "?meta=true",
    ] {
        for method in ["GET", "HEAD"] {
            let json = [("accept", "application/json")];
            let hidden = rita
                .ask(method, &format!("/@notes/b{rest}"), &json, "")
                .await;
            let absent = rita
                .ask(method, &format!("/@notes/none{rest}"), &json, "")
                .await;
            assert_eq!(hidden.seen(), absent.seen(), "{method} {rest}");
        }
    }
    // A database in which he may do nothing is as one that is not there.
    for path in [
        "",
        "/a",
        "/_all_docs",
        "/_changes",
        "/_design/x/_view/y",
        "/_local/x",
        "/_security",
    ] {
        let (hidden, absent) = (
            tom.get(&format!("/@notes{path}")).await,
            tom.get(&format!("/@nothing{path}")).await,
        );
        assert_eq!(hidden.seen(), absent.seen(), "{path}");
        assert_eq!(hidden.status, 404, "{path}");
        let (hidden, absent) = (
            nobody.get(&format!("/@notes{path}")).await,
            nobody.get(&format!("/@nothing{path}")).await,
        );
        assert_eq!(hidden.seen(), absent.seen(), "{path}");
        hidden.no(401, "unauthorized");
    }
    assert_eq!(tom.get("/_all_dbs").await.yes(), json!([]));
    assert_eq!(
        rita.get("/_all_dbs").await.yes(),
        json!([world.db("notes")])
    );
    rita.get("/@notes/_security").await.no(403, "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_revision_is_judged_by_itself() {
    let world = filled().await;
    let (rita, backend) = (world.as_("rita"), world.backend());
    let old = backend
        .put("/@notes/moved", json!({ "team": "blue", "n": 1 }))
        .await
        .yes()["rev"]
        .as_str()
        .unwrap()
        .to_owned();
    let new = backend
        .put(
            "/@notes/moved",
            json!({ "_rev": old, "team": "red", "n": 2 }),
        )
        .await
        .yes()["rev"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(rita.get("/@notes/moved").await.yes()["n"], 2);
    assert_eq!(
        rita.get(&format!("/@notes/moved?rev={new}")).await.yes()["n"],
        2
    );
    assert_eq!(
        rita.get(&format!("/@notes/moved?rev={old}")).await.status,
        404
    );
    // A branch of the other team beside ours.
    let branch = json!({ "new_edits": false, "docs": [{ "_id": "moved", "_rev": "2-0a", "_revisions": { "start": 2, "ids": ["0a", &old[2..]] }, "team": "blue", "secret": "s" }] });
    backend.post("/@notes/_bulk_docs", branch).await.yes();
    let json = [("accept", "application/json")];
    let leaves = rita
        .ask("GET", "/@notes/moved?open_revs=all", &json, "")
        .await
        .yes();
    let revs: Vec<_> = leaves
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|leaf| leaf["ok"]["_rev"].as_str())
        .collect();
    assert_eq!(revs, [new]);
    let told = rita
        .ask(
            "GET",
            "/@notes/moved?conflicts=true&revs_info=true",
            &json,
            "",
        )
        .await;
    assert!(!told.text().contains("2-0a"), "{}", told.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_of_documents_hold_what_is_visible() {
    let world = filled().await;
    let rita = world.as_("rita");
    for (query, ids) in [
        ("", "a c e"),
        ("?limit=2", "a c"),
        ("?skip=1", "c e"),
        ("?skip=1&limit=1", "c"),
        ("?limit=0", ""),
        ("?descending=true", "e c a"),
        ("?descending=true&limit=1&skip=1", "c"),
        ("?startkey=%22b%22", "c e"),
        ("?startkey=%22b%22&limit=1", "c"),
        ("?start_key=%22b%22&end_key=%22d%22", "c"),
        ("?endkey=%22e%22&inclusive_end=false", "a c"),
        ("?key=%22c%22", "c"),
        ("?key=%22b%22", ""),
        ("?include_docs=true&limit=2", "a c"),
        ("?INCLUDE_DOCS=true", "400"),
        ("?limit=1&limit=9", "400"),
        ("?nonsense=1", "400"),
    ] {
        let answer = rita.get(&format!("/@notes/_all_docs{query}")).await;
        if ids == "400" {
            assert_eq!(answer.status, 400, "{query}: {:?}", answer.body);
            continue;
        }
        assert_eq!(answer.ids(), ids, "{query}");
        let told = answer.json();
        assert!(
            told["total_rows"].is_null() && told["offset"].is_null(),
            "{query}: {told}"
        );
        assert!(!answer.text().contains("s-"), "{query}: {}", answer.text());
        assert_eq!(
            answer.text().contains("\"doc\":"),
            query.contains("include_docs"),
            "{query}"
        );
    }
    let by_post = rita
        .post(
            "/@notes/_all_docs",
            json!({ "limit": 1, "skip": 1, "include_docs": true }),
        )
        .await;
    assert_eq!(by_post.ids(), "c");
    assert_eq!(by_post.column("doc")[0]["n"], 3);
    assert!(!by_post.text().contains("s-"));
    // Design documents need an action of their own.
    rita.get("/@notes/_design_docs").await.no(403, "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_hidden_documents_are_answered_as_absent_ones() {
    let world = filled().await;
    let rita = world.as_("rita");
    let answer = rita
        .post(
            "/@notes/_all_docs",
            json!({ "keys": ["c", "b", "none", "a"] }),
        )
        .await;
    let rows = answer.yes()["rows"].clone();
    assert_eq!((&rows[0]["id"], &rows[3]["id"]), (&json!("c"), &json!("a")));
    assert_eq!(rows[1], json!({ "key": "b", "error": "not_found" }));
    assert_eq!(rows[2], json!({ "key": "none", "error": "not_found" }));
    let hidden = rita
        .post("/@notes/_all_docs", json!({ "keys": ["b"] }))
        .await;
    let absent = rita
        .post("/@notes/_all_docs", json!({ "keys": ["x"] }))
        .await;
    assert_eq!(hidden.text().replace("\"b\"", "\"x\""), absent.text());
    let queries =
        json!({ "queries": [{ "keys": ["a", "b"] }, { "limit": 1, "include_docs": true }] });
    let several = rita.post("/@notes/_all_docs/queries", queries).await;
    // Either it is judged query by query, or it is refused; the hidden document is not in it.
    assert!(
        !several.text().contains("s-") && !several.text().contains("blue"),
        "{}",
        several.text()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bulk_get_leaves_hidden_rows_out() {
    let world = filled().await;
    let rita = world.as_("rita");
    let both = |id: &str| json!({ "docs": [{ "id": "a" }, { "id": id }, { "id": "c" }] });
    for query in ["", "?revs=true", "?revs=true&latest=true&attachments=true"] {
        let path = format!("/@notes/_bulk_get{query}");
        let answer = rita
            .ask(
                "POST",
                &path,
                &[
                    ("accept", "application/json"),
                    ("content-type", "application/json"),
                ],
                both("b").to_string(),
            )
            .await;
        let told = answer.yes();
        let good: Vec<&Value> = told["results"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|row| !row["docs"][0]["ok"].is_null())
            .map(|row| &row["id"])
            .collect();
        assert_eq!(good, ["a", "c"], "{told}");
        assert!(!answer.text().contains("s-"), "{}", answer.text());
        let absent = rita
            .ask(
                "POST",
                &path,
                &[
                    ("accept", "application/json"),
                    ("content-type", "application/json"),
                ],
                both("x").to_string(),
            )
            .await;
        assert_eq!(
            answer.text().replace("\"b\"", "\"x\""),
            absent.text(),
            "{query}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attachments_belong_to_their_document() {
    let world = filled().await;
    let (rita, backend) = (world.as_("rita"), world.backend());
    for id in ["a", "b"] {
        let rev = backend.get(&format!("/@notes/{id}")).await.yes()["_rev"]
            .as_str()
            .unwrap()
            .to_owned();
        let path = format!("/@notes/{id}/file.txt?rev={rev}");
        backend
            .ask("PUT", &path, &[("content-type", "text/plain")], "attached")
            .await
            .yes();
    }
    let mine = rita.get("/@notes/a/file.txt").await;
    assert_eq!((mine.status, mine.text()), (200, "attached"));
    let (hidden, absent) = (
        rita.get("/@notes/b/file.txt").await,
        rita.get("/@notes/none/file.txt").await,
    );
    assert_eq!(hidden.seen(), absent.seen());
    let inline = rita
        .ask(
            "GET",
            "/@notes/a?attachments=true",
            &[("accept", "application/json")],
            "",
        )
        .await;
    assert_eq!(
        inline.yes()["_attachments"]["file.txt"]["data"],
        "YXR0YWNoZWQ="
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn find_returns_visible_documents_cut() {
    let world = filled().await;
    let rita = world.as_("rita");
    let find = |query: Value| async { rita.post("/@notes/_find", query).await };
    let all = find(json!({ "selector": { "n": { "$gt": 0 } } })).await;
    assert_eq!(all.ids(), "a c e");
    // The bookmark is sealed, and may hold any letters.
    let documents = all.yes()["docs"].to_string();
    assert!(!documents.contains("s-"), "{documents}");
    assert_eq!(find(json!({ "selector": {} })).await.ids(), "a c e");
    assert_eq!(
        find(json!({ "selector": { "deep.x.open": 1 } }))
            .await
            .ids(),
        "a"
    );
    // The field that the rule decides by need not be among those asked for.
    let cut = find(json!({ "selector": { "n": { "$gte": 1 } }, "fields": ["n"] })).await;
    assert_eq!(cut.column("n"), [1, 3, 5]);
    assert_eq!(cut.yes()["docs"][0], json!({ "n": 1 }));
    // Page by page through the hidden ones.
    let (mut bookmark, mut seen) = (Value::Null, Vec::new());
    loop {
        let mut query = json!({ "selector": { "n": { "$gt": 0 } }, "limit": 1 });
        if !bookmark.is_null() {
            query["bookmark"] = bookmark;
        }
        let page = find(query).await.yes();
        let Some(document) = page["docs"].get(0) else {
            break;
        };
        seen.push(document["_id"].clone());
        bookmark = page["bookmark"].clone();
        assert!(seen.len() < 10, "the pages don't end");
    }
    assert_eq!(seen, ["a", "c", "e"]);
    assert_eq!(
        find(json!({ "selector": { "n": { "$gt": 0 } }, "skip": 1, "limit": 1 }))
            .await
            .ids(),
        "c"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_read_may_not_be_queried() {
    let world = filled().await;
    let rita = world.as_("rita");
    for query in [
        json!({ "selector": { "secret": "s-1" } }),
        json!({ "selector": { "secret.nested": "s-5" } }),
        json!({ "selector": { "secret": { "nested": "s-5" } } }),
        json!({ "selector": { "$or": [{ "n": 1 }, { "$not": { "secret": { "$regex": "^s" } } }] } }),
        json!({ "selector": { "deep.x.key": { "$exists": true } } }),
        json!({ "selector": { "deep": { "x": { "key": "s-k" } } } }),
        json!({ "selector": { "deep": { "$gt": null } } }),
        json!({ "selector": { "deep": { "$keyMapMatch": { "$eq": "x" } } } }),
        json!({ "selector": { "n": 1 }, "sort": ["secret"] }),
        json!({ "selector": { "n": 1 }, "sort": [{ "deep.x.key": "desc" }] }),
        json!({ "selector": { "n": 1 }, "fields": ["secret"] }),
    ] {
        let answer = rita.post("/@notes/_find", query.clone()).await;
        assert_eq!(answer.status, 403, "{query}: {:?}", answer.body);
        assert!(!answer.text().contains("s-1"), "{query}");
    }
    let changes = rita
        .post(
            "/@notes/_changes?filter=_selector",
            json!({ "selector": { "secret": "s-1" } }),
        )
        .await;
    changes.no(403, "forbidden");
    for (path, body) in [
        ("_index", json!({ "index": { "fields": ["secret"] } })),
        ("_find", json!({ "selector": { "n": 1 }, "nonsense": 1 })),
    ] {
        let answer = rita.post(&format!("/@notes/{path}"), body).await;
        assert!(
            [400, 403].contains(&answer.status),
            "{path}: {}",
            answer.status
        );
    }
    assert_eq!(rita.get("/@notes/_index").await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn showing_shows_only_that_and_rules_add_up() {
    let world = World::start(
        r#"
[[rule]]
name = "names-for-all"
databases = ["@people"]
callers = { everyone = true }
permit = ["read"]
show = ["name", "address.city", "phones.0"]

[[rule]]
name = "own-fully"
databases = ["@people"]
callers = { names = ["$rita"] }
permit = ["read"]
documents = { owner = "{user}" }

[[rule]]
name = "never"
databases = ["@people"]
callers = { everyone = true }
hide = ["**.pin"]

[[rule]]
name = "not-walt"
databases = ["@people"]
callers = { roles = ["writer"] }
forbid = ["read"]
"#,
    )
    .await;
    let person = |owner: &str| json!({ "_id": owner, "owner": owner, "name": "N", "address": { "city": "C", "street": "S" }, "phones": ["1", "2"], "card": { "pin": 1, "no": 2 } });
    world
        .database(
            "people",
            json!([person(&world.name("rita")), person("other")]),
        )
        .await;
    let without = |answer: &Value| {
        let mut answer = answer.clone();
        answer.as_object_mut().unwrap().remove("_rev");
        answer
    };
    let own = world
        .as_("rita")
        .get(&format!("/@people/{}", world.name("rita")))
        .await
        .yes();
    assert_eq!(own["card"], json!({ "no": 2 }));
    assert_eq!(own["address"]["street"], "S");
    for client in [world.as_("rita"), world.anonymous(), world.as_("tom")] {
        let other = client.get("/@people/other").await.yes();
        assert_eq!(
            without(&other),
            json!({ "_id": "other", "name": "N", "address": { "city": "C" }, "phones": ["1"] })
        );
    }
    assert!([403, 404].contains(&world.as_("walt").get("/@people/other").await.status));
}
