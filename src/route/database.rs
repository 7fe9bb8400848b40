//! The database level: documents, local documents, lists, changes, Mango, and what keeps a database.
//!
//! CouchDB finds its handler by the second segment (`chttpd_httpd_handlers:db_handler`), else by the
//! clauses of `chttpd_db:db_req`. Mango's handlers match by prefix there; here nothing may be left over.
//!
//! Invariant: a second segment with an underscore is a word of the grammar or is refused, never a
//! document.

use super::name::{AttachmentName, DesignName, DocId, FunctionName, LocalId, Text};
use super::path::Segment;
use super::query::Names;
use super::{DatabaseCall, DesignCall, List, Maintenance, RouteError};

impl DatabaseCall {
    /// Parses what follows the name of the database.
    pub(super) fn parse(rest: &[Segment<'_>], slash: bool) -> Result<Self, RouteError> {
        // A slash at the end means nothing behind a database's name; `PouchDB` sends it.
        let Some((first, rest)) = rest.split_first() else {
            return Ok(Self::Itself);
        };
        // Nor does it behind a function, where applications write it.
        let word = rest
            .get(1)
            .filter(|_| first.text() == "_design")
            .map_or("", Segment::text);
        if slash && !matches!(word, "_show" | "_update" | "_rewrite") {
            return Err(RouteError::Ambiguous("a slash behind the path"));
        }
        if let Some(name) = first.after_escaped_slash("_design") {
            return Self::design_escaped(name, rest);
        }
        if let Some(id) = first.after_escaped_slash("_local") {
            return Self::local(id, rest);
        }
        match first.word()? {
            "_design" => Self::design(rest),
            "_local" => match rest.split_first() {
                Some((id, rest)) => Self::local(id.text(), rest),
                None => Err(RouteError::Bad("Invalid _local document id.")),
            },
            "_partition" => Self::partition(rest),
            "_index" => Self::index(rest),
            "_shards" => match rest {
                [] => Ok(Self::Maintain(Maintenance::Shards)),
                [id] => Ok(Self::Maintain(Maintenance::ShardOf(DocId::parse(
                    id.text(),
                )?))),
                _ => Err(RouteError::UnknownEndpoint),
            },
            "_compact" => match rest {
                [] => Ok(Self::Maintain(Maintenance::Compact)),
                [ddoc] => {
                    let ddoc = DesignName::parse(ddoc.text())?;
                    Ok(Self::Maintain(Maintenance::CompactViews(ddoc)))
                }
                _ => Err(RouteError::UnknownEndpoint),
            },
            word if word.starts_with('_') => Self::word(word, rest),
            id => {
                let id = DocId::parse(id)?;
                Self::document(id, rest)
            }
        }
    }

    /// The endpoints that are one word, and the lists.
    fn word(word: &str, rest: &[Segment<'_>]) -> Result<Self, RouteError> {
        if let Some(list) = List::parse(word) {
            return match rest {
                [] => Ok(Self::List(list)),
                [queries] if queries.text() == "queries" => Ok(Self::ListQueries(list)),
                _ => Err(RouteError::UnknownEndpoint),
            };
        }
        // Security: CouchDB would read `_changes/x` as `_changes`, and others as attachments.
        // (an_unknown_word_is_refused)
        if !rest.is_empty() {
            return Err(match word {
                "_bulk_docs" | "_bulk_get" | "_changes" | "_find" | "_explain" => {
                    RouteError::UnknownEndpoint
                }
                _ => RouteError::IllegalDocument,
            });
        }
        let call = match word {
            "_bulk_docs" => Self::BulkDocs,
            "_bulk_get" => Self::BulkGet,
            "_changes" => Self::Changes,
            "_find" => Self::Find,
            "_explain" => Self::Explain,
            "_revs_diff" => Self::RevsDiff,
            "_missing_revs" => Self::MissingRevs,
            "_ensure_full_commit" => Self::EnsureFullCommit,
            "_security" => Self::Security,
            "_temp_view" => Self::TempView,
            _ => {
                let call = Maintenance::parse(word).ok_or(RouteError::IllegalDocument)?;
                Self::Maintain(call)
            }
        };
        Ok(call)
    }

    /// A document, or an attachment whose name is the rest, its slashes escaped or not.
    fn document(id: DocId, rest: &[Segment<'_>]) -> Result<Self, RouteError> {
        if rest.is_empty() {
            return Ok(Self::Document(id));
        }
        let name = rest.iter().map(Segment::text).collect::<Vec<_>>().join("/");
        Ok(Self::Attachment {
            doc: id,
            name: AttachmentName::parse(&name)?,
        })
    }

    fn design(rest: &[Segment<'_>]) -> Result<Self, RouteError> {
        let Some((name, rest)) = rest.split_first() else {
            return Err(RouteError::IllegalDocument);
        };
        let ddoc = DesignName::parse(name.text())?;
        match rest.split_first() {
            // Security: an unknown word here falls to the attachments in CouchDB; it is refused.
            // (an_unknown_word_of_a_design_document_is_refused)
            Some((action, rest)) if action.word()?.starts_with('_') => {
                let call = DesignCall::parse(action.text(), rest)?;
                Ok(Self::Design { ddoc, call })
            }
            Some(_) | None => Self::document(ddoc.id(), rest),
        }
    }

    /// `_design%2Fname`: the document or an attachment. Where a word follows, CouchDB redirects a `GET`
    /// and reads everything else as an attachment, so that spelling has no meaning.
    fn design_escaped(name: &str, rest: &[Segment<'_>]) -> Result<Self, RouteError> {
        if rest
            .first()
            .is_some_and(|action| action.text().starts_with('_'))
        {
            return Err(RouteError::Ambiguous(
                "the slash behind `_design` is escaped",
            ));
        }
        Self::document(DesignName::parse(name)?.id(), rest)
    }

    fn local(id: &str, rest: &[Segment<'_>]) -> Result<Self, RouteError> {
        if rest.is_empty() {
            Ok(Self::Local(LocalId::parse(id)?))
        } else {
            Err(RouteError::Bad(
                "_local documents do not accept attachments.",
            ))
        }
    }

    fn partition(rest: &[Segment<'_>]) -> Result<Self, RouteError> {
        let Some((name, rest)) = rest.split_first() else {
            return Err(RouteError::Bad("invalid_partition_req"));
        };
        if name.text().starts_with('_') {
            return Err(RouteError::IllegalPartition);
        }
        let partition = Text::parse(name.text())?;
        match rest {
            [] => Ok(Self::PartitionInfo(partition)),
            [one] => match one.word()? {
                "_all_docs" => Ok(Self::PartitionAllDocs(partition)),
                "_find" => Ok(Self::PartitionFind(partition)),
                "_explain" => Ok(Self::PartitionExplain(partition)),
                _ => Err(RouteError::UnknownEndpoint),
            },
            [design, ddoc, action, function] if design.word()? == "_design" => {
                let ddoc = DesignName::parse(ddoc.text())?;
                let function = FunctionName::parse(function.text())?;
                match action.word()? {
                    "_view" => Ok(Self::PartitionView {
                        partition,
                        ddoc,
                        view: function,
                    }),
                    "_search" => Ok(Self::PartitionSearch {
                        partition,
                        ddoc,
                        index: function,
                    }),
                    "_nouveau" => Ok(Self::PartitionNouveau {
                        partition,
                        ddoc,
                        index: function,
                    }),
                    _ => Err(RouteError::UnknownEndpoint),
                }
            }
            _ => Err(RouteError::UnknownEndpoint),
        }
    }

    /// `mango_httpd:handle_index_req`: the design document with or without `_design/`.
    fn index(rest: &[Segment<'_>]) -> Result<Self, RouteError> {
        let (ddoc, kind, name) = match rest {
            [] => return Ok(Self::Index),
            [one] if one.word()? == "_bulk_delete" => return Ok(Self::IndexBulkDelete),
            [ddoc, kind, name] => match ddoc.after_escaped_slash("_design") {
                Some(ddoc) => (ddoc, kind, name),
                None => (ddoc.word()?, kind, name),
            },
            [design, ddoc, kind, name] if design.word()? == "_design" => (ddoc.text(), kind, name),
            _ => return Err(RouteError::UnknownEndpoint),
        };
        Ok(Self::IndexNamed {
            ddoc: DesignName::parse(ddoc)?,
            kind: Text::parse(kind.text())?,
            name: Text::parse(name.text())?,
        })
    }

    pub(super) fn methods(&self) -> &'static str {
        match self {
            Self::Itself => "DELETE,GET,HEAD,POST,PUT",
            Self::List(_) | Self::PartitionAllDocs(_) => "GET,HEAD,POST",
            Self::ListQueries(_)
            | Self::BulkDocs
            | Self::BulkGet
            | Self::Find
            | Self::Explain
            | Self::IndexBulkDelete
            | Self::RevsDiff
            | Self::MissingRevs
            | Self::EnsureFullCommit
            | Self::PartitionFind(_)
            | Self::PartitionExplain(_)
            | Self::TempView => "POST",
            Self::Changes | Self::PartitionView { .. } => "GET,POST,HEAD",
            Self::Index | Self::PartitionSearch { .. } | Self::PartitionNouveau { .. } => {
                "GET,POST"
            }
            Self::IndexNamed { .. } => "DELETE",
            Self::Security => "PUT,GET",
            Self::PartitionInfo(_) => "GET",
            Self::Document(_) | Self::CopyDocument { .. } => "DELETE,GET,HEAD,POST,PUT,COPY",
            Self::Local(_) | Self::CopyLocal { .. } => "DELETE,GET,HEAD,PUT,COPY",
            Self::Attachment { .. } => "DELETE,GET,HEAD,PUT",
            Self::Design { call, .. } => call.methods(),
            Self::Maintain(call) => call.methods(),
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Itself => "/{db}",
            Self::List(List::All) => "/{db}/_all_docs",
            Self::List(List::Design) => "/{db}/_design_docs",
            Self::List(List::Local) => "/{db}/_local_docs",
            Self::ListQueries(List::All) => "/{db}/_all_docs/queries",
            Self::ListQueries(List::Design) => "/{db}/_design_docs/queries",
            Self::ListQueries(List::Local) => "/{db}/_local_docs/queries",
            Self::BulkDocs => "/{db}/_bulk_docs",
            Self::BulkGet => "/{db}/_bulk_get",
            Self::Changes => "/{db}/_changes",
            Self::Find => "/{db}/_find",
            Self::Explain => "/{db}/_explain",
            Self::Index => "/{db}/_index",
            Self::IndexNamed { .. } => "/{db}/_index/{ddoc}/{type}/{name}",
            Self::IndexBulkDelete => "/{db}/_index/_bulk_delete",
            Self::RevsDiff => "/{db}/_revs_diff",
            Self::MissingRevs => "/{db}/_missing_revs",
            Self::EnsureFullCommit => "/{db}/_ensure_full_commit",
            Self::Security => "/{db}/_security",
            Self::Maintain(call) => call.kind(),
            Self::PartitionInfo(_) => "/{db}/_partition/{partition}",
            Self::PartitionAllDocs(_) => "/{db}/_partition/{partition}/_all_docs",
            Self::PartitionFind(_) => "/{db}/_partition/{partition}/_find",
            Self::PartitionExplain(_) => "/{db}/_partition/{partition}/_explain",
            Self::PartitionView { .. } => {
                "/{db}/_partition/{partition}/_design/{ddoc}/_view/{view}"
            }
            Self::PartitionSearch { .. } => {
                "/{db}/_partition/{partition}/_design/{ddoc}/_search/{index}"
            }
            Self::PartitionNouveau { .. } => {
                "/{db}/_partition/{partition}/_design/{ddoc}/_nouveau/{index}"
            }
            Self::Document(id) | Self::CopyDocument { from: id, .. } if id.is_design() => {
                "/{db}/_design/{ddoc}"
            }
            Self::Document(_) | Self::CopyDocument { .. } => "/{db}/{docid}",
            Self::Attachment { doc, .. } if doc.is_design() => "/{db}/_design/{ddoc}/{attname}",
            Self::Attachment { .. } => "/{db}/{docid}/{attname}",
            Self::Local(_) | Self::CopyLocal { .. } => "/{db}/_local/{docid}",
            Self::Design { call, .. } => call.kind(),
            Self::TempView => "/{db}/_temp_view",
        }
    }

    pub(super) fn names(&self) -> Names {
        match self {
            Self::List(_)
            | Self::ListQueries(_)
            | Self::PartitionAllDocs(_)
            | Self::PartitionView { .. } => Names::View,
            Self::Changes => Names::Changes,
            Self::Design { call, .. } => call.names(),
            Self::Itself
            | Self::BulkDocs
            | Self::BulkGet
            | Self::Find
            | Self::Explain
            | Self::Index
            | Self::IndexNamed { .. }
            | Self::IndexBulkDelete
            | Self::RevsDiff
            | Self::MissingRevs
            | Self::EnsureFullCommit
            | Self::Security
            | Self::Maintain(_)
            | Self::PartitionInfo(_)
            | Self::PartitionFind(_)
            | Self::PartitionExplain(_)
            | Self::PartitionSearch { .. }
            | Self::PartitionNouveau { .. }
            | Self::Document(_)
            | Self::CopyDocument { .. }
            | Self::Attachment { .. }
            | Self::Local(_)
            | Self::CopyLocal { .. }
            | Self::TempView => Names::Exact,
        }
    }
}

impl List {
    fn parse(word: &str) -> Option<Self> {
        match word {
            "_all_docs" => Some(Self::All),
            "_design_docs" => Some(Self::Design),
            "_local_docs" => Some(Self::Local),
            _ => None,
        }
    }
}
