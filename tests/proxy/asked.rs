//! What may be asked of `_changes`, `_find` and views: functions over hidden fields are refused, rows are judged all the
//! same, and CouchDB is asked for no more than that.

use serde_json::json;

use crate::support::{Fake, World, plain};

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
            "filters": {
                "ones": "function (doc, req) { return doc.n == req.query.n; }",
                "trusting": "function (doc, req) { return doc.n && req.query.roles == '_admin'; }",
            },
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

/// Some filter functions believe what the query says of the caller; rules don't.
#[tokio::test(flavor = "multi_thread")]
async fn no_parameter_says_who_asks() {
    let world = filled().await;
    let rita = world.as_("rita");
    for query in ["roles=_admin", "roles=_admin&name=ops&team=blue"] {
        let path = format!("/@notes/_changes?filter=notes/trusting&{query}");
        let mut ids: Vec<_> = rita.get(&path).await.column("id");
        ids.sort_by_key(ToString::to_string);
        assert_eq!(ids, ["a", "c"], "{query}");
        world.as_("tom").get(&path).await.no(404, "not_found");
        world.anonymous().get(&path).await.no(401, "unauthorized");
    }
    let unfiltered = rita.get("/@notes/_changes?roles=_admin").await;
    unfiltered.no(400, "bad_request");
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

const PINNED: &str = r#"
[[rule]]
name = "own-calls"
databases = ["calls"]
callers = { roles = ["number:{number}"] }
permit = ["view:calls/number"]
keys = "{number}"

[[rule]]
name = "found"
databases = ["calls"]
callers = { roles = ["reader"] }
permit = ["find"]
hide = ["secret"]
"#;

/// What CouchDB is asked for when `client` asks for this, in short.
async fn asked(world: &World, fake: &Fake, who: &str, path: &str) -> String {
    let before = fake.seen().len();
    let answer = world.as_(who).get(&format!("/calls/{path}")).await;
    assert_eq!(answer.ids(), "1", "{path}");
    for counted in ["total_rows", "offset", "update_seq"] {
        assert!(!answer.text().contains(counted), "{}", answer.text());
    }
    let asked = fake.seen().split_off(before);
    let targets = asked
        .iter()
        .map(|seen| seen.target.replace("%22%2B4930100%22", "PIN"));
    targets.collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn couchdb_is_asked_for_the_pin_and_for_nothing_that_counts() {
    let rows = "{\"total_rows\":9,\"offset\":3,\"update_seq\":\"9-x\",\"rows\":[\n{\"id\":\"1\",\"key\":\"+4930100\",\"value\":1},\n{\"id\":\"2\",\"key\":\"+4930\u{ad}100\",\"value\":2}\n]}\n";
    // Of the two ranges of a pin the second holds the arrays that begin with it.
    let none = "{\"total_rows\":9,\"offset\":3,\"rows\":[\n]}\n";
    let fake = Fake::start(move |seen| match seen.target.contains("startkey=%5B") {
        true => plain(200, none),
        false => plain(200, rows),
    })
    .await;
    let world = World::before(&fake, PINNED, "").await;
    let view = "_design/calls/_view/number?reduce=false";
    let partition = asked(&world, &fake, "sue", &format!("_partition/p/{view}")).await;
    for part in partition.split(' ') {
        assert!(
            part.starts_with("/calls/_partition/p/_design/calls/_view/number?"),
            "{part}"
        );
        assert!(
            part.contains("startkey=") && part.contains("endkey="),
            "{part}"
        );
    }
    let counted = asked(
        &world,
        &fake,
        "sue",
        &format!("{view}&update_seq=true&stale=ok"),
    )
    .await;
    assert!(
        !counted.contains("update_seq") && counted.contains("stale=ok"),
        "{counted}"
    );
    let start = "startkey=%22%2B4930100%22&startkey_docid=0";
    let from = asked(&world, &fake, "sue", &format!("{view}&{start}")).await;
    assert!(from.contains("startkey_docid=0"), "{from}");
    // Without a key to begin at, an id says nothing.
    let id = asked(&world, &fake, "sue", &format!("{view}&startkey_docid=0")).await;
    assert!(!id.contains("startkey_docid"), "{id}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_a_query_string_names_is_kept() {
    let docs = "{\"docs\":[\n{\"_id\":\"p:1\",\"secret\":\"s-1\"}\n],\n\"bookmark\": \"nil\"}\n";
    let fake = Fake::start(move |_| plain(200, docs)).await;
    let world = World::before(&fake, PINNED, "").await;
    let rita = world.as_("rita");
    let query = json!({ "selector": { "n": 1 } });
    let found = rita.post("/calls/_find?partition=p", query.clone()).await;
    assert_eq!(found.yes()["docs"], json!([{ "_id": "p:1" }]));
    assert_eq!(fake.seen()[0].target, "/calls/_find?partition=p");
    let unknown = rita.post("/calls/_find?frob=1", query).await;
    assert_eq!((unknown.status, fake.seen().len()), (400, 1));
}
