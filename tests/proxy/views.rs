//! Views under a pin: what CouchDB is asked, what is shown, and sums.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{Client, World};

const RULES: &str = r#"
[[rule]]
name = "own-calls"
databases = ["@calls"]
callers = { roles = ["number:{number}"] }
permit = ["view:calls/by_number", "view:calls/seconds", "view:calls/custom", "view:calls/linked", "view:calls/number"]
keys = "{number}"
reduce = true
hide = ["password", "**.pin"]

[[rule]]
name = "public"
databases = ["@calls"]
callers = { roles = ["number:*"] }
permit = ["read"]
documents = { public = true }
"#;

const NUMBERS: [&str; 5] = ["+4930050", "+4930100", "+4930200", "+4930300", "+4930400"];

/// Calls from each number to each, some at the same time.
fn calls() -> Vec<Value> {
    let pairs = NUMBERS.iter().enumerate().flat_map(|(a, from)| {
        NUMBERS
            .iter()
            .enumerate()
            .map(move |(b, to)| (a, *from, b, *to))
    });
    let calls = pairs.enumerate().map(|(index, (a, from, b, to))| {
        json!({
            "_id": format!("call:{index:02}"), "from": from, "to": to, "day": format!("2026-03-{:02}", 1 + index % 4), "seconds": 10 * a + b + 1,
            "password": "s-word", "auth": { "pin": "s-pin", "user": a }, "public": index % 7 == 0,
        })
    });
    calls.collect()
}

async fn filled() -> World {
    let world = World::start(RULES).await;
    let both = |value: &str| {
        format!(
            "function (doc) {{ if (doc.from) {{ emit([doc.from, doc.day], {value}); emit([doc.to, doc.day], {value}); }} }}"
        )
    };
    let custom = "function (keys, values, rereduce) { return rereduce ? values.join('+') : values.length + 'x'; }";
    let mut documents = calls();
    documents.push(json!({ "_id": "_design/calls", "views": {
        "by_number": { "map": both("doc") },
        "number": { "map": "function (doc) { if (doc.from) emit(doc.from, null); }" },
        "seconds": { "map": both("doc.seconds"), "reduce": "_stats" },
        "custom": { "map": both("doc.seconds"), "reduce": custom },
        "linked": { "map": "function (doc) { if (doc.from) emit([doc.from], { _id: 'call:0' + (doc.seconds % 10) }); }" },
    } }));
    world.database("calls", documents.into()).await;
    world
}

async fn view(client: &Client, rest: &str) -> crate::support::Answer {
    client
        .get(&format!("/@calls/_design/calls/_view/{rest}"))
        .await
}

/// What CouchDB itself says for one number.
async fn straight(world: &World, name: &str, number: &str, more: &str) -> Vec<Value> {
    let number = number.replace('+', "%2B");
    let range = if name == "number" {
        format!("key=%22{number}%22")
    } else {
        format!("startkey=[%22{number}%22]&endkey=[%22{number}%22,%7B%7D]")
    };
    let answer = view(&world.backend(), &format!("{name}?{range}{more}")).await;
    answer.yes()["rows"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_narrowed_to_the_pin() {
    let world = filled().await;
    let sue = world.as_("sue");
    let mut expected = straight(&world, "by_number", "+4930100", "").await;
    for row in &mut expected {
        let value = row["value"].as_object_mut().unwrap();
        value.remove("password");
        value["auth"].as_object_mut().unwrap().remove("pin");
    }
    let answer = view(&sue, "by_number").await;
    assert_eq!(answer.yes()["rows"], Value::Array(expected));
    assert!(!answer.text().contains("s-"), "{}", answer.text());
    assert!(answer.json()["total_rows"].is_null(), "{}", answer.text());
    // Keys that are no arrays.
    let flat = straight(&world, "number", "+4930100", "").await;
    assert_eq!(view(&sue, "number").await.yes()["rows"], Value::Array(flat));
    // One key, and a range within the pin.
    let day = "key=[%22%2B4930100%22,%222026-03-02%22]";
    let one = view(&world.backend(), &format!("by_number?{day}"))
        .await
        .ids();
    assert!(!one.is_empty());
    assert_eq!(view(&sue, &format!("by_number?{day}")).await.ids(), one);
    let range =
        "startkey=[%22%2B4930100%22,%222026-03-02%22]&endkey=[%22%2B4930100%22,%222026-03-03%22]";
    assert_eq!(
        view(&sue, &format!("by_number?{range}")).await.ids(),
        view(&world.backend(), &format!("by_number?{range}"))
            .await
            .ids()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_outside_the_pin_is_forbidden() {
    let world = filled().await;
    let sue = world.as_("sue");
    for query in [
        "key=[%22%2B4930200%22,%222026-03-01%22]",
        "startkey=[%22%2B4930200%22]&endkey=[%22%2B4930200%22,%7B%7D]",
        "startkey=[%22%2B4930200%22]",
        "keys=[[%22%2B4930100%22,%222026-03-01%22],[%22%2B4930200%22,%222026-03-01%22]]",
        "key=%22%2B4930200%22",
    ] {
        view(&sue, &format!("by_number?{query}"))
            .await
            .no(403, "forbidden");
    }
    let keys = json!({ "keys": [["+4930100", "2026-03-01"], ["+4930200", "2026-03-01"]] });
    sue.post("/@calls/_design/calls/_view/by_number", keys)
        .await
        .no(403, "forbidden");
    // The query string wins over the body, for CouchDB as for us.
    let body = json!({ "key": ["+4930100", "2026-03-01"] });
    sue.post(
        "/@calls/_design/calls/_view/by_number?key=[%22%2B4930200%22,1]",
        body,
    )
    .await
    .no(403, "forbidden");
    view(&sue, "none").await.no(403, "forbidden");
    let tom = world.as_("tom");
    assert_eq!(
        view(&tom, "by_number").await.seen(),
        tom.get("/@nothing/_design/calls/_view/by_number")
            .await
            .seen()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn limit_and_skip_count_what_is_shown() {
    let world = filled().await;
    let sam = world.as_("sam");
    let mut all = straight(&world, "by_number", "+4930200", "").await;
    all.extend(straight(&world, "by_number", "+4930300", "").await);
    let keys = |rows: &[Value]| {
        rows.iter()
            .map(|row| (row["id"].clone(), row["key"].clone()))
            .collect::<Vec<_>>()
    };
    for descending in [false, true] {
        let mut rows = keys(&all);
        if descending {
            rows.reverse();
        }
        for (skip, limit) in [
            (0, 3),
            (2, 5),
            (8, 4),
            (9, 1),
            (10, 20),
            (19, 5),
            (25, 5),
            (0, 0),
        ] {
            let query = format!("by_number?skip={skip}&limit={limit}&descending={descending}");
            let page = view(&sam, &query).await.yes();
            let wanted: Vec<_> = rows.iter().skip(skip).take(limit).cloned().collect();
            assert_eq!(keys(page["rows"].as_array().unwrap()), wanted, "{query}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_are_those_of_the_visible_rows() {
    let world = filled().await;
    let sam = world.as_("sam");
    let mut rows: Vec<(String, String, u64)> = Vec::new();
    for call in calls() {
        for end in ["from", "to"] {
            let number = call[end].as_str().unwrap().to_owned();
            if ["+4930200", "+4930300"].contains(&number.as_str()) {
                rows.push((
                    number,
                    call["day"].as_str().unwrap().to_owned(),
                    call["seconds"].as_u64().unwrap(),
                ));
            }
        }
    }
    for (query, level) in [
        ("", 0),
        ("?reduce=true", 0),
        ("?group_level=1", 1),
        ("?group_level=2", 2),
        ("?group=true", 2),
        ("?group_level=0", 0),
    ] {
        let mut groups: BTreeMap<Vec<String>, Vec<u64>> = BTreeMap::new();
        for (number, day, seconds) in &rows {
            let key = [number.clone(), day.clone()][..level].to_vec();
            groups.entry(key).or_default().push(*seconds);
        }
        let expected: Vec<Value> = groups
            .iter()
            .map(|(key, values)| {
                let stats = [
                    values.iter().sum::<u64>(),
                    values.len() as u64,
                    *values.iter().min().unwrap(),
                    *values.iter().max().unwrap(),
                    values.iter().map(|value| value * value).sum(),
                ];
                json!([if level == 0 { Value::Null } else { json!(key) }, stats])
            })
            .collect();
        let answer = view(&sam, &format!("seconds{query}")).await.yes();
        // A float where it need not be one is the same number.
        let whole = |value: &Value| {
            json!(
                value
                    .to_string()
                    .trim_end_matches(".0")
                    .parse::<u64>()
                    .unwrap()
            )
        };
        let found: Vec<Value> = answer["rows"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| {
                let stats =
                    ["sum", "count", "min", "max", "sumsqr"].map(|name| whole(&row["value"][name]));
                json!([row["key"], stats])
            })
            .collect();
        assert_eq!(found, expected, "{query}: {answer}");
    }
    // Groups are rows: limit and skip count them.
    let second = view(&sam, "seconds?group_level=1&skip=1&limit=1")
        .await
        .yes();
    assert_eq!(
        (
            second["rows"].as_array().unwrap().len(),
            &second["rows"][0]["key"]
        ),
        (1, &json!(["+4930300"])),
        "{second}"
    );
    for query in ["group=true", "group_level=1", "group=true&descending=true"] {
        let all = view(&sam, &format!("seconds?{query}")).await.yes()["rows"].clone();
        let all = all.as_array().unwrap();
        for (skip, limit) in
            (0..3).flat_map(|skip| (0..all.len() + 2).map(move |limit| (skip, limit)))
        {
            let page = format!("seconds?{query}&skip={skip}&limit={limit}");
            let rows = view(&sam, &page).await.yes()["rows"].clone();
            let expected: Vec<Value> = all.iter().skip(skip).take(limit).cloned().collect();
            assert_eq!(rows, json!(expected), "{page}");
        }
    }
    assert_eq!(
        view(&sam, "seconds?reduce=false&limit=3").await.yes()["rows"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn other_reduce_functions_serve_whole_groups_only() {
    let world = filled().await;
    let sue = world.as_("sue");
    let straight = straight(&world, "custom", "+4930100", "&group=true").await;
    assert_eq!(
        view(&sue, "custom?group=true").await.yes()["rows"],
        Value::Array(straight)
    );
    for query in ["custom", "custom?group_level=1"] {
        let answer = view(&sue, query).await;
        assert_eq!(answer.status, 403, "{query}: {:?}", answer.body);
    }
    for limit in 0..4 {
        let rows = view(&sue, &format!("custom?group=true&limit={limit}"))
            .await
            .yes();
        assert_eq!(rows["rows"].as_array().unwrap().len(), limit, "{rows}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_alone_is_a_range() {
    let world = filled().await;
    let sue = world.as_("sue");
    let day = "%5B%22%2B4930100%22%2C%222026-03-02%22%5D";
    let sum = view(&sue, &format!("seconds?key={day}")).await.yes();
    assert_eq!(sum["rows"].as_array().unwrap().len(), 1, "{sum}");
    assert_eq!(
        view(&sue, &format!("seconds?keys=%5B{day}%5D")).await.yes(),
        sum
    );
    let two = view(&sue, &format!("seconds?keys=%5B{day}%2C{day}%5D")).await;
    two.no(400, "query_parse_error");
}

#[tokio::test(flavor = "multi_thread")]
async fn included_documents_need_to_be_readable_themselves() {
    let world = filled().await;
    let sue = world.as_("sue");
    for name in ["by_number", "linked"] {
        let answer = view(&sue, &format!("{name}?include_docs=true")).await;
        let rows = answer.yes()["rows"].clone();
        let rows = rows.as_array().unwrap();
        assert!(!rows.is_empty());
        for row in rows {
            let id = if name == "linked" {
                row["value"]["_id"].clone()
            } else {
                row["id"].clone()
            };
            let number: usize = id.as_str().unwrap()[5..].parse().unwrap();
            if number.is_multiple_of(7) {
                assert_eq!(row["doc"]["_id"], id, "{row}");
            } else {
                assert!(row["doc"].is_null(), "{row}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_selected_and_a_view_without_a_rule_is_forbidden() {
    let world = World::start(
        r#"
[[rule]]
name = "small"
databases = ["@calls"]
callers = { roles = ["reader"] }
permit = ["view:calls/*"]
rows = { value = { "$lt" = 3 } }
"#,
    )
    .await;
    let map = "function (doc) { emit(doc._id, doc.n); }";
    let documents = json!([
        { "_id": "a", "n": 1 }, { "_id": "b", "n": 5 }, { "_id": "c", "n": 2 }, { "_id": "d", "n": 9 }, { "_id": "e", "n": 0 },
        { "_id": "_design/calls", "views": { "n": { "map": map }, "sum": { "map": map, "reduce": "_sum" } } },
        { "_id": "_design/other", "views": { "n": { "map": map } } },
    ]);
    world.database("calls", documents).await;
    let rita = world.as_("rita");
    assert_eq!(view(&rita, "n").await.ids(), "a c e");
    assert_eq!(view(&rita, "n?limit=2").await.ids(), "a c");
    assert_eq!(view(&rita, "n?skip=1&limit=1").await.ids(), "c");
    assert_eq!(view(&rita, "n?descending=true&limit=2").await.ids(), "e c");
    assert_eq!(view(&rita, "sum").await.status, 403);
    assert_eq!(view(&rita, "sum?reduce=false").await.ids(), "a c e");
    assert_eq!(rita.get("/@calls/_design/other/_view/n").await.status, 403);
    assert_eq!(rita.get("/@calls/_all_docs").await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sum_has_no_documents_beside_it() {
    let world = filled().await;
    let sue = world.as_("sue");
    for name in ["include_docs", "conflicts"] {
        view(&sue, &format!("seconds?group=true&{name}=true"))
            .await
            .no(400, "query_parse_error");
    }
    let straight = view(&world.backend(), "seconds?group=true&include_docs=true").await;
    straight.no(400, "query_parse_error");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_go_on_behind_rows_of_one_key_and_document() {
    let world = World::start(
        r#"
[[rule]]
name = "own"
databases = ["@notes"]
callers = { names = ["$rita"] }
permit = ["read", "view:app/*"]
documents = { owner = "rita" }
"#,
    )
    .await;
    let map = "function (doc) { for (var n = 0; n < doc.times; n++) emit(doc.key, n); }";
    world
        .database(
            "notes",
            json!([
                { "_id": "_design/app", "views": { "times": { "map": map } } },
                { "_id": "a", "owner": "walt", "key": "k", "times": 1 },
                { "_id": "b", "owner": "rita", "key": "k", "times": 4 },
                { "_id": "c", "owner": "rita", "key": "k", "times": 2 },
                { "_id": "m", "owner": "walt", "key": "l", "times": 300 },
                { "_id": "n", "owner": "rita", "key": "l", "times": 2 },
                { "_id": "o", "owner": "walt", "key": "m", "times": 10_200 },
                { "_id": "p", "owner": "rita", "key": "m", "times": 1 },
            ]),
        )
        .await;
    let rita = world.as_("rita");
    let path = "/@notes/_design/app/_view/times";
    let all = rita.get(path).await.yes()["rows"]
        .as_array()
        .unwrap()
        .clone();
    assert_eq!(all.len(), 9);
    for (limit, skip) in (1..=6).flat_map(|limit| (0..=2).map(move |skip| (limit, skip))) {
        let window = format!("{path}?limit={limit}&skip={skip}");
        let rows = rita.get(&window).await.yes()["rows"].clone();
        let wanted = all.iter().skip(skip).take(limit).cloned().collect();
        assert_eq!(rows, Value::Array(wanted), "{window}");
    }
    // Behind more rows of one key than the largest page holds, in both directions.
    for rest in ["limit=9", "limit=9&descending=true"] {
        let mut rows = rita.get(&format!("{path}?{rest}")).await.column("value");
        rows.sort_by_key(Value::to_string);
        let mut wanted: Vec<Value> = all.iter().map(|row| row["value"].clone()).collect();
        wanted.sort_by_key(Value::to_string);
        assert_eq!(rows, wanted, "{rest}");
    }
}
