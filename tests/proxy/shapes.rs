//! Small shapes: what is left of an object, what a broken function is answered, what is said of an index. Nothing of it
//! tells of what is hidden, and it is what CouchDB says.

use serde_json::{Value, json};

use crate::support::{Answer, World, backend};

const RULES: &str = r#"
[[rule]]
name = "without-pins"
databases = ["@notes"]
callers = { roles = ["reader"] }
permit = ["read", "changes", "find", "update", "view:d/*"]
hide = ["**.pin", "_attachments.**"]

[[rule]]
name = "red"
databases = ["@notes"]
callers = { roles = ["writer"] }
permit = ["read", "changes", "find", "view:d/*"]
documents = { team = "red" }

[[rule]]
name = "pinned"
databases = ["@notes"]
callers = { names = ["$tom"] }
permit = ["view:d/*"]
keys = "red"
reduce = true

[[rule]]
name = "titles"
databases = ["@notes"]
callers = { roles = ["number:*"] }
permit = ["read", "changes", "find", "view:d/values"]
show = ["title", "deep.title"]
"#;

async fn filled() -> World {
    let world = World::start(RULES).await;
    let attached = json!({ "a.txt": { "content_type": "text/plain", "data": "aGVsbG8=" } });
    let all = json!([
        { "_id": "with", "team": "red", "n": 1, "account": { "pin": 1 }, "deep": { "er": { "pin": 1 } }, "_attachments": attached },
        { "_id": "without", "team": "red", "n": 1 },
        { "_id": "part", "team": "red", "n": 2, "account": { "pin": 1, "name": "x" }, "list": [{ "pin": 1 }] },
        { "_id": "blue", "team": "blue", "n": 3, "account": {} },
        { "_id": "_design/d", "team": "red", "filters": {
            "throws": "function (doc) { throw({ error: 'no' }); }",
            "breaks": "function (doc) { return doc.x.y; }",
            "late": "function (doc) { if (doc._id === 'without') return doc.x.y; return true; }",
            "blue": "function (doc) { if (doc.team === 'blue') return doc.x.y; return true; }",
            "good": "function (doc) { return true; }",
        }, "views": {
            "breaks": { "map": "function (doc) { emit(doc.x.y); }" },
            "values": { "map": "function (doc) { if (doc.n) [null, true, 3, 'x', [1], {}, { title: 1 }, { pin: 1 }, { deep: 3 }, { deep: { pin: 1 } }].forEach(function (v) { emit(doc.team, v); }); }" },
            "stats": { "map": "function (doc) { if (doc.n) emit(doc.team, { sum: 1, count: 1, min: doc.n, max: doc.n, sumsqr: 1, more: 'x' }); }", "reduce": "_stats" },
        } },
    ]);
    world.database("notes", all).await;
    world
}

/// Without what tells which document it is.
fn body(answer: &Answer) -> Value {
    let mut body = answer.yes();
    for name in ["_id", "_rev"] {
        body.as_object_mut().unwrap().remove(name);
    }
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_whose_members_are_all_hidden_looks_as_if_it_were_not_there() {
    let world = filled().await;
    let rita = world.as_("rita");
    let without = body(&rita.get("/@notes/without").await);
    assert_eq!(without, json!({ "team": "red", "n": 1 }));
    assert_eq!(body(&rita.get("/@notes/with").await), without);
    assert_eq!(
        body(&rita.get("/@notes/with?attachments=true").await),
        without
    );
    let part = body(&rita.get("/@notes/part").await);
    assert_eq!(
        part,
        json!({ "team": "red", "n": 2, "account": { "name": "x" }, "list": [{}] })
    );
    // One that holds nothing does so for everybody.
    assert_eq!(rita.get("/@notes/blue").await.yes()["account"], json!({}));
    for (method, path, sent) in [
        ("GET", "/@notes/_all_docs?include_docs=true", json!(null)),
        ("GET", "/@notes/_changes?include_docs=true", json!(null)),
        ("POST", "/@notes/_find", json!({ "selector": {} })),
        (
            "POST",
            "/@notes/_bulk_get",
            json!({ "docs": [{ "id": "with" }] }),
        ),
    ] {
        let answer = rita.send(method, path, sent).await;
        let text = answer.text();
        assert!(text.contains("\"with\""), "{path} {text}");
        for gone in ["pin", "_attachments", "\"deep\""] {
            assert!(
                !text
                    .replace("_design/d", "")
                    .contains(&format!("{gone}\":{{\"")),
                "{path} {gone} {text}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_out_with_a_hidden_member_in_it_keeps_that_member() {
    let world = filled().await;
    let rita = world.as_("rita");
    for id in ["with", "part"] {
        let path = format!("/@notes/{id}");
        let before = world.backend().get(&path).await.yes();
        // As it was shown.
        let shown = rita.get(&path).await.yes();
        rita.put(&path, shown).await.yes();
        let mut after = world.backend().get(&path).await.yes();
        after["_rev"] = before["_rev"].clone();
        if let Some(stub) = after.pointer_mut("/_attachments/a.txt") {
            stub["revpos"] = before["_attachments"]["a.txt"]["revpos"].clone();
        }
        assert_eq!(after, before);
        // With another member in the object, then without the object.
        let mut shown = rita.get(&path).await.yes();
        shown["account"] = json!({ "name": "y" });
        rita.put(&path, shown).await.yes();
        let stored = world.backend().get(&path).await.yes();
        assert_eq!(stored["account"], json!({ "pin": 1, "name": "y" }));
        let mut shown = rita.get(&path).await.yes();
        shown.as_object_mut().unwrap().remove("account");
        rita.put(&path, shown).await.yes();
        let stored = world.backend().get(&path).await.yes();
        assert_eq!(stored["account"], json!({ "pin": 1 }));
        assert!(rita.get(&path).await.yes()["account"].is_null());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_are_no_objects_are_shown_as_nothing() {
    let world = filled().await;
    let sue = world.as_("sue");
    let rows = sue
        .get("/@notes/_design/d/_view/values?key=%22blue%22")
        .await
        .yes();
    let values: Vec<Value> = rows["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["value"].clone())
        .collect();
    let expected = json!([null, null, null, null, [], {}, { "title": 1 }, {}, {}, {}]);
    let sorted = |values: &[Value]| {
        let mut texts: Vec<String> = values.iter().map(Value::to_string).collect();
        texts.sort();
        texts
    };
    assert_eq!(sorted(&values), sorted(expected.as_array().unwrap()));
}

/// To CouchDB a document without `deep` is another one than one in which `deep` is no object.
#[tokio::test(flavor = "multi_thread")]
async fn what_hides_the_place_of_a_field_is_not_told_by_its_absence() {
    let world = filled().await;
    let number = world.as_("sam");
    let walt = world.as_("walt");
    let deep = [json!(1), json!("x"), json!(null), json!([1]), json!([])];
    let deep = deep.iter().enumerate();
    let all =
        deep.map(|(n, deep)| json!({ "_id": format!("deep-{n}"), "team": "red", "deep": deep }));
    world.fill("notes", all.collect()).await;
    let absent = |name: &str| {
        [
            json!({ name: { "$exists": false } }),
            json!({ "deep": { "title": { "$exists": false } }, "title": { "$exists": false } }),
            json!({ "$not": { name: { "$exists": true } } }),
            json!({ "$nor": [{ "title": 1 }, { name: { "$exists": true } }] }),
            json!({ "$nor": [{ "$not": { name: { "$exists": false } } }] }),
        ]
    };
    for selector in absent("deep.title") {
        let body = json!({ "selector": selector });
        for path in ["_find", "_explain", "_changes?filter=_selector"] {
            let path = format!("/@notes/{path}");
            number.post(&path, body.clone()).await.no(403, "forbidden");
            walt.post(&path, body.clone()).await.yes();
        }
    }
    for selector in [
        json!({ "deep.title": { "$exists": true } }),
        json!({ "deep.title": { "$ne": 1 } }),
        json!({ "title": { "$exists": false } }),
        json!({ "$not": { "deep.title": { "$exists": false } } }),
    ] {
        let body = json!({ "selector": selector });
        number.post("/@notes/_find", body).await.yes();
    }
}

/// By `{"$or":[]}` among others CouchDB takes any index, and finds what stands in it.
#[tokio::test(flavor = "multi_thread")]
async fn no_index_over_a_hidden_field_is_found_by_a_combination_of_nothing() {
    let world = filled().await;
    let couchdb = world.backend();
    let index = json!({ "index": { "fields": ["pin"] }, "name": "pins", "ddoc": "pins" });
    couchdb.post("/@notes/_index", index).await.yes();
    let all =
        json!([{ "_id": "pin-1", "team": "red", "pin": 1 }, { "_id": "pin-2", "team": "red" }]);
    world.fill("notes", all).await;
    let (rita, walt) = (world.as_("rita"), world.as_("walt"));
    for nothing in [
        json!({ "$or": [] }),
        json!({ "$and": [] }),
        json!({ "$nor": [] }),
    ] {
        for selector in [
            json!({ "$and": [nothing] }),
            json!({ "$nor": [nothing] }),
            json!({ "$or": [nothing, { "_id": "x" }] }),
            json!({ "$and": [{ "_id": nothing }, { "_id": { "$gt": null } }] }),
            json!({ "$not": { "$and": [nothing] } }),
        ] {
            let body = json!({ "selector": selector });
            for path in ["_find", "_explain"] {
                let path = format!("/@notes/{path}");
                rita.post(&path, body.clone()).await.no(403, "forbidden");
                // The embedded server reads nothing of that kind.
                if backend().is_couchdb() {
                    walt.post(&path, body.clone()).await.yes();
                }
            }
        }
        // Alone it finds nothing, whatever index there is.
        for more in [
            json!({}),
            json!({ "sort": ["_id"] }),
            json!({ "allow_fallback": false }),
        ] {
            let mut body = json!({ "selector": nothing });
            body.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            if backend().is_couchdb() {
                let found = rita.post("/@notes/_find", body.clone()).await.yes();
                assert_eq!(found["docs"], json!([]), "{body}");
                rita.post("/@notes/_explain", body).await.yes();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_have_no_other_members() {
    let world = filled().await;
    let tom = world.as_("tom");
    for query in ["", "?group=true"] {
        let rows = tom
            .get(&format!("/@notes/_design/d/_view/stats{query}"))
            .await
            .yes();
        let value = json!({ "sum": 3, "count": 3, "min": 1, "max": 2, "sumsqr": 3 });
        assert_eq!(rows["rows"][0]["value"], value, "{rows}");
    }
    let one = json!({ "_id": "single", "n": 5, "team": "green" });
    world.fill("notes", json!([one])).await;
}

/// A function that breaks ends in an error, or cuts what has begun: it is never taken for the end of the changes.
#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_breaks_is_never_answered_as_one_that_takes_nothing() {
    let world = filled().await;
    let mut wrong = Vec::new();
    for feed in ["normal", "longpoll", "continuous", "eventsource"] {
        for filter in [
            "filter=d/throws",
            "filter=d/breaks",
            "filter=d/late",
            "filter=d/none",
            "filter=none/none",
            "filter=_view&view=d/breaks",
            "filter=_view&view=d/none",
            "filter=_view",
            "filter=x",
            "filter=d/good",
        ] {
            for more in ["", "&limit=100", "&include_docs=true", "&style=all_docs"] {
                let path = format!("/@notes/_changes?feed={feed}&timeout=300&{filter}{more}");
                let straight = world.backend().get(&path).await;
                let found = world.as_("walt").get(&path).await;
                let fails = |answer: &Answer| {
                    answer.status != 200 || answer.cut || answer.text().contains("\"error\"")
                };
                if fails(&found) != fails(&straight) {
                    wrong.push(format!(
                        "{path}\n  couchdb: {} {} {}\n  found: {} {} {}",
                        straight.status,
                        straight.cut,
                        straight.text(),
                        found.status,
                        found.cut,
                        found.text()
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n"));
}

/// What CouchDB says of a query's index it says without our own narrowing, too.
#[tokio::test(flavor = "multi_thread")]
async fn our_own_narrowing_gives_no_query_an_index() {
    let world = filled().await;
    let couchdb = world.backend();
    for (name, fields) in [
        ("by_n", json!(["n"])),
        ("by_team", json!(["team"])),
        ("by_both", json!(["team", "n"])),
    ] {
        let index = json!({ "index": { "fields": fields }, "name": name, "ddoc": name });
        couchdb.post("/@notes/_index", index).await.yes();
    }
    let mut wrong = Vec::new();
    for selector in [
        json!({}),
        json!({ "n": { "$gt": 0 } }),
        json!({ "team": "red" }),
        json!({ "team": "red", "n": { "$gt": 0 } }),
        json!({ "x": 1 }),
        json!({ "_id": { "$gt": null } }),
        json!({ "n": { "$exists": false } }),
    ] {
        for sort in [
            None,
            Some(json!(["n"])),
            Some(json!(["team"])),
            Some(json!(["team", "n"])),
            Some(json!([{ "n": "desc" }])),
            Some(json!(["x"])),
            Some(json!(["_id"])),
            Some(json!([])),
        ] {
            for index in [
                None,
                Some(json!("by_n")),
                Some(json!("by_team")),
                Some(json!(["by_both", "by_both"])),
                Some(json!("none")),
            ] {
                // The embedded server chooses its indexes in another way.
                if (index.is_some() || sort.is_some()) && !backend().is_couchdb() {
                    continue;
                }
                for fallback in [None, Some(false), Some(true)] {
                    let mut query = json!({ "selector": selector, "execution_stats": true });
                    for (name, value) in [
                        ("sort", sort.clone()),
                        ("use_index", index.clone()),
                        ("allow_fallback", fallback.map(Value::from)),
                    ] {
                        if let Some(value) = value {
                            query[name] = value;
                        }
                    }
                    let straight = couchdb.post("/@notes/_find", query.clone()).await;
                    let found = world.as_("walt").post("/@notes/_find", query.clone()).await;
                    let said = |answer: &Answer| (answer.status, answer.json()["error"].clone());
                    if said(&straight) != said(&found) {
                        wrong.push(format!(
                            "{query}\n  couchdb: {}\n  found: {}",
                            straight.text(),
                            found.text()
                        ));
                        continue;
                    }
                    if found.status == 200 {
                        let red = |answer: &Answer| -> Vec<String> {
                            let docs = answer.json()["docs"].as_array().unwrap().clone();
                            let red = docs.iter().filter(|doc| doc["team"] == "red");
                            let mut ids: Vec<String> =
                                red.map(|doc| doc["_id"].to_string()).collect();
                            // Without `sort` CouchDB promises no order.
                            if query.get("sort").is_none() {
                                ids.sort();
                            }
                            ids
                        };
                        let tells =
                            found.text().contains("examined") || found.text().contains("warning");
                        if red(&found) != red(&straight)
                            || red(&found).len() != found.json()["docs"].as_array().unwrap().len()
                            || tells
                        {
                            wrong.push(format!(
                                "{query}\n  couchdb: {}\n  found: {}",
                                straight.text(),
                                found.text()
                            ));
                        }
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n"));
}
