//! Fingerprints: digests of the rules that apply to a caller, and of what they captured.
//!
//! Invariant: the same on every machine and after every start; order and names of rules and files do not
//! matter; what no rule depends on does not either.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};

use crate::policy::grants::Applied;
use crate::policy::pattern::Names;

/// Two requests with the same fingerprint see the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 8]);

/// One thing that a fingerprint covers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::policy) struct Part(String);

impl Part {
    pub(in crate::policy) fn plain(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// A rule that applies. Texts are quoted, so that no two parts spell the same.
    pub(in crate::policy) fn rule(effect: &str, applied: &Applied) -> Self {
        let captures = match &applied.bindings {
            None => "?".to_owned(),
            Some(bindings) => {
                let mut bindings: Vec<String> = bindings
                    .iter()
                    .map(|binding| values(binding, &applied.rule.names))
                    .collect();
                bindings.sort();
                format!("{bindings:?}")
            }
        };
        Self(format!(
            "{effect:?} {:?} {captures}",
            applied.rule.canonical
        ))
    }
}

fn values(binding: &crate::policy::pattern::binding::Binding, names: &Names) -> String {
    let known = names
        .iter()
        .filter_map(|(number, name)| Some((name.to_string(), binding.get(number)?)));
    let mut known: Vec<(String, &str)> = known.collect();
    known.sort();
    format!("{known:?}")
}

impl Fingerprint {
    pub(in crate::policy) fn of(parts: &[Part]) -> Self {
        let mut parts: Vec<&str> = parts.iter().map(|part| part.0.as_str()).collect();
        parts.sort_unstable();
        parts.dedup();
        let digest = digest(&SHA256, parts.join("\n").as_bytes());
        let mut short = [0; 8];
        for (to, from) in short.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        Self(short)
    }

    /// Its bytes.
    pub fn bytes(self) -> [u8; 8] {
        self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
