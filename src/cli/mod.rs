//! Nodes and their users from the command line: `couchwarden user …` and `couchwarden node …`; and `couchwarden key`.
//!
//! It is the node service itself, with an administrator's rights, before the configured CouchDB: what is
//! written is judged as everywhere else, and couchwardens that run see it at once.
//!
//! Invariant: nothing is written here but through the node service.

mod arguments;
mod key;

use std::sync::Arc;

use crate::caller::{Caller, User, UserName};
use crate::config::Config;
use crate::json::{Object, Value};
use crate::policy::Policy;
use crate::refusal::Refusal;
use crate::route::{NodeId, Query};
use crate::secret::Secret;
use crate::serve::{StartError, check, nodes};
use crate::services::node::{Answer, Asked, Body, Nodes};

pub use arguments::Invocation;
pub use key::key;

/// What is to be done.
#[derive(Debug)]
enum NodeCommand {
    /// `user add NAME`: a user node, under these parents.
    AddUser(String, Secret, Vec<String>),
    /// `user password NAME`
    SetPassword(String, Secret),
    /// `user remove NAME`
    RemoveUser(String),
    /// `node get ID`: the full node, or with these words of the query another form.
    Get(String, Vec<String>),
    /// `node put ID`: this JSON, the full node or a single-level one.
    Put(String, Vec<u8>, bool),
    /// `node list`: the ids, of all nodes or by these parameters of the query.
    List(Vec<(String, String)>),
    /// `node remove ID`
    Remove(String),
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The service can't be had.
    #[error("{0}")]
    Start(#[from] StartError),
    /// The configuration names no database of nodes.
    #[error("the configuration has no `nodes.database`")]
    NoNodes,
    /// The password or the body can't be had.
    #[error("{0}")]
    Input(String),
    /// Refused, as a client would be.
    #[error("{0}")]
    Refused(String),
}

impl From<Refusal> for CommandError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal.reason().to_owned())
    }
}

/// Does it, and gives what is to be printed.
///
/// # Errors
///
/// Whatever keeps it from being done; then nothing has changed.
pub async fn run(config: &Config, said: &Invocation<'_>) -> Result<String, CommandError> {
    let command = said.command()?;
    let nodes = nodes(config)?.ok_or(CommandError::NoNodes)?;
    let desk = Desk {
        nodes,
        policy: check(config).map_err(StartError::Mistakes)?,
        caller: administrator(&config.couchdb.user)?,
    };
    match command {
        NodeCommand::AddUser(name, password, parents) => {
            desk.add_user(&name, &password, &parents).await
        }
        NodeCommand::SetPassword(name, password) => desk.set_password(&name, &password).await,
        NodeCommand::RemoveUser(name) => desk.remove(&name, true).await,
        NodeCommand::Get(id, words) => {
            let pairs: Vec<(&str, &str)> = words.iter().map(|word| (word.as_str(), "")).collect();
            text(&desk.read(&id, &pairs).await?)
        }
        NodeCommand::Put(id, body, alone) => desk.put(&id, &body, alone, None).await,
        NodeCommand::List(by) => desk.list(by).await,
        NodeCommand::Remove(id) => desk.remove(&id, false).await,
    }
}

/// Whoever has the configuration is an administrator, under the name of the service account.
fn administrator(name: &str) -> Result<Caller, CommandError> {
    let unusable = |_| CommandError::Refused(format!("`{name}` can't be a user's name"));
    let name = UserName::parse(name).map_err(unusable)?;
    Ok(Caller::Administrator(Arc::new(User::new(name, Vec::new()))))
}

/// Where an administrator asks.
struct Desk {
    nodes: Nodes,
    policy: Policy,
    caller: Caller,
}

impl Desk {
    fn asked<'a>(&'a self, id: &'a NodeId, query: &'a Query) -> Asked<'a> {
        Asked {
            caller: &self.caller,
            id,
            query,
            peer: None,
            if_match: None,
            if_none_match: None,
            replaces: None,
        }
    }

    async fn read(&self, id: &str, pairs: &[(&str, &str)]) -> Result<Answer, CommandError> {
        let (id, query) = (parse(id)?, query(pairs));
        Ok(self.nodes.read(self.asked(&id, &query)).await?)
    }

    async fn put(
        &self,
        id: &str,
        body: &[u8],
        alone: bool,
        only_if: Option<&str>,
    ) -> Result<String, CommandError> {
        let id = parse(id)?;
        let query = query(if alone { &[("single-level", "")] } else { &[] });
        let mut asked = self.asked(&id, &query);
        match only_if {
            Some("new") => asked.if_none_match = Some("*"),
            tag => asked.if_match = tag,
        }
        text(&self.nodes.put(asked, Body::Sent(body)).await?)
    }

    async fn add_user(
        &self,
        name: &str,
        password: &Secret,
        parents: &[String],
    ) -> Result<String, CommandError> {
        let mut metadata = Object::new();
        metadata.insert("nodeId", name);
        metadata.insert("authorization", authorization(password)?);
        let parents = parents.iter().map(|id| Value::from(id.as_str()));
        metadata.insert("parents", parents.collect::<Vec<_>>());
        metadata.insert("nodeAdmins", Vec::new());
        let mut node = Object::new();
        node.insert("metadata", metadata);
        let body = Value::from(node).to_bytes();
        self.put(name, &body, true, Some("new")).await
    }

    async fn set_password(&self, name: &str, password: &Secret) -> Result<String, CommandError> {
        let found = self.read(name, &[("single-level", "")]).await?;
        let mut node = user_node(name, &found)?;
        let metadata = node
            .as_object_mut()
            .and_then(|node| node.get_mut("metadata"));
        if let Some(metadata) = metadata.and_then(Value::as_object_mut) {
            metadata.insert("authorization", authorization(password)?);
        }
        self.put(name, &node.to_bytes(), true, found.etag.as_deref())
            .await
    }

    async fn remove(&self, id: &str, user: bool) -> Result<String, CommandError> {
        let found = self.read(id, &[("single-level", "")]).await?;
        if user {
            user_node(id, &found)?;
        }
        let (id, query) = (parse(id)?, query(&[]));
        let mut asked = self.asked(&id, &query);
        asked.if_match = found.etag.as_deref();
        text(&self.nodes.delete(asked, &self.policy).await?)
    }

    async fn list(&self, by: Vec<(String, String)>) -> Result<String, CommandError> {
        let pairs: Vec<(&str, &str)> = by.iter().map(|(name, value)| (&**name, &**value)).collect();
        let answer = self.nodes.list(&self.caller, &query(&pairs)).await?;
        let list = Value::parse(&answer.body)
            .map_err(|_| Refusal::Internal("the node service answered what cannot be read"))?;
        let ids = list.get("results").and_then(Value::as_array);
        let ids = ids.unwrap_or_default().iter().filter_map(Value::as_str);
        Ok(ids.collect::<Vec<_>>().join("\n"))
    }
}

/// A node that was read, if it is a user's.
fn user_node(name: &str, found: &Answer) -> Result<Value, CommandError> {
    let node = Value::parse(&found.body)
        .map_err(|_| Refusal::Internal("the node service answered what cannot be read"))?;
    match node.at(&["metadata", "authorization"]) {
        Some(_) => Ok(node),
        None => Err(CommandError::Refused(format!("`{name}` is not a user"))),
    }
}

fn authorization(password: &Secret) -> Result<Object, CommandError> {
    let unreadable = |_| CommandError::Refused("the password is not UTF-8".to_owned());
    let password = std::str::from_utf8(password.expose()).map_err(unreadable)?;
    let mut authorization = Object::new();
    authorization.insert("type", "password");
    authorization.insert("password", password);
    Ok(authorization)
}

fn parse(id: &str) -> Result<NodeId, CommandError> {
    NodeId::parse(id).map_err(|error| CommandError::Refused(format!("`{id}`: {error}")))
}

fn query(pairs: &[(&str, &str)]) -> Query {
    let mut query = Query::default();
    for (name, value) in pairs {
        query.set(name, value);
    }
    query
}

fn text(answer: &Answer) -> Result<String, CommandError> {
    let text = std::str::from_utf8(&answer.body)
        .map_err(|_| Refusal::Internal("the node service answered what cannot be read"))?;
    Ok(text.trim_end().to_owned())
}
