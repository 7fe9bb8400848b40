//! What may be asked of `_changes` and `_find`: functions over hidden fields are refused, rows are judged all the same.

use serde_json::json;

use crate::support::World;

const RULES: &str = r#"
[[rule]]
name = "red-team"
databases = ["@notes"]
callers = { roles = ["reader"] }
permit = ["read", "changes", "find"]
documents = { team = "red" }

[[rule]]
name = "red-designs"
databases = ["@notes"]
callers = { roles = ["reader"] }
permit = ["design"]
documents = { team = "red" }

[[rule]]
name = "blue-team"
databases = ["@notes"]
callers = { roles = ["writer"] }
permit = ["read", "changes", "find"]
hide = ["secret"]
"#;

async fn filled() -> World {
    let world = World::start(RULES).await;
    let notes = json!([
        { "_id": "a", "team": "red", "n": 1, "secret": "s-1" },
        { "_id": "b", "team": "blue", "n": 1, "secret": "s-2" },
        { "_id": "c", "team": "red", "n": 2, "secret": "s-3" },
        {
            "_id": "_design/notes", "team": "red",
            "filters": { "ones": "function (doc, req) { return doc.n == req.query.n; }" },
            "views": { "ones": { "map": "function (doc) { if (doc.n == 1) emit(doc._id, null); }" } },
        },
        { "_id": "_design/other", "team": "blue", "views": {} },
    ]);
    world.database("notes", notes).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_chooses_among_visible_rows() {
    let world = filled().await;
    let rita = world.as_("rita");
    for query in [
        "filter=notes/ones&n=1",
        "FILTER=notes/ones&n=1",
        "filter=_view&view=notes/ones",
        "filter=notes/ones&n=1&style=all_docs&Include_Docs=true",
    ] {
        for feed in ["normal", "longpoll"] {
            let path = format!("/@notes/_changes?feed={feed}&{query}");
            assert_eq!(rita.get(&path).await.ids(), "a", "{query}");
        }
    }
    let designs = rita.get("/@notes/_changes?filter=_design").await;
    assert_eq!(designs.ids(), "_design/notes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_does_not_see_hidden_fields_for_anybody() {
    let world = filled().await;
    let walt = world.as_("walt");
    for query in [
        "filter=notes/ones&n=1",
        "Filter=notes/ones&n=1",
        "filter=_view&view=notes/ones",
        "filter=none/none",
    ] {
        let asked = walt.get(&format!("/@notes/_changes?{query}")).await;
        asked.no(403, "forbidden");
    }
    let unknown = walt.get("/@notes/_changes?frob=1").await;
    assert_eq!(unknown.status, 400, "{:?}", unknown.body);
    for twice in [
        "since=0&SINCE=0",
        "since=0&last-event-id=0",
        "filter=_design&Filter=_doc_ids",
    ] {
        let twice = walt.get(&format!("/@notes/_changes?{twice}")).await;
        assert_eq!(twice.status, 400, "{:?}", twice.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn conflicts_that_a_list_names_are_judged_one_by_one() {
    let world = filled().await;
    let leaf = |team: &str, hash: &str| json!({ "_id": "split", "team": team, "n": 7, "_rev": format!("1-{}", hash.repeat(32)) });
    let leaves = [leaf("red", "c"), leaf("red", "b"), leaf("blue", "a")];
    let forced = json!({ "docs": leaves, "new_edits": false });
    world
        .backend()
        .post("/@notes/_bulk_docs", forced)
        .await
        .yes();
    let rita = world.as_("rita");
    let seen = json!([format!("1-{}", "b".repeat(32))]);
    let listed = rita
        .get("/@notes/_all_docs?key=%22split%22&include_docs=true&conflicts=true")
        .await
        .yes();
    assert_eq!(listed["rows"][0]["doc"]["_conflicts"], seen);
    let found = json!({ "selector": { "n": 7 }, "conflicts": true });
    let found = rita.post("/@notes/_find", found).await.yes();
    assert_eq!(found["docs"][0]["_conflicts"], seen);
    let one = rita.get("/@notes/split?conflicts=true").await.yes();
    assert_eq!(one["_conflicts"], seen);
    let feed = rita
        .get("/@notes/_changes?style=all_docs&filter=_doc_ids&doc_ids=%5B%22split%22%5D")
        .await
        .yes();
    assert_eq!(feed["results"][0]["changes"].as_array().unwrap().len(), 2);
}
