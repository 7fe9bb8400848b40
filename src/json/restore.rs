//! Writing back through what was cut out: hidden fields return to their place, and what a writer changed is named.
//!
//! Laws: restore(stored, cut(stored)) = stored; cut(restore(stored, sent)) = sent, but that an empty object is not there
//! into which hidden members return.
//! Invariant: a write through hidden fields never destroys, moves or sets one.

use std::collections::HashMap;

use super::fields::{Fields, Kind, Visibility};
use super::path::FieldPath;
use super::spot::{Spot, is_couchdbs_own};
use super::value::Object;
use super::value::Value;

/// Why a document as sent cannot be put over the stored one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HiddenFieldSent {
    /// The document as sent has a field that the writer does not see.
    #[error("the field `{0}` may not be sent")]
    Sent(String),
    /// The document as sent leaves out or replaces something that has hidden fields inside.
    #[error("the field `{0}` may not be removed or replaced")]
    Destroyed(String),
}

impl Fields {
    /// Puts the hidden fields of the stored document back into the document as sent.
    pub fn restore(&self, stored: &Value, sent: Value) -> Result<Value, HiddenFieldSent> {
        let spot = self.spot(Kind::Document);
        restore(&spot, stored, sent, OnHidden::Refuse, &mut Vec::new())
    }

    /// Puts what these hide of the stored document back into a document from which it is missing: of a writer who saw
    /// no more than these show nobody can tell whether they took it away. What was sent stays as it is.
    pub fn put_back(&self, stored: &Value, sent: Value) -> Result<Value, HiddenFieldSent> {
        let spot = self.spot(Kind::Document);
        restore(&spot, stored, sent, OnHidden::Keep, &mut Vec::new())
    }

    /// Is something hidden that differs from the stored document, in the new one to which these fields belong?
    pub fn refuse_altered(&self, stored: &Value, new: &Value) -> Result<(), HiddenFieldSent> {
        for path in self.changed(stored, new) {
            let names = path.names().unwrap_or_default();
            let Some(value) = new.at(&names) else {
                continue;
            };
            let mut spot = Some(self.spot(Kind::Document));
            for name in &names {
                match spot.as_ref().map(|spot| spot.fate(name)) {
                    Some(Visibility::Hidden) => {
                        return Err(HiddenFieldSent::Sent(path.to_string()));
                    }
                    Some(Visibility::Partly) => spot = spot.map(|spot| spot.below(name)),
                    Some(Visibility::Visible) | None => spot = None,
                }
            }
            if let Some(spot) = spot {
                let mut trail: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
                refuse_hidden(&spot, value, &mut trail)?;
            }
        }
        Ok(())
    }

    /// Is a hidden field in the document as sent? For documents that are created.
    pub fn refuse_hidden(&self, sent: &Value) -> Result<(), HiddenFieldSent> {
        refuse_hidden(&self.spot(Kind::Document), sent, &mut Vec::new())
    }

    /// The concrete places, as deep as can be told, at which two documents differ; CouchDB's own members aside.
    /// Documents are objects: where one is not, the place is `**`.
    pub fn changed(&self, stored: &Value, new: &Value) -> Vec<FieldPath> {
        let mut found = Vec::new();
        differ(Some(stored), Some(new), &mut Vec::new(), &mut found);
        found
    }
}

fn place(trail: &[String]) -> String {
    FieldPath::concrete(trail)
        .unwrap_or_else(FieldPath::everything)
        .to_string()
}

/// Runs `work` one step down.
fn within<T>(trail: &mut Vec<String>, step: &str, work: impl FnOnce(&mut Vec<String>) -> T) -> T {
    trail.push(step.to_owned());
    let result = work(trail);
    trail.pop();
    result
}

fn refuse_hidden(
    spot: &Spot<'_>,
    sent: &Value,
    trail: &mut Vec<String>,
) -> Result<(), HiddenFieldSent> {
    match sent {
        Value::Object(object) => object
            .iter()
            .try_for_each(|(key, value)| refuse_member(spot, key, value, trail)),
        Value::Array(elements) => {
            let mut elements = elements.iter().enumerate();
            elements.try_for_each(|(index, value)| {
                refuse_member(spot, &index.to_string(), value, trail)
            })
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)
            if spot.shows_scalar() =>
        {
            Ok(())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            Err(HiddenFieldSent::Sent(place(trail)))
        }
    }
}

fn refuse_member(
    spot: &Spot<'_>,
    step: &str,
    sent: &Value,
    trail: &mut Vec<String>,
) -> Result<(), HiddenFieldSent> {
    within(trail, step, |trail| match spot.fate(step) {
        Visibility::Visible => Ok(()),
        Visibility::Hidden => Err(HiddenFieldSent::Sent(place(trail))),
        Visibility::Partly => refuse_hidden(&spot.below(step), sent, trail),
    })
}

/// What becomes of a hidden field that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnHidden {
    Refuse,
    Keep,
}

/// How much of a stored value is shown in fact. Nothing of an object that is emptied.
fn extent(spot: &Spot<'_>, stored: &Value) -> Visibility {
    let (mut least, mut most) = (Visibility::Visible, Visibility::Hidden);
    let mut see = |extent: Visibility| {
        least = least.min(extent);
        most = most.max(extent);
    };
    match stored {
        Value::Object(object) => {
            let members = object.iter();
            members.for_each(|(key, value)| see(extent_of_member(spot, key, value)));
            match (object.is_empty(), least, most) {
                (false, _, Visibility::Hidden) => Visibility::Hidden,
                (_, Visibility::Visible, _) => Visibility::Visible,
                _ => Visibility::Partly,
            }
        }
        Value::Array(elements) => {
            let elements = elements.iter().enumerate();
            elements.for_each(|(index, value)| {
                see(extent_of_element(spot, &index.to_string(), value));
            });
            least.max(Visibility::Partly)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            match spot.shows_scalar() {
                true => Visibility::Visible,
                false => Visibility::Hidden,
            }
        }
    }
}

fn extent_of_member(spot: &Spot<'_>, key: &str, stored: &Value) -> Visibility {
    match spot.fate(key) {
        Visibility::Partly => extent(&spot.below(key), stored),
        fate @ (Visibility::Hidden | Visibility::Visible) => fate,
    }
}

/// An emptied object stays in its list.
fn extent_of_element(spot: &Spot<'_>, index: &str, stored: &Value) -> Visibility {
    let extent = extent_of_member(spot, index, stored);
    match (spot.fate(index), stored) {
        (Visibility::Partly, Value::Object(_)) => extent.max(Visibility::Partly),
        _ => extent,
    }
}

fn restore(
    spot: &Spot<'_>,
    stored: &Value,
    sent: Value,
    hidden: OnHidden,
    trail: &mut Vec<String>,
) -> Result<Value, HiddenFieldSent> {
    match (extent(spot, stored), hidden) {
        (Visibility::Visible, OnHidden::Refuse) => {
            return refuse_hidden(spot, &sent, trail).map(|()| sent);
        }
        (Visibility::Visible, OnHidden::Keep) => return Ok(sent),
        (Visibility::Hidden, OnHidden::Keep) if stored.as_object().is_none() => return Ok(sent),
        (Visibility::Hidden | Visibility::Partly, _) => {}
    }
    match (stored, sent) {
        (Value::Object(stored), Value::Object(sent)) => {
            restore_object(spot, stored, sent, hidden, trail).map(Value::Object)
        }
        (Value::Array(stored), Value::Array(sent)) => {
            restore_array(spot, stored, sent, hidden, trail).map(Value::Array)
        }
        _ => Err(HiddenFieldSent::Destroyed(place(trail))),
    }
}

/// What was sent for one stored member or element.
fn restore_below(
    spot: &Spot<'_>,
    step: &str,
    stored: &Value,
    sent: Value,
    hidden: OnHidden,
    trail: &mut Vec<String>,
) -> Result<Value, HiddenFieldSent> {
    within(trail, step, |trail| match (spot.fate(step), hidden) {
        (Visibility::Visible, _) | (Visibility::Hidden, OnHidden::Keep) => Ok(sent),
        (Visibility::Hidden, OnHidden::Refuse) => Err(HiddenFieldSent::Sent(place(trail))),
        (Visibility::Partly, _) => restore(&spot.below(step), stored, sent, hidden, trail),
    })
}

fn restore_object(
    spot: &Spot<'_>,
    stored: &Object,
    sent: Object,
    hidden: OnHidden,
    trail: &mut Vec<String>,
) -> Result<Object, HiddenFieldSent> {
    let places: HashMap<String, usize> = sent
        .iter()
        .enumerate()
        .map(|(at, (key, _))| (key.to_owned(), at))
        .collect();
    let mut sent: Vec<(String, Option<Value>)> = sent
        .into_iter()
        .map(|(key, value)| (key, Some(value)))
        .collect();
    let mut whole = Object::new();
    for (key, value) in stored.iter() {
        let new = places
            .get(key)
            .and_then(|at| sent.get_mut(*at))
            .and_then(|(_, value)| value.take());
        let new = match (new, extent_of_member(spot, key, value)) {
            (Some(new), _) => new,
            (None, Visibility::Hidden) => {
                whole.append(key, value.clone());
                continue;
            }
            (None, Visibility::Visible) => continue,
            // What is shown of it has been taken away, as it would be without the rest.
            (None, Visibility::Partly) if value.as_object().is_some() => Object::new().into(),
            (None, Visibility::Partly) => {
                return Err(within(trail, key, |trail| {
                    HiddenFieldSent::Destroyed(place(trail))
                }));
            }
        };
        let restored = restore_below(spot, key, value, new, hidden, trail)?;
        whole.append(key, restored);
    }
    for (key, value) in sent {
        if let Some(value) = value {
            if hidden == OnHidden::Refuse {
                refuse_member(spot, &key, &value, trail)?;
            }
            whole.append(&key, value);
        }
    }
    Ok(whole)
}

fn restore_array(
    spot: &Spot<'_>,
    stored: &[Value],
    sent: Vec<Value>,
    hidden: OnHidden,
    trail: &mut Vec<String>,
) -> Result<Vec<Value>, HiddenFieldSent> {
    let extents = stored.iter().enumerate().map(|(index, value)| {
        let step = index.to_string();
        let extent = extent_of_element(spot, &step, value);
        (step, value, extent)
    });
    let extents: Vec<(String, &Value, Visibility)> = extents.collect();
    // As long as the stored one, it may hold what is hidden.
    let is_whole = hidden == OnHidden::Keep && stored.len() == sent.len();
    let is_sent = |extent: Visibility| is_whole || extent != Visibility::Hidden;
    // Elements have no names: only an array of the same length says which is which.
    let shown = extents.iter().filter(|(_, _, extent)| is_sent(*extent));
    if shown.count() != sent.len() {
        return Err(HiddenFieldSent::Destroyed(place(trail)));
    }
    let mut sent = sent.into_iter();
    let mut whole = Vec::with_capacity(stored.len());
    for (step, value, extent) in extents {
        let new = if is_sent(extent) { sent.next() } else { None };
        whole.push(match new {
            None => value.clone(),
            Some(new) => restore_below(spot, &step, value, new, hidden, trail)?,
        });
    }
    Ok(whole)
}

/// What is new or gone is named by its leaves, so that adding `{"a":{"b":1}}` counts as a change of `a.b` alone.
fn differ(
    stored: Option<&Value>,
    new: Option<&Value>,
    trail: &mut Vec<String>,
    found: &mut Vec<FieldPath>,
) {
    match (stored, new) {
        (Some(stored), Some(new)) if is_kept_as(stored, new) => (),
        (Some(Value::Object(stored)), Some(Value::Object(new))) => {
            differ_in_objects(stored, new, trail, found)
        }
        (Some(Value::Object(one)), None) | (None, Some(Value::Object(one))) if !one.is_empty() => {
            differ_in_objects(one, &Object::new(), trail, found);
        }
        (Some(Value::Array(stored)), Some(Value::Array(new))) => {
            differ_in_arrays(stored, new, trail, found)
        }
        (Some(Value::Array(one)), None) | (None, Some(Value::Array(one))) if !one.is_empty() => {
            differ_in_arrays(one, &[], trail, found);
        }
        _ => found.push(FieldPath::concrete(trail.iter()).unwrap_or_else(FieldPath::everything)),
    }
}

/// Equal, and stored alike: CouchDB makes a double of what is written with a point or an exponent, which holds fewer
/// digits than an integer may have.
fn is_kept_as(stored: &Value, new: &Value) -> bool {
    stored == new
        && match (stored, new) {
            (Value::Number(stored), Value::Number(new)) => stored.is_kept_as(new),
            (Value::Object(stored), Value::Object(new)) => stored
                .iter()
                .all(|(key, value)| new.get(key).is_some_and(|new| is_kept_as(value, new))),
            (Value::Array(stored), Value::Array(new)) => stored
                .iter()
                .zip(new)
                .all(|(one, other)| is_kept_as(one, other)),
            _ => true,
        }
}

fn differ_in_objects(
    stored: &Object,
    new: &Object,
    trail: &mut Vec<String>,
    found: &mut Vec<FieldPath>,
) {
    let gone = stored
        .iter()
        .map(|(key, value)| (key, Some(value), new.get(key)));
    let fresh = new
        .iter()
        .filter(|(key, _)| stored.get(key).is_none())
        .map(|(key, value)| (key, None, Some(value)));
    for (key, stored, new) in gone.chain(fresh) {
        if !(trail.is_empty() && is_couchdbs_own(key)) {
            within(trail, key, |trail| differ(stored, new, trail, found));
        }
    }
}

fn differ_in_arrays(
    stored: &[Value],
    new: &[Value],
    trail: &mut Vec<String>,
    found: &mut Vec<FieldPath>,
) {
    for index in 0..stored.len().max(new.len()) {
        within(trail, &index.to_string(), |trail| {
            differ(stored.get(index), new.get(index), trail, found)
        });
    }
}
