//! Actions: the closed list of what rules permit and forbid.
//!
//! Invariant: a word that is not in the list is no action; `write` and `replicate` are nothing but their parts.

use std::collections::BTreeSet;

/// The actions on databases that have no name of their own behind a colon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::policy) enum Simple {
    Read,
    Changes,
    Create,
    Update,
    Delete,
    Find,
    Design,
    Info,
    CreateDatabase,
    DeleteDatabase,
    DesignWrite,
    Index,
    Security,
    Maintain,
}

/// Some of the simple actions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::policy) struct Mask(u16);

/// What a rule permits or forbids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::policy) struct Actions {
    pub(in crate::policy) simple: Mask,
    pub(in crate::policy) views: Vec<Member>,
    pub(in crate::policy) functions: Vec<Member>,
    pub(in crate::policy) servers: BTreeSet<&'static str>,
}

/// `DDOC/NAME` or `DDOC/*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::policy) struct Member {
    pub(in crate::policy) ddoc: Box<str>,
    pub(in crate::policy) name: Option<Box<str>>,
}

/// What a rewrite is called in `function:DDOC/_rewrite`; `DDOC/*` does not cover it.
pub(in crate::policy) const REWRITE: &str = "_rewrite";

const SIMPLE: [(&str, Simple); 14] = [
    ("read", Simple::Read),
    ("changes", Simple::Changes),
    ("create", Simple::Create),
    ("update", Simple::Update),
    ("delete", Simple::Delete),
    ("find", Simple::Find),
    ("design", Simple::Design),
    ("info", Simple::Info),
    ("create-database", Simple::CreateDatabase),
    ("delete-database", Simple::DeleteDatabase),
    ("design-write", Simple::DesignWrite),
    ("index", Simple::Index),
    ("security", Simple::Security),
    ("maintain", Simple::Maintain),
];

/// The server endpoints, as `server:NAME` names them.
const SERVER: [&str; 24] = [
    "welcome",
    "favicon",
    "up",
    "uuids",
    "all_dbs",
    "dbs_info",
    "active_tasks",
    "db_updates",
    "membership",
    "cluster_setup",
    "replicate",
    "scheduler",
    "search_analyze",
    "nouveau_analyze",
    "reload_query_servers",
    "reshard",
    "utils",
    "node_name",
    "node_stats",
    "node_system",
    "node_restart",
    "node_versions",
    "node_config",
    "node_registry",
];

impl Mask {
    pub(in crate::policy) const WRITE: Self =
        Self(1 << Simple::Create as u16 | 1 << Simple::Update as u16 | 1 << Simple::Delete as u16);
    pub(in crate::policy) const REPLICATE: Self =
        Self(Self::WRITE.0 | 1 << Simple::Read as u16 | 1 << Simple::Changes as u16);
    /// The actions on which the conditions on documents of a rule bear.
    pub(in crate::policy) const DOCUMENTS: Self = Self(
        Self::REPLICATE.0
            | 1 << Simple::Find as u16
            | 1 << Simple::Design as u16
            | 1 << Simple::DesignWrite as u16,
    );
    pub(in crate::policy) const ALL: Self = Self(u16::MAX);

    pub(in crate::policy) const fn of(simple: Simple) -> Self {
        Self(1 << simple as u16)
    }

    pub(in crate::policy) const fn and(self, simple: Simple) -> Self {
        Self(self.0 | 1 << simple as u16)
    }

    pub(in crate::policy) fn has(self, simple: Simple) -> bool {
        self.0 & (1 << simple as u16) != 0
    }

    pub(in crate::policy) fn touches(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(in crate::policy) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(in crate::policy) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(in crate::policy) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl Actions {
    /// Adds what one word of a policy names. False: there is no such action.
    pub(in crate::policy) fn add(&mut self, word: &str) -> bool {
        match word {
            "write" => self.simple = self.simple.union(Mask::WRITE),
            "replicate" => self.simple = self.simple.union(Mask::REPLICATE),
            _ => {
                if let Some((_, simple)) = SIMPLE.iter().find(|(name, _)| *name == word) {
                    self.simple = self.simple.and(*simple);
                } else if let Some(member) = word.strip_prefix("view:").and_then(Member::parse) {
                    self.views.push(member);
                } else if let Some(member) = word.strip_prefix("function:").and_then(Member::parse)
                {
                    self.functions.push(member);
                } else if let Some(server) = word.strip_prefix("server:")
                    && let Some(known) = SERVER.iter().find(|name| **name == server)
                {
                    self.servers.insert(known);
                } else {
                    return false;
                }
            }
        }
        true
    }

    pub(in crate::policy) fn is_empty(&self) -> bool {
        !self.on_databases() && self.servers.is_empty()
    }

    /// Is any of them an action on databases?
    pub(in crate::policy) fn on_databases(&self) -> bool {
        !self.simple.is_empty() || !self.views.is_empty() || !self.functions.is_empty()
    }

    pub(in crate::policy) fn view(&self, ddoc: &str, view: &str) -> bool {
        self.views.iter().any(|member| member.covers(ddoc, view))
    }

    pub(in crate::policy) fn function(&self, ddoc: &str, name: &str) -> bool {
        self.functions
            .iter()
            .any(|member| member.covers(ddoc, name))
    }
}

impl Member {
    fn parse(text: &str) -> Option<Self> {
        let (ddoc, name) = text.split_once('/')?;
        let fit = |part: &str| !part.is_empty() && !part.contains(['*', '{', '}']);
        if !fit(ddoc) || !(name == "*" || fit(name)) {
            return None;
        }
        Some(Self {
            ddoc: ddoc.into(),
            name: (name != "*").then(|| name.into()),
        })
    }

    fn covers(&self, ddoc: &str, name: &str) -> bool {
        *self.ddoc == *ddoc
            && match &self.name {
                Some(own) => **own == *name,
                None => name != REWRITE,
            }
    }
}
