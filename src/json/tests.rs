//! What the parts of `json` promise together: random documents, random paths, random cuts of the input.

mod cutting;
mod frames;
mod limits;
mod parsing;
mod writing;

use proptest::prelude::*;

use super::*;

/// Names that meet the random paths, CouchDB's own, and awkward ones.
fn key() -> impl Strategy<Value = String> {
    const NAMES: &[&str] = &[
        "a",
        "b",
        "c",
        "cf1",
        "password",
        "_id",
        "_attachments",
        "0",
        "1",
        "é",
        "a\"\\b",
        "x.y",
        "",
        "😀",
        "*",
    ];
    prop::sample::select(NAMES).prop_map(str::to_owned)
}

fn object(value: impl Strategy<Value = Value>, size: usize) -> impl Strategy<Value = Value> {
    prop::collection::vec((key(), value), 0..size).prop_map(|members| {
        let mut object = Object::new();
        for (key, value) in members {
            object.insert(key, value);
        }
        Value::Object(object)
    })
}

fn tree() -> impl Strategy<Value = Value> {
    let number =
        prop::sample::select(&["0", "-0", "1.0", "1e400", "9007199254740993", "-1.5E-3"][..]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        number.prop_map(|text| Value::Number(Number::parse(text).unwrap())),
        "[a-z\"\\\\\n{}\\[\\],:é😀]{0,12}".prop_map(Value::String),
        Just(Value::from("password")),
    ];
    leaf.prop_recursive(4, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            object(inner, 6)
        ]
    })
}

fn document() -> impl Strategy<Value = Value> {
    object(tree(), 9)
}

fn path() -> impl Strategy<Value = FieldPath> {
    const STEPS: &[&str] = &[
        "a",
        "b",
        "c",
        "cf*",
        "password",
        "*",
        "**",
        "0",
        "1",
        "é",
        "_id",
        "_attachments",
        "x\\.y",
        "\\*",
    ];
    prop::collection::vec(prop::sample::select(STEPS), 1..4)
        .prop_map(|steps| FieldPath::parse(&steps.join(".")).unwrap())
}

fn paths() -> impl Strategy<Value = Vec<FieldPath>> {
    prop::collection::vec(path(), 0..4)
}

fn fields() -> impl Strategy<Value = Fields> {
    (union(), prop_oneof![3 => Just(Fields::all()), 1 => union()])
        .prop_map(|(one, other)| one.and(&other))
}

fn union() -> impl Strategy<Value = Fields> {
    let clause = prop_oneof![1 => Just(Fields::all()), 4 => paths().prop_map(Fields::except), 3 => paths().prop_map(Fields::only)];
    let union = prop::collection::vec(clause, 1..3)
        .prop_map(|clauses| clauses.into_iter().reduce(Fields::union).unwrap());
    (union, prop_oneof![2 => Just(Vec::new()), 1 => paths()])
        .prop_map(|(fields, hidden)| fields.hiding(hidden))
}

/// One of the many spellings of a value: white space and escapes by the bits of `dice`.
fn spell(value: &Value, dice: &mut u64, out: &mut String) {
    match value {
        Value::Object(object) => {
            out.push('{');
            for (index, (key, value)) in object.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                blank(dice, out);
                spell_text(key, dice, out);
                blank(dice, out);
                out.push(':');
                blank(dice, out);
                spell(value, dice, out);
                blank(dice, out);
            }
            blank(dice, out);
            out.push('}');
        }
        Value::Array(elements) => {
            out.push('[');
            for (index, value) in elements.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                blank(dice, out);
                spell(value, dice, out);
                blank(dice, out);
            }
            out.push(']');
        }
        Value::String(text) => spell_text(text, dice, out),
        Value::Null | Value::Bool(_) | Value::Number(_) => out.push_str(&value.to_string()),
    }
}

fn roll(dice: &mut u64, sides: u64) -> u64 {
    *dice = dice
        .wrapping_mul(6364136223846793005)
        .wrapping_add(1442695040888963407);
    (*dice >> 33) % sides
}

fn blank(dice: &mut u64, out: &mut String) {
    if roll(dice, 4) == 0 {
        out.push_str([" ", "\n", "\r\n\t", "  "][usize::try_from(roll(dice, 4)).unwrap()]);
    }
}

fn spell_text(text: &str, dice: &mut u64, out: &mut String) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' | '\n' => out.push_str(match letter {
                '"' => "\\\"",
                '\\' => "\\\\",
                _ => "\\n",
            }),
            _ if roll(dice, 5) == 0 => {
                for unit in letter.encode_utf16(&mut [0; 2]) {
                    out.push_str(&if roll(dice, 2) == 0 {
                        format!("\\u{unit:04x}")
                    } else {
                        format!("\\u{unit:04X}")
                    });
                }
            }
            _ => out.push(letter),
        }
    }
    out.push('"');
}

fn spelling(value: &Value, mut dice: u64) -> String {
    let mut out = String::new();
    blank(&mut dice, &mut out);
    spell(value, &mut dice, &mut out);
    blank(&mut dice, &mut out);
    out
}
