//! Queries are no oracle: what a caller may not read, they may not name, wherever a query can name anything.
//!
//! Two databases differ in hidden values only. Every request that could tell the one from the other is answered with
//! the same bytes, by whatever rules the values are hidden.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Answer, Ask, Client, Kept, World, backend};
use crate::worlds::told;

/// Whoever may follow may not read `salary`, or may not read at all.
const RULES: &str = r#"
[[rule]]
name = "followers"
databases = ["@one", "@two"]
callers = { roles = ["follower", "clerk", "partial"] }
permit = ["changes"]

[[rule]]
name = "clerks"
databases = ["@one", "@two"]
callers = { roles = ["clerk", "viewer", "lister"] }
permit = ["read"]
hide = ["salary", "list.*.salary"]

[[rule]]
name = "partial"
databases = ["@one", "@two"]
callers = { roles = ["partial"] }
permit = ["read"]
documents = { kind = "open" }

[[rule]]
name = "finders"
databases = ["@one", "@two"]
callers = { roles = ["finder", "lister"] }
permit = ["find", "index"]

[[rule]]
name = "unread"
databases = ["@one", "@two"]
callers = { roles = ["finder"] }
forbid = ["read"]
documents = { kind = "shut" }

[[rule]]
name = "viewers"
databases = ["@one", "@two"]
callers = { roles = ["viewer"] }
permit = ["view:staff/by_name", "changes"]
"#;

const SALARY: u64 = 731_337;

fn staff(salary: u64) -> Value {
    let design = json!({ "_id": "_design/staff", "_rev": "1-d",
        "filters": {
            "rich": "function (doc) { return doc.salary > 500000; }",
            "above": "function (doc, req) { return doc.salary > Number(req.query.least); }",
            "known": "function (doc) { return Boolean(doc.name); }" },
        "views": {
            "rich": { "map": "function (doc) { if (doc.salary > 500000) emit(doc._id, null); }" },
            "by_name": { "map": "function (doc) { emit(doc.name, 1); }", "reduce": "_count" } } });
    json!([
        design,
        { "_id": "ann", "_rev": "1-a", "kind": "open", "name": "Ann", "salary": SALARY },
        { "_id": "bob", "_rev": "1-b", "kind": "shut", "name": "Bob", "salary": salary },
        { "_id": "cid", "_rev": "1-c", "kind": "shut", "name": "Cid", "salary": 1, "list": [{ "salary": salary }] },
    ])
}

/// Both databases, in one world. `bob` earns little in the second.
async fn filled() -> World {
    let world = World::start(RULES).await;
    for (name, salary) in [("one", SALARY), ("two", 1000)] {
        world.database(name, json!([])).await;
        for document in staff(salary).as_array().unwrap() {
            let batch = json!({ "new_edits": false, "docs": [document] });
            let path = format!("/@{name}/_bulk_docs");
            assert_eq!(world.backend().post(&path, batch).await.yes(), json!([]));
        }
        let indexes = [
            ("by_salary", json!({ "fields": ["salary"] })),
            ("by_name", json!({ "fields": ["name"] })),
            (
                "rich",
                json!({ "fields": ["name"], "partial_filter_selector": { "salary": { "$gt": 500000 } } }),
            ),
        ];
        for (ddoc, index) in indexes {
            let body = json!({ "index": index, "ddoc": ddoc, "name": ddoc, "type": "json" });
            let path = format!("/@{name}/_index");
            world.backend().post(&path, body).await.yes();
        }
    }
    world
}

/// Selectors that name the salary, in every place where one can.
fn selectors() -> Vec<Value> {
    let above = json!({ "$gt": 500_000 });
    vec![
        json!({ "salary": above }),
        json!({ "salary": SALARY }),
        json!({ "salary": { "$exists": false } }),
        json!({ "salary": { "$type": "number" } }),
        json!({ "salary": { "$in": [SALARY] } }),
        json!({ "salary": { "$mod": [2, 1] } }),
        json!({ "name": "Bob", "salary": above }),
        json!({ "$and": [{ "name": "Bob" }, { "salary": above }] }),
        json!({ "$or": [{ "salary": above }, { "name": "Ann" }] }),
        json!({ "$nor": [{ "salary": above }] }),
        json!({ "$not": { "salary": above } }),
        json!({ "salary": { "$not": above } }),
        json!({ "list": { "$elemMatch": { "salary": above } } }),
        json!({ "list": { "$allMatch": { "salary": above } } }),
        json!({ "list.0.salary": above }),
    ]
}

fn ask(method: &'static str, path: String, body: Option<Value>) -> Ask {
    Ask {
        method,
        path,
        headers: vec![("content-type", "application/json".to_owned())],
        body: body.map(|body| body.to_string()).unwrap_or_default(),
    }
}

/// Everything that could be chosen by a salary.
fn naming(db: &str) -> Vec<Ask> {
    let at = |rest: &str| format!("/{db}/{rest}");
    let mut all = Vec::new();
    for selector in selectors() {
        for feed in [
            "",
            "&style=all_docs",
            "&include_docs=true",
            "&feed=longpoll&timeout=0",
            "&feed=continuous&timeout=0",
        ] {
            let path = at(&format!("_changes?filter=_selector{feed}"));
            all.push(ask("POST", path, Some(json!({ "selector": selector }))));
        }
        for path in ["_find", "_explain"] {
            all.push(ask("POST", at(path), Some(json!({ "selector": selector }))));
        }
        let index = json!({ "fields": ["name"], "partial_filter_selector": selector });
        let body = json!({ "index": index, "ddoc": "by_name", "name": "by_name" });
        all.push(ask("POST", at("_index"), Some(body)));
    }
    for filter in [
        "staff/rich",
        "staff/above&least=500000",
        "_view&view=staff/rich",
    ] {
        for style in ["main_only", "all_docs"] {
            all.push(ask(
                "GET",
                at(&format!("_changes?filter={filter}&style={style}")),
                None,
            ));
        }
    }
    let everyone = json!({ "name": { "$gt": null } });
    for more in [
        json!({ "sort": ["salary"] }),
        json!({ "sort": [{ "salary": "desc" }] }),
        json!({ "sort": ["name", "salary"] }),
        json!({ "fields": ["salary"] }),
        json!({ "fields": ["_id", "salary"] }),
        json!({ "use_index": "by_salary" }),
        json!({ "use_index": "rich" }),
        json!({ "use_index": ["_design/rich", "rich"] }),
    ] {
        let mut body = json!({ "selector": everyone });
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        for path in ["_find", "_explain"] {
            all.push(ask("POST", at(path), Some(body.clone())));
        }
    }
    let by_salary = json!({ "index": { "fields": ["salary"] }, "ddoc": "by_salary" });
    all.push(ask("POST", at("_index"), Some(by_salary)));
    all.push(ask("GET", at("_index"), None));
    for path in [
        "_design/staff/_search/any?q=salary:731337",
        "_design/staff/_nouveau/any?q=salary:731337",
        "_design/staff/_view/rich",
        "_design/staff/_view/by_name?include_docs=true",
        "_design/staff/_view/by_name?key=%22Bob%22&include_docs=true",
        "_design/staff/_view/by_name?group=true",
        "_all_docs?include_docs=true",
        "bob",
    ] {
        all.push(ask("GET", at(path), None));
    }
    all
}

async fn answers(client: &Client, asks: &[Ask]) -> Vec<Answer> {
    let mut kept = Kept::new(client);
    let mut all = Vec::new();
    for ask in asks {
        all.push(kept.ask(ask, Duration::from_secs(60)).await);
    }
    all
}

/// How many of the requests the two databases answer differently, with the first that they do.
async fn differences(world: &World, client: &Client) -> (usize, String) {
    let [one, two] = ["one", "two"].map(|name| world.db(name));
    let asks = naming(&one);
    let (left, right) = (
        answers(client, &asks).await,
        answers(client, &naming(&two)).await,
    );
    let mut first = String::new();
    let mut count = 0;
    for (ask, (left, right)) in asks.iter().zip(left.iter().zip(&right)) {
        let [left, right] = [(left, &one), (right, &two)].map(|(answer, db)| told(answer, db));
        if left != right {
            count += 1;
            if first.is_empty() {
                first = format!("{ask:?}\n--- one\n{left}\n--- two\n{right}");
            }
        }
    }
    (count, first)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_query_tells_two_databases_apart_that_differ_in_what_is_hidden() {
    let world = filled().await;
    // Who may see everything can tell, so there is something to tell.
    let (seen, _) = differences(&world, &world.as_("ops")).await;
    assert!(seen > 60, "{seen}");
    for role in ["follower", "clerk", "partial", "viewer"] {
        let client = world.user(role, &[role]);
        let (differ, first) = differences(&world, &client).await;
        assert_eq!(differ, 0, "{role}: {first}");
    }
}

/// Who may find everything, but may not read some documents or a field of them.
#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_read_may_not_be_found() {
    let world = filled().await;
    for role in ["finder", "lister"] {
        let client = world.user(role, &[role]);
        let (differ, first) = differences(&world, &client).await;
        assert_eq!(differ, 0, "{role}: {first}");
    }
    let lister = world.user("lister", &["lister"]);
    let everyone = json!({ "selector": { "name": { "$gt": null } } });
    let found = lister.post("/@one/_find", everyone.clone()).await;
    assert_eq!(found.yes()["docs"].as_array().unwrap().len(), 3);
    // Nor does it come by a query that does not name it.
    assert!(
        !found.text().contains("\"salary\":731337"),
        "{}",
        found.text()
    );
    for body in [
        json!({ "selector": { "salary": 1 } }),
        json!({ "selector": { "name": "Bob" }, "fields": ["salary"] }),
        json!({ "selector": { "name": "Bob" }, "sort": ["salary"] }),
        json!({ "selector": { "name": "Bob" }, "use_index": "rich" }),
    ] {
        lister
            .post("/@one/_find", body.clone())
            .await
            .no(403, "forbidden");
        lister
            .post("/@one/_explain", body)
            .await
            .no(403, "forbidden");
    }
    let finder = world.user("finder", &["finder"]);
    let found = finder.post("/@one/_find", everyone).await.yes();
    assert_eq!(found["docs"].as_array().unwrap().len(), 1, "{found}");
    assert_eq!(found["docs"][0]["salary"], SALARY, "{found}");
}

/// Twenty requests of either kind, each of which halves what the salary can be.
#[tokio::test(flavor = "multi_thread")]
async fn a_feed_is_no_oracle_for_what_may_not_be_read() {
    let world = filled().await;
    for role in ["follower", "clerk"] {
        let client = world.user(role, &[role]);
        let (mut low, mut high) = (0_u64, 1 << 20);
        for _ in 0..20 {
            let middle = u64::midpoint(low, high);
            let selector = json!({ "selector": { "salary": { "$gte": middle }, "name": "Bob" } });
            let path = "/@one/_changes?filter=_selector";
            let answer = client.post(path, selector).await;
            match answer.text().contains("\"bob\"") {
                true => low = middle,
                false => high = middle,
            }
            answer.no(403, "forbidden");
        }
        assert_ne!(low, SALARY, "{role}");
        for filter in [
            "staff/rich",
            "staff/known",
            "_view&view=staff/rich",
            "_view&view=staff/by_name",
        ] {
            let path = format!("/@one/_changes?filter={filter}");
            client.get(&path).await.no(403, "forbidden");
        }
        // What every row shows may be named by those who get the rows.
        let named = |selector: Value| {
            let client = client.clone();
            async move {
                let path = "/@one/_changes?filter=_selector";
                client.post(path, json!({ "selector": selector })).await
            }
        };
        for (selector, ids) in [
            (json!({ "_id": { "$gt": "ann" } }), "bob cid"),
            (json!({ "_rev": "1-b" }), "bob"),
            (json!({ "_deleted": true }), ""),
        ] {
            assert_eq!(
                named(selector.clone()).await.ids(),
                ids,
                "{role} {selector}"
            );
        }
        let dead = client
            .post(
                "/@one/_changes?filter=_selector&style=all_docs",
                json!({ "selector": { "_deleted": true } }),
            )
            .await;
        // Which leaves are tombstones no row says; who reads the documents knows.
        assert_eq!(dead.status, if role == "clerk" { 200 } else { 403 });
        let ids = "/@one/_changes?filter=_doc_ids&doc_ids=%5B%22bob%22%5D";
        assert_eq!(client.get(ids).await.ids(), "bob");
        assert_eq!(
            named(json!({ "name": "Bob" })).await.status,
            if role == "clerk" { 200 } else { 403 }
        );
    }
}

/// Who follows all documents and reads some learns by a filter of those that they read, and of no other.
#[tokio::test(flavor = "multi_thread")]
async fn a_filter_chooses_among_documents_that_may_be_read() {
    let world = filled().await;
    let partial = world.user("partial", &["partial"]);
    assert_eq!(partial.get("/@one/_changes").await.ids(), "ann bob cid");
    for style in ["main_only", "all_docs"] {
        let path = format!("/@one/_changes?style={style}&filter=");
        let rich = json!({ "selector": { "salary": { "$gt": 500_000 } } });
        let answer = partial.post(&format!("{path}_selector"), rich).await;
        assert_eq!(answer.ids(), "ann", "{style}");
        for filter in ["staff/rich", "staff/known", "_view&view=staff/rich"] {
            let answer = partial.get(&format!("{path}{filter}")).await;
            assert_eq!(answer.ids(), "ann", "{style} {filter}");
        }
        let kind = json!({ "selector": { "kind": "shut" } });
        let answer = partial.post(&format!("{path}_selector"), kind).await;
        assert_eq!(answer.ids(), "", "{style}");
    }
}

/// Leaves of a document that are hidden beside one that is not.
#[tokio::test(flavor = "multi_thread")]
async fn hidden_leaves_are_not_counted() {
    let world = filled().await;
    let leaf = json!({ "_id": "ann", "_rev": "1-0", "kind": "shut" });
    let batch = json!({ "new_edits": false, "docs": [leaf] });
    world.backend().post("/@one/_bulk_docs", batch).await.yes();
    let partial = world.user("partial", &["partial"]);
    let torn = json!({ "selector": { "_conflicts": { "$exists": true } } });
    let path = "/@one/_changes?filter=_selector&conflicts=true";
    for more in [
        "",
        "&include_docs=true",
        "&include_docs=true&style=all_docs",
    ] {
        let asked = partial.post(&format!("{path}{more}"), torn.clone()).await;
        asked.no(403, "forbidden");
        let path = format!("/@one/_changes?filter=staff/known&conflicts=true{more}");
        partial.get(&path).await.no(403, "forbidden");
    }
    let finder = world.user("finder", &["finder"]);
    let mut torn = torn;
    torn["conflicts"] = true.into();
    finder.post("/@one/_find", torn).await.no(403, "forbidden");
}

const ORDERED: &str = r#"
[[rule]]
name = "owners"
databases = ["@one", "@two"]
callers = { roles = ["owner"] }
permit = ["find", "read"]
hide = ["owner"]
documents = { owner = { "$in" = ["x", "y"] } }
"#;

/// CouchDB answers in the order of the index that it chooses, and a rule's own condition makes it choose one.
#[tokio::test(flavor = "multi_thread")]
async fn no_index_over_a_hidden_field_orders_rows() {
    let world = World::start(ORDERED).await;
    let mut orders = Vec::new();
    for (name, [first, second]) in [("one", ["x", "y"]), ("two", ["y", "x"])] {
        world.database(name, json!([])).await;
        let documents = json!([
            { "_id": "a", "_rev": "1-a", "owner": first, "n": 1 },
            { "_id": "b", "_rev": "1-b", "owner": second, "n": 2 },
            { "_id": "c", "_rev": "1-c", "owner": "z", "n": 3 },
        ]);
        let batch = json!({ "new_edits": false, "docs": documents });
        world
            .backend()
            .post(&format!("/@{name}/_bulk_docs"), batch)
            .await
            .yes();
        let index = json!({ "index": { "fields": ["owner"] }, "ddoc": "owner", "name": "owner" });
        world
            .backend()
            .post(&format!("/@{name}/_index"), index)
            .await
            .yes();
        let owner = world.user("owner", &["owner"]);
        for selector in [
            json!({}),
            json!({ "n": { "$gt": 0 } }),
            json!({ "_id": { "$gt": null } }),
        ] {
            let found = owner
                .post(&format!("/@{name}/_find"), json!({ "selector": selector }))
                .await
                .yes();
            let ids = found["docs"].as_array().unwrap().iter();
            let ids: Vec<String> = ids.map(|document| document["_id"].to_string()).collect();
            orders.push(ids.join(" "));
        }
    }
    assert_eq!(orders[..3], orders[3..]);
    assert!(
        orders.iter().all(|order| order == "\"a\" \"b\""),
        "{orders:?}"
    );
    if backend().is_couchdb() {
        // There is such an order: CouchDB takes that index for a query that names the field.
        let named = json!({ "selector": { "owner": { "$in": ["x", "y"] } } });
        let found = world.backend().post("/@two/_find", named).await.yes();
        assert_eq!(found["docs"][0]["_id"], "b", "{found}");
    }
}
