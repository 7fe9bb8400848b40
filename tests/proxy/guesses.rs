//! Who can guess learns nothing by it: conditions, old indexes, the fields that rules decide by, reserved members.

use serde_json::{Value, json};

use crate::support::{Client, World};

const RULES: &str = r#"
[[rule]]
name = "red-team"
databases = ["@notes"]
callers = { roles = ["reader", "writer"] }
permit = ["replicate", "find", "view:app/*"]
hide = ["secret"]
documents = { team = "red" }

[[rule]]
name = "members"
databases = ["@boards"]
callers = { roles = ["reader", "writer"] }
permit = ["replicate", "find"]
hide = ["acl"]
documents = { acl = { "$elemMatch" = { "$eq" = "{user}" } } }
"#;

async fn filled() -> World {
    let world = World::start(RULES).await;
    let map = "function (doc) { emit(doc.n, { team: doc.team, text: doc.text }); }";
    let file = json!({ "note": { "content_type": "text/x-note", "data": "aGlkZGVu" } });
    let documents = json!([
        { "_id": "mine", "team": "red", "n": 1, "text": "mine", "secret": "s" },
        { "_id": "hidden", "team": "blue", "n": 2, "text": "theirs", "_attachments": file },
        { "_id": "moved", "team": "red", "n": 3, "text": "before" },
        { "_id": "_design/app", "views": { "by_n": { "map": map } } },
    ]);
    world.database("notes", documents).await;
    world
}

async fn conditional(client: &Client, path: &str, tag: &str) -> [(u16, String, Option<String>); 2] {
    let mut told = Vec::new();
    for method in ["GET", "HEAD"] {
        let condition = [("if-none-match", tag)];
        let answer = client.ask(method, path, &condition, "").await;
        let (status, body) = answer.seen();
        told.push((status, body, answer.header("etag").map(str::to_owned)));
    }
    told.try_into().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_confirms_no_guess() {
    let world = filled().await;
    let (rita, backend) = (world.as_("rita"), world.backend());
    for rest in ["", "/note", "?attachments=true", "?revs=true"] {
        let own = backend.get(&format!("/@notes/hidden{rest}")).await;
        let whole = backend
            .get("/@notes/hidden")
            .await
            .header("etag")
            .map(str::to_owned);
        let tags = [own.header("etag"), whole.as_deref(), Some("*")];
        for tag in tags.into_iter().flatten() {
            for tag in [tag.to_owned(), format!("W/{tag}"), format!("\"x\", {tag}")] {
                let hidden = conditional(&rita, &format!("/@notes/hidden{rest}"), &tag).await;
                let absent = conditional(&rita, &format!("/@notes/absent{rest}"), &tag).await;
                assert_eq!(hidden, absent, "{rest} {tag}");
                assert_eq!(hidden[0].0, 404, "{rest} {tag}");
            }
        }
    }
    // CouchDB's tags of whole answers, hidden rows and fields included, are nothing to him.
    for path in [
        "/@notes/mine",
        "/@notes/_all_docs",
        "/@notes/_design/app/_view/by_n",
        "/@notes/_changes",
        "/@notes",
    ] {
        let Some(tag) = backend.get(path).await.header("etag").map(str::to_owned) else {
            continue;
        };
        let told = conditional(&rita, path, &tag).await;
        assert_eq!((told[0].0, told[1].0), (200, 200), "{path}");
        assert_ne!(told[0].2.as_deref(), Some(tag.as_str()), "{path}");
    }
    // A condition on a write is no better a question.
    let tag = backend
        .get("/@notes/hidden")
        .await
        .header("etag")
        .unwrap()
        .to_owned();
    for method in ["PUT", "DELETE"] {
        let body = if method == "PUT" {
            r#"{"team":"red"}"#
        } else {
            ""
        };
        let mut told = Vec::new();
        for id in ["hidden", "absent"] {
            let walt = world.as_("walt");
            let condition = [
                ("if-match", tag.as_str()),
                ("content-type", "application/json"),
            ];
            let answer = walt
                .ask(method, &format!("/@notes/{id}"), &condition, body)
                .await;
            told.push(answer.seen());
        }
        assert_eq!(told[0], told[1], "{method}");
        assert!(told[0].0 >= 400, "{method}");
    }
}

/// The index knows what a document was; whether its row may be seen is decided by what it is.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_index_shows_nothing_that_is_hidden_by_now() {
    let world = filled().await;
    let (rita, backend) = (world.as_("rita"), world.backend());
    let view = "/@notes/_design/app/_view/by_n";
    let queries = [
        "stale=ok",
        "stale=update_after",
        "update=false",
        "update=lazy",
        "stable=true&update=false",
    ];
    assert_eq!(rita.get(view).await.ids(), "mine moved");
    for (round, query) in queries.iter().enumerate() {
        for (team, shown) in [("blue", "mine"), ("red", "mine moved")] {
            let mut document = backend.get("/@notes/moved").await.yes();
            document["team"] = team.into();
            document["text"] = format!("{team} {round}").into();
            backend.put("/@notes/moved", document).await.yes();
            let answer = rita.get(&format!("{view}?{query}")).await;
            assert_eq!(answer.ids(), shown, "{query}");
            assert!(
                !answer.text().contains("blue"),
                "{query}: {}",
                answer.text()
            );
            let body = json!({ "queries": [{ "update": "lazy" }] });
            let several = rita.post(&format!("{view}/queries"), body).await;
            assert!(!several.text().contains("blue"), "{}", several.text());
        }
        let find = json!({ "selector": { "n": { "$gt": 0 } }, "update": false, "stable": true });
        assert_eq!(rita.post("/@notes/_find", find).await.ids(), "mine moved");
    }
}

/// A list of those who may see a document names others than the caller.
#[tokio::test(flavor = "multi_thread")]
async fn the_field_that_a_rule_decides_by_may_be_hidden() {
    let world = filled().await;
    let (rita, walt) = (world.as_("rita"), world.as_("walt"));
    let acl = json!(["somebody-else", rita.name(), walt.name()]);
    let others = json!(["somebody-else"]);
    let documents = json!([
        { "_id": "ours", "acl": acl, "n": 1 }, { "_id": "theirs", "acl": others, "n": 2 }, { "_id": "gone", "acl": acl, "n": 3 },
    ]);
    world.database("boards", documents).await;
    let gone = walt.get("/@boards/gone").await.yes()["_rev"].clone();
    let end = format!("/@boards/gone?rev={}", gone.as_str().unwrap());
    walt.delete(&end).await.yes();
    // He sees by it what is his, its end included, and never the field itself.
    for path in [
        "/@boards/ours",
        "/@boards/theirs",
        "/@boards/_all_docs?include_docs=true",
        "/@boards/_changes?include_docs=true&style=all_docs",
        "/@boards/gone?open_revs=all",
    ] {
        let told = rita.get(path).await;
        assert!(!told.text().contains("acl"), "{path}: {}", told.text());
        assert!(!told.text().contains("somebody"), "{path}: {}", told.text());
        assert!(
            !told.text().contains(walt.name()),
            "{path}: {}",
            told.text()
        );
    }
    assert_eq!(rita.get("/@boards/_changes").await.ids(), "ours gone");
    for selector in [json!({ "acl": others }), json!({ "acl": { "$size": 3 } })] {
        let asked = rita
            .post("/@boards/_find", json!({ "selector": selector }))
            .await;
        asked.no(403, "forbidden");
    }
    // Nor do refusals name it, and a writer changes it neither by sending it nor by leaving it out.
    let mut mine = walt.get("/@boards/ours").await.yes();
    mine["n"] = 10.into();
    walt.put("/@boards/ours", mine.clone()).await.yes();
    let stored = world.backend().get("/@boards/ours").await.yes();
    assert_eq!((&stored["acl"], &stored["n"]), (&acl, &json!(10)));
    mine["_rev"] = stored["_rev"].clone();
    mine["acl"] = json!([walt.name()]);
    let refused = walt.put("/@boards/ours", mine).await;
    refused.no(403, "forbidden");
    assert!(!refused.text().contains("somebody"), "{}", refused.text());
}

/// CouchDB keeps some of these as they are, and a later one may decide by them.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_with_an_underscore_is_nobodys_to_write() {
    let world = filled().await;
    let (walt, backend) = (world.as_("walt"), world.backend());
    let stored = backend.get("/@notes/mine").await.yes();
    let (rev, before) = (stored["_rev"].clone(), stored.clone());
    for name in [
        "_access",
        "_removed",
        "_replication_id",
        "_replication_state",
        "_purged",
    ] {
        let with = |mut document: Value| {
            document["team"] = "red".into();
            document[name] = json!(["walt"]);
            document
        };
        let json = [("content-type", "application/json")];
        let tries = [
            ("PUT", "/@notes/new", with(json!({}))),
            ("PUT", "/@notes/mine", with(json!({ "_rev": rev }))),
            ("POST", "/@notes", with(json!({}))),
            (
                "PUT",
                "/@notes/new?new_edits=false",
                with(json!({ "_rev": "1-0123456789abcdef0123456789abcdef" })),
            ),
            (
                "PUT",
                "/@notes/mine",
                with(json!({ "_rev": rev, "_deleted": true })),
            ),
        ];
        for (method, path, body) in tries {
            let refused = walt.ask(method, path, &json, body.to_string()).await;
            refused.no(403, "forbidden");
        }
        // In a batch its row is refused and no other.
        for forced in [false, true] {
            let good = format!("good{name}{forced}");
            let made = json!({ "_rev": "1-0123456789abcdef0123456789abcdef" });
            let mut docs = vec![
                json!({ "_id": good, "team": "red" }),
                with(json!({ "_id": "bad" })),
            ];
            if forced {
                docs.iter_mut()
                    .for_each(|doc| doc["_rev"] = made["_rev"].clone());
            }
            let batch = json!({ "docs": docs, "new_edits": !forced });
            let rows = walt.post("/@notes/_bulk_docs", batch).await.yes();
            let row = rows.as_array().unwrap().last().unwrap();
            assert_eq!(
                (&row["id"], &row["error"]),
                (&json!("bad"), &json!("forbidden")),
                "{rows}"
            );
            assert_eq!(walt.get(&format!("/@notes/{good}")).await.status, 200);
        }
    }
    assert_eq!(backend.get("/@notes/mine").await.yes(), before);
    assert_eq!(backend.get("/@notes/new").await.status, 404);
    assert_eq!(backend.get("/@notes/bad").await.status, 404);
}
