//! Documents that need others to be judged: conflicts, histories, the bodies before tombstones. All that is missing is
//! asked for at once, however much it is, and what is visible is shown as CouchDB shows it.

use serde_json::{Value, json};

use crate::entries::send;
use crate::support::{Answer, Tap, World, backend};

/// Rules that look at documents: `rita` and `walt` see all of the red ones, `tom` those that are his.
const RULES: &str = r#"
[[rule]]
name = "red"
databases = ["@notes"]
callers = { roles = ["reader"] }
permit = ["read", "changes", "find", "view:d/*"]
documents = { team = "red" }

[[rule]]
name = "all"
databases = ["@notes"]
callers = { roles = ["writer"] }
permit = ["read", "changes", "find", "view:d/*"]

[[rule]]
name = "not-blue"
databases = ["@notes"]
callers = { roles = ["writer"] }
forbid = ["read", "changes", "find", "view:d/*"]
documents = { team = "blue" }

[[rule]]
name = "owners"
databases = ["@notes"]
callers = { roles = ["owner:{owner}"] }
permit = ["read", "changes", "find", "view:d/*"]
documents = { owner = "{owner}" }
"#;

/// Which leaves there are: living, deleted with a body, deleted without one.
const KINDS: [&str; 3] = ["living", "full", "bare"];

fn leaf(id: &str, n: usize, kind: &str) -> Vec<Value> {
    let before = json!({ "_id": id, "_rev": format!("2-{n}b"), "team": "red", "owner": "o", "n": n,
        "_revisions": { "start": 2, "ids": [format!("{n}b"), "aa"] } });
    let mut last = json!({ "_id": id, "_rev": format!("3-{n}c"), "n": n,
        "_revisions": { "start": 3, "ids": [format!("{n}c"), format!("{n}b"), "aa"] } });
    if kind != "bare" {
        last["team"] = "red".into();
        last["owner"] = "o".into();
    } else {
        last.as_object_mut().unwrap().remove("n");
    }
    if kind != "living" {
        last["_deleted"] = true.into();
    }
    vec![before, last]
}

/// Documents with one to six leaves, of all kinds together and in both orders.
fn documents() -> Vec<(String, Vec<Value>)> {
    let mut documents = Vec::new();
    let mut add = |kinds: Vec<&str>| {
        let id = kinds.join("-");
        let leaves = kinds.iter().enumerate();
        let revisions = leaves
            .flat_map(|(n, kind)| leaf(&id, n + 1, kind))
            .collect();
        documents.push((id, revisions));
    };
    for one in KINDS {
        add(vec![one]);
        for two in KINDS {
            add(vec![one, two]);
            for three in KINDS {
                add(vec![one, two, three]);
            }
        }
    }
    for all in [
        ["living", "living", "full", "full", "bare", "bare"],
        ["bare", "bare", "full", "full", "living", "living"],
        ["bare", "bare", "bare", "bare", "bare", "bare"],
        ["bare", "full", "bare", "full", "bare", "full"],
        ["living", "bare", "bare", "bare", "bare", "bare"],
    ] {
        for most in 4..=all.len() {
            add(all[all.len() - most..].to_vec());
        }
    }
    documents
}

async fn world(tap: Option<&Tap>) -> World {
    let world = match tap {
        Some(tap) => World::behind(tap.address, RULES, "").await,
        None => World::start(RULES).await,
    };
    let view = "function (doc) { emit(doc._id, null); }";
    let design = json!({ "_id": "_design/d", "views": { "v": { "map": view } }, "team": "red", "owner": "o" });
    world.database("notes", json!([design])).await;
    let documents: Vec<Value> = documents().into_iter().flat_map(|(_, all)| all).collect();
    let batch = json!({ "new_edits": false, "docs": documents });
    world
        .backend()
        .post("/@notes/_bulk_docs", batch)
        .await
        .yes();
    world
}

/// What is asked of one document.
fn requests(id: &str, revisions: &[Value]) -> Vec<(&'static str, String, Value)> {
    let mut requests = Vec::new();
    let last = revisions
        .iter()
        .filter(|one| one["_revisions"]["start"] == 3);
    let revs: Vec<Value> = last.map(|one| one["_rev"].clone()).collect();
    for query in [
        "",
        "?meta=true",
        "?conflicts=true",
        "?deleted_conflicts=true",
        "?revs_info=true",
        "?revs=true&meta=true",
        "?open_revs=all",
        "?open_revs=all&revs=true",
    ] {
        requests.push(("GET", format!("/@notes/{id}{query}"), Value::Null));
    }
    for rev in &revs {
        let rev = rev.as_str().unwrap();
        requests.push((
            "GET",
            format!("/@notes/{id}?rev={rev}&meta=true"),
            Value::Null,
        ));
        requests.push((
            "GET",
            format!("/@notes/{id}?rev={rev}&latest=true&meta=true"),
            Value::Null,
        ));
    }
    let list = json!(revs).to_string().replace('"', "%22");
    requests.push((
        "GET",
        format!("/@notes/{id}?open_revs={list}&revs=true"),
        Value::Null,
    ));
    let each: Vec<Value> = revs
        .iter()
        .map(|rev| json!({ "id": id, "rev": rev }))
        .collect();
    requests.push((
        "POST",
        "/@notes/_bulk_get?revs=true".to_owned(),
        json!({ "docs": each }),
    ));
    requests.push((
        "POST",
        "/@notes/_bulk_get".to_owned(),
        json!({ "docs": [{ "id": id }] }),
    ));
    let keys = json!({ "keys": [id] });
    for path in ["_all_docs", "_design/d/_view/v"] {
        let path = format!("/@notes/{path}?include_docs=true&conflicts=true");
        requests.push(("POST", path, keys.clone()));
    }
    let find = json!({ "selector": { "_id": id }, "conflicts": true });
    requests.push(("POST", "/@notes/_find".to_owned(), find));
    let ids = json!({ "doc_ids": [id] });
    for query in [
        "style=all_docs",
        "style=all_docs&include_docs=true&conflicts=true",
        "include_docs=true&conflicts=true",
    ] {
        requests.push((
            "POST",
            format!("/@notes/_changes?filter=_doc_ids&{query}"),
            ids.clone(),
        ));
    }
    requests
}

fn comparable(answer: &Answer) -> (u16, Value) {
    let mut body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    strip(&mut body);
    (answer.status, body)
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for name in [
                "total_rows",
                "offset",
                "pending",
                "seq",
                "last_seq",
                "reason",
                "warning",
                "bookmark",
            ] {
                members.remove(name);
            }
            members.values_mut().for_each(strip);
        }
        Value::Array(list) => {
            list.iter_mut().for_each(strip);
            // Leaves stand in no order that is promised.
            if list.iter().all(|one| one["ok"].is_object()) {
                list.sort_by_key(|one| one["ok"]["_rev"].to_string());
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_much_to_be_judged_is_shown_as_couchdb_shows_it() {
    let world = world(None).await;
    let (reader, forbidden, owner) = (
        world.as_("rita"),
        world.as_("walt"),
        world.user("owner", &["owner:o"]),
    );
    let mut wrong = Vec::new();
    let mut asked = 0;
    for (id, revisions) in documents() {
        for (method, path, body) in requests(&id, &revisions) {
            let model = comparable(&send(&world.backend(), method, &path, &body).await);
            for who in [&reader, &forbidden, &owner] {
                asked += 1;
                let found = comparable(&send(who, method, &path, &body).await);
                if found != model {
                    wrong.push(format!(
                        "{} {method} {path} {body}\n   couchdb: {} {}\n   found:   {} {}",
                        who.name(),
                        model.0,
                        model.1,
                        found.0,
                        found.1
                    ));
                }
            }
        }
    }
    eprintln!("{} of {asked} differ", wrong.len());
    assert!(
        wrong.is_empty(),
        "{}\n{}",
        wrong.len(),
        wrong[..wrong.len().min(40)].join("\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_is_missing_to_judge_a_document_is_asked_for_at_once() {
    let tap = Tap::start(backend().authority.parse().unwrap()).await;
    let world = world(Some(&tap)).await;
    let rita = world.as_("rita");
    rita.get("/@notes/living").await.yes();
    let mut most = (0, Vec::new());
    for (id, revisions) in documents() {
        for (method, path, body) in requests(&id, &revisions) {
            tap.take();
            let answer = send(&rita, method, &path, &body).await;
            assert!(answer.status < 500, "{path}: {}", answer.text());
            let asked = tap.take();
            if asked.len() > most.0 {
                eprintln!("{} {path} {asked:#?}", asked.len());
                most = (asked.len(), asked);
            }
        }
    }
    // The request itself, then what it needs: revisions, and the bodies before those that are bare tombstones. A view
    // asks for its rows' documents too, and what has changed meanwhile, before and after.
    assert!(most.0 <= 7, "{most:?}");
}
