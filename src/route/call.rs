//! From a request line to a [`Route`], and what can be said of any call: its methods, the template of
//! its path, how it reads its query.
//!
//! The path alone decides the call; then the method is checked against those that CouchDB has for it.
//!
//! Invariant: the method of a parsed route is one of its call, and a `COPY` has its destination.

use super::name::{AttachmentName, DbName, DocId, NodeId};
use super::path::{self, Segment, Target};
use super::query::{Feed, Names, Query};
use super::{
    Call, DatabaseCall, DesignCall, Method, NodeCall, Route, RouteError, ServerCall, WardenCall,
};

impl Route {
    /// Parses a request line: the method, the target in origin form (`path?query`, raw), and the header
    /// `Destination`, which only `COPY` reads.
    pub fn parse(
        method: &str,
        target: &str,
        destination: Option<&str>,
    ) -> Result<Self, RouteError> {
        let target = path::split(target)?;
        let call = Call::parse(&target).map_err(|error| told(error, method, &target))?;
        let allowed = call.methods();
        let method = Method::parse(method)
            .filter(|method| method.is_among(allowed))
            .ok_or(RouteError::Method(allowed))?;
        let call = if method == Method::Copy {
            call.copied_to(destination)?
        } else {
            call
        };
        let query = Query::parse(target.query, call.names())?;
        Ok(Self {
            call,
            method,
            query,
        })
    }

    /// The template of the path, for logs and metrics: `/{db}/_all_docs`.
    pub fn kind(&self) -> &'static str {
        match &self.call {
            Call::Server(call) => call.kind(),
            Call::Database { call, .. } => call.kind(),
            Call::Node(NodeCall::List) => "/node",
            Call::Node(NodeCall::One(_)) => "/node/{id}",
            Call::NodeSession => "/session",
            Call::Warden(WardenCall::Provisioning) => "/_warden/provisioning",
            Call::Warden(WardenCall::ProvisioningEvents) => "/_warden/provisioning/events",
            Call::Warden(WardenCall::Voicemail(_)) => "/_warden/voicemail/{db}",
        }
    }

    /// The database that is spoken to.
    pub fn db(&self) -> Option<&DbName> {
        match &self.call {
            Call::Database { db, .. } => Some(db),
            Call::Server(_) | Call::Node(_) | Call::NodeSession | Call::Warden(_) => None,
        }
    }

    /// The document that the path names, if it names one and nothing below it.
    pub fn document(&self) -> Option<&DocId> {
        let Call::Database {
            call: DatabaseCall::Document(id),
            ..
        } = &self.call
        else {
            return None;
        };
        Some(id)
    }

    /// The document and the attachment that the path names, if it names one.
    pub fn attachment(&self) -> Option<(&DocId, &AttachmentName)> {
        let Call::Database {
            call: DatabaseCall::Attachment { doc, name },
            ..
        } = &self.call
        else {
            return None;
        };
        Some((doc, name))
    }

    /// Is it about a database itself: its info, or a `POST` of a document into it?
    pub fn is_of_a_database(&self) -> bool {
        matches!(
            self.call,
            Call::Database {
                call: DatabaseCall::Itself,
                ..
            }
        )
    }

    /// May it write? Functions of design documents may, whatever the method: `_update` stores what it returns, and
    /// `_rewrite` says itself by which method it goes on.
    pub fn may_write(&self) -> bool {
        let runs = matches!(
            self.call,
            Call::Database {
                call: DatabaseCall::Design {
                    call: DesignCall::Update(..) | DesignCall::Rewrite(_),
                    ..
                },
                ..
            }
        );
        runs || !matches!(self.method, Method::Get | Method::Head)
    }

    /// Does a function of a design document make the answer, or say who makes it?
    pub fn runs_a_function(&self) -> bool {
        let Call::Database { db: _, call } = &self.call else {
            return false;
        };
        let DatabaseCall::Design { ddoc: _, call } = call else {
            return false;
        };
        match call {
            DesignCall::Show(..)
            | DesignCall::List { .. }
            | DesignCall::Update(..)
            | DesignCall::Rewrite(_) => true,
            DesignCall::Info
            | DesignCall::View(_)
            | DesignCall::ViewQueries(_)
            | DesignCall::Search(_)
            | DesignCall::SearchInfo(_)
            | DesignCall::SearchDiskSize(_)
            | DesignCall::Nouveau(_)
            | DesignCall::NouveauInfo(_) => false,
        }
    }

    /// Does it log somebody in or out? That needs no identity: a stale cookie must keep nobody from it.
    pub(crate) fn opens_session(&self) -> bool {
        let session = match &self.call {
            Call::Server(call) => matches!(call, ServerCall::Session),
            Call::NodeSession => true,
            Call::Database { .. } | Call::Node(_) | Call::Warden(_) => false,
        };
        session && matches!(self.method, Method::Post | Method::Put | Method::Delete)
    }

    /// Does CouchDB go on to another path, which a design document names?
    pub fn is_rewritten(&self) -> bool {
        matches!(
            self.call,
            Call::Database {
                call: DatabaseCall::Design {
                    call: DesignCall::Rewrite(_),
                    ..
                },
                ..
            }
        )
    }

    /// May the answer stay open without end (`_changes` and `_db_updates` with a feed that waits, and our events)?
    pub fn is_feed(&self) -> bool {
        if matches!(self.call, Call::Warden(WardenCall::ProvisioningEvents)) {
            return true;
        }
        let feeds = match &self.call {
            Call::Server(call) => matches!(call, ServerCall::DbUpdates),
            Call::Database { call, .. } => matches!(call, DatabaseCall::Changes),
            Call::Node(_) | Call::NodeSession | Call::Warden(_) => false,
        };
        let feed = self.query.value("feed").and_then(Feed::parse);
        feeds && feed.is_some_and(|feed| feed != Feed::Normal)
    }
}

/// What CouchDB says of a name that it does not take: only who would write learns that it is illegal, for
/// others nothing of that name is there.
fn told(error: RouteError, method: &str, target: &Target<'_>) -> RouteError {
    let writes = method == "PUT" || method == "COPY";
    if error == RouteError::IllegalDatabase && (method != "PUT" || target.segments.len() > 1) {
        RouteError::NoDatabase
    } else if error == RouteError::IllegalDocument && !writes {
        RouteError::UnknownEndpoint
    } else {
        error
    }
}

impl Call {
    /// Of `…/queries` the endpoint that answers one of them; every other call is itself.
    pub(crate) fn one_query(&self) -> Self {
        let mut one = self.clone();
        if let Self::Database { db: _, call } = &mut one {
            if let DatabaseCall::ListQueries(list) = call {
                *call = DatabaseCall::List(*list);
            }
            if let DatabaseCall::Design { ddoc: _, call } = call
                && let DesignCall::ViewQueries(view) = call
            {
                *call = DesignCall::View(view.clone());
            }
        }
        one
    }

    fn parse(target: &Target<'_>) -> Result<Self, RouteError> {
        let Some((first, rest)) = target.segments.split_first() else {
            return Ok(Self::Server(ServerCall::Welcome));
        };
        let slash = target.slash;
        match (first.word()?, rest) {
            ("node", []) if !slash => return Ok(Self::Node(NodeCall::List)),
            ("node", [id]) if !slash => {
                return Ok(Self::Node(NodeCall::One(NodeId::parse(id.text())?)));
            }
            ("session", []) if !slash => return Ok(Self::NodeSession),
            ("_warden", rest) if !slash => return Self::warden(rest),
            ("node" | "session" | "_warden", _) => return Err(RouteError::UnknownEndpoint),
            _ => {}
        }
        if let Some(call) = ServerCall::parse(first.word()?, rest, slash)? {
            return Ok(Self::Server(call));
        }
        let db = match DbName::parse(first.text()) {
            // Names with an underscore are CouchDB's own.
            Err(_) if first.text().starts_with('_') => return Err(RouteError::UnknownEndpoint),
            // Security: what couchwarden keeps for itself is nobody's, administrators included
            // (`nobody_reaches_the_database_of_couchwarden`).
            // Who could write its entry would have it, too.
            Ok(db) if db.is_own() || db.is_register() => return Err(RouteError::UnknownEndpoint),
            db => db?,
        };
        Ok(Self::Database {
            db,
            call: DatabaseCall::parse(rest, slash)?,
        })
    }

    fn warden(rest: &[Segment<'_>]) -> Result<Self, RouteError> {
        match rest {
            [one] if one.text() == "provisioning" => Ok(Self::Warden(WardenCall::Provisioning)),
            [one, two] => match (one.text(), two.text()) {
                ("provisioning", "events") => Ok(Self::Warden(WardenCall::ProvisioningEvents)),
                ("voicemail", db) => match DbName::parse(db)? {
                    db if db.is_own() => Err(RouteError::UnknownEndpoint),
                    db => Ok(Self::Warden(WardenCall::Voicemail(db))),
                },
                _ => Err(RouteError::UnknownEndpoint),
            },
            _ => Err(RouteError::UnknownEndpoint),
        }
    }

    /// The methods of this call, as CouchDB lists them in `Allow`.
    fn methods(&self) -> &'static str {
        match self {
            Self::Server(call) => call.methods(),
            Self::Database { call, .. } => call.methods(),
            Self::Node(NodeCall::List) => "GET,HEAD",
            Self::Node(NodeCall::One(_)) => "GET,HEAD,PUT,DELETE",
            Self::NodeSession => "GET,HEAD,POST,PUT,DELETE",
            Self::Warden(WardenCall::Provisioning | WardenCall::Voicemail(_)) => "POST",
            Self::Warden(WardenCall::ProvisioningEvents) => "GET,HEAD",
        }
    }

    fn names(&self) -> Names {
        match self {
            Self::Server(call) => call.names(),
            Self::Database { call, .. } => call.names(),
            Self::Node(_) | Self::NodeSession | Self::Warden(_) => Names::Exact,
        }
    }

    /// The same call with the destination of a `COPY`.
    fn copied_to(self, destination: Option<&str>) -> Result<Self, RouteError> {
        match self {
            Self::Database { db, call } => Ok(Self::Database {
                db,
                call: call.copied_to(destination)?,
            }),
            Self::Server(_) | Self::Node(_) | Self::NodeSession | Self::Warden(_) => {
                Err(RouteError::UnknownEndpoint)
            }
        }
    }
}
