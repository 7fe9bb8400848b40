//! TOML with places: tables whose entries are taken one by one, so that what is left over is a mistake.
//!
//! Invariant: nothing in a table passes unread; every mistake knows its line.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::json::Number;
use crate::json::Object;
use crate::json::Value;

use crate::mistake::Mistake;

/// One file, and the mistakes found in it so far.
#[derive(Debug)]
pub(in crate::policy) struct File<'t> {
    name: &'t str,
    text: &'t str,
    pub(in crate::policy) mistakes: Vec<Mistake>,
}

/// A table that is being read.
#[derive(Debug)]
pub(in crate::policy) struct Table<'t> {
    entries: Vec<Entry<'t>>,
    pub(in crate::policy) at: Range<usize>,
}

/// One entry of a table.
#[derive(Debug, Clone)]
pub(in crate::policy) struct Entry<'t> {
    pub(in crate::policy) key: String,
    pub(in crate::policy) at: Range<usize>,
    pub(in crate::policy) value: Spanned<DeValue<'t>>,
}

/// A text with its place.
#[derive(Debug, Clone)]
pub(in crate::policy) struct Text {
    pub(in crate::policy) text: String,
    pub(in crate::policy) at: Range<usize>,
}

impl<'t> File<'t> {
    pub(in crate::policy) fn new(name: &'t str, text: &'t str) -> Self {
        Self {
            name,
            text,
            mistakes: Vec::new(),
        }
    }

    pub(in crate::policy) fn mistake(&mut self, at: &Range<usize>, message: impl Into<String>) {
        let before = self.text.as_bytes().iter().take(at.start);
        let line = before.filter(|byte| **byte == b'\n').count() + 1;
        self.mistakes.push(Mistake {
            file: self.name.to_owned(),
            line,
            message: message.into(),
        });
    }

    /// A text that must be there and not be empty.
    pub(in crate::policy) fn text(&mut self, entry: &Entry<'t>) -> Option<Text> {
        match entry.value.get_ref().as_str() {
            Some(text) if !text.is_empty() => Some(Text {
                text: text.to_owned(),
                at: entry.value.span(),
            }),
            Some(_) => {
                self.mistake(&entry.at, format!("`{}` is empty", entry.key));
                None
            }
            None => {
                self.mistake(&entry.at, format!("`{}` must be a string", entry.key));
                None
            }
        }
    }

    pub(in crate::policy) fn flag(&mut self, entry: &Entry<'t>) -> bool {
        entry.value.get_ref().as_bool().unwrap_or_else(|| {
            self.mistake(&entry.at, format!("`{}` must be true or false", entry.key));
            false
        })
    }

    /// A list of texts; one text stands for a list of one where `single` says so.
    pub(in crate::policy) fn texts(&mut self, entry: &Entry<'t>, single: bool) -> Vec<Text> {
        let wrong = if single {
            "a string or a list of strings"
        } else {
            "a list of strings"
        };
        let elements: Vec<&Spanned<DeValue<'t>>> = match entry.value.get_ref().as_array() {
            Some(elements) => elements.iter().collect(),
            None if single => vec![&entry.value],
            None => {
                self.mistake(&entry.at, format!("`{}` must be {wrong}", entry.key));
                return Vec::new();
            }
        };
        let mut texts = Vec::new();
        for element in elements {
            match element.get_ref().as_str() {
                Some(text) => texts.push(Text {
                    text: text.to_owned(),
                    at: element.span(),
                }),
                None => self.mistake(&element.span(), format!("`{}` must be {wrong}", entry.key)),
            }
        }
        texts
    }

    pub(in crate::policy) fn table(&mut self, entry: &Entry<'t>) -> Option<Table<'t>> {
        let Some(table) = entry.value.get_ref().as_table() else {
            self.mistake(&entry.at, format!("`{}` must be a table", entry.key));
            return None;
        };
        Some(Table::new(table.clone(), entry.at.clone()))
    }

    /// What is left in a table is unknown.
    pub(in crate::policy) fn end(&mut self, table: Table<'t>) {
        for entry in table.entries {
            self.mistake(&entry.at, format!("unknown key `{}`", entry.key));
        }
    }

    /// The JSON value that a TOML value is.
    pub(in crate::policy) fn json(&mut self, value: &Spanned<DeValue<'t>>) -> Option<Value> {
        let wrong = match value.get_ref() {
            DeValue::String(text) => return Some(Value::String(text.to_string())),
            DeValue::Boolean(flag) => return Some(Value::Bool(*flag)),
            DeValue::Integer(number) => {
                match i64::from_str_radix(&plain(number.as_str()), number.radix()) {
                    Ok(number) => return Some(Value::from(number)),
                    Err(_) => "the number is too large",
                }
            }
            DeValue::Float(number) => match float(number.as_str()) {
                Some(number) => return Some(Value::Number(number)),
                None => "JSON has no such number",
            },
            DeValue::Datetime(_) => "JSON has no dates; write a string",
            DeValue::Array(elements) => {
                let elements: Vec<Option<Value>> =
                    elements.iter().map(|element| self.json(element)).collect();
                return elements
                    .into_iter()
                    .collect::<Option<Vec<Value>>>()
                    .map(Value::Array);
            }
            DeValue::Table(table) => {
                let mut object = Object::new();
                let mut whole = true;
                for entry in Table::new(table.clone(), value.span()).entries {
                    match self.json(&entry.value) {
                        Some(value) => {
                            object.insert(entry.key, value);
                        }
                        None => whole = false,
                    }
                }
                return whole.then_some(Value::Object(object));
            }
        };
        self.mistake(&value.span(), wrong);
        None
    }
}

impl<'t> Table<'t> {
    /// Entries in the order in which they are written: CouchDB compares objects by it.
    pub(in crate::policy) fn new(table: DeTable<'t>, at: Range<usize>) -> Self {
        let entry =
            |(key, value): (Spanned<std::borrow::Cow<'t, str>>, Spanned<DeValue<'t>>)| Entry {
                at: key.span(),
                key: key.into_inner().into_owned(),
                value,
            };
        let mut entries: Vec<Entry<'t>> = table.into_iter().map(entry).collect();
        entries.sort_by_key(|entry| entry.at.start);
        Self { entries, at }
    }

    pub(in crate::policy) fn take(&mut self, key: &str) -> Option<Entry<'t>> {
        let place = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(place))
    }

    pub(in crate::policy) fn into_entries(self) -> Vec<Entry<'t>> {
        self.entries
    }
}

fn plain(number: &str) -> String {
    number.replace('_', "").trim_start_matches('+').to_owned()
}

/// TOML allows `1_000.5`, `+1.0`, `inf` and `nan`.
fn float(text: &str) -> Option<Number> {
    Number::parse(&plain(text))
}
