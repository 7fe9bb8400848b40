//! Revisions in requests that are not read otherwise: their generations may not be longer than CouchDB can bear.
//!
//! Invariant: CouchDB is given no revision, by anybody but administrators, that it would read for long: its time grows
//! with the square of the digits. (`couchdb_is_given_no_generation_that_it_reads_for_long`)

use memchr::memmem;

use crate::intake::json_body;
use crate::json::Value;
use crate::refusal::Refusal;
use crate::route::name::MOST_DIGITS;

/// Refuses JSON that names such a revision. It is read only where it may hold one.
pub(crate) fn check_lengths(body: &[u8]) -> Result<(), Refusal> {
    let mut runs = body.split(|byte| !byte.is_ascii_digit());
    // Digits can be spelt with escapes.
    let may = memmem::find(body, b"\\u00").is_some() || runs.any(|run| run.len() > MOST_DIGITS);
    match may && names_long_one(&json_body::value(body)?) {
        true => Err(Refusal::BadRequest("Invalid rev format")),
        false => Ok(()),
    }
}

/// Does it name such a revision, anywhere but as an id?
pub(crate) fn names_long_one(value: &Value) -> bool {
    match value {
        Value::String(text) => is_long(text),
        Value::Array(all) => all.iter().any(names_long_one),
        Value::Object(members) => {
            let mut members = members.iter().filter(|(name, _)| *name != "id");
            members.any(|(_, value)| names_long_one(value))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn is_long(text: &str) -> bool {
    let number = text.split_once('-').map_or("", |(number, _)| number);
    number.len() > MOST_DIGITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_found_however_it_is_spelt() {
        let long = "1".repeat(MOST_DIGITS + 1);
        let escaped = long.replace('1', "\\u0031");
        for (text, fits) in [
            (format!(r#"{{"a":["{long}-a"]}}"#), false),
            (format!(r#"{{"a":["+{long}-a"]}}"#), false),
            (format!(r#"{{"a":["1-a","{escaped}-a"]}}"#), false),
            (
                format!(r#"{{"docs":[{{"id":"a","rev":"{long}\u002da"}}]}}"#),
                false,
            ),
            (
                format!(r#"{{"a":["{}-a"]}}"#, "1".repeat(MOST_DIGITS)),
                true,
            ),
            (format!(r#"{{"{long}-a":["1-{long}","\u0031-a"]}}"#), true),
            (
                format!(r#"{{"docs":[{{"id":"{long}-a","rev":"1-a"}}]}}"#),
                true,
            ),
        ] {
            assert_eq!(check_lengths(text.as_bytes()).is_ok(), fits, "{text}");
        }
    }
}
