//! The documents of a `_bulk_docs` body, each judged as written over each other one: what passes has what was sent,
//! and every field that its writer does not see as it was stored.

use std::sync::{Arc, LazyLock};

use couchwarden::caller::{Caller, Role, User, UserName};
use couchwarden::json::{Kind, Value, Visibility};
use couchwarden::policy::{Plan, Policy, PolicySettings, Verdict, WriteRules};
use couchwarden::route::Route;

const RULES: &str = "
[[rule]]
name      = 'own'
databases = ['db']
callers   = { roles = ['team:{team}'] }
permit    = ['replicate']
hide      = ['secret', 'deep.secret', '_attachments.hidden*']
documents = { team = '{team}' }
[[rule]]
name      = 'notes'
databases = ['db']
callers   = { everyone = true }
permit    = ['read', 'update']
change    = ['text', 'deep.*']
documents = { kind = 'note', 'deep.er' = { '$exists' = true } }
[[rule]]
name      = 'sealed'
databases = ['db']
callers   = { everyone = true }
forbid    = ['update', 'delete']
documents = { sealed = true }
[[rule]]
name      = 'never'
databases = ['db']
callers   = { everyone = true }
hide      = ['never', 'list.*.never']
";

/// The most documents of one body: each is judged over each.
const MOST: usize = 6;

static WRITES: LazyLock<WriteRules> = LazyLock::new(|| {
    let files = [("fuzz".to_owned(), RULES.to_owned())];
    let policy = Policy::load(&files, &PolicySettings::default()).expect("the rules are sound");
    let roles = ["team:1", "team:2"].map(|role| Role::parse(role).expect("a role"));
    let user = User::new(UserName::parse("ann").expect("a name"), roles.to_vec());
    let caller = Caller::User(Arc::new(user));
    let route = Route::parse("POST", "/db/_bulk_docs", None).expect("a route");
    let Verdict::Permit(permit) = policy.decide(&caller, route) else {
        panic!("the caller may write");
    };
    let Plan::Write(rules) = permit.into_parts().2 else {
        panic!("each document is judged");
    };
    *rules
});

/// The input is the body.
pub fn bulk(data: &[u8]) {
    let Ok(body) = Value::parse(data) else {
        return;
    };
    let docs = body.get("docs").and_then(Value::as_array);
    let docs: Vec<Value> = docs.into_iter().flatten().take(MOST).cloned().collect();
    for new in &docs {
        let Some(id) = new.get("_id").and_then(Value::as_str) else {
            continue;
        };
        create(new);
        for stored in &docs {
            let mut stored = stored.clone();
            // What is stored under an id has it.
            if let Some(members) = stored.as_object_mut() {
                members.insert("_id", id);
                over(&stored, new);
            }
        }
    }
}

fn create(new: &Value) {
    if let Ok(written) = WRITES.judge(None, new.clone()) {
        assert_eq!(
            written.to_bytes(),
            new.to_bytes(),
            "nothing is put into a new document"
        );
        let shown = cut(&written);
        assert!(
            shown.is_none_or(|shown| shown == written),
            "a hidden field is set: {written}"
        );
    }
}

fn over(stored: &Value, new: &Value) {
    let _ = WRITES.covers(stored, new.get("_deleted").is_some());
    let Ok(written) = WRITES.judge(Some(stored), new.clone()) else {
        return;
    };
    assert_eq!(written.get("_id"), new.get("_id"));
    assert_eq!(Value::parse(&written.to_bytes()).as_ref(), Ok(&written));
    let flag = |document: &Value| document.get("_deleted").and_then(Value::as_bool) == Some(true);
    match (flag(stored), flag(new)) {
        (_, true) => buried(stored, new, &written),
        // A new document over a tombstone.
        (true, false) => assert_eq!(written.to_bytes(), new.to_bytes()),
        (false, false) => updated(stored, new, &written),
    }
}

/// A tombstone keeps what rules decide by, and has nothing hidden beyond that.
fn buried(stored: &Value, new: &Value, written: &Value) {
    for path in WRITES.decision_fields() {
        let place = path.names().expect("these are concrete");
        assert_eq!(written.at(&place), stored.at(&place), "{path} of {written}");
    }
    for (key, value) in written.as_object().expect("a document").iter() {
        let kept = WRITES
            .decision_fields()
            .iter()
            .any(|path| path.top() == Some(key));
        assert!(kept || new.get(key) == Some(value), "{key} of {written}");
    }
}

/// What the writer sees is what he sent, and what he does not see is as it was.
fn updated(stored: &Value, new: &Value, written: &Value) {
    let id = stored
        .get("_id")
        .and_then(Value::as_str)
        .unwrap_or_default();
    // Who writes without reading replaces what his rules show; the fields that no rule shows to anyone stay.
    let Some(fields) = WRITES.reads().judge(id, Some(stored)) else {
        assert_eq!(written.get("never"), stored.get("never"));
        return;
    };
    assert_eq!(&fields.cut_value(written, Kind::Document), new);
    for one in [stored, written] {
        let mut places = Vec::new();
        hidden(&|place| fields.at(place), one, &mut Vec::new(), &mut places);
        for place in places {
            let place: Vec<&str> = place.iter().map(String::as_str).collect();
            assert_eq!(
                written.at(&place),
                stored.at(&place),
                "{place:?} of {written}"
            );
        }
    }
}

/// The hidden places of a document that lie in no array: elements have no names.
fn hidden(
    at: &impl Fn(&[&str]) -> Visibility,
    value: &Value,
    place: &mut Vec<String>,
    found: &mut Vec<Vec<String>>,
) {
    for (key, value) in value
        .as_object()
        .into_iter()
        .flat_map(|object| object.iter())
    {
        place.push(key.to_owned());
        let names: Vec<&str> = place.iter().map(String::as_str).collect();
        match at(&names) {
            Visibility::Hidden => found.push(place.clone()),
            Visibility::Partly => hidden(at, value, place, found),
            Visibility::Visible => {}
        }
        place.pop();
    }
}

/// What the writer would see of a document.
fn cut(document: &Value) -> Option<Value> {
    let id = document
        .get("_id")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let fields = WRITES.reads().judge(id, Some(document))?;
    Some(fields.cut_value(document, Kind::Document))
}
