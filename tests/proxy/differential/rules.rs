//! Rules drawn at random, in the words of a policy file and as the model reads them: slow and obvious.

use fastrand::Rng;
use serde_json::{Map, Value, json};

use super::data::Data;

/// What the caller may do: rules that permit, what is forbidden again, and what is hidden.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) permits: Vec<Permit>,
    /// Documents that a `forbid` takes away.
    pub(super) forbid: Option<Condition>,
    /// Paths that a rule hides which only hides.
    pub(super) hide: Vec<&'static str>,
    /// Exact keys, or first elements of keys, that views are pinned to.
    pub(super) pin: Option<Vec<&'static str>>,
    /// Whether the caller may be told how much there is.
    pub(super) counts: bool,
}

/// A rule that permits reading.
#[derive(Debug, Clone)]
pub(super) struct Permit {
    pub(super) documents: Option<Condition>,
    pub(super) hide: Vec<&'static str>,
    /// Nothing but this is shown, where it is given.
    pub(super) show: Option<Vec<&'static str>>,
}

/// A condition on a document.
#[derive(Debug, Clone)]
pub(super) enum Condition {
    /// A field of the top level equals this text.
    Is(&'static str, &'static str),
    /// It is there and differs.
    IsNot(&'static str, &'static str),
    /// One of these.
    In(&'static str, Vec<&'static str>),
    /// The field is there, or is not.
    Exists(&'static str, bool),
    /// The id begins so.
    IdBegins(&'static str),
    /// A list holds this.
    Holds(&'static str, Value),
    /// A number above this.
    Above(&'static str, i32),
    Any(Vec<Self>),
    All(Vec<Self>),
    Not(Box<Self>),
}

const HIDDEN: [&[&str]; 8] = [
    &[],
    &[],
    &["secret"],
    &["nested.hidden"],
    &["list.*.hidden", "secret"],
    &["n"],
    &["_attachments"],
    &["tags", "nested.hidden"],
];

const SHOWN: [&[&str]; 4] = [
    &["type", "n"],
    &["type", "owner", "nested.shown", "_attachments"],
    &["tags", "list.*.shown", "type"],
    &["type", "n", "owner", "tags", "nested", "list"],
];

/// Views whose rows are judged by their documents, and views that are summed, of which the pin alone decides.
const ROWS: &str = r#""view:app/by_n", "view:app/by_type", "view:app/linked", "view:parts/by_n", "view:parts/by_type", "view:parts/linked""#;
const SUMS: &str = r#""view:app/sums", "view:app/stats", "view:app/count", "view:app/script", "view:app/distinct", "view:app/mixed", "view:parts/sums", "view:parts/stats", "view:parts/count", "view:parts/script", "view:parts/distinct", "view:parts/mixed""#;

impl Condition {
    fn draw(random: &mut Rng, data: &Data, depth: u32) -> Self {
        let kinds = if depth == 0 { 7 } else { 10 };
        match random.u32(0..kinds) {
            0 => Self::Is("type", ["a", "b"][random.usize(0..2)]),
            1 => Self::IsNot("owner", ["walt", "alice"][random.usize(0..2)]),
            2 => Self::In("type", vec!["a", "c"]),
            3 => Self::Exists(["secret", "owner", "n"][random.usize(0..3)], random.bool()),
            4 if data.partitioned => Self::IdBegins(["p:a", "q:", "p:"][random.usize(0..3)]),
            4 => Self::IdBegins(["a", "c", "b"][random.usize(0..3)]),
            5 => Self::Holds("tags", [json!(1), json!("a")][random.usize(0..2)].clone()),
            6 => Self::Above("n", random.i32(-1..3)),
            7 => Self::Any(
                (0..2)
                    .map(|_| Self::draw(random, data, depth - 1))
                    .collect(),
            ),
            8 => Self::All(
                (0..2)
                    .map(|_| Self::draw(random, data, depth - 1))
                    .collect(),
            ),
            _ => Self::Not(Box::new(Self::draw(random, data, depth - 1))),
        }
    }

    /// As a Mango selector.
    fn selector(&self) -> Value {
        match self {
            Self::Is(field, text) => json!({ *field: { "$eq": text } }),
            Self::IsNot(field, text) => json!({ *field: { "$ne": text } }),
            Self::In(field, texts) => json!({ *field: { "$in": texts } }),
            Self::Exists(field, there) => json!({ *field: { "$exists": there } }),
            Self::IdBegins(text) => json!({ "_id": { "$pattern": [format!("{text}*")] } }),
            Self::Holds(field, value) => json!({ *field: { "$elemMatch": { "$eq": value } } }),
            Self::Above(field, number) => json!({ *field: { "$gt": number } }),
            Self::Any(of) => json!({ "$or": of.iter().map(Self::selector).collect::<Vec<_>>() }),
            Self::All(of) => json!({ "$and": of.iter().map(Self::selector).collect::<Vec<_>>() }),
            Self::Not(inner) => json!({ "$not": inner.selector() }),
        }
    }

    /// The fields that it names.
    fn fields(&self) -> Vec<&'static str> {
        match self {
            Self::Is(field, _)
            | Self::IsNot(field, _)
            | Self::In(field, _)
            | Self::Exists(field, _)
            | Self::Holds(field, _)
            | Self::Above(field, _) => vec![field],
            Self::IdBegins(_) => Vec::new(),
            Self::Any(of) | Self::All(of) => of.iter().flat_map(Self::fields).collect(),
            Self::Not(inner) => inner.fields(),
        }
    }

    /// Does a document with this id and body fulfil it?
    fn holds(&self, id: &str, body: &Map<String, Value>) -> bool {
        match self {
            Self::Is(field, text) => body.get(*field).is_some_and(|value| spelt(value) == *text),
            Self::IsNot(field, text) => body.get(*field).is_some_and(|value| spelt(value) != *text),
            Self::In(field, texts) => body
                .get(*field)
                .is_some_and(|value| texts.iter().any(|text| value == text)),
            Self::Exists(field, there) => body.contains_key(*field) == *there,
            Self::IdBegins(text) => id.starts_with(text),
            Self::Holds(field, wanted) => body
                .get(*field)
                .and_then(Value::as_array)
                .is_some_and(|list| list.iter().any(|value| value == wanted)),
            Self::Above(field, number) => match body.get(*field) {
                None | Some(Value::Null | Value::Bool(_)) => false,
                Some(Value::Number(value)) => value.as_f64().unwrap() > f64::from(*number),
                // Texts, lists and objects collate behind all numbers.
                Some(Value::String(_) | Value::Array(_) | Value::Object(_)) => true,
            },
            Self::Any(of) => of.iter().any(|condition| condition.holds(id, body)),
            Self::All(of) => of.iter().all(|condition| condition.holds(id, body)),
            Self::Not(inner) => inner.fails(id, body),
        }
    }

    /// Does it fulfil the opposite? As in Mango, a field must be there for the opposite of its test to hold.
    fn fails(&self, id: &str, body: &Map<String, Value>) -> bool {
        match self {
            Self::Is(field, _)
            | Self::IsNot(field, _)
            | Self::In(field, _)
            | Self::Holds(field, _)
            | Self::Above(field, _) => body.contains_key(*field) && !self.holds(id, body),
            Self::Exists(..) | Self::IdBegins(_) => !self.holds(id, body),
            Self::Any(of) => of.iter().all(|condition| condition.fails(id, body)),
            Self::All(of) => of.iter().any(|condition| condition.fails(id, body)),
            Self::Not(inner) => inner.holds(id, body),
        }
    }
}

impl Rules {
    pub(super) fn draw(random: &mut Rng, data: &Data) -> Self {
        let conditions = random.u32(0..4);
        let hide = HIDDEN[random.usize(0..HIDDEN.len())];
        let permits = (0..random.usize(1..3))
            .map(|_| Permit {
                documents: (conditions > 0).then(|| Condition::draw(random, data, 2)),
                hide: HIDDEN[random.usize(0..HIDDEN.len())].to_vec(),
                show: (random.u32(0..6) == 0).then(|| SHOWN[random.usize(0..SHOWN.len())].to_vec()),
            })
            .collect();
        Self {
            permits,
            forbid: (random.u32(0..3) == 0).then(|| Condition::draw(random, data, 1)),
            hide: if random.bool() {
                hide.to_vec()
            } else {
                Vec::new()
            },
            pin: (random.u32(0..3) == 0).then(|| vec!["a", "1\u{ad}"]),
            counts: random.u32(0..4) == 0,
        }
    }

    /// Do rules of this round hide fields from the caller?
    pub(super) fn hides_fields(&self) -> bool {
        let whole = |permit: &Permit| permit.hide.is_empty() && permit.show.is_none();
        !self.hide.is_empty() || !self.everywhere(whole)
    }

    /// May a query name this field, whatever document it is about?
    pub(super) fn may_name(&self, field: &str) -> bool {
        let steps = steps(field);
        let apart = |path: &&str| {
            let path = self::steps(path);
            !begins(&steps, &path) && !begins(&path, &steps)
        };
        let shows = |permit: &Permit| match &permit.show {
            Some(shown) => shown.iter().any(|path| begins(&steps, &self::steps(path))),
            None => permit.hide.iter().all(&apart),
        };
        field == "_id" || self.hide.iter().all(apart) && self.everywhere(shows)
    }

    /// May a query ask for documents without this field? Not where something that is no object may be hidden above it.
    pub(super) fn may_miss(&self, field: &str) -> bool {
        let steps: Vec<String> = steps(field).into_iter().map(str::to_owned).collect();
        (1..steps.len()).all(|above| {
            self.everywhere(|permit| {
                let permits = vec![permit.clone()];
                let hide = self.hide.clone();
                Sight { permits, hide }.shows(&steps[..above], false)
            })
        })
    }

    /// Does one of the rules show this that are about all documents, or else each of them?
    fn everywhere(&self, shows: impl Fn(&Permit) -> bool) -> bool {
        let (some, all): (Vec<&Permit>, Vec<&Permit>) = self
            .permits
            .iter()
            .partition(|permit| permit.documents.is_some());
        match all.is_empty() {
            true => some.into_iter().all(shows),
            false => all.into_iter().any(shows),
        }
    }

    /// The policy file. `$rita` is the caller, `@real` the database.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for (at, permit) in self.permits.iter().enumerate() {
            text += &rule(
                &format!("reads-{at}"),
                &format!("permit = [\"read\", \"changes\", \"find\", \"index\", {ROWS}]"),
            );
            text += &self.keys();
            match &permit.show {
                Some(show) => text += &format!("show = {}\n", json!(show)),
                None if permit.hide.is_empty() => {}
                None => text += &format!("hide = {}\n", json!(permit.hide)),
            }
            if let Some(condition) = &permit.documents {
                text += &format!("documents = {}\n", toml(&condition.selector()));
            }
        }
        text += &rule("sums", &format!("permit = [{SUMS}]\nreduce = true"));
        text += &self.keys();
        if self.counts {
            text += &rule("counts", "permit = [\"info\"]");
        }
        if let Some(condition) = &self.forbid {
            text += &rule(
                "forbidden",
                &format!("forbid = [\"read\", \"changes\", \"find\", {ROWS}]"),
            );
            text += &format!("documents = {}\n", toml(&condition.selector()));
        }
        if !self.hide.is_empty() {
            text += &rule("hidden", &format!("hide = {}", json!(self.hide)));
        }
        text
    }

    fn keys(&self) -> String {
        self.pin
            .as_ref()
            .map(|pin| format!("keys = {}\n", json!(pin)))
            .unwrap_or_default()
    }

    /// What the caller sees of a revision: nothing, or its body without what is hidden.
    pub(super) fn see(&self, id: &str, body: &Map<String, Value>) -> Option<Map<String, Value>> {
        let sight = self.sight(id, body)?;
        let mut seen = body.clone();
        sight.cut_document(&mut seen);
        Some(seen)
    }

    /// The fields by which they decide.
    pub(super) fn decides_by(&self) -> Vec<&'static str> {
        let permits = self.permits.iter();
        let conditions = permits.filter_map(|permit| permit.documents.as_ref());
        conditions
            .chain(&self.forbid)
            .flat_map(Condition::fields)
            .collect()
    }

    /// What is shown of a document; `None`: nothing.
    pub(super) fn sight(&self, id: &str, body: &Map<String, Value>) -> Option<Sight> {
        let holds = |condition: &Condition| condition.holds(id, body);
        if self.forbid.as_ref().is_some_and(holds) {
            return None;
        }
        let shows = |permit: &&Permit| permit.documents.as_ref().is_none_or(holds);
        let permits: Vec<Permit> = self.permits.iter().filter(shows).cloned().collect();
        let hide = self.hide.clone();
        (!permits.is_empty()).then_some(Sight { permits, hide })
    }

    /// What is shown of a value where only the rules that hide are about it.
    pub(super) fn hidden_everywhere(&self) -> Sight {
        let permits = vec![Permit {
            documents: None,
            hide: Vec::new(),
            show: None,
        }];
        let hide = self.hide.clone();
        Sight { permits, hide }
    }

    /// Every rule of which one could be left out.
    pub(super) fn simpler(&self) -> Vec<Self> {
        let mut all = Vec::new();
        for at in 0..self.permits.len() {
            if self.permits.len() > 1 {
                let mut less = self.clone();
                less.permits.remove(at);
                all.push(less);
            }
            if self.permits[at].documents.is_some() {
                let mut less = self.clone();
                less.permits[at].documents = None;
                all.push(less);
            }
            if !self.permits[at].hide.is_empty() {
                let mut less = self.clone();
                less.permits[at].hide.clear();
                all.push(less);
            }
            if self.permits[at].show.is_some() {
                let mut less = self.clone();
                less.permits[at].show = None;
                all.push(less);
            }
        }
        if self.forbid.is_some() {
            all.push(Self {
                forbid: None,
                ..self.clone()
            });
        }
        if !self.hide.is_empty() {
            all.push(Self {
                hide: Vec::new(),
                ..self.clone()
            });
        }
        if self.pin.is_some() {
            all.push(Self {
                pin: None,
                ..self.clone()
            });
        }
        all
    }
}

/// Texts are compared as CouchDB collates them: a soft hyphen tells no difference.
fn spelt(value: &Value) -> String {
    value.as_str().unwrap_or_default().replace('\u{ad}', "")
}

fn rule(name: &str, what: &str) -> String {
    format!(
        "\n[[rule]]\nname = \"{name}\"\ndatabases = [\"@real\"]\ncallers = {{ names = [\"$rita\"] }}\n{what}\n"
    )
}

/// Which fields of a document are shown: those that one of these shows, and that nothing hides from everybody.
#[derive(Debug, Clone)]
pub(super) struct Sight {
    permits: Vec<Permit>,
    hide: Vec<&'static str>,
}

/// Members that no rule is about.
const OWN: [&str; 8] = [
    "_id",
    "_rev",
    "_deleted",
    "_revisions",
    "_revs_info",
    "_conflicts",
    "_deleted_conflicts",
    "_local_seq",
];

impl Sight {
    pub(super) fn cut_document(&self, document: &mut Map<String, Value>) {
        document.retain(|name, value| {
            OWN.contains(&name.as_str()) || self.keep_member(value, std::slice::from_ref(name))
        });
    }

    /// Of a scalar of which nothing is shown, `null` is left.
    pub(super) fn cut_value(&self, value: &mut Value) {
        if !self.keep(value, &[]) {
            value.take();
        }
    }

    /// Whether a member stays: an object of which nothing is left goes.
    fn keep_member(&self, value: &mut Value, place: &[String]) -> bool {
        let was_empty = *value == json!({});
        self.keep(value, place) && (was_empty || *value != json!({}))
    }

    /// Leaves of a value what is shown at this place; false if that is nothing. A list that holds nothing any more
    /// stays: its writer has to send it back.
    fn keep(&self, value: &mut Value, place: &[String]) -> bool {
        let container = value.is_object() || value.is_array();
        if !self.shows(place, container) {
            return false;
        }
        let below = |name: &str| [place, &[name.to_owned()]].concat();
        match value {
            Value::Object(members) => {
                members.retain(|name, value| self.keep_member(value, &below(name)));
            }
            Value::Array(elements) => {
                let mut at = 0;
                elements.retain_mut(|value| {
                    at += 1;
                    self.keep(value, &below(&(at - 1).to_string()))
                });
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
        true
    }

    fn shows(&self, place: &[String], container: bool) -> bool {
        let place: Vec<&str> = place.iter().map(String::as_str).collect();
        let covered = |paths: &[&str]| paths.iter().any(|path| begins(&place, &steps(path)));
        let leads = |paths: &[&str]| paths.iter().any(|path| begins(&steps(path), &place));
        let shows = |permit: &Permit| match &permit.show {
            Some(show) => covered(show) || container && leads(show),
            None => !covered(&permit.hide),
        };
        !covered(&self.hide) && self.permits.iter().any(shows)
    }
}

fn steps(path: &str) -> Vec<&str> {
    path.split('.').collect()
}

/// Does a place lie at or below another one?
fn begins(place: &[&str], with: &[&str]) -> bool {
    let same = |(one, other): (&&str, &&str)| one == other || *one == "*" || *other == "*";
    place.len() >= with.len() && place.iter().zip(with).all(same)
}

/// A value as an inline TOML value.
fn toml(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let members = members
                .iter()
                .map(|(name, value)| format!("{} = {}", json!(name), toml(value)));
            format!("{{ {} }}", members.collect::<Vec<_>>().join(", "))
        }
        Value::Array(elements) => format!(
            "[{}]",
            elements.iter().map(toml).collect::<Vec<_>>().join(", ")
        ),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}
