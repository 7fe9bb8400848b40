//! What the configuration file says, before it means anything: tables whose keys are taken one by one.
//!
//! A derived deserialiser stops at the first mistake; this reader goes on, so that one run shows all of
//! them. A key that nobody has taken when its section is finished is unknown, and a mistake.
//!
//! Invariant: every value keeps its place, so every mistake has a line.

use crate::mistake::Mistake;
use crate::secret::Secret;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::de::{DeTable, DeValue};

/// How the environment is asked, so that tests bring their own.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The file being read, and what is wrong with it so far.
pub(super) struct Reader<'a> {
    file: &'a Path,
    text: &'a str,
    environment: Environment<'a>,
    mistakes: RefCell<Vec<Mistake>>,
}

/// A value and its place (byte offset) in the file.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) place: usize,
}

/// One table of the file. Finish it, else its unknown keys go unnoticed.
#[must_use]
pub(super) struct Section<'a> {
    reader: &'a Reader<'a>,
    name: String,
    pub(super) place: usize,
    entries: Vec<(At<String>, At<DeValue<'a>>)>,
    /// Keys that were there: whatever is wrong with one of them has been told.
    taken: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(file: &'a Path, text: &'a str, environment: Environment<'a>) -> Self {
        let mistakes = RefCell::new(Vec::new());
        Self {
            file,
            text,
            environment,
            mistakes,
        }
    }

    /// The whole file as a section. After a mistake of syntax nothing else is looked at: it would be noise.
    pub(super) fn root(&'a self) -> Option<Section<'a>> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            let place = error.span().map_or(0, |span| span.start);
            self.mistake(place, error.message().to_owned());
        }
        let section = Section::new(self, String::new(), 0, table.into_inner());
        errors.is_empty().then_some(section)
    }

    pub(super) fn mistake(&self, place: usize, message: impl Into<String>) {
        let before = self.text.as_bytes().get(..place).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        self.mistakes.borrow_mut().push(Mistake {
            file: self.file.display().to_string(),
            line,
            message: message.into(),
        });
    }

    /// All mistakes, in the order of the file.
    pub(super) fn into_mistakes(self) -> Vec<Mistake> {
        let mut mistakes = self.mistakes.into_inner();
        mistakes.sort_by_key(|mistake| mistake.line);
        mistakes
    }

    /// Paths in the file are relative to the file.
    fn path(&self, said: &str) -> PathBuf {
        let directory = self.file.parent().unwrap_or_else(|| Path::new(""));
        directory.join(said)
    }
}

impl<'a> Section<'a> {
    fn new(reader: &'a Reader<'a>, name: String, place: usize, table: DeTable<'a>) -> Self {
        let entries = table
            .into_iter()
            .map(|(key, value)| {
                let key_at = At {
                    place: key.span().start,
                    value: key.into_inner().into_owned(),
                };
                let place = value.span().start;
                let value = value.into_inner();
                (key_at, At { value, place })
            })
            .collect();
        Self {
            reader,
            name,
            place,
            entries,
            taken: Vec::new(),
        }
    }

    /// Ends the reading of this table: what is left in it is unknown.
    pub(super) fn finish(self) {
        for (key, _) in &self.entries {
            let full = self.full(&key.value);
            self.reader
                .mistake(key.place, format!("unknown key `{full}`"));
        }
    }

    /// A table within this one; an absent one is read as empty, so that defaults stand in one place.
    pub(super) fn section(&mut self, key: &str) -> Self {
        let name = self.full(key);
        match self.take(key) {
            Some(At {
                value: DeValue::Table(table),
                place,
            }) => Self::new(self.reader, name, place, table),
            Some(other) => {
                self.wrong(key, other.place, "a table");
                Self::new(self.reader, name, other.place, DeTable::new())
            }
            None => Self::new(self.reader, name, self.place, DeTable::new()),
        }
    }

    pub(super) fn text(&mut self, key: &str) -> Option<At<String>> {
        let At { value, place } = self.take(key)?;
        if let DeValue::String(text) = value {
            let value = text.into_owned();
            return Some(At { value, place });
        }
        self.wrong(key, place, "a text");
        None
    }

    pub(super) fn flag(&mut self, key: &str) -> Option<At<bool>> {
        let At { value, place } = self.take(key)?;
        if let DeValue::Boolean(value) = value {
            return Some(At { value, place });
        }
        self.wrong(key, place, "true or false");
        None
    }

    pub(super) fn number(&mut self, key: &str) -> Option<At<u32>> {
        let At { value, place } = self.take(key)?;
        if let DeValue::Integer(number) = &value
            && let Ok(value) = u32::from_str_radix(number.as_str(), number.radix())
        {
            return Some(At { value, place });
        }
        self.wrong(key, place, "a whole number");
        None
    }

    pub(super) fn texts(&mut self, key: &str) -> Option<Vec<At<String>>> {
        let At { value, place } = self.take(key)?;
        let DeValue::Array(array) = value else {
            self.wrong(key, place, "a list of texts");
            return None;
        };
        let mut texts = Vec::new();
        for element in array {
            let place = element.span().start;
            if let DeValue::String(text) = element.into_inner() {
                let value = text.into_owned();
                texts.push(At { value, place });
            } else {
                self.wrong(key, place, "a list of texts");
            }
        }
        Some(texts)
    }

    pub(super) fn duration(&mut self, key: &str) -> Option<At<Duration>> {
        let said = self.text(key)?;
        let value = parse_duration(&said.value);
        self.meant(
            key,
            said,
            value,
            "a time such as \"30s\", \"10m\" or \"500ms\"",
        )
    }

    /// A number of days, up to two years.
    pub(super) fn days(&mut self, key: &str) -> Option<At<Duration>> {
        let said = self.text(key)?;
        let value = parse_days(&said.value);
        self.meant(key, said, value, "a number of days such as \"180 days\"")
    }

    pub(super) fn size(&mut self, key: &str) -> Option<At<usize>> {
        let said = self.text(key)?;
        let value = parse_size(&said.value);
        self.meant(key, said, value, "a size such as \"64MiB\" or \"32KiB\"")
    }

    pub(super) fn address(&mut self, key: &str) -> Option<At<SocketAddr>> {
        let said = self.text(key)?;
        let value = said.value.parse().ok();
        self.meant(key, said, value, "an address such as \"0.0.0.0:6984\"")
    }

    /// A path that is there even if nothing is said.
    pub(super) fn path_or(&mut self, key: &str, default: &str) -> PathBuf {
        self.path(key)
            .map_or_else(|| self.reader.path(default), |path| path.value)
    }

    pub(super) fn path(&mut self, key: &str) -> Option<At<PathBuf>> {
        let said = self.text(key)?;
        let value = self.reader.path(&said.value);
        let place = said.place;
        Some(At { value, place })
    }

    /// A text, `{ file = "…" }` or `{ env = "…" }`. The outer `Option` tells absence, a mistake is noted.
    pub(super) fn secret(&mut self, key: &str) -> Option<At<Secret>> {
        let At { value, place } = self.take(key)?;
        let said = match value {
            DeValue::String(text) => Some(text.into_owned()),
            DeValue::Table(table) => {
                let name = self.full(key);
                self.secret_elsewhere(Section::new(self.reader, name, place, table))
            }
            DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_) => {
                self.wrong(key, place, "a text, { file = … } or { env = … }");
                None
            }
        }?;
        let secret = said.trim_end_matches(['\r', '\n']);
        if secret.is_empty() {
            let full = self.full(key);
            self.reader.mistake(place, format!("`{full}` is empty"));
            return None;
        }
        let value = Secret::new(secret);
        Some(At { value, place })
    }

    fn secret_elsewhere(&self, mut table: Self) -> Option<String> {
        let (file, variable) = (table.text("file"), table.text("env"));
        let (name, place) = (table.name.clone(), table.place);
        table.finish();
        let found = match (file, variable) {
            (Some(file), None) => std::fs::read_to_string(self.reader.path(&file.value))
                .map_err(|error| format!("`{name}`: can't read `{}`: {error}", file.value)),
            (None, Some(variable)) => (self.reader.environment)(&variable.value).ok_or_else(|| {
                format!(
                    "`{name}`: `{}` is not set in the environment",
                    variable.value
                )
            }),
            (Some(_), Some(_)) | (None, None) => {
                Err(format!("`{name}` needs either `file` or `env`"))
            }
        };
        found
            .map_err(|message| self.reader.mistake(place, message))
            .ok()
    }

    /// Notes that a key which must be there is not.
    pub(super) fn missing(&self, key: &str) {
        if self.taken.iter().any(|taken| taken == key) {
            return;
        }
        let full = self.full(key);
        self.reader
            .mistake(self.place, format!("`{full}` is missing"));
    }

    /// The name of a key with the names of its sections.
    pub(super) fn full(&self, key: &str) -> String {
        if self.name.is_empty() {
            return key.to_owned();
        }
        format!("{}.{key}", self.name)
    }

    fn take(&mut self, key: &str) -> Option<At<DeValue<'a>>> {
        let index = self.entries.iter().position(|(at, _)| at.value == key)?;
        self.taken.push(key.to_owned());
        Some(self.entries.swap_remove(index).1)
    }

    fn wrong(&self, key: &str, place: usize, wanted: &str) {
        let full = self.full(key);
        self.reader
            .mistake(place, format!("`{full}` must be {wanted}"));
    }

    fn meant<T>(
        &self,
        key: &str,
        said: At<String>,
        value: Option<T>,
        wanted: &str,
    ) -> Option<At<T>> {
        let At { value: text, place } = said;
        if value.is_none() {
            let full = self.full(key);
            let message = format!("`{full}` must be {wanted}, not `{text}`");
            self.reader.mistake(place, message);
        }
        value.map(|value| At { value, place })
    }
}

/// The values alone, without their lines.
pub(super) fn values(said: Vec<At<String>>) -> Vec<String> {
    said.into_iter().map(|said| said.value).collect()
}

/// `10m`, `30s`, `500ms`, `2h`. Zero is no time to wait for anything, so it is refused.
fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok().filter(|number| *number > 0)?;
    match text.strip_prefix(digits)? {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        _ => None,
    }
    .filter(|duration| *duration <= MAX_DURATION)
}

/// Longer waits are mistyped units, and deadlines must stay computable.
const MAX_DURATION: Duration = Duration::from_secs(366 * 24 * 3600);

/// `180 days`.
fn parse_days(text: &str) -> Option<Duration> {
    let digits = text
        .strip_suffix(" days")
        .or_else(|| text.strip_suffix(" day"))?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let days: u64 = digits.parse().ok().filter(|_| plain)?;
    let sensible = (1..=731).contains(&days);
    sensible.then(|| Duration::from_secs(days.saturating_mul(24 * 3600)))
}

/// `64MiB`, `32KiB`, `512B`, `1GiB`.
fn parse_size(text: &str) -> Option<usize> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: usize = digits.parse().ok().filter(|number| *number > 0)?;
    let unit: usize = match text.strip_prefix(digits)? {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(unit)
}
