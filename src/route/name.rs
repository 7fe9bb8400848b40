//! The names in a route: legal by construction, decoded, each with one spelling in a URL.
//!
//! A name is made by `parse` from decoded text. What CouchDB would not accept is refused here, and so is
//! what no path could carry with one meaning: null characters, and `.` and `..` as a whole name. Other control
//! characters stand in ids of documents and names of attachments only; in a URL they are always escaped.
//!
//! Invariant: every name of these types survives `render` and `parse` unchanged.

use std::fmt;

use super::RouteError;

/// CouchDB's own databases; the last component of a name such as `x/_users` may be one too.
const SYSTEM_DATABASES: [&str; 6] = [
    "_dbs",
    "_global_changes",
    "_metadata",
    "_nodes",
    "_replicator",
    "_users",
];

/// The database of couchwarden itself: what all couchwardens before one CouchDB must know.
const OWN_DATABASE: &str = "couchwarden";

/// The most digits of a generation. CouchDB reads longer ones for long: a million of them for a minute.
pub(crate) const MOST_DIGITS: usize = 64;

/// The longest database name (`[couchdb] max_database_name_length`), in bytes.
const MAX_DATABASE_NAME: usize = 238;

/// The longest id of a document that is written, as it stands in a URL, in bytes. Beside it, and beside the name of an
/// attachment, a target has room for the name of a database and for a query.
const LONGEST_ID: usize = 4096;
/// The longest name of an attachment that is written.
const LONGEST_ATTACHMENT: usize = 2048;

/// How long a text is in a URL, at most.
pub(crate) fn in_url(text: &str) -> usize {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let bytes = text.bytes();
    bytes.map(|byte| if plain(byte) { 1 } else { 3 }).sum()
}

/// Refuses what no name may hold.
fn plain(text: &str) -> Result<(), RouteError> {
    some(text)?;
    segment(text)
}

/// Refuses what no id may be.
fn some(text: &str) -> Result<(), RouteError> {
    if text.is_empty() {
        return Err(RouteError::Ambiguous("a name is empty"));
    }
    if text.contains('\0') {
        return Err(RouteError::Ambiguous("a name has a null character"));
    }
    no_dots(text)
}

fn no_dots(text: &str) -> Result<(), RouteError> {
    if matches!(text, "." | "..") {
        return Err(RouteError::Ambiguous("dot segments are not resolved"));
    }
    Ok(())
}

/// Refuses what no other path segment may hold.
fn segment(text: &str) -> Result<(), RouteError> {
    no_dots(text)?;
    if text.chars().any(char::is_control) {
        return Err(RouteError::Ambiguous(
            "control characters are not allowed in names",
        ));
    }
    Ok(())
}

/// The name of a database.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DbName(Box<str>);

impl DbName {
    /// By the rule of `couch_db:validate_dbname`, without what only CouchDB's files have: a suffix
    /// `.couch` or `.1234567890`, and the names of shards (`shards/00000000-7fffffff/…`).
    pub fn parse(text: &str) -> Result<Self, RouteError> {
        let legal = SYSTEM_DATABASES.contains(&text)
            || (text.starts_with(|c: char| c.is_ascii_lowercase())
                && text.bytes().all(is_database_byte)
                && !is_shard(text));
        if legal && text.len() <= MAX_DATABASE_NAME {
            Ok(Self(text.into()))
        } else {
            Err(RouteError::IllegalDatabase)
        }
    }

    /// The database of couchwarden itself, which is in no route of a client's.
    pub(crate) fn own() -> Self {
        Self(OWN_DATABASE.into())
    }

    /// Is it the database of couchwarden itself?
    pub fn is_own(&self) -> bool {
        is_own_database(&self.0)
    }

    /// The decoded name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Is it CouchDB's list of all databases and their shards? Administrators reach its entries through a member of the
    /// cluster (`/_node/NAME/_dbs`), which names them one by one.
    pub fn is_register(&self) -> bool {
        &*self.0 == "_dbs"
    }

    /// Is it one of CouchDB's own (`_users`, `x/_replicator`)? CouchDB treats these in its own way.
    pub fn is_system(&self) -> bool {
        SYSTEM_DATABASES.contains(&self.last())
    }

    /// Are its documents accounts (`_users`, `x/_users`)? CouchDB hashes the passwords in them.
    pub fn holds_accounts(&self) -> bool {
        self.last() == "_users"
    }

    /// Are its documents replications that CouchDB starts by itself (`_replicator`, `x/_replicator`)?
    pub fn holds_replications(&self) -> bool {
        self.last() == "_replicator"
    }

    fn last(&self) -> &str {
        self.0.rsplit_once('/').map_or(&*self.0, |(_, last)| last)
    }

    /// Is it one that was made for a user: `u` and a UUID, with its hyphens or without?
    pub fn is_user_database(&self) -> bool {
        let uuid = self.0.strip_prefix('u').unwrap_or_default();
        let groups: Vec<usize> = uuid.split('-').map(str::len).collect();
        let mut digits = uuid.bytes().filter(|byte| *byte != b'-');
        matches!(groups.as_slice(), [32] | [8, 4, 4, 4, 12])
            && digits.all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    }
}

/// Is this the name of couchwarden's own database?
pub fn is_own_database(name: &str) -> bool {
    name == OWN_DATABASE
}

fn is_database_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'$' | b'(' | b')' | b'+' | b'/' | b'-')
}

/// `mem3:dbname` reads `shards/XXXXXXXX-XXXXXXXX/name` as `name`: two readings of one name.
fn is_shard(text: &str) -> bool {
    let range = text
        .strip_prefix("shards/")
        .and_then(|rest| rest.split_once('/'));
    range.is_some_and(|(range, _)| range.len() == 17 && range.as_bytes().get(8) == Some(&b'-'))
}

/// The id of a document: any text but those that begin with `_`, or `_design/NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DocId(Box<str>);

impl DocId {
    /// By the rule of `couch_doc:validate_docid`, without `_local/…` (that is [`LocalId`]).
    pub fn parse(text: &str) -> Result<Self, RouteError> {
        some(text)?;
        match text.strip_prefix("_design/") {
            Some(name) => plain(name)?,
            None if text.starts_with('_') => {
                return Err(RouteError::IllegalDocument);
            }
            None => {}
        }
        Ok(Self(text.into()))
    }

    /// The decoded id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether what is written under it can be asked for by everybody: CouchDB's replicator gives up at `414`.
    pub(crate) fn fits_in_url(text: &str) -> bool {
        in_url(text) <= LONGEST_ID
    }

    /// Is it a design document?
    pub fn is_design(&self) -> bool {
        self.0.starts_with("_design/")
    }

    /// The name of the design document, if it is one.
    pub fn design(&self) -> Option<DesignName> {
        self.0
            .strip_prefix("_design/")
            .map(|name| DesignName(name.into()))
    }
}

/// The name of a design document, without `_design/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DesignName(Box<str>);

impl DesignName {
    /// Any text that is not empty.
    pub fn parse(text: &str) -> Result<Self, RouteError> {
        plain(text)?;
        Ok(Self(text.into()))
    }

    /// The decoded name, without `_design/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id of the document, with `_design/`.
    pub fn id(&self) -> DocId {
        DocId(format!("_design/{}", self.0).into())
    }
}

/// The name of a view, a show, list or update function, or a search index.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FunctionName(Box<str>);

impl FunctionName {
    /// Any text that is not empty.
    pub fn parse(text: &str) -> Result<Self, RouteError> {
        plain(text)?;
        Ok(Self(text.into()))
    }

    /// The decoded name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of an attachment: it may have slashes, but no empty and no dot component.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttachmentName(Box<str>);

impl AttachmentName {
    /// CouchDB stores none whose name begins with `_` (`couch_att:validate_name`); to ask for one is no
    /// mistake.
    pub fn parse(text: &str) -> Result<Self, RouteError> {
        text.split('/').try_for_each(some)?;
        Ok(Self(text.into()))
    }

    /// Whether what is written under it can be asked for by everybody.
    pub(crate) fn fits_in_url(text: &str) -> bool {
        in_url(text) <= LONGEST_ATTACHMENT
    }

    /// The decoded name, components joined with `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The id of a local document, without `_local/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LocalId(Box<str>);

impl LocalId {
    /// Any text that is not empty.
    pub fn parse(text: &str) -> Result<Self, RouteError> {
        plain(text)?;
        Ok(Self(text.into()))
    }

    /// The decoded id, without `_local/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The id of a node, which is the id of its document.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(Box<str>);

impl NodeId {
    /// Any document id that does not begin with `_`.
    pub fn parse(text: &str) -> Result<Self, RouteError> {
        plain(text)?;
        if text.starts_with('_') {
            return Err(RouteError::Ambiguous(
                "node ids do not start with an underscore",
            ));
        }
        Ok(Self(text.into()))
    }

    /// The decoded id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Any other decoded segment of a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Text(Box<str>);

impl Text {
    /// Any text; an empty one stands at the end of a path with a trailing slash that matters.
    pub fn parse(text: &str) -> Result<Self, RouteError> {
        segment(text)?;
        Ok(Self(text.into()))
    }

    /// The decoded text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A revision: `N-text`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rev {
    generation: u128,
    whole: Box<str>,
}

impl Rev {
    /// As `couch_doc:parse_rev`: the number may have a plus and leading zeros, which mean nothing; 32 characters after
    /// the dash are hexadecimal, of any case, and mean the same in lower case. What is read has one spelling.
    ///
    /// CouchDB's number has no end. Nobody has reached what is beyond ours: it counts as the last one.
    pub fn parse(text: &str) -> Result<Self, RouteError> {
        const INVALID: RouteError = RouteError::Ambiguous("Invalid rev format");
        let (number, suffix) = text.split_once('-').ok_or(INVALID)?;
        let digits = number.strip_prefix('+').unwrap_or(number);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(INVALID);
        }
        if number.len() > MOST_DIGITS || suffix.chars().any(char::is_control) {
            return Err(INVALID);
        }
        let number = match digits.trim_start_matches('0') {
            "" => "0",
            number => number,
        };
        let generation: u128 = number.parse().unwrap_or(u128::MAX);
        let digest = generation != 0 && suffix.len() == 32;
        if digest && !suffix.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(INVALID);
        }
        let whole = match digest {
            true => format!("{number}-{}", suffix.to_ascii_lowercase()),
            false => format!("{number}-{suffix}"),
        };
        Ok(Self {
            generation,
            whole: whole.into(),
        })
    }

    /// The revision of this generation with this digest.
    pub(super) fn of(generation: u128, digest: &str) -> Result<Self, RouteError> {
        Self::parse(&format!("{generation}-{digest}"))
    }

    /// Could it have been stored by anybody? CouchDB writes none without a digest, and takes one as missing.
    pub(super) fn has_digest(&self) -> bool {
        !self.digest().is_empty()
    }

    /// Can its generation be counted?
    pub(super) fn is_counted(&self) -> bool {
        let number = self.whole.split_once('-').map(|(number, _)| number);
        number.is_some_and(|number| number.parse::<u128>().is_ok())
    }

    /// The number before the dash, or the last one that can be counted.
    pub fn generation(&self) -> u128 {
        self.generation
    }

    /// What stands after the dash.
    pub fn digest(&self) -> &str {
        self.whole.split_once('-').map_or("", |(_, digest)| digest)
    }

    /// The whole revision, as CouchDB writes it.
    pub fn as_str(&self) -> &str {
        &self.whole
    }
}

impl fmt::Display for DbName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for DocId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for DesignName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for FunctionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for AttachmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for LocalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Rev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.whole)
    }
}

#[cfg(test)]
mod tests;
