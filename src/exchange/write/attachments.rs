//! The attachments of a written document, laid beside those that are stored.
//!
//! A document is read with stubs and written with stubs, bytes, or bytes that follow; what is stored has stubs.
//! Before policy judges a write, each attachment that is the stored one, however it was sent, takes the stored
//! one's form, so that only real changes count as changes. Afterwards each stub gets a form that CouchDB takes.
//!
//! Invariant: no stub is sent on that CouchDB could not resolve: one would sink a whole batch with a `412`.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use memchr::memmem;

use super::refused::Refused;
use crate::budget::Counted;
use crate::couch::{Couch, CouchError};
use crate::json::{JsonError, MAX_DEPTH, Object, Value, elements, repeated_members, shallow};
use crate::refusal::Refusal;
use crate::route::{AttachmentName, DbName, DocId};

const MEMBER: &str = "_attachments";
const NAME: &str = "the name of an attachment may not hold control characters";
const UNNAMED: &str = "the name of an attachment can't stand in a path";
const LONG_NAME: &str = "the name of an attachment is too long for a URL";
const NO_DATA: &str = "the `data` of an attachment must be base64";
const NO_BYTES: &str = "attachments must be sent with their bytes";

/// What the attachments of a document are compared with.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Beside<'v> {
    /// The stored document as its writer sees it.
    pub(crate) view: Option<&'v Value>,
    /// The stored document with the bytes of its attachments, if they may matter.
    pub(crate) bytes: Option<&'v Value>,
}

/// What was found out about the attachments as they were sent.
#[derive(Debug, Default)]
pub(crate) struct Laid {
    /// As they were sent, those that were the same as stored, bytes and all.
    sent: Vec<(String, Value)>,
    /// A stub was sent.
    stubs: bool,
    /// A stub was sent for what its writer does not have.
    unknown: bool,
}

/// A document that may be written.
#[derive(Debug)]
pub(crate) struct Passed {
    pub(crate) document: Value,
    /// The stored revision whose bytes must take the place of stubs, because CouchDB would not find them.
    pub(crate) bytes_of: Option<String>,
}

/// Gives each attachment that is the stored one the stored one's form.
pub(crate) fn lay(
    document: &mut Value,
    beside: Beside<'_>,
    follows: bool,
) -> Result<Laid, Refused> {
    let mut laid = Laid::default();
    let Some(document) = document.as_object_mut() else {
        return Ok(laid);
    };
    // To leave the list out, to empty it and to have none mean the same to CouchDB.
    let none = beside.view.is_none_or(|view| view.get(MEMBER).is_none());
    if !none && !document.contains(MEMBER) {
        document.insert(MEMBER, Object::new());
    }
    let attachments = match document.get_mut(MEMBER) {
        None => return Ok(laid),
        Some(Value::Object(attachments)) if none && attachments.is_empty() => {
            document.remove(MEMBER);
            return Ok(laid);
        }
        Some(Value::Object(attachments)) => attachments,
        Some(_) => return Err(Refused::forbidden("`_attachments` must be an object")),
    };
    for (name, sent) in attachments.iter_mut() {
        if sent.as_object().is_none() {
            return Err(Refused::forbidden("an attachment must be an object"));
        }
        if let Some(reason) = fault(name, sent) {
            return Err(Refused::forbidden(reason));
        }
        if flag(sent, "follows") && !follows {
            return Err(Refused::forbidden(NO_BYTES));
        }
        let seen = of(beside.view, name);
        if flag(sent, "stub") {
            laid.stubs = true;
            match seen.filter(|seen| fits(sent, seen)) {
                Some(seen) => *sent = seen.clone(),
                None => laid.unknown = true,
            }
        } else if let Some(seen) = seen
            && (claims(sent, seen) || equals(sent, of(beside.bytes, name)))
        {
            laid.sent
                .push((name.to_owned(), std::mem::replace(sent, seen.clone())));
        }
    }
    Ok(laid)
}

impl Laid {
    /// Gives the stubs of the judged document a form that CouchDB takes. `parent`: CouchDB will find the stored
    /// revision as the parent of this one; else the bytes of `base` must be sent.
    pub(crate) fn settle(
        self,
        mut document: Value,
        parent: bool,
        base: Option<&Value>,
    ) -> Result<Passed, Refused> {
        if let Some(document) = document.as_object_mut()
            && document
                .get(MEMBER)
                .and_then(Value::as_object)
                .is_some_and(Object::is_empty)
        {
            document.remove(MEMBER);
        }
        if self.unknown {
            return Err(Refused::missing_stub());
        }
        let mut bytes_of = None;
        if !parent && document.get(MEMBER).is_some() {
            if self.stubs {
                return Err(Refused::forbidden(NO_BYTES));
            }
            for (name, sent) in self.sent {
                put(&mut document, &name, sent);
            }
            if has_stub(&document) {
                let rev = base.and_then(|base| base.get("_rev")?.as_str());
                bytes_of = rev.map(str::to_owned);
            }
        }
        Ok(Passed { document, bytes_of })
    }
}

/// Reads the bytes that stand for stubs where CouchDB would not find them.
pub(crate) async fn fill(
    couch: &Couch,
    db: &DbName,
    id: &str,
    passed: Passed,
) -> Result<Result<Value, Refused>, Refusal> {
    let Passed {
        mut document,
        bytes_of,
    } = passed;
    let Some(rev) = bytes_of else {
        return Ok(Ok(document));
    };
    const LOST: &str = "the attachments that you do not see could not be kept";
    let Some(stored) = with_bytes(couch, db, id, &rev).await? else {
        return Ok(Err(Refused::forbidden(LOST)));
    };
    for name in stubs(&document) {
        match of(Some(&stored), &name) {
            Some(bytes) => put(&mut document, &name, bytes.clone()),
            None => return Ok(Err(Refused::forbidden(LOST))),
        }
    }
    Ok(Ok(document))
}

/// A stored revision with its attachments inside; nothing where they are too long to be read.
pub(crate) async fn with_bytes(
    couch: &Couch,
    db: &DbName,
    id: &str,
    rev: &str,
) -> Result<Option<Counted<Value>>, Refusal> {
    let id =
        DocId::parse(id).map_err(|_| Refusal::Internal("a stored id is no name of a document"))?;
    match couch.read_with_attachments(db, &id, rev).await {
        Ok(found) => Ok(found),
        Err(CouchError::TooLong(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Why an attachment may not be stored like this.
///
/// Security: CouchDB writes type and coding as they are into the head of the answer to whoever fetches the attachment,
/// and name, type and coding into the heads of parts: a line end in one of them would give others headers, or a whole
/// answer, of the writer's choice. (`what_is_no_header_value_is_stored_in_no_way`)
/// And what nobody could ask for again would stop every replica of its document; what CouchDB takes for a fault of the
/// request would stop the whole batch. (`no_attachment_is_stored_that_can_not_be_asked_for`)
fn fault(name: &str, sent: &Value) -> Option<&'static str> {
    match (flag(sent, "stub"), flag(sent, "follows")) {
        // Two readers could count the parts differently.
        (true, true) => return Some("an attachment is stored already, or it follows"),
        // What is stored stays.
        (true, false) => return None,
        (false, true | false) => {}
    }
    if name.chars().any(char::is_control) {
        return Some(NAME);
    }
    if name.starts_with('_') || AttachmentName::parse(name).is_err() {
        return Some(UNNAMED);
    }
    if !AttachmentName::fits_in_url(name) {
        return Some(LONG_NAME);
    }
    if !flag(sent, "follows") && data(sent).is_none() {
        return Some(NO_DATA);
    }
    no_header(sent)
}

/// Why what an attachment tells of itself can't stand in a head.
fn no_header(attachment: &Value) -> Option<&'static str> {
    match attachment.get("content_type") {
        None => {}
        Some(Value::String(kind)) if HeaderValue::from_bytes(kind.as_bytes()).is_ok() => {}
        Some(_) => return Some("the `content_type` of an attachment must be a header value"),
    }
    match attachment.get("encoding") {
        None => None,
        Some(Value::String(coding)) if coding == "gzip" || coding == "identity" => None,
        Some(_) => Some("the `encoding` of an attachment is `gzip` or `identity`"),
    }
}

/// Whether an attachment may be stored under this name.
pub(crate) fn check_name(name: &str) -> Result<(), Refusal> {
    match name.chars().any(char::is_control) {
        true => Err(Refusal::BadRequest(NAME)),
        false => Ok(()),
    }
}

/// Whether the attachments of a document that nobody judges may be stored.
pub(crate) fn check(document: &Value) -> Result<(), Refusal> {
    let attachments = document.get(MEMBER).and_then(Value::as_object);
    let all = attachments.into_iter().flat_map(Object::iter);
    match all.into_iter().find_map(|(name, one)| fault(name, one)) {
        Some(reason) => Err(Refusal::BadRequest(reason)),
        None => Ok(()),
    }
}

/// The same of a stored document, whose attachments are to be copied without being sent.
pub(crate) fn check_stored(document: &Value) -> Result<(), Refusal> {
    let attachments = document.get(MEMBER).and_then(Value::as_object);
    let mut all = attachments.into_iter().flat_map(Object::iter);
    let fault = all.find_map(|(name, one)| match name.chars().any(char::is_control) {
        true => Some(NAME),
        false => no_header(one),
    });
    fault.map_or(Ok(()), |reason| Err(Refusal::BadRequest(reason)))
}

/// The same of a document, or a batch of them, that goes on as it came, as only administrators may send it. Whatever
/// else is said twice in it, its attachments must be readable in one way.
///
/// Security: of two members of one name CouchDB believes one or the other.
/// (`what_is_no_header_value_is_not_stored_by_being_said_twice`)
pub(crate) fn check_unread(body: &[u8]) -> Result<(), Refusal> {
    // Most bodies have none; the name can be spelt with escapes.
    let spelt = |text: &[u8]| memmem::find(body, text).is_some();
    if !spelt(MEMBER.as_bytes()) && !spelt(b"\\u") {
        return Ok(());
    }
    let all = match listed(body) {
        Err(JsonError::TooDeep) => listed(&shallow(body, MAX_DEPTH / 2)),
        listed => listed,
    };
    let all = all.map_err(|_| Refusal::BadRequest("the attachments can't be read in one way"))?;
    all.iter().try_for_each(check)
}

/// The attachments of each document of a body.
fn listed(body: &[u8]) -> Result<Vec<Value>, JsonError> {
    let mut all = Vec::new();
    all.extend(attached(body)?);
    for member in repeated_members(body) {
        let member = member?;
        if member.key != "docs" || !member.value.starts_with(b"[") {
            continue;
        }
        for document in elements(member.value) {
            all.extend(attached(document?)?);
        }
    }
    Ok(all)
}

/// A document that has the attachments of this one, and nothing else.
fn attached(document: &[u8]) -> Result<Option<Value>, JsonError> {
    if !document.trim_ascii_start().starts_with(b"{") {
        return Ok(None);
    }
    let mut alone = Object::new();
    for member in repeated_members(document) {
        let member = member?;
        if member.key != MEMBER {
            continue;
        }
        if alone.contains(MEMBER) {
            return Err(JsonError::DuplicateKey(MEMBER.to_owned()));
        }
        alone.insert(MEMBER, Value::parse(member.value)?);
    }
    Ok((!alone.is_empty()).then_some(Value::Object(alone)))
}

/// Was anything sent that may be a stored attachment, byte by byte? Then the stored bytes must be read.
pub(crate) fn may_equal(document: &Value, view: &Value) -> bool {
    let sent = document.get(MEMBER).and_then(Value::as_object);
    sent.is_some_and(|sent| {
        sent.iter().any(|(name, sent)| {
            let seen = of(Some(view), name);
            let length = seen.and_then(|seen| seen.get("length")?.as_number()?.as_u64());
            let decoded = data(sent).map(|data| data.len() as u64);
            decoded.is_some() && length == decoded
        })
    })
}

/// The names of the attachments that follow as parts, in the order of the parts, with their lengths.
pub(crate) fn following(document: &Value) -> Vec<(String, Option<u64>)> {
    let attachments = document.get(MEMBER).and_then(Value::as_object);
    let all = attachments.into_iter().flat_map(Object::iter);
    // As in CouchDB, a stub is one whatever else it says.
    all.filter(|(_, one)| flag(one, "follows") && !flag(one, "stub"))
        .map(|(name, one)| (name.to_owned(), length(one)))
        .collect()
}

/// Does it tell a digest of an attachment that follows? CouchDB compares it with the bytes.
pub(crate) fn tells_a_digest(document: &Value) -> bool {
    let attachments = document.get(MEMBER).and_then(Value::as_object);
    let mut all = attachments.into_iter().flat_map(Object::iter);
    all.any(|(_, one)| flag(one, "follows") && one.get("digest").is_some())
}

/// How many bytes of an attachment follow: those of its coding, if it has one.
fn length(one: &Value) -> Option<u64> {
    let coded = one.get("encoding").is_some();
    let number = coded.then(|| one.get("encoded_length")).flatten();
    number.or_else(|| one.get("length"))?.as_number()?.as_u64()
}

/// Puts the attachments that follow in the order of their parts, before all others.
pub(crate) fn in_order(document: &mut Value, names: &[(String, Option<u64>)]) {
    let Some(attachments) = document
        .as_object_mut()
        .and_then(|document| document.get_mut(MEMBER)?.as_object_mut())
    else {
        return;
    };
    let places: HashMap<&str, usize> = names
        .iter()
        .zip(0..)
        .map(|((name, _), place)| (name.as_str(), place))
        .collect();
    let mut ordered: Vec<(String, Value)> = std::mem::take(attachments).into_iter().collect();
    ordered.sort_by_key(|(name, _)| places.get(name.as_str()).copied().unwrap_or(usize::MAX));
    for (name, one) in ordered {
        attachments.insert(name, one);
    }
}

/// The names of all attachments.
pub(crate) fn names(document: &Value) -> Vec<String> {
    let attachments = document.get(MEMBER).and_then(Value::as_object);
    let all = attachments.into_iter().flat_map(Object::iter);
    all.map(|(name, _)| name.to_owned()).collect()
}

fn has_stub(document: &Value) -> bool {
    !stubs(document).is_empty()
}

fn stubs(document: &Value) -> Vec<String> {
    let attachments = document.get(MEMBER).and_then(Value::as_object);
    let all = attachments.into_iter().flat_map(Object::iter);
    all.filter(|(_, one)| flag(one, "stub"))
        .map(|(name, _)| name.to_owned())
        .collect()
}

/// Sets one attachment.
pub(crate) fn put(document: &mut Value, name: &str, attachment: Value) {
    let Some(document) = document.as_object_mut() else {
        return;
    };
    if document.get(MEMBER).and_then(Value::as_object).is_none() {
        document.insert(MEMBER, Object::new());
    }
    if let Some(attachments) = document.get_mut(MEMBER).and_then(Value::as_object_mut) {
        attachments.insert(name, attachment);
    }
}

/// Takes one attachment away; with the last one goes the list.
pub(crate) fn remove(document: &mut Value, name: &str) {
    let Some(document) = document.as_object_mut() else {
        return;
    };
    if let Some(attachments) = document.get_mut(MEMBER).and_then(Value::as_object_mut) {
        attachments.remove(name);
        if attachments.is_empty() {
            document.remove(MEMBER);
        }
    }
}

/// One attachment of a document.
pub(crate) fn of<'v>(document: Option<&'v Value>, name: &str) -> Option<&'v Value> {
    document?.get(MEMBER)?.get(name)
}

fn flag(attachment: &Value, name: &str) -> bool {
    attachment.get(name).and_then(Value::as_bool) == Some(true)
}

/// CouchDB takes a stub for the stored attachment of its name, if it names no other revision than that one's.
fn fits(stub: &Value, stored: &Value) -> bool {
    let revpos = |one: &Value| one.get("revpos")?.as_number()?.as_u64();
    match (revpos(stub), revpos(stored)) {
        (Some(stub), Some(stored)) => stub == 0 || stub == stored,
        (Some(_) | None, _) => true,
    }
}

/// Of what follows the digest must do: CouchDB refuses bytes that have another one than the document says.
fn claims(sent: &Value, stored: &Value) -> bool {
    let same = |name: &str| sent.get(name).is_some() && sent.get(name) == stored.get(name);
    flag(sent, "follows") && same("digest") && same("content_type")
}

fn equals(sent: &Value, stored: Option<&Value>) -> bool {
    let Some(stored) = stored else {
        return false;
    };
    let kind = |one: &Value| {
        one.get("content_type")
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    kind(sent) == kind(stored) && data(sent).is_some_and(|sent| data(stored) == Some(sent))
}

/// The bytes that are sent as base64, in lines too, as CouchDB reads it.
fn data(attachment: &Value) -> Option<Vec<u8>> {
    let text = attachment.get("data")?.as_str()?;
    let lines: Vec<&str> = text.split_ascii_whitespace().collect();
    match lines.as_slice() {
        [] => Some(Vec::new()),
        [line] => STANDARD.decode(line).ok(),
        lines => STANDARD.decode(lines.concat()).ok(),
    }
}
