//! What an attacker found once: each of these ways stays closed.

use serde_json::{Value, json};

use crate::support::World;

const RULES: &str = r#"
[[rule]]
name = "own-notes"
databases = ["@notes"]
callers = { names = ["$rita"] }
permit = ["read", "changes", "find", "update"]
hide = ["list.0"]
documents = { owner = "rita" }

[[rule]]
name = "own-calls"
databases = ["@calls"]
callers = { roles = ["number:{number}"] }
permit = ["view:app/by_number", "view:app/others"]
keys = "{number}"
reduce = true
"#;

async fn filled() -> World {
    let world = World::start(RULES).await;
    let notes = json!([
        { "_id": "mine", "owner": "rita", "list": ["hidden", "shown"] },
        { "_id": "theirs", "owner": "walt", "list": ["hidden"] },
    ]);
    world.database("notes", notes).await;
    let map = "function (doc) { if (doc.number) emit(doc.number, doc.seconds); }";
    let calls = json!([
        { "_id": "_design/app", "views": {
            "by_number": { "map": map, "reduce": "_sum" },
            "others": { "map": map, "reduce": "function (keys, values, rereduce) { return values.join('+'); }" },
        } },
        { "_id": "1", "number": "+4930100", "seconds": 1 },
        // To ICU this is the same number.
        { "_id": "2", "number": "+4930\u{ad}100", "seconds": 10 },
        { "_id": "3", "number": "+4930100", "seconds": 100 },
    ]);
    world.database("calls", calls).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_spelt_oddly_is_still_that_index() {
    let world = filled().await;
    let rita = world.as_("rita");
    for field in ["list.0", "list.00", "list.+0", "list.-0"] {
        let selector = json!({ "selector": { field: "hidden" } });
        rita.post("/@notes/_find", selector.clone())
            .await
            .no(403, "forbidden");
        rita.post("/@notes/_changes?filter=_selector", selector)
            .await
            .no(403, "forbidden");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backslash_in_a_sort_hides_no_field_name() {
    let world = filled().await;
    let rita = world.as_("rita");
    for field in ["list.0", "li\\st.0", "list\\.0.\\list"] {
        let hidden = field != "list\\.0.\\list";
        for query in [
            json!({ "selector": { "owner": "rita" }, "sort": [field] }),
            json!({ "selector": { "owner": "rita" }, "fields": [field] }),
        ] {
            let answer = rita.post("/@notes/_find", query.clone()).await;
            assert_eq!(answer.status == 403, hidden, "{query}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sum_holds_no_row_that_only_collates_like_the_pin() {
    let world = filled().await;
    let sue = world.as_("sue");
    let view = "/@calls/_design/app/_view/by_number";
    for (query, key) in [("", Value::Null), ("?group=true", json!("+4930100"))] {
        let rows = sue.get(&format!("{view}{query}")).await.yes()["rows"].clone();
        assert_eq!(rows, json!([{ "key": key, "value": 101 }]), "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_functions_are_not_run_over_rows_that_only_collate_like_the_pin() {
    let world = filled().await;
    let view = "/@calls/_design/app/_view/others?group=true";
    let sam = world.as_("sam");
    assert_eq!(sam.get(view).await.yes()["rows"], json!([]));
    let sue = world.as_("sue");
    for query in [
        "",
        "&key=%22%2B4930100%22",
        "&keys=%5B%22%2B4930100%22%5D",
        "&stale=ok",
    ] {
        let answer = sue.get(&format!("{view}{query}")).await;
        answer.no(403, "forbidden");
    }
    // Once there is no such row, each group is what CouchDB makes of it.
    let other = world.backend().get("/@calls/2").await.yes()["_rev"].clone();
    let gone = json!([{ "_id": "2", "_rev": other, "_deleted": true }]);
    world.fill("calls", gone).await;
    let rows = sue.get(view).await.yes()["rows"].clone();
    let sum = rows[0]["value"].as_str().unwrap();
    assert_eq!(
        (rows.as_array().unwrap().len(), sum.len()),
        (1, "1+100".len())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_learns_nothing_of_an_id_that_is_hidden_from_him() {
    let world = filled().await;
    let rita = world.as_("rita");
    let writes = [
        ("PUT", json!({ "owner": "rita" })),
        ("PUT", json!({ "owner": "walt" })),
        ("PUT", json!({ "_deleted": true })),
        ("PUT", json!({ "owner": "rita", "_rev": "1-abc" })),
        ("DELETE", Value::Null),
    ];
    for (method, body) in writes {
        let hidden = rita.send(method, "/@notes/theirs", body.clone()).await;
        let absent = rita.send(method, "/@notes/nothing", body.clone()).await;
        assert_eq!(hidden.seen(), absent.seen(), "{method} {body}");
    }
    let rows = |id: &str, new_edits: bool| {
        json!({ "new_edits": new_edits, "docs": [
            { "_id": id, "_rev": "1-abc", "owner": "walt" },
            { "_id": id, "_rev": "1-abc", "owner": "rita" },
        ] })
    };
    for new_edits in [true, false] {
        let hidden = rita
            .post("/@notes/_bulk_docs", rows("theirs", new_edits))
            .await;
        let absent = rita
            .post("/@notes/_bulk_docs", rows("nothing", new_edits))
            .await;
        let absent = absent.text().replace("nothing", "theirs");
        assert_eq!(hidden.text(), absent, "new_edits: {new_edits}");
    }
}
