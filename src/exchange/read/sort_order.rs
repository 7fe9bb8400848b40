//! The order of found documents within one answer. A page holds rows of the page before, so a document that was written
//! meanwhile can stand before those that have been shown: it is left out, as CouchDB leaves it out, which goes on behind
//! the last row.

use std::cmp::Ordering;

use crate::json::{JsonError, Object, Value};
use crate::policy::{collate, field_steps};

/// The fields that a query sorts by, and what they were in the last document that was shown.
#[derive(Debug)]
pub(crate) struct SortOrder {
    fields: Vec<Vec<String>>,
    descending: bool,
    last: Option<Vec<Option<Value>>>,
}

impl SortOrder {
    /// As the query says in `sort`; without it no order is promised.
    pub(crate) fn of(query: &Object) -> Self {
        let sort = query.get("sort").and_then(Value::as_array);
        let mut order = Self {
            fields: Vec::new(),
            descending: false,
            last: None,
        };
        for entry in sort.into_iter().flatten() {
            let (name, way) = match entry.as_object() {
                Some(entry) => match entry.iter().next() {
                    Some((name, way)) => (Some(name), way.as_str()),
                    None => (None, None),
                },
                None => (entry.as_str(), None),
            };
            // CouchDB sorts all fields one way.
            order.descending |= way == Some("desc");
            order
                .fields
                .extend(name.and_then(|name| field_steps(name).ok()));
        }
        order
    }

    /// Does this document stand before the last one that was shown? If not, it is the last one from now on. It is read
    /// only where there is an order.
    pub(crate) fn goes_back(&mut self, document: &[u8]) -> Result<bool, JsonError> {
        if self.fields.is_empty() {
            return Ok(false);
        }
        let document = Value::parse(document)?;
        let value = |steps: &Vec<String>| {
            let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
            document.at(&steps).cloned()
        };
        let values: Vec<Option<Value>> = self.fields.iter().map(value).collect();
        let before = self.last.as_ref().is_some_and(|last| {
            let pairs = self.fields.iter().zip(last.iter().zip(&values));
            let differs = pairs.map(way).find(|way| way.is_none_or(Ordering::is_ne));
            let backwards = match self.descending {
                true => Ordering::Greater,
                false => Ordering::Less,
            };
            differs == Some(Some(backwards))
        });
        if !before {
            self.last = Some(values);
        }
        Ok(before)
    }
}

/// How the last value and this one stand to each other; none where that can't be told: ids are collated in an index, and
/// compared by their bytes in the list of all documents.
fn way(
    (field, (last, value)): (&Vec<String>, (&Option<Value>, &Option<Value>)),
) -> Option<Ordering> {
    let (Some(last), Some(value)) = (last, value) else {
        return None;
    };
    let collated = collate(value, last);
    let bytes = value.as_str().cmp(&last.as_str());
    (*field != ["_id"] || collated == bytes).then_some(collated)
}

#[cfg(test)]
mod tests {
    use super::SortOrder;
    use crate::json::Value;

    #[test]
    fn what_stands_before_the_last_document_goes_back() {
        for (sort, documents, back) in [
            (r#"["n"]"#, [r#"{"n":1}"#, r#"{"n":3}"#, r#"{"n":2}"#], true),
            (
                r#"["n"]"#,
                [r#"{"n":1}"#, r#"{"n":3}"#, r#"{"n":3}"#],
                false,
            ),
            (
                r#"[{"n":"desc"}]"#,
                [r#"{"n":"b"}"#, r#"{"n":1}"#, r#"{"n":2}"#],
                true,
            ),
            (
                r#"["a.b","n"]"#,
                [
                    r#"{"n":1}"#,
                    r#"{"a":{"b":1},"n":2}"#,
                    r#"{"a":{"b":1},"n":1}"#,
                ],
                true,
            ),
            (
                r#"["_id"]"#,
                [r#"{"_id":"a"}"#, r#"{"_id":"c"}"#, r#"{"_id":"b"}"#],
                true,
            ),
            (
                r#"["_id"]"#,
                [r#"{"_id":"A"}"#, r#"{"_id":"B"}"#, r#"{"_id":"a"}"#],
                false,
            ),
            ("[]", [r#"{"n":1}"#, r#"{"n":3}"#, r#"{"n":2}"#], false),
        ] {
            let query = Value::parse(format!(r#"{{"sort":{sort}}}"#).as_bytes()).unwrap();
            let mut order = SortOrder::of(query.as_object().unwrap());
            let [first, second, third] =
                documents.map(|document| order.goes_back(document.as_bytes()).unwrap());
            assert_eq!((first, second, third), (false, false, back), "{sort}");
        }
    }
}
