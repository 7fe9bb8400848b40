//! Several queries in one request, and the lists of a caller's own checkpoints.

use serde_json::{Value, json};

use crate::support::{Client, World};

const RULES: &str = r#"
[[rule]]
name = "red-team"
databases = ["@notes"]
callers = { roles = ["reader"] }
permit = ["read", "changes", "design"]
hide = ["secret"]
[rule.documents]
team = "red"

[[rule]]
name = "own-notes"
databases = ["@notes"]
callers = { roles = ["number:{number}"] }
permit = ["view:notes/by_number"]
keys = "{number}"
reduce = true

[[rule]]
name = "own-checkpoints"
databases = ["@notes"]
callers = { roles = ["writer"] }
permit = ["changes"]
"#;

async fn filled() -> World {
    let world = World::start(RULES).await;
    let notes: Vec<Value> = (0..12)
        .map(|n| {
            let team = if n % 3 == 0 { "blue" } else { "red" };
            let number = if n % 2 == 0 { "+4930100" } else { "+4930200" };
            json!({ "_id": format!("note:{n:02}"), "team": team, "number": number, "n": n, "secret": format!("s-{n}") })
        })
        .collect();
    world.database("notes", notes.into()).await;
    let design = json!([
        { "_id": "_design/notes", "team": "red", "views": { "by_number": { "map": "function (doc) { if (doc.number) emit(doc.number, doc.n); }", "reduce": "_sum" } } },
        { "_id": "_design/other", "team": "blue", "secret": "s-d" },
    ]);
    world.fill("notes", design).await;
    world
}

/// Every inner answer is what the single endpoint answers to the same query.
#[track_caller]
fn check_results(answer: &Value, singles: &[Value]) {
    let results = answer["results"].as_array().unwrap();
    assert_eq!(results.len(), singles.len(), "{answer}");
    for (result, single) in results.iter().zip(singles) {
        assert_eq!(result, single);
    }
}

async fn one_by_one(client: &Client, path: &str, queries: &[Value]) -> Vec<Value> {
    let mut singles = Vec::new();
    for query in queries {
        singles.push(client.post(path, query.clone()).await.yes());
    }
    singles
}

#[tokio::test(flavor = "multi_thread")]
async fn each_query_of_a_list_is_judged_like_a_single_one() {
    let world = filled().await;
    let rita = world.as_("rita");
    let queries = [
        json!({}),
        json!({ "keys": ["note:00", "note:01", "none"], "include_docs": true }),
        json!({ "startkey": "note:03", "limit": 2, "include_docs": true }),
        json!({ "descending": true, "skip": 1, "limit": 3 }),
        json!({ "startkey": "x", "endkey": "y" }),
    ];
    let path = "/@notes/_all_docs";
    let singles = one_by_one(&rita, path, &queries).await;
    let answer = rita
        .post(&format!("{path}/queries"), json!({ "queries": queries }))
        .await;
    check_results(&answer.yes(), &singles);
    assert!(!answer.text().contains("s-"), "{}", answer.text());
    assert!(!answer.text().contains("total_rows"), "{}", answer.text());
    assert!(answer.text().starts_with("{\"results\":[\r\n"));
    let designs = rita
        .post(
            "/@notes/_design_docs/queries",
            json!({ "queries": [{ "include_docs": true }, { "keys": ["_design/other", "_design/x"] }] }),
        )
        .await
        .yes();
    assert_eq!(designs["results"][0]["rows"][0]["id"], "_design/notes");
    assert_eq!(designs["results"][0]["rows"].as_array().unwrap().len(), 1);
    assert_eq!(designs["results"][1]["rows"][0]["error"], "not_found");
    let none = rita
        .post(&format!("{path}/queries"), json!({ "queries": [] }))
        .await;
    assert_eq!(none.yes(), json!({ "results": [] }));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_query_of_a_view_stays_inside_the_pin() {
    let world = filled().await;
    let sue = world.as_("sue");
    let path = "/@notes/_design/notes/_view/by_number";
    let queries = [
        json!({ "reduce": false }),
        json!({ "group": true }),
        json!({}),
        json!({ "key": "+4930100", "reduce": false, "limit": 1 }),
    ];
    let singles = one_by_one(&sue, path, &queries).await;
    let several = format!("{path}/queries");
    let answer = sue.post(&several, json!({ "queries": queries })).await;
    check_results(&answer.yes(), &singles);
    assert!(!answer.text().contains("+4930200"), "{}", answer.text());
    let outside = json!({ "queries": [{ "reduce": false }, { "key": "+4930200" }] });
    sue.post(&several, outside).await.no(403, "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_the_query_string_holds_for_queries_that_do_not_say_otherwise() {
    let world = filled().await;
    let path = "/@notes/_all_docs/queries?include_docs=true&limit=1";
    let body = json!({ "queries": [{}, { "limit": 2 }, { "include_docs": false }] });
    // The shape is CouchDB's own: the same of both, but for what is hidden.
    let sizes = |answer: Value| -> Vec<(usize, bool)> {
        let results = answer["results"].as_array().unwrap().clone();
        let rows = results
            .iter()
            .map(|result| result["rows"].as_array().unwrap().clone());
        rows.map(|rows| (rows.len(), rows[0].get("doc").is_some()))
            .collect()
    };
    let expected = [(1, true), (2, true), (1, false)];
    for client in [world.as_("rita"), world.backend()] {
        assert_eq!(sizes(client.post(path, body.clone()).await.yes()), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_queries_is_read_strictly() {
    let world = filled().await;
    let rita = world.as_("rita");
    let path = "/@notes/_all_docs/queries";
    for body in [
        "{}",
        "{\"queries\":{}}",
        "{\"queries\":[7]}",
        "{\"queries\":[],\"keys\":[]}",
        "{\"queries\":[{\"frob\":1}]}",
        "{\"queries\":[{\"limit\":1,\"limit\":2}]}",
        "{\"queries\":[{\"startkey\":1,\"start_key\":2}]}",
        "{\"queries\":[{}],\"queries\":[{}]}",
    ] {
        let json = [("content-type", "application/json")];
        let answer = rita.ask("POST", path, &json, body).await;
        assert_eq!(answer.status, 400, "{body}: {:?}", answer.body);
    }
    let nowhere = json!({ "queries": [{ "startkey": "b", "endkey": "a" }] });
    let nothing = rita.post(path, nowhere).await.yes();
    assert_eq!(nothing["results"][0]["rows"], json!([]), "{nothing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_lists_his_own_checkpoints_and_no_others() {
    let world = filled().await;
    let (rita, walt) = (world.as_("rita"), world.as_("walt"));
    world
        .backend()
        .put("/@notes/_local/ops", json!({ "seq": 9 }))
        .await
        .yes();
    for id in ["b", "a", "c%2Fd"] {
        let path = format!("/@notes/_local/{id}");
        walt.put(&path, json!({ "of": "walt" })).await.yes();
        rita.put(&path, json!({ "of": "s-rita" })).await.yes();
    }
    let path = "/@notes/_local_docs";
    assert_eq!(walt.get(path).await.ids(), "_local/a _local/b _local/c/d");
    let whole = walt.get(&format!("{path}?include_docs=true")).await;
    assert!(!whole.text().contains("s-rita") && !whole.text().contains("couchwarden-"));
    assert_eq!(
        whole.yes()["rows"][0],
        json!({ "id": "_local/a", "key": "_local/a", "value": { "rev": "0-1" }, "doc": { "_id": "_local/a", "_rev": "0-1", "of": "walt" } })
    );
    for (query, expected) in [
        ("descending=true", "_local/c/d _local/b _local/a"),
        ("startkey=%22_local%2Fb%22", "_local/b _local/c/d"),
        (
            "startkey=%22_local%2Fa%22&endkey=%22_local%2Fb%22&inclusive_end=false",
            "_local/a",
        ),
        ("key=%22_local%2Fb%22", "_local/b"),
        ("limit=1&skip=1", "_local/b"),
        ("startkey=%22z%22", ""),
    ] {
        assert_eq!(
            walt.get(&format!("{path}?{query}")).await.ids(),
            expected,
            "{query}"
        );
    }
    // One that is another's is answered as one that nobody has.
    let foreign = |id: &str| json!({ "keys": [id] });
    let hidden = walt.post(path, foreign("_local/ops")).await.yes();
    assert_eq!(
        hidden["rows"],
        json!([{ "key": "_local/ops", "error": "not_found" }])
    );
    let both = json!({ "queries": [{ "keys": ["_local/b", "x"] }, { "limit": 1 }] });
    let both = walt.post(&format!("{path}/queries"), both).await.yes();
    assert_eq!(both["results"][0]["rows"][0]["id"], "_local/b");
    assert_eq!(both["results"][1]["rows"].as_array().unwrap().len(), 1);
    let all = world.as_("ops").get(path).await.ids();
    assert_eq!(all.split(' ').count(), 7, "{all}");
    assert!(all.contains("_local/ops"), "{all}");
    world.as_("tom").get(path).await.no(404, "not_found");
    world.anonymous().get(path).await.no(401, "unauthorized");
    world.as_("sue").get(path).await.no(403, "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_is_copied_inside_the_callers_own_space() {
    let world = filled().await;
    let (rita, walt) = (world.as_("rita"), world.as_("walt"));
    walt.put("/@notes/_local/one", json!({ "of": "walt" }))
        .await
        .yes();
    let copy = |client: &Client, from: &'static str| {
        let client = client.clone();
        async move {
            client
                .ask("COPY", from, &[("destination", "_local/two")], "")
                .await
        }
    };
    let made = copy(&walt, "/@notes/_local/one").await;
    assert_eq!(
        (made.status, &made.json()["id"]),
        (201, &json!("_local/two"))
    );
    assert_eq!(walt.get("/@notes/_local/two").await.yes()["of"], "walt");
    rita.get("/@notes/_local/two").await.no(404, "not_found");
    copy(&rita, "/@notes/_local/one").await.no(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_names_no_more_fields_than_couchdb_bears() {
    const OWN: &str = r#"
[[rule]]
name = "own"
databases = ["@notes"]
callers = { names = ["$rita"] }
permit = ["read", "changes", "find"]
documents = { owner = "rita" }
"#;
    let world = World::start(OWN).await;
    world
        .database("notes", json!([{ "_id": "a", "owner": "rita", "n": 7 }]))
        .await;
    let rita = world.as_("rita");
    let named = |count: usize, by: &str| {
        let one = |n: usize| json!({ format!("f{n}"): { "$exists": false } });
        let all: Vec<Value> = (0..count).map(one).collect();
        json!({ "selector": { by: all } })
    };
    let feed = "/@notes/_changes?filter=_selector";
    for by in ["$and", "$or", "$nor"] {
        for path in ["/@notes/_find", feed] {
            let told = rita.post(path, named(1001, by)).await;
            told.no(400, "bad_request");
        }
    }
    let found = rita.post("/@notes/_find", named(1000, "$and")).await.yes();
    assert_eq!(found["docs"][0]["_id"], "a");
    // One field may be named as often as one likes.
    let often: Vec<Value> = (0..2000).map(|n| json!({ "n": n })).collect();
    let often = json!({ "selector": { "$or": often } });
    let found = rita.post("/@notes/_find", often).await.yes();
    assert_eq!(found["docs"][0]["_id"], "a");
}
