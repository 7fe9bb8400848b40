//! A form that writes a document: `POST /db/doc` as `multipart/form-data`, as Futon's upload page sent it.
//!
//! `_doc` is the whole document, or `_rev` names the stored one; every `_attachments` is a file that is put in
//! (`chttpd_db:db_doc_req`). It becomes a write like any other.
//!
//! Invariant: a field that is not one of these, or one that comes twice where it means one thing, is refused.

use std::mem;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};

use super::answer::{answer, judged, put};
use super::attachments::put as attach;
use super::stored::{Stored, stored};
use super::written::Written;
use crate::body::{Cut, full};
use crate::budget::Share;
use crate::exchange::answer::Answer;
use crate::exchange::context::Context;
use crate::exchange::doc_locks::DocLocks;
use crate::exchange::parts::multipart::{Parts, Token, field, parameter};
use crate::intake::json_body;
use crate::json::{Object, Value};
use crate::policy::WriteRules;
use crate::refusal::Refusal;

const BROKEN: Refusal = Refusal::BadRequest("the form can't be read");

/// `POST /db/doc` as `multipart/form-data`.
pub(crate) async fn form(
    context: Context,
    rules: &WriteRules,
    turns: &DocLocks,
    content_type: &str,
    sent: Bytes,
) -> Result<Answer, Refusal> {
    let mut form = Form::read(sent, content_type, context.share()).await?;
    let mut written = written(&context, rules, &form).await?;
    for (name, file) in mem::take(&mut form.files) {
        attach(&mut written.document, &name, file);
    }
    let mut query = context.permit.route().query.document()?;
    query.new_edits = None;
    let (document, turn) = judged(&context, rules, turns, written, None).await?;
    let upstream = put(&context, turn, &query, &document).await?;
    answer(&context, rules, upstream).await
}

/// The document of the form, or the stored one as its writer sees it.
async fn written(context: &Context, rules: &WriteRules, form: &Form) -> Result<Written, Refusal> {
    let route = context.permit.route();
    let mut query = route.query.document()?;
    query.new_edits = None;
    if let Some(document) = &form.document {
        return Written::read(route.document(), &query, None, json_body::value(document)?);
    }
    let mut named = Object::new();
    let rev = form.rev.as_deref().ok_or(Refusal::BadRequest(
        "the form needs `_doc`, or `_rev` of a stored document",
    ))?;
    named.insert("_rev", rev);
    let mut written = Written::read(route.document(), &query, None, Value::Object(named))?;
    let stored = match stored(&context.couch, &context.db, rules, &written, false).await? {
        Stored::Replaced(replaced) => replaced.document,
        Stored::Leaves(_) | Stored::Unreadable { .. } => None,
    };
    let view = stored.and_then(|stored| rules.view(&stored));
    written.document = view.ok_or(Refusal::Missing)?;
    Ok(written)
}

/// A form, read to its end.
#[derive(Debug)]
pub(crate) struct Form {
    /// `_doc`
    pub(crate) document: Option<Bytes>,
    /// `_rev`
    pub(crate) rev: Option<String>,
    /// The files: name, and what the document says of it.
    pub(crate) files: Vec<(String, Value)>,
    /// What the files take, in the document and once more as it is sent.
    share: Share,
}

impl Form {
    /// Reads the body of a request with this `Content-Type`.
    /// What it takes counts to this share, which lives as long as anything of it.
    pub(crate) async fn read(
        body: Bytes,
        content_type: &str,
        share: Share,
    ) -> Result<Self, Refusal> {
        let mut parts = Parts::new(full(body), content_type).ok_or(BROKEN)?;
        let mut form = Self {
            document: None,
            rev: None,
            files: Vec::new(),
            share,
        };
        while let Some(token) = parts.next().await.map_err(Cut::refusal)? {
            if let Token::Head(head) = token {
                let mut data = BytesMut::new();
                while let Some(Token::Data(piece)) = parts.next().await.map_err(Cut::refusal)? {
                    data.extend_from_slice(&piece);
                }
                form.put(str::from_utf8(&head).map_err(|_| BROKEN)?, data.freeze())?;
            }
        }
        Ok(form)
    }

    fn put(&mut self, head: &str, data: Bytes) -> Result<(), Refusal> {
        let place = field(head, "content-disposition").ok_or(BROKEN)?;
        match parameter(place, "name") {
            Some("_doc") if self.document.is_none() => {
                self.share.count(&data)?;
                self.document = Some(data);
            }
            Some("_rev") if self.rev.is_none() => {
                self.rev = Some(str::from_utf8(&data).map_err(|_| BROKEN)?.to_owned());
            }
            Some("_attachments") => {
                let name = parameter(place, "filename").unwrap_or_default();
                let kind = field(head, "content-type").unwrap_or("text/plain");
                // Security: three bytes become four, which are written into a body that is sent.
                // (`memory_is_bounded_whatever_is_written`)
                let encoded = data.len().div_ceil(3).saturating_mul(4);
                self.share.add(encoded.saturating_mul(2))?;
                let mut file = Object::new();
                file.insert("content_type", kind);
                file.insert("data", STANDARD.encode(&data));
                if name.is_empty() || name.starts_with('_') {
                    return Err(Refusal::BadRequest(
                        "a file of the form has no name for an attachment",
                    ));
                }
                self.files.push((name.to_owned(), Value::Object(file)));
            }
            Some(_) | None => return Err(BROKEN),
        }
        Ok(())
    }
}

/// As in CouchDB, a form is taken only from a page of this very host.
pub(crate) fn is_from_here(referer: Option<&str>, host: &str) -> Result<(), Refusal> {
    let referer = referer.ok_or(Refusal::BadRequest("Referer header required."))?;
    let page: Option<http::Uri> = referer.parse().ok();
    let from = page.as_ref().and_then(http::Uri::authority);
    match from.is_some_and(|from| from.as_str().eq_ignore_ascii_case(host)) {
        true => Ok(()),
        false => Err(Refusal::BadRequest("Referer header must match host.")),
    }
}
