//! The differences that are meant: what a caller under rules is answered otherwise than CouchDB would over what they
//! may see. Nothing else may differ.
//!
//! Each entry names the words of `docs/guarantees.md` that say so, and how often each is met is told at the end of a run:
//! one that is met no more is to be taken out, here and there.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::compare::{Case, Told};
use super::model::{INDEXES, Twin, see};
use super::requests::Shape;

/// One difference, and how it is taken out of both answers.
pub(super) struct Listed {
    pub(super) name: &'static str,
    /// The words of `docs/guarantees.md`.
    pub(super) told: &'static str,
    pub(super) settle: fn(&Case<'_>, &mut Told, &mut Told),
}

pub(super) const LISTED: [Listed; 34] = [
    Listed {
        name: "refused: hidden fields",
        told: "A query that names a field which may be hidden in some document is `403`",
        settle: hidden_fields,
    },
    Listed {
        name: "refused: absence",
        told: "one that asks for documents without a field in whose place something may be hidden (`a.b`, where `a` is no object)",
        settle: absence,
    },
    Listed {
        name: "refused: combinations of nothing",
        told: "a combination of nothing (`$or: []`) beside or inside another condition where fields are hidden",
        settle: refused_combinations,
    },
    Listed {
        name: "combinations of nothing",
        told: "alone it finds nothing, whatever index would serve it, and beside others what stands in the index that CouchDB takes",
        settle: combinations,
    },
    Listed {
        name: "attachments: decoded",
        told: "An attachment comes decoded, whatever encoding its reader accepts",
        settle: decoded,
    },
    Listed {
        name: "attachments: ranges",
        told: "it is answered whole where several ranges of it are asked for at once",
        settle: several_ranges,
    },
    Listed {
        name: "refused: functions",
        told: "a filter function where fields are hidden, or with `conflicts=true` where leaves fare each by itself",
        settle: functions,
    },
    Listed {
        name: "refused: keys",
        told: "keys outside a pin, and sums of other functions than `_sum`, `_count` and `_stats` without `group=true`",
        settle: keys,
    },
    Listed {
        name: "refused: design documents",
        told: "design documents without `design`",
        settle: design_documents,
    },
    Listed {
        name: "refused: order of parameters",
        told: "`key` beside `startkey` or `endkey`, of which CouchDB takes the later one, is `400`",
        settle: order_of_parameters,
    },
    Listed {
        name: "refused: counts",
        told: "what is in a partition without `info`",
        settle: partitions,
    },
    Listed {
        name: "counts",
        told: "`GET /DB` without `info` tells no counts and no sizes",
        settle: counts,
    },
    Listed {
        name: "ids that are none",
        told: "an id of a `_bulk_get` that is no text is left out, where CouchDB fails",
        settle: no_ids,
    },
    Listed {
        name: "failures",
        told: "what CouchDB itself fails at (`500`) is `502`, or `400` where the request is at fault",
        settle: failures,
    },
    Listed {
        name: "reasons",
        told: "reasons of errors are couchwarden's",
        settle: reasons,
    },
    Listed {
        name: "counters",
        told: "Counters (`total_rows`, `offset`, `pending`) are left out",
        settle: counters,
    },
    Listed {
        name: "sequences",
        told: "sequences are sealed, and left out of lists and views",
        settle: sequences,
    },
    Listed {
        name: "bookmarks",
        told: "bookmarks are sealed",
        settle: bookmarks,
    },
    Listed {
        name: "warnings",
        told: "`warning` and `execution_stats` of a find are left out",
        settle: warnings,
    },
    Listed {
        name: "ancestors",
        told: "`possible_ancestors` are left out",
        settle: ancestors,
    },
    Listed {
        name: "local sequences",
        told: "`_local_seq` is left out",
        settle: local_sequences,
    },
    Listed {
        name: "batches",
        told: "A batch (`_bulk_get`) has an entry without documents for what is hidden or absent, without CouchDB's error, and one of none is JSON",
        settle: batches,
    },
    Listed {
        name: "named twice",
        told: "A revision that is named twice is answered once",
        settle: named_twice,
    },
    Listed {
        name: "ends",
        told: "A feed without `style=all_docs` also tells of the end of a leaf that its caller could see where the winner is hidden",
        settle: ends,
    },
    Listed {
        name: "stubs",
        told: "with it, that leaf's attachments come as stubs",
        settle: stubs,
    },
    Listed {
        name: "filtered leaves",
        told: "with a filter only leaves that the filter takes are known",
        settle: filtered_leaves,
    },
    Listed {
        name: "explained indexes",
        told: "`_explain` names no index that is partial or over hidden fields, nor what follows from one",
        settle: explained_indexes,
    },
    Listed {
        name: "tags",
        told: "An answer has no entity tag where conflicts are asked for, whether there are some or not",
        settle: tags,
    },
    Listed {
        name: "skip of what is not sorted",
        told: "`skip` counts beside `sorted=false`, where CouchDB forgets it",
        settle: skip_unsorted,
    },
    Listed {
        name: "order: finds",
        told: "the order of found documents without `sort`, or of those that sort alike",
        settle: order_of_finds,
    },
    Listed {
        name: "order: ids",
        told: "whether ids are compared by their bytes or as they collate",
        settle: order_of_ids,
    },
    Listed {
        name: "order: conflicts",
        told: "the order of `_conflicts`, of the leaves of a document, and of missing revisions",
        settle: order_of_conflicts,
    },
    Listed {
        name: "alike keys",
        told: "which of the keys of a group that collate alike is shown",
        settle: alike_keys,
    },
    Listed {
        name: "what can't be added",
        told: "which of the values of a group that can't be added is named",
        settle: not_added,
    },
];

/// Both answers, where one is enough to know.
fn both(got: &mut Told, wanted: &mut Told, settle: impl Fn(&mut Told)) {
    settle(got);
    settle(wanted);
}

fn refused(wrong: bool, status: u16, got: &mut Told, wanted: &mut Told) {
    if wrong && got.status == status && !got.cut {
        *wanted = got.clone();
    }
}

fn hidden_fields(case: &Case<'_>, got: &mut Told, wanted: &mut Told) {
    let asked = |name: &str| case.request.member(name);
    let mut named = BTreeSet::new();
    for name in ["selector", "sort"] {
        asked(name)
            .into_iter()
            .for_each(|value| fields(value, &mut named));
    }
    for field in asked("fields")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        named.extend(field.as_str().map(str::to_owned));
    }
    let hidden = named.iter().any(|field| !case.rules.may_name(field));
    let index = asked("use_index").is_some() && case.rules.hides_fields();
    refused(hidden || index, 403, got, wanted);
}

fn absence(case: &Case<'_>, got: &mut Told, wanted: &mut Told) {
    let mut asked = BTreeSet::new();
    if let Some(selector) = case.request.member("selector") {
        fields(selector, &mut asked);
    }
    let text = case.request.member("selector").map(Value::to_string);
    let exists = text.is_some_and(|text| text.contains("$exists"));
    let hidden = asked.iter().any(|field| !case.rules.may_miss(field));
    refused(exists && hidden, 403, got, wanted);
}

/// Is there a combination of nothing in this selector, and nothing else?
fn combines_nothing(selector: &Value) -> Option<bool> {
    let Value::Object(members) = selector else {
        return None;
    };
    let found = members.iter().find_map(|(name, value)| {
        let combines = matches!(name.as_str(), "$and" | "$or" | "$nor");
        match value.as_array().filter(|_| combines) {
            Some(parts) if parts.is_empty() => Some(true),
            Some(parts) => parts.iter().find_map(combines_nothing).map(|_| false),
            None if name == "$not" || !name.starts_with('$') => combines_nothing(value),
            None => None,
        }
    });
    found.map(|alone| alone && members.len() == 1)
}

fn combination(case: &Case<'_>) -> Option<bool> {
    let finds = matches!(case.request.endpoint, "_find" | "_explain");
    combines_nothing(case.request.member("selector").filter(|_| finds)?)
}

fn refused_combinations(case: &Case<'_>, got: &mut Told, wanted: &mut Told) {
    let others = combination(case) == Some(false);
    refused(others && case.rules.hides_fields(), 403, got, wanted);
}

fn combinations(case: &Case<'_>, got: &mut Told, wanted: &mut Told) {
    let found = match combination(case) {
        None => false,
        Some(true) if case.request.endpoint == "_find" => got.json["docs"] == json!([]),
        Some(_) => true,
    };
    if found && got.status == 200 && !got.cut {
        *wanted = got.clone();
    }
}

fn decoded(case: &Case<'_>, got: &mut Told, wanted: &mut Told) {
    let encoded =
        case.request.endpoint == "attachment" && wanted.json.get("content-encoding").is_some();
    let plain = got.json.get("content-encoding").is_none();
    let first = wanted.json["first"]["bytes"].as_str();
    if case.request.endpoint == "attachment" && first.is_some_and(|text| text.starts_with('\u{1f}'))
    {
        wanted.json["first"] = got.json["first"].clone();
    }
    if encoded && plain && got.status == wanted.status {
        without(&["content-encoding", "content-length", "body"], got, wanted);
    }
}

fn several_ranges(case: &Case<'_>, got: &mut Told, wanted: &mut Told) {
    let mut headers = case.request.headers.iter();
    let several = headers.any(|(name, value)| *name == "range" && value.contains(','));
    if several && got.status == 200 && matches!(wanted.status, 206 | 416) {
        *wanted = got.clone();
    }
}

/// The fields that a selector or a sort names.
fn fields(value: &Value, named: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                if !name.starts_with('$') {
                    named.insert(name.clone());
                }
                fields(value, named);
            }
        }
        Value::Array(elements) => elements.iter().for_each(|value| fields(value, named)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn functions(case: &Case<'_>, got: &mut Told, wanted: &mut Told) {
    let filter = case.request.parameter("filter");
    let function = filter.is_some_and(|name| name == "_view" || !name.starts_with('_'));
    let wrong = case.rules.hides_fields() || case.request.has("conflicts");
    refused(function && wrong, 403, got, wanted);
}

fn keys(case: &Case<'_>, got: &mut Told, wanted: &mut Told) {
    let view = case.request.path.contains("/_view/");
    let others = ["/script", "/distinct"];
    let others = others.iter().any(|name| case.request.path.contains(name));
    refused(
        view && (case.rules.pin.is_some() || others),
        403,
        got,
        wanted,
    );
}

fn design_documents(case: &Case<'_>, got: &mut Told, wanted: &mut Told) {
    let view = case.request.path.contains("/_view/");
    refused(
        !view && case.request.path.starts_with("/_design"),
        403,
        got,
        wanted,
    );
}

fn order_of_parameters(case: &Case<'_>, got: &mut Told, wanted: &mut Told) {
    let names = ["startkey", "start_key", "endkey", "end_key"];
    let range = names
        .iter()
        .any(|name| case.request.parameter(name).is_some());
    refused(
        range && case.request.parameter("key").is_some(),
        400,
        got,
        wanted,
    );
}

fn partitions(case: &Case<'_>, got: &mut Told, wanted: &mut Told) {
    let counts = case.rules.counts;
    refused(
        case.request.endpoint == "partition" && !counts,
        403,
        got,
        wanted,
    );
}

fn counts(case: &Case<'_>, got: &mut Told, wanted: &mut Told) {
    if case.request.endpoint == "database" && !case.rules.counts {
        let names = [
            "doc_count",
            "doc_del_count",
            "sizes",
            "purge_seq",
            "compact_running",
        ];
        without(&names, got, wanted);
    }
}

fn no_ids(case: &Case<'_>, got: &mut Told, wanted: &mut Told) {
    let docs = case.request.member("docs").and_then(Value::as_array);
    let none = |doc: &Value| doc.get("id").is_some_and(|id| !id.is_string());
    if case.request.endpoint == "_bulk_get" && wanted.status == 500 && got.status == 200 {
        let none = docs.is_some_and(|docs| docs.iter().any(none));
        if none {
            *wanted = got.clone();
        }
    }
}

fn failures(case: &Case<'_>, got: &mut Told, wanted: &mut Told) {
    if case.fails || wanted.status == 500 && got.status == 400 {
        *wanted = got.clone();
    }
}

fn reasons(_: &Case<'_>, got: &mut Told, wanted: &mut Told) {
    both(got, wanted, |told| {
        if let Some(members) = told.json.as_object_mut()
            && told.status >= 400
        {
            members.retain(|name, _| name == "error");
        }
    });
}

fn without(names: &[&str], got: &mut Told, wanted: &mut Told) {
    both(got, wanted, |told| leave_out(&mut told.json, names));
}

fn leave_out(json: &mut Value, names: &[&str]) {
    match json {
        Value::Object(members) => {
            members.retain(|name, _| !names.contains(&name.as_str()));
            members
                .values_mut()
                .for_each(|value| leave_out(value, names));
        }
        Value::Array(elements) => elements
            .iter_mut()
            .for_each(|value| leave_out(value, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn counters(case: &Case<'_>, got: &mut Told, wanted: &mut Told) {
    // `_index` counts what it lists.
    if case.request.endpoint != "_index" {
        without(&["total_rows", "offset", "pending"], got, wanted);
    }
}

fn sequences(_: &Case<'_>, got: &mut Told, wanted: &mut Told) {
    without(&["update_seq", "last_seq", "seq"], got, wanted);
}

fn bookmarks(_: &Case<'_>, got: &mut Told, wanted: &mut Told) {
    without(&["bookmark"], got, wanted);
}

fn warnings(_: &Case<'_>, got: &mut Told, wanted: &mut Told) {
    without(&["warning", "execution_stats"], got, wanted);
}

fn ancestors(_: &Case<'_>, got: &mut Told, wanted: &mut Told) {
    without(&["possible_ancestors"], got, wanted);
}

fn local_sequences(_: &Case<'_>, got: &mut Told, wanted: &mut Told) {
    without(&["_local_seq"], got, wanted);
}

fn batches(case: &Case<'_>, got: &mut Told, wanted: &mut Told) {
    if case.request.endpoint != "_bulk_get" {
        return;
    }
    // To a batch of none in several parts CouchDB sends nothing at all.
    if wanted.json["bytes"] == "" && got.status == wanted.status {
        wanted.json = json!({ "results": [] });
    }
    both(got, wanted, |told| {
        if let Some(parts) = told.json.as_array_mut() {
            parts.retain(|part| part.get("error").is_none());
        }
        let Some(results) = rows_of(told) else { return };
        for entry in results.iter_mut() {
            if let Some(docs) = entry["docs"].as_array_mut() {
                docs.retain(|doc| doc.get("error").is_none());
            }
        }
    });
}

/// CouchDB calls a revision missing that is stored and asked for twice.
fn named_twice(case: &Case<'_>, got: &mut Told, wanted: &mut Told) {
    let request = case.request;
    if let Some(revs) = request.parameter("open_revs").filter(|revs| *revs != "all") {
        let revs: Vec<Value> = serde_json::from_str(revs).unwrap();
        both(got, wanted, |told| {
            let rows = told.json.as_array_mut();
            rows.into_iter().for_each(|rows| {
                rows.retain(|row| row.get("missing").is_none_or(|rev| !is_twice(rev, &revs)));
            });
        });
    }
    let asked = request.body.as_ref().and_then(Value::as_object);
    let asked = asked.filter(|_| matches!(request.endpoint, "_revs_diff" | "_missing_revs"));
    for (id, revs) in asked.into_iter().flatten() {
        let revs = revs.as_array().unwrap();
        both(got, wanted, |told| {
            each_missing(told, request.endpoint, id, |missing| {
                missing.retain(|rev| !is_twice(rev, revs));
            });
        });
    }
}

fn is_twice(rev: &Value, of: &[Value]) -> bool {
    let rev = spelt(rev);
    of.iter().filter(|other| spelt(other) == rev).count() > 1
}

/// A revision as CouchDB spells it.
fn spelt(rev: &Value) -> String {
    let rev = rev.as_str().unwrap_or_default();
    let rev = rev.strip_prefix('+').unwrap_or(rev).trim_start_matches('0');
    let digest = rev
        .split_once('-')
        .is_some_and(|(number, digest)| !number.is_empty() && digest.len() == 32);
    if digest {
        rev.to_lowercase()
    } else {
        rev.to_owned()
    }
}

/// Of one document, the revisions that are missing; without any there is no entry.
fn each_missing(told: &mut Told, endpoint: &str, id: &str, settle: impl Fn(&mut Vec<Value>)) {
    let entries = match endpoint {
        "_revs_diff" => Some(&mut told.json),
        _ => told.json.get_mut("missing_revs"),
    };
    let Some(entries) = entries.and_then(Value::as_object_mut) else {
        return;
    };
    let missing = match entries.get_mut(id) {
        Some(Value::Object(members)) => members.get_mut("missing"),
        list => list,
    };
    let Some(missing) = missing.and_then(Value::as_array_mut) else {
        return;
    };
    settle(missing);
    if missing.is_empty() {
        entries.remove(id);
    }
}

/// May the caller see the winner of the document of this row?
fn winner_is_shown(case: &Case<'_>, row: &Value) -> bool {
    let winner = row["id"].as_str().and_then(|id| case.data.winner(id));
    winner.is_some_and(|(id, leaf)| see(case.rules, id, leaf).is_some())
}

fn rows_of(told: &mut Told) -> Option<&mut Vec<Value>> {
    told.json.get_mut("results").and_then(Value::as_array_mut)
}

fn ends(case: &Case<'_>, got: &mut Told, _: &mut Told) {
    if case.request.endpoint == "_changes"
        && case.request.twin == Twin::Winners
        && let Some(rows) = rows_of(got)
    {
        rows.retain(|row| winner_is_shown(case, row) || row["deleted"] != true);
    }
}

/// Where the winner is hidden, its place in a feed is taken by another leaf.
fn stubs(case: &Case<'_>, got: &mut Told, wanted: &mut Told) {
    if case.request.endpoint != "_changes" {
        return;
    }
    both(got, wanted, |told| {
        for row in rows_of(told).into_iter().flatten() {
            let shown = winner_is_shown(case, row);
            let attachments = row.pointer_mut("/doc/_attachments").filter(|_| !shown);
            let attachments = attachments.and_then(Value::as_object_mut);
            for attachment in attachments.into_iter().flat_map(|all| all.values_mut()) {
                if let Some(members) = attachment.as_object_mut() {
                    let bytes = ["data", "stub", "length", "encoding", "encoded_length"];
                    members.retain(|name, _| !bytes.contains(&name.as_str()));
                }
            }
        }
    });
}

fn filtered_leaves(case: &Case<'_>, got: &mut Told, wanted: &mut Told) {
    let filter = case.request.parameter("filter");
    let chooses = filter.is_some_and(|filter| filter != "_doc_ids");
    if !chooses || case.request.parameter("style") != Some("all_docs") {
        return;
    }
    both(got, wanted, |told| {
        for row in rows_of(told).into_iter().flatten() {
            let shown = winner_is_shown(case, row);
            if let Some(row) = row.as_object_mut().filter(|_| !shown) {
                row.retain(|name, _| name != "doc" && name != "deleted");
            }
        }
    });
}

fn explained_indexes(case: &Case<'_>, got: &mut Told, wanted: &mut Told) {
    if case.request.endpoint != "_explain" {
        return;
    }
    let closed = |name: &str| {
        let mut indexes = INDEXES.iter();
        indexes.any(|index| {
            name == format!("_design/{}", index.name)
                && (index.of_type.is_some() || !index.is_open(case.rules))
        })
    };
    both(got, wanted, |told| {
        let candidates = told.json.get_mut("index_candidates");
        if let Some(candidates) = candidates.and_then(Value::as_array_mut) {
            candidates.retain(|one| !one["index"]["ddoc"].as_str().is_some_and(closed));
        }
    });
    let chosen = |told: &Told| told.json["index"]["ddoc"].as_str().is_some_and(closed);
    if got.json["index"].is_null() && got.status == 200 || chosen(wanted) {
        let names = ["index", "mrargs", "range", "covering", "index_candidates"];
        without(&names, got, wanted);
    }
}

fn tags(case: &Case<'_>, got: &mut Told, wanted: &mut Told) {
    let names = ["conflicts", "deleted_conflicts", "meta"];
    let asked = names.iter().any(|name| case.request.has(name));
    if asked && got.json.get("again").is_none() && wanted.json["again"] == 304 {
        wanted.json = wanted.json["first"].take();
    }
}

fn skip_unsorted(case: &Case<'_>, got: &mut Told, wanted: &mut Told) {
    let skips = case.request.parameter("skip").is_some() || case.request.shape == Shape::Walk;
    if skips && case.request.parameter("sorted") == Some("false") && got.status == wanted.status {
        wanted.json = got.json.clone();
    }
}

fn order_of_finds(case: &Case<'_>, got: &mut Told, wanted: &mut Told) {
    let sort = case.request.member("sort");
    let by_id = sort.is_some_and(|sort| sort[0].get("_id").is_some());
    if case.request.endpoint == "_find" && !by_id {
        both(got, wanted, |told| {
            if let Some(docs) = told.json.get_mut("docs").and_then(Value::as_array_mut) {
                docs.sort_by_key(Value::to_string);
            }
        });
    }
}

/// CouchDB compares them by their bytes in the list of all documents, and as they collate everywhere else.
fn order_of_ids(case: &Case<'_>, got: &mut Told, wanted: &mut Told) {
    let selector = case.request.member("selector").map(Value::to_string);
    let compared = |text: String| text.contains("\"_id\":{\"$");
    if case.request.endpoint != "_find" || !selector.is_some_and(compared) {
        return;
    }
    let agrees = |doc: &Value| {
        let id = doc["_id"].as_str();
        id.is_none_or(|id| id.starts_with(|first: char| first.is_ascii_lowercase()))
    };
    both(got, wanted, |told| {
        if let Some(docs) = told.json.get_mut("docs").and_then(Value::as_array_mut) {
            docs.retain(agrees);
        }
    });
}

fn order_of_conflicts(case: &Case<'_>, got: &mut Told, wanted: &mut Told) {
    both(got, wanted, |told| {
        sort_conflicts(&mut told.json);
        if let Some(leaves) = told.json.as_array_mut()
            && case.request.shape == Shape::Unordered
        {
            leaves.sort_by_key(Value::to_string);
        }
        let asked = case.request.body.as_ref().and_then(Value::as_object);
        let endpoint = case.request.endpoint;
        let asked = asked.filter(|_| matches!(endpoint, "_revs_diff" | "_missing_revs"));
        for (id, _) in asked.into_iter().flatten() {
            each_missing(told, endpoint, id, |missing| {
                missing.sort_by_key(Value::to_string)
            });
        }
        if endpoint == "_bulk_get" {
            for entry in rows_of(told).into_iter().flatten() {
                if let Some(docs) = entry["docs"].as_array_mut() {
                    docs.sort_by_key(Value::to_string);
                }
            }
        }
    });
}

fn sort_conflicts(json: &mut Value) {
    match json {
        Value::Object(members) => {
            for name in ["_conflicts", "_deleted_conflicts"] {
                if let Some(revs) = members.get_mut(name).and_then(Value::as_array_mut) {
                    revs.sort_by_key(Value::to_string);
                }
            }
            members.values_mut().for_each(sort_conflicts);
        }
        Value::Array(elements) => elements.iter_mut().for_each(sort_conflicts),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The groups of a reduced view, of one query or of several.
fn each_group(told: &mut Told, settle: impl Fn(&mut Value)) {
    each_row(told.json.get_mut("rows"), &settle);
    for one in rows_of(told).into_iter().flatten() {
        each_row(one.get_mut("rows"), &settle);
    }
}

fn each_row(rows: Option<&mut Value>, settle: &impl Fn(&mut Value)) {
    let rows = rows.and_then(Value::as_array_mut).into_iter().flatten();
    for row in rows.filter(|row| row.get("id").is_none() && row.get("value").is_some()) {
        settle(row);
    }
}

fn alike_keys(_: &Case<'_>, got: &mut Told, wanted: &mut Told) {
    both(got, wanted, |told| {
        each_group(told, |row| {
            if let Some(key) = row.get_mut("key") {
                let text = key.to_string().replace('\u{ad}', "");
                *key = serde_json::from_str(&text).unwrap();
            }
        });
    });
}

fn not_added(_: &Case<'_>, got: &mut Told, wanted: &mut Told) {
    both(got, wanted, |told| {
        each_group(told, |row| {
            if row["value"]["error"] == "builtin_reduce_error" {
                row["value"]["caused_by"].take();
            }
        });
    });
}

#[test]
fn what_is_listed_is_told() {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let guarantees = words(include_str!("../../../docs/guarantees.md"));
    for listed in &LISTED {
        assert!(guarantees.contains(&words(listed.told)), "{}", listed.told);
    }
}
