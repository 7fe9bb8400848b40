//! Two worlds that differ only in what nobody of the cast may see: other hidden documents and more of them,
//! other values in hidden fields, hidden conflicts, old revisions, tombstones, checkpoints, databases.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::canary::Names;
use crate::support::World;

pub(super) const RULES: &str = r#"
[[rule]]
name = "readers"
databases = ["@vault"]
callers = { roles = ["reader"] }
permit = ["read", "changes", "find", "view:app/by_team"]
keys = "red"
hide = ["secret", "_attachments.concealed"]
documents = { team = "red" }

[[rule]]
name = "writers"
databases = ["@vault"]
callers = { roles = ["writer"] }
permit = ["replicate", "find"]
hide = ["secret", "_attachments.concealed"]
documents = { team = "red" }

[[rule]]
name = "numbers"
databases = ["@vault"]
callers = { roles = ["number:{number}"] }
permit = ["view:app/by_number", "view:app/seconds", "view:app/words", "view:app/linked"]
keys = "{number}"
reduce = true
hide = ["secret"]
"#;

/// One of the two.
pub(super) struct Twin {
    pub(super) world: World,
    pub(super) names: Names,
}

/// How much is hidden in a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hidden {
    Little,
    Much,
}

/// Both worlds, with names of the same length.
pub(super) async fn both() -> [Twin; 2] {
    let mut little = Twin::plant(Hidden::Little).await;
    loop {
        let much = Twin::plant(Hidden::Much).await;
        if much.names.db.len() == little.names.db.len() {
            return [little, much];
        }
        // Names are numbered; one of them has become longer.
        little = Twin::plant(Hidden::Little).await;
    }
}

impl Twin {
    async fn plant(hidden: Hidden) -> Self {
        let world = World::start(RULES).await;
        world.database("vault", json!([])).await;
        for document in documents(hidden) {
            let batch = json!({ "new_edits": false, "docs": [document] });
            let stored = world.backend().post("/@vault/_bulk_docs", batch).await;
            assert_eq!(stored.yes(), json!([]), "{document}");
        }
        if hidden == Hidden::Much {
            let more = json!({ "admins": { "roles": ["_admin"] }, "members": { "roles": [world.role("vault")], "names": ["somebody"] } });
            world.backend().put("/@vault/_security", more).await.yes();
            world
                .fill("vault", json!([{ "_id": "_design/hidden", "views": {} }]))
                .await;
            let checkpoint = json!({ "last_seq": "12" });
            let path = "/@vault/_local/checkpoint";
            world.as_("ops").put(path, checkpoint).await.yes();
            world.database("another", json!([{ "team": "red" }])).await;
        }
        let names = names(&world);
        Self { world, names }
    }
}

/// What both worlds are asked for; some of it is hidden in one and absent in the other.
fn names(world: &World) -> Names {
    let documents = [
        ("d10", vec![rev(2, 10), rev(1, 1)]),
        ("d15", vec![rev(1, 15)]),
        ("d20", vec![rev(3, 20), rev(2, 66), rev(2, 67), rev(1, 2)]),
        ("d25", vec![rev(1, 25)]),
        ("d30", vec![rev(2, 30), rev(1, 3)]),
        ("d35", vec![rev(2, 35)]),
        ("d45", vec![rev(2, 45), rev(1, 4)]),
    ];
    Names {
        db: world.db("vault"),
        documents: BTreeMap::from(documents.map(|(id, revs)| (id.to_owned(), revs))),
        files: vec!["plain".to_owned(), "concealed".to_owned()],
        locals: vec!["checkpoint".to_owned()],
        raw_local: "_local/raw",
        hidden_db: world.db("another"),
        hidden_user: "somebody".to_owned(),
        index: "any".to_owned(),
        hidden_ddoc: "hidden".to_owned(),
    }
}

fn hash(n: usize) -> String {
    format!("{n:032x}")
}

fn rev(generation: usize, n: usize) -> String {
    format!("{generation}-{}", hash(n))
}

fn leaf(id: &str, team: &str, path: &[usize], more: Value) -> Value {
    revision(id, team, path.len(), path, more)
}

fn revision(id: &str, team: &str, generation: usize, path: &[usize], more: Value) -> Value {
    let hashes: Vec<String> = path.iter().map(|n| hash(*n)).collect();
    let mut document = json!({ "_id": id, "_rev": format!("{generation}-{}", hashes[0]), "team": team,
        "_revisions": { "start": generation, "ids": hashes } });
    for (name, value) in more.as_object().unwrap() {
        document[name] = value.clone();
    }
    document
}

fn file(text: &str) -> Value {
    use base64::Engine as _;
    let data = base64::engine::general_purpose::STANDARD.encode(text);
    json!({ "content_type": "text/x-note", "data": data })
}

fn documents(hidden: Hidden) -> Vec<Value> {
    let much = hidden == Hidden::Much;
    let secret = if much {
        "a much longer secret than the other one"
    } else {
        "short"
    };
    let mine = json!({ "number": "+4930100", "day": "2026-03-01", "seconds": 1000, "title": "mine", "link": "d15", "secret": secret,
        "_attachments": { "plain": file("seen"), "concealed": file(secret) } });
    let theirs = |n: usize| json!({ "number": "+4930200", "day": n, "seconds": n, "title": "theirs", "secret": "x" });
    let note = |title: &str| json!({ "title": title, "secret": secret });
    let deleted = |title: &str| json!({ "_deleted": true, "title": title });
    let mut all = Vec::new();
    let mut crowd = 100..;
    let mut among = |all: &mut Vec<Value>, between: &str| {
        for n in crowd.by_ref().take(if much { 7 } else { 0 }) {
            all.push(leaf(&format!("{between}{n}"), "blue", &[n], theirs(n)));
        }
    };
    all.push(json!({ "_id": "_design/app", "_rev": rev(1, 99), "views": views() }));
    among(&mut all, "a");
    all.push(leaf(
        "d10",
        "blue",
        &[1],
        json!({ "title": "old", "secret": secret }),
    ));
    all.push(leaf("d10", "red", &[10, 1], mine));
    among(&mut all, "d12");
    all.push(leaf("d20", "red", &[2], note("root")));
    all.push(leaf("d20", "red", &[20, 21, 2], note("winner")));
    if much {
        // Leaves that the winner hides, one of them deleted.
        all.push(leaf("d20", "blue", &[66, 2], theirs(66)));
        all.push(leaf("d20", "blue", &[67, 2], deleted("end")));
        all.push(leaf("d25", "blue", &[25], theirs(25)));
        all.push(revision("d35", "blue", 2, &[35, 5], deleted("gone")));
    } else {
        // The body of an old revision that the other world has never had.
        all.push(leaf("d30", "blue", &[3], note("old")));
        all.push(leaf("d15", "blue", &[15], theirs(15)));
    }
    among(&mut all, "d22");
    all.push(leaf("d30", "red", &[30, 3], note("third")));
    all.push(leaf("d45", "red", &[4], note("before its end")));
    all.push(leaf("d45", "red", &[45, 4], deleted("end")));
    among(&mut all, "z");
    all
}

fn views() -> Value {
    let map = |key: &str, value: &str| {
        format!("function (doc) {{ if (doc.number) emit({key}, {value}); }}")
    };
    let join = "function (keys, values, rereduce) { return values.join(' '); }";
    json!({
        "by_number": { "map": map("[doc.number, doc.day]", "{ title: doc.title, secret: doc.secret }") },
        "by_team": { "map": map("doc.team", "{ title: doc.title, secret: doc.secret }") },
        "seconds": { "map": map("[doc.number, doc.day]", "doc.seconds"), "reduce": "_stats" },
        "words": { "map": map("[doc.number, doc.day]", "doc.title"), "reduce": join },
        "linked": { "map": map("[doc.number, doc.day]", "{ _id: doc.link }") },
    })
}
