//! Passes over a row that is too long or too deep to be held, up to its end.
//!
//! Invariant: nothing is proven of it but where it ends, so nothing of it is ever shown.

use super::edit;
use super::frame::State;

/// How much of its beginning is kept: enough to tell whose row it is. A name or an id is not longer either.
const HEAD: usize = 64 * 1024;

/// A row on its way past.
#[derive(Debug)]
pub(super) struct Skip {
    /// What is due behind it.
    pub(super) next: State,
    head: Vec<u8>,
    own: Option<OwnId>,
    depth: usize,
    inside_string: bool,
    escaped: bool,
}

/// Looks for the `_id` of the row, wherever it stands.
#[derive(Debug, Default)]
struct OwnId {
    /// The string that is being read, of those that stand in no value.
    string: Vec<u8>,
    /// The string is the value of `_id`.
    due: bool,
    found: Option<Vec<u8>>,
}

impl OwnId {
    /// A byte of a string, with its quotes.
    fn push(&mut self, byte: u8) {
        if self.string.len() < HEAD {
            self.string.push(byte);
        }
    }

    /// A byte between strings, in no value that holds others.
    fn pass(&mut self, byte: u8) {
        match byte {
            b':' => {
                self.due = self.text().is_some_and(|name| name == "_id");
                self.string.clear();
            }
            b',' | b'}' => {
                if std::mem::take(&mut self.due) && self.text().is_some() {
                    self.found = Some(std::mem::take(&mut self.string));
                }
                self.string.clear();
            }
            _ => {}
        }
    }

    fn text(&self) -> Option<std::borrow::Cow<'_, str>> {
        edit::string(&self.string).ok()
    }
}

impl Skip {
    /// An object, whose first byte is the next one.
    pub(super) fn until(next: State) -> Self {
        Self {
            next,
            head: Vec::new(),
            own: None,
            depth: 0,
            inside_string: false,
            escaped: false,
        }
    }

    /// The same, and keeps its `_id` instead of its beginning.
    pub(super) fn keeping_id(self) -> Self {
        let own = Some(OwnId::default());
        Self { own, ..self }
    }

    /// Takes the next bytes; gives how many of them belong to it, once its end is there.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Option<usize> {
        let last = bytes.iter().position(|byte| self.closes(*byte));
        let end = last.map(|last| last.saturating_add(1));
        if self.own.is_none() {
            let room = HEAD.saturating_sub(self.head.len());
            let own = bytes.iter().take(end.unwrap_or(bytes.len()).min(room));
            self.head.extend(own);
        }
        end
    }

    fn closes(&mut self, byte: u8) -> bool {
        let own = self.own.as_mut().filter(|_| self.depth == 1);
        if self.inside_string {
            self.inside_string = self.escaped || byte != b'"';
            self.escaped = byte == b'\\' && !self.escaped;
            if let Some(own) = own {
                own.push(byte);
            }
            return false;
        }
        if let Some(own) = own {
            match byte {
                b'"' => {
                    own.string.clear();
                    own.push(byte);
                }
                byte => own.pass(byte),
            }
        }
        match byte {
            b'"' => self.inside_string = true,
            b'{' | b'[' => self.depth = self.depth.saturating_add(1),
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            _ => {}
        }
        false
    }

    /// Its beginning, or its `_id`: a string, or nothing.
    pub(super) fn into_head(self) -> Vec<u8> {
        match self.own {
            Some(own) => own.found.unwrap_or_default(),
            None => self.head,
        }
    }
}
