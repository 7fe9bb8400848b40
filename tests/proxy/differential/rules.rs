//! Rules drawn at random, in the words of a policy file and as the model reads them: slow and obvious.

use fastrand::Rng;
use serde_json::{Map, Value, json};

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
}

/// A rule that permits reading.
#[derive(Debug, Clone)]
pub(super) struct Permit {
    pub(super) documents: Option<Condition>,
    pub(super) hide: Vec<&'static str>,
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

/// Views whose rows are judged by their documents, and views that are summed, of which the pin alone decides.
const ROWS: &str = r#""view:app/by_n", "view:app/by_type", "view:app/linked""#;
const SUMS: &str = r#""view:app/sums", "view:app/stats", "view:app/count", "view:app/script", "view:app/distinct", "view:app/mixed""#;

impl Condition {
    fn draw(random: &mut Rng, depth: u32) -> Self {
        let kinds = if depth == 0 { 7 } else { 10 };
        match random.u32(0..kinds) {
            0 => Self::Is("type", ["a", "b"][random.usize(0..2)]),
            1 => Self::IsNot("owner", ["walt", "alice"][random.usize(0..2)]),
            2 => Self::In("type", vec!["a", "c"]),
            3 => Self::Exists(["secret", "owner", "n"][random.usize(0..3)], random.bool()),
            4 => Self::IdBegins(["a", "c", "b"][random.usize(0..3)]),
            5 => Self::Holds("tags", [json!(1), json!("a")][random.usize(0..2)].clone()),
            6 => Self::Above("n", random.i32(-1..3)),
            7 => Self::Any((0..2).map(|_| Self::draw(random, depth - 1)).collect()),
            8 => Self::All((0..2).map(|_| Self::draw(random, depth - 1)).collect()),
            _ => Self::Not(Box::new(Self::draw(random, depth - 1))),
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
    pub(super) fn draw(random: &mut Rng) -> Self {
        let conditions = random.u32(0..4);
        let hide = HIDDEN[random.usize(0..HIDDEN.len())];
        let permits = (0..random.usize(1..3))
            .map(|_| Permit {
                documents: (conditions > 0).then(|| Condition::draw(random, 2)),
                hide: HIDDEN[random.usize(0..HIDDEN.len())].to_vec(),
            })
            .collect();
        Self {
            permits,
            forbid: (random.u32(0..3) == 0).then(|| Condition::draw(random, 1)),
            hide: if random.bool() {
                hide.to_vec()
            } else {
                Vec::new()
            },
            pin: (random.u32(0..3) == 0).then(|| vec!["a", "1\u{ad}"]),
        }
    }

    /// Do rules of this round hide fields from the caller?
    pub(super) fn hides_fields(&self) -> bool {
        !self.hide.is_empty() || self.permits.iter().any(|permit| !permit.hide.is_empty())
    }

    /// May every field of every document be named in a query?
    pub(super) fn hidden_somewhere(&self) -> Vec<&'static str> {
        let permits = self.permits.iter().flat_map(|permit| permit.hide.iter());
        permits.chain(&self.hide).copied().collect()
    }

    /// The policy file. `$rita` is the caller, `@real` the database.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for (at, permit) in self.permits.iter().enumerate() {
            text += &rule(
                &format!("reads-{at}"),
                &format!("permit = [\"read\", \"changes\", \"find\", {ROWS}]"),
            );
            text += &self.keys();
            if !permit.hide.is_empty() {
                text += &format!("hide = {}\n", json!(permit.hide));
            }
            if let Some(condition) = &permit.documents {
                text += &format!("documents = {}\n", toml(&condition.selector()));
            }
        }
        text += &rule("sums", &format!("permit = [{SUMS}]\nreduce = true"));
        text += &self.keys();
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
        let mut seen = Value::Object(body.clone());
        for path in self.hidden(id, body)? {
            cut(&mut seen, path);
        }
        match seen {
            Value::Object(seen) => Some(seen),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => None,
        }
    }

    /// The paths that are hidden in a document; `None`: all of it is.
    pub(super) fn hidden(&self, id: &str, body: &Map<String, Value>) -> Option<Vec<&'static str>> {
        let holds = |condition: &Condition| condition.holds(id, body);
        if self.forbid.as_ref().is_some_and(holds) {
            return None;
        }
        let shows = |permit: &&Permit| permit.documents.as_ref().is_none_or(holds);
        let showing: Vec<&Permit> = self.permits.iter().filter(shows).collect();
        let first = showing.first()?.hide.iter();
        let everywhere =
            first.filter(|path| showing.iter().all(|permit| permit.hide.contains(path)));
        Some(everywhere.chain(&self.hide).copied().collect())
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

/// Takes away what a path leads to. An object that holds nothing else stays: its writer has to send it back.
pub(super) fn cut(value: &mut Value, path: &str) {
    let steps: Vec<&str> = path.split('.').collect();
    cut_steps(value, &steps);
}

fn cut_steps(value: &mut Value, steps: &[&str]) {
    let [step, rest @ ..] = steps else { return };
    match value {
        Value::Object(members) if rest.is_empty() => {
            members.remove(*step);
        }
        Value::Object(members) => {
            if let Some(inner) = members.get_mut(*step) {
                cut_steps(inner, rest);
            }
        }
        Value::Array(elements) if *step == "*" => {
            for element in elements {
                cut_steps(element, rest);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {}
    }
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
