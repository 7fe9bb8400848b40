//! With what each endpoint is asked: query strings, bodies, headers.

use couchwarden::route::Method;
use serde_json::{Value, json};

use super::ground::Names;

/// Every query with every body and every set of headers.
#[derive(Debug, Clone)]
pub(crate) struct Words {
    pub(crate) queries: Vec<String>,
    pub(crate) bodies: Vec<String>,
    pub(crate) headers: Vec<Vec<(&'static str, String)>>,
    pub(crate) writes: bool,
    pub(crate) feed: bool,
}

impl Words {
    pub(crate) fn queries(queries: &[&str]) -> Self {
        Self {
            queries: queries.iter().map(|query| (*query).to_owned()).collect(),
            bodies: vec![String::new()],
            headers: vec![Vec::new()],
            writes: false,
            feed: false,
        }
    }

    pub(crate) fn bodies(mut self, bodies: &[&str]) -> Self {
        self.bodies = bodies.iter().map(|body| (*body).to_owned()).collect();
        self
    }

    fn json(mut self, bodies: impl IntoIterator<Item = Value>) -> Self {
        self.bodies = bodies.into_iter().map(|body| body.to_string()).collect();
        self
    }

    fn and(mut self, queries: impl IntoIterator<Item = String>) -> Self {
        self.queries.extend(queries);
        self
    }

    fn accepting(mut self, types: &[&str]) -> Self {
        self.headers = types
            .iter()
            .map(|kind| vec![("accept", (*kind).to_owned())])
            .collect();
        self
    }

    pub(crate) fn bodyless(mut self) -> Self {
        self.bodies = vec![String::new()];
        self
    }

    pub(crate) fn writing(mut self) -> Self {
        self.writes = true;
        self
    }

    pub(crate) fn staying(mut self) -> Self {
        self.feed = true;
        self
    }
}

const ANY_TYPE: [&str; 3] = ["application/json", "multipart/mixed", "multipart/related"];

/// `_all_dbs` reads the parameters of `_all_docs`.
pub(crate) const NAMES: &[&str] = &[
    "",
    "limit=1000",
    "descending=true",
    "startkey=%22h%22",
    "skip=1",
];

fn ids(names: &Names) -> Vec<&String> {
    names.documents.keys().collect()
}

/// The same, and a `_local` document that couchwarden did not store.
fn keys(names: &Names) -> Vec<&str> {
    let ids = names.documents.keys().map(String::as_str);
    ids.chain([names.raw_local]).collect()
}

fn revs<'g>(names: &'g Names, id: &str) -> &'g [String] {
    names.documents.get(id).map_or(&[], Vec::as_slice)
}

fn quoted(text: &Value) -> String {
    let text = text.to_string();
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

/// The parameters of a document: each alone, and those that mean more together.
pub(crate) fn read(names: &Names, id: &str) -> Words {
    let words = Words::queries(&[
        "",
        "revs=true&revs_info=true",
        "conflicts=true&deleted_conflicts=true",
        "meta=true",
        "open_revs=all&revs=true",
        "open_revs=all&attachments=true&att_encoding_info=true",
        "attachments=true",
        "atts_since=%5B%5D",
        "local_seq=true",
        "deleted=true",
        "latest=true",
        "r=1&w=1&batch=ok&new_edits=false",
    ]);
    let revs = revs(names, id);
    let each = revs.iter().flat_map(|rev| {
        [
            format!("rev={rev}&attachments=true&revs=true"),
            format!("rev={rev}&latest=true&conflicts=true"),
        ]
    });
    let list = quoted(&json!(revs));
    let lists = [
        format!("open_revs={list}&revs=true"),
        format!("open_revs={list}&latest=true&attachments=true"),
        format!("attachments=true&atts_since={list}"),
    ];
    words.and(each).and(lists).accepting(&ANY_TYPE)
}

pub(crate) fn attachment(names: &Names, id: &str) -> Words {
    let each = revs(names, id).iter().map(|rev| format!("rev={rev}"));
    let mut words = Words::queries(&[""]).and(each);
    words.headers.push(vec![("range", "bytes=0-9".to_owned())]);
    words
}

/// Lists of documents.
pub(crate) fn documents(names: &Names) -> Words {
    let quoted_keys = quoted(&json!(keys(names)));
    let keyed = [
        format!("keys={quoted_keys}"),
        format!("keys={quoted_keys}&include_docs=true&conflicts=true&attachments=true"),
    ];
    let mut words = Words::queries(VIEW).and(keyed);
    words = words.and(
        ids(names)
            .iter()
            .map(|id| format!("key={}", quoted(&json!(id)))),
    );
    words.json([
        json!({}),
        json!({ "keys": keys(names), "include_docs": true }),
    ])
}

const VIEW: &[&str] = &[
    "",
    "include_docs=true",
    "include_docs=true&conflicts=true&attachments=true&att_encoding_info=true",
    "descending=true&limit=3",
    "limit=1&skip=2",
    "startkey=%22a%22&endkey=%22zz%22",
    "startkey=%22a%22&startkey_docid=a&endkey=%22z%22&endkey_docid=z&inclusive_end=false",
    "update_seq=true",
    "stale=ok",
    "update=false",
    "update=lazy&stable=true",
    "sorted=false",
    "reduce=false",
    "group=true",
    "group_level=1",
    "reduce=true",
    "partition=red",
    "include_system=true",
];

/// Pins are crossed by keys of every shape.
pub(crate) fn view(names: &Names) -> Words {
    let pinned = [
        "startkey=%5B%22%2B4930100%22%5D&endkey=%5B%22%2B4930100%22,%7B%7D%5D",
        "startkey=%5B%22%2B4930100%22%5D&endkey=%5B%22%2B4930200%22,%7B%7D%5D",
        "startkey=%5B%22%2B4930100%22%5D&endkey=%5B%22%2B4930100%22,%7B%7D%5D&reduce=false&include_docs=true",
        "key=%22red%22&include_docs=true",
        "key=%22blue%22",
        "keys=%5B%5B%22%2B4930200%22%5D%5D",
        "keys=%5B%22red%22,%22blue%22%5D",
        "endkey=%22red%22&descending=true",
        "group_level=2&limit=1",
        "group=true&skip=1",
    ];
    let mut words = documents(names);
    words.queries.retain(|query| !query.starts_with("key"));
    words.and(pinned.map(str::to_owned)).json([
        json!({}),
        json!({ "keys": ["red", "blue", ["+4930200"]] }),
        json!({ "startkey": ["+4930100"], "group": true }),
    ])
}

fn inner(names: &Names) -> Value {
    json!({ "queries": [
        { "include_docs": true, "reduce": false }, { "keys": ids(names) }, { "startkey": "a", "limit": 3, "include_docs": true },
        { "startkey": ["+4930100"], "endkey": ["+4930200", {}], "reduce": false }, { "group": true }, { "key": "blue" },
    ] })
}

pub(crate) fn batches(names: &Names) -> Words {
    let alone = json!({ "queries": [{ "include_docs": true }, { "keys": keys(names), "include_docs": true }] });
    Words::queries(&["", "include_docs=true"]).json([inner(names), alone])
}

pub(crate) fn view_batches(names: &Names) -> Words {
    let alone = |query: Value| json!({ "queries": [query] });
    let bodies = [
        inner(names),
        alone(json!({ "reduce": false })),
        alone(
            json!({ "startkey": ["+4930100"], "endkey": ["+4930100", {}], "reduce": false, "include_docs": true }),
        ),
        alone(json!({ "group_level": 1 })),
    ];
    Words::queries(&["", "include_docs=true"]).json(bodies)
}

pub(crate) fn bulk_get(names: &Names) -> Words {
    let alone: Vec<Value> = ids(names).iter().map(|id| json!({ "id": id })).collect();
    let revisions: Vec<Value> = names
        .documents
        .iter()
        .flat_map(|(id, revs)| revs.iter().map(move |rev| json!({ "id": id, "rev": rev })))
        .collect();
    let since: Vec<Value> = revisions
        .iter()
        .map(|wanted| {
            let mut wanted = wanted.clone();
            wanted["atts_since"] = json!([]);
            wanted
        })
        .collect();
    Words::queries(&["", "revs=true&attachments=true", "latest=true&revs=true"])
        .json([alone, revisions, since].map(|docs| json!({ "docs": docs })))
        .accepting(&ANY_TYPE)
}

/// Feeds that would wait are given little time.
pub(crate) fn changes(names: &Names) -> Words {
    let words = Words::queries(&[
        "",
        "since=0&include_docs=true",
        "style=all_docs",
        "style=all_docs&include_docs=true&conflicts=true&attachments=true&att_encoding_info=true",
        "descending=true&limit=3",
        "since=now",
        "limit=1",
        "limit=0",
        "seq_interval=2",
        "filter=_doc_ids&doc_ids=%5B%22mixed%22,%22red-2%22%5D",
        "filter=_selector",
        "filter=_design",
        "filter=_view&view=app/by_number&include_docs=true",
        "filter=app/any",
        "last-event-id=0",
        "feed=longpoll&since=0&timeout=50",
        "feed=longpoll&since=now&timeout=50&heartbeat=20",
        "feed=continuous&timeout=50&include_docs=true&style=all_docs",
        "feed=continuous&heartbeat=20",
        "feed=live&timeout=50",
        "feed=eventsource&timeout=50&include_docs=true",
    ]);
    words.json([
        json!({}),
        json!({ "doc_ids": ids(names) }),
        json!({ "selector": { "_id": { "$gt": null } } }),
        json!({ "selector": { "secret": { "$gt": null } } }),
    ])
}

pub(crate) fn find(names: &Names) -> Words {
    let all = json!({ "_id": { "$gt": null } });
    let bodies = [
        json!({ "selector": all }),
        json!({ "selector": all, "execution_stats": true, "conflicts": true, "limit": 2, "r": 1 }),
        json!({ "selector": all, "fields": ["_id", "title", "_conflicts", "_attachments"] }),
        json!({ "selector": all, "fields": ["secret"] }),
        json!({ "selector": all, "sort": [{ "_id": "desc" }], "skip": 1 }),
        json!({ "selector": { "team": "red" } }),
        json!({ "selector": { "team": "blue" } }),
        json!({ "selector": { "secret": { "$gt": null } } }),
        json!({ "selector": { "$or": [{ "team": "blue" }, { "team": "red" }] }, "update": false }),
        json!({ "selector": { "team": "red" }, "use_index": [names.index, names.index] }),
        json!({ "selector": { "team": "red" }, "use_index": "nothing", "allow_fallback": false }),
        json!({ "selector": { "team": "red" }, "bookmark": "nil", "limit": 1 }),
        json!({ "selector": { "_deleted": true } }),
    ];
    Words::queries(&[""]).json(bodies)
}

pub(crate) fn revs_diff(names: &Names) -> Words {
    let unknown = |generation: usize| format!("{generation}-{}", "f".repeat(32));
    let asked = |revs: &dyn Fn(&[String]) -> Vec<String>| {
        let asked = names
            .documents
            .iter()
            .map(|(id, known)| (id.clone(), json!(revs(known))));
        Value::Object(asked.collect())
    };
    Words::queries(&[""]).json([
        asked(&|_| vec![unknown(9)]),
        asked(&|known| known.to_vec()),
        asked(&|known| [known, &[unknown(1), unknown(4)]].concat()),
    ])
}

pub(crate) fn databases_info(names: &Names) -> Words {
    let keys = [names.db.clone(), names.hidden_db.clone(), "_users".into()];
    Words::queries(NAMES)
        .and([format!("keys={}", quoted(&json!(keys)))])
        .json([json!({ "keys": keys })])
}

pub(crate) fn replicate(names: &Names) -> Words {
    let (from, to) = (names.db.clone(), "elsewhere");
    Words::queries(&[""]).json([json!({ "source": from, "target": to, "create_target": true })])
}

pub(crate) fn maintain(names: &Names) -> Words {
    Words::queries(&[""]).json([json!({}), json!(names.documents), json!(1)])
}

/// `PUT`, `DELETE` and `POST` of a database.
pub(crate) fn created(names: &Names) -> Words {
    let mut bodies = vec![
        json!({ "team": "red" }),
        json!({ "_id": "_design/made", "team": "red" }),
    ];
    bodies.extend(
        ids(names)
            .iter()
            .map(|id| json!({ "_id": id, "team": "red" })),
    );
    bodies.push(json!({ "_id": format!("_local/{}", names.locals[0]), "team": "red" }));
    Words::queries(&["", "batch=ok"]).json(bodies)
}

/// What a stranger would try on one document.
fn guesses(names: &Names, id: &str) -> Vec<Value> {
    let mut guesses = vec![
        json!({}),
        json!({ "team": "red", "title": "probe" }),
        json!({ "_deleted": true }),
        json!({ "_attachments": { "plain": { "stub": true } }, "team": "red" }),
    ];
    for rev in revs(names, id) {
        guesses.push(json!({ "_rev": rev, "team": "red", "title": "probe" }));
        guesses.push(json!({ "_rev": rev, "team": "blue" }));
        guesses.push(json!({ "_rev": rev, "team": "red", "_attachments": { "plain": { "stub": true, "revpos": 1 } } }));
        let (generation, hash) = rev.split_once('-').unwrap();
        let next = generation.parse::<u64>().unwrap() + 1;
        let forged = "e".repeat(32);
        guesses.push(
            json!({ "_rev": format!("{next}-{forged}"), "team": "red", "_deleted": next == 3,
            "_revisions": { "start": next, "ids": [forged, hash] } }),
        );
    }
    guesses
}

pub(crate) fn write(names: &Names, method: Method, id: &str) -> Words {
    let each = revs(names, id).iter().map(|rev| format!("rev={rev}"));
    match method {
        Method::Delete => Words::queries(&["", "rev=1-abc"]).and(each),
        Method::Get | Method::Head | Method::Put | Method::Post | Method::Copy => {
            let guesses = guesses(names, id);
            Words::queries(&["", "new_edits=false", "batch=ok"]).json(guesses)
        }
    }
}

pub(crate) fn bulk_docs(names: &Names) -> Words {
    let all: Vec<Value> = ids(names)
        .iter()
        .flat_map(|id| {
            guesses(names, id).into_iter().map(move |mut guess| {
                guess["_id"] = (*id).clone().into();
                guess
            })
        })
        .collect();
    let locals: Vec<Value> = names
        .locals
        .iter()
        .map(|id| json!({ "_id": format!("_local/{id}") }))
        .collect();
    let bodies = [true, false].map(|new_edits| json!({ "docs": all, "new_edits": new_edits }));
    let [edits, replicated] = bodies;
    Words::queries(&[""]).json([edits, replicated, json!({ "docs": locals })])
}

pub(crate) fn copy(names: &Names, id: &str) -> Words {
    let each = revs(names, id).iter().map(|rev| format!("rev={rev}"));
    Words::queries(&[""]).and(each)
}

pub(crate) fn attach(names: &Names, method: Method, id: &str) -> Words {
    let each = revs(names, id).iter().map(|rev| format!("rev={rev}"));
    let words = Words::queries(&[""]).and(each);
    match method {
        Method::Put => words.bodies(&["probe"]),
        Method::Get | Method::Head | Method::Post | Method::Delete | Method::Copy => words,
    }
}

pub(crate) fn index() -> Words {
    Words::queries(&[""]).json([
        json!({ "index": { "fields": ["secret"] } }),
        json!({ "index": { "fields": ["team"], "partial_filter_selector": { "secret": { "$gt": null } } }, "name": "probe", "ddoc": "probe" }),
    ])
}

pub(crate) fn node(id: &str) -> Words {
    let node = json!({ "probe": true, "metadata": { "nodeId": id, "parents": ["phone"], "nodeAdmins": [] } });
    Words::queries(&[""]).json([json!({}), node])
}
