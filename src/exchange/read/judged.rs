//! One document of an answer, judged together with what it needs: further revisions are read until it can be.
//!
//! Invariant: nothing of a document is given out before it was judged whole.

use std::collections::{HashSet, VecDeque};

use crate::body::Cut;
use crate::couch::Pace;
use crate::exchange::context::Context;
use crate::exchange::redact::{Piece, Redaction, RowOutcome, see, show};
use crate::exchange::revisions::RevisionCache;
use crate::exchange::write::attachments::{of, put, with_bytes};
use crate::json::{JsonError, Value, Visibility, members, string};
use crate::policy::Lens;

/// A document as the caller sees it.
#[derive(Debug, Default)]
pub(crate) struct Document {
    pub(crate) id: String,
    /// Its revision.
    pub(crate) rev: String,
    /// Its text; none where they may not see it.
    pub(crate) json: Option<Vec<u8>>,
    /// The attachments that follow it in parts of their own.
    pub(crate) attachments: VecDeque<Attachment>,
    /// The names of those that they may see and that can't follow it.
    inside: Vec<String>,
}

/// An attachment that follows its document.
#[derive(Debug)]
pub(crate) struct Attachment {
    name: String,
    /// The head of its part, from line end to empty line, as `couch_httpd_multipart` writes it.
    pub(crate) head: Vec<u8>,
    /// In bytes, as it travels.
    pub(crate) length: u64,
    /// Whether its head can be read in one way only.
    sound: bool,
    /// Whether they may see it.
    pub(crate) shown: bool,
}

/// Judges a document, given as JSON; none where it nests too deep, or takes too much memory. Without a lens all of it
/// may be seen.
pub(crate) async fn judge_readable(
    context: &Context,
    lens: Option<&Lens>,
    bytes: &[u8],
) -> Result<Option<Document>, Cut> {
    let Some(lens) = lens else {
        let document = whole(bytes).map_err(|error| Cut::from(&error))?;
        return bring_inside(context, document).await.map(Some);
    };
    let (mut cache, mut pace) = (context.known(), Pace::default());
    loop {
        match look(lens, bytes, &mut cache) {
            Ok(Some(document)) => return bring_inside(context, document).await.map(Some),
            Err(JsonError::TooDeep | JsonError::TooLarge) => return Ok(None),
            Err(error) => return Err((&error).into()),
            Ok(None) => context.fill(&mut cache, &mut pace).await?,
        }
    }
}

/// All of it, but that what breaks out of its head does not follow.
fn whole(bytes: &[u8]) -> Result<Document, JsonError> {
    let mut document = outline(bytes)?;
    for attachment in &mut document.attachments {
        attachment.shown = attachment.sound;
        if !attachment.sound {
            document.inside.push(attachment.name.clone());
        }
    }
    document.json = Some(match document.inside.is_empty() {
        true => bytes.to_vec(),
        false => stubs(bytes, &document.attachments)?,
    });
    Ok(document)
}

/// None while something must be read first.
fn look(
    lens: &Lens,
    bytes: &[u8],
    cache: &mut RevisionCache,
) -> Result<Option<Document>, JsonError> {
    let mut document = outline(bytes)?;
    let mut out = Vec::with_capacity(bytes.len());
    match show(lens, Piece::Whole(bytes), cache, &mut out)? {
        RowOutcome::Pending => return Ok(None),
        RowOutcome::Hidden => return Ok(Some(document)),
        RowOutcome::Shown => {}
    }
    if let (false, Redaction::Visible(fields)) = (
        document.attachments.is_empty(),
        see(lens, &document.id, bytes, cache)?,
    ) {
        let mut stubbed = false;
        for attachment in &mut document.attachments {
            let seen = fields.at(&["_attachments", &attachment.name]);
            // Security: CouchDB writes names and types into the head as they are; one that breaks out of it would
            // be read as another part. (`what_breaks_out_of_its_head_stays_inside_its_document`)
            let shows = fields.shows_attachment(&attachment.name);
            attachment.shown = shows && attachment.sound;
            if shows && !attachment.sound {
                document.inside.push(attachment.name.clone());
            }
            stubbed |= seen != Visibility::Hidden && !attachment.shown;
        }
        if stubbed {
            out = stubs(&out, &document.attachments)?;
        }
    }
    document.json = Some(out);
    Ok(Some(document))
}

/// Reads the attachments that can't follow the document, and puts them into it, as JSON has them. One that is too long
/// for that stays a stub.
async fn bring_inside(context: &Context, mut document: Document) -> Result<Document, Cut> {
    let (Some(json), false) = (&document.json, document.inside.is_empty()) else {
        return Ok(document);
    };
    let stored = with_bytes(&context.couch, &context.db, &document.id, &document.rev).await;
    let stored = stored.map_err(|_| Cut::Upstream)?;
    let mut seen = Value::parse(json).map_err(|_| Cut::Filter)?;
    for name in &document.inside {
        if let Some(whole) = of(stored.as_deref(), name) {
            put(&mut seen, name, whole.clone());
        }
    }
    document.json = Some(seen.to_bytes());
    Ok(document)
}

/// The id, the revision and the attachments that follow.
fn outline(bytes: &[u8]) -> Result<Document, JsonError> {
    let mut document = Document::default();
    for member in members(bytes) {
        let member = member?;
        match &*member.key {
            "_id" => document.id = string(member.value)?.into_owned(),
            "_rev" => document.rev = string(member.value)?.into_owned(),
            "_attachments" => {
                let listed = Value::parse(member.value)?;
                let listed = listed.as_object().into_iter().flat_map(|all| all.iter());
                document.attachments = listed
                    .filter(|(_, stub)| follows(stub))
                    .map(|(name, stub)| Attachment::read(name, stub))
                    .collect::<Result<_, _>>()?;
            }
            _ => {}
        }
    }
    Ok(document)
}

impl Attachment {
    /// From its stub. One that is stored compressed travels as it is stored.
    fn read(name: &str, stub: &Value) -> Result<Self, JsonError> {
        const SHAPE: JsonError = JsonError::Expected("the stub of an attachment");
        let length = stub.get("encoded_length").or_else(|| stub.get("length"));
        let length = length.and_then(Value::as_number).ok_or(SHAPE)?;
        let length = length.as_u64().ok_or(SHAPE)?;
        let media_type = stub.get("content_type").and_then(Value::as_str);
        let media_type = media_type.ok_or(SHAPE)?;
        let encoding = stub.get("encoding").and_then(Value::as_str);
        let mut head = format!(
            "\r\nContent-Disposition: attachment; filename=\"{name}\"\r\nContent-Type: {media_type}\r\nContent-Length: {length}"
        );
        if let Some(encoding) = encoding {
            head.push_str("\r\nContent-Encoding: ");
            head.push_str(encoding);
        }
        head.push_str("\r\n\r\n");
        Ok(Self {
            name: name.to_owned(),
            head: head.into_bytes(),
            length,
            // A name stands in quotes.
            sound: !name.contains('"')
                && [Some(name), Some(media_type), encoding]
                    .into_iter()
                    .flatten()
                    .all(is_sound),
            shown: false,
        })
    }
}

/// Whether a text stays inside its header, whoever reads it.
pub(crate) fn is_sound(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

fn follows(stub: &Value) -> bool {
    stub.get("follows").and_then(Value::as_bool) == Some(true)
}

/// An attachment that is not shown whole does not follow: what is left of it is a stub.
fn stubs(document: &[u8], attachments: &VecDeque<Attachment>) -> Result<Vec<u8>, JsonError> {
    let mut document = Value::parse(document)?;
    let shown = attachments.iter().filter(|attachment| attachment.shown);
    let shown: HashSet<&str> = shown.map(|attachment| attachment.name.as_str()).collect();
    let listed = document
        .as_object_mut()
        .and_then(|members| members.get_mut("_attachments"))
        .and_then(Value::as_object_mut);
    for (name, stub) in listed.into_iter().flat_map(|listed| listed.iter_mut()) {
        if let Some(stub) = stub.as_object_mut()
            && !shown.contains(name)
            && stub.remove("follows").is_some()
        {
            stub.insert("stub", true);
        }
    }
    Ok(document.to_bytes())
}
