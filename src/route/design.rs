//! What stands below a design document and is neither the document nor an attachment.
//!
//! CouchDB finds its handler by the word behind the name (`chttpd_httpd_handlers:design_handler` and
//! its sisters in dreyfus and nouveau).
//!
//! Invariant: a path with anything left over is refused.

use super::name::{DesignName, DocId, FunctionName, Text};
use super::path::Segment;
use super::query::Names;
use super::{DesignCall, RouteError};

impl DesignCall {
    /// Parses what follows the name of the design document: its word, and the rest.
    pub(super) fn parse(word: &str, rest: &[Segment<'_>]) -> Result<Self, RouteError> {
        match word {
            "_info" if rest.is_empty() => return Ok(Self::Info),
            "_rewrite" => {
                let path = rest.iter().map(|segment| Text::parse(segment.text()));
                return Ok(Self::Rewrite(path.collect::<Result<_, _>>()?));
            }
            _ => {}
        }
        let Some((name, rest)) = rest.split_first() else {
            return Err(unnamed(word));
        };
        let name = FunctionName::parse(name.text())?;
        match (word, rest) {
            ("_view", []) => Ok(Self::View(name)),
            ("_view", [queries]) if queries.text() == "queries" => Ok(Self::ViewQueries(name)),
            ("_search", []) => Ok(Self::Search(name)),
            ("_search_info", []) => Ok(Self::SearchInfo(name)),
            ("_search_disk_size", []) => Ok(Self::SearchDiskSize(name)),
            ("_nouveau", []) => Ok(Self::Nouveau(name)),
            ("_nouveau_info", []) => Ok(Self::NouveauInfo(name)),
            ("_show", rest) => Ok(Self::Show(name, document(rest)?)),
            ("_update", rest) => Ok(Self::Update(name, document(rest)?)),
            ("_list", [view]) => {
                let view = FunctionName::parse(view.text())?;
                Ok(Self::List {
                    list: name,
                    other: None,
                    view,
                })
            }
            ("_list", [other, view]) => {
                let other = Some(DesignName::parse(other.text())?);
                let view = FunctionName::parse(view.text())?;
                Ok(Self::List {
                    list: name,
                    other,
                    view,
                })
            }
            _ => Err(unnamed(word)),
        }
    }

    /// A show or update function has no list of methods in CouchDB; it is called with any. These are
    /// the usual ones.
    pub(super) fn methods(&self) -> &'static str {
        match self {
            Self::Info | Self::SearchInfo(_) | Self::SearchDiskSize(_) | Self::NouveauInfo(_) => {
                "GET"
            }
            Self::View(_) | Self::List { .. } | Self::Show(..) => "GET,POST,HEAD",
            Self::ViewQueries(_) => "POST",
            Self::Search(_) | Self::Nouveau(_) => "GET,POST",
            Self::Update(..) | Self::Rewrite(_) => "GET,HEAD,POST,PUT,DELETE",
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Info => "/{db}/_design/{ddoc}/_info",
            Self::View(_) => "/{db}/_design/{ddoc}/_view/{view}",
            Self::ViewQueries(_) => "/{db}/_design/{ddoc}/_view/{view}/queries",
            Self::Search(_) => "/{db}/_design/{ddoc}/_search/{index}",
            Self::SearchInfo(_) => "/{db}/_design/{ddoc}/_search_info/{index}",
            Self::SearchDiskSize(_) => "/{db}/_design/{ddoc}/_search_disk_size/{index}",
            Self::Nouveau(_) => "/{db}/_design/{ddoc}/_nouveau/{index}",
            Self::NouveauInfo(_) => "/{db}/_design/{ddoc}/_nouveau_info/{index}",
            Self::Show(_, None) => "/{db}/_design/{ddoc}/_show/{func}",
            Self::Show(_, Some(_)) => "/{db}/_design/{ddoc}/_show/{func}/{docid}",
            Self::List { other: None, .. } => "/{db}/_design/{ddoc}/_list/{func}/{view}",
            Self::List { other: Some(_), .. } => {
                "/{db}/_design/{ddoc}/_list/{func}/{other-ddoc}/{view}"
            }
            Self::Update(_, None) => "/{db}/_design/{ddoc}/_update/{func}",
            Self::Update(_, Some(_)) => "/{db}/_design/{ddoc}/_update/{func}/{docid}",
            Self::Rewrite(_) => "/{db}/_design/{ddoc}/_rewrite/{path}",
        }
    }

    pub(super) fn names(&self) -> Names {
        match self {
            Self::View(_) | Self::ViewQueries(_) => Names::View,
            Self::Show(..) | Self::List { .. } | Self::Update(..) | Self::Rewrite(_) => {
                Names::Function
            }
            Self::Info
            | Self::Search(_)
            | Self::SearchInfo(_)
            | Self::SearchDiskSize(_)
            | Self::Nouveau(_)
            | Self::NouveauInfo(_) => Names::Exact,
        }
    }
}

/// `chttpd_show` has errors of its own for paths that it does not know.
fn unnamed(word: &str) -> RouteError {
    match word {
        "_show" => RouteError::NoFunction("show_error"),
        "_update" => RouteError::NoFunction("update_error"),
        "_list" => RouteError::NoFunction("list_error"),
        _ => RouteError::UnknownEndpoint,
    }
}

/// The document of a show or update function: the rest of the path, its slashes escaped or not.
fn document(rest: &[Segment<'_>]) -> Result<Option<DocId>, RouteError> {
    let Some((first, more)) = rest.split_first() else {
        return Ok(None);
    };
    let first = match first.after_escaped_slash("_design") {
        Some(_) => first.text(),
        None => first.word()?,
    };
    let texts = std::iter::once(first).chain(more.iter().map(Segment::text));
    DocId::parse(&texts.collect::<Vec<_>>().join("/")).map(Some)
}
