//! The section `couchdb`: where CouchDB is, and how it is told who asks.
//!
//! Invariant: with `jwt` nothing that is configured is a password; without it everything that must be there is.

use super::origin::parse_origin;
use super::raw::{At, Reader, Section};
use super::{CouchDb, MemberRole, Origin, Present, SentRoles, SigningKey};
use crate::secret::Secret;

/// The name of our own errands where CouchDB knows no account for them.
const NAME: &str = "couchwarden";

/// The role of whoever comes through couchwarden.
const ROLE: &str = "warden";

pub(super) fn couchdb(mut section: Section<'_>, reader: &Reader<'_>) -> Option<CouchDb> {
    let nodes = section.texts("nodes");
    if nodes.as_ref().is_none_or(Vec::is_empty) {
        section.missing("nodes");
    }
    let user = section.text("user");
    let present = present(&mut section, user.is_some(), reader);
    let role = section.text("role");
    let roles = section.text("roles");
    let ca = section.path("ca");
    section.finish();
    let origins = origins(nodes.unwrap_or_default(), ca.is_some(), reader);
    let role = match role {
        None => MemberRole::parse(ROLE),
        Some(said) => {
            let role = MemberRole::parse(&said.value);
            if role.is_none() {
                reader.mistake(said.place, format!("`{}` is not a role", said.value));
            }
            role
        }
    };
    let roles = sent_roles(roles.as_ref(), reader);
    Some(CouchDb {
        nodes: origins,
        user: user.map_or_else(|| NAME.to_owned(), |user| user.value),
        present: present?,
        role: role?,
        roles: roles?,
        ca: ca.map(|ca| ca.value),
    })
}

/// Each way needs its own keys, and takes none of another's: what is not used would be believed to protect.
fn present(section: &mut Section<'_>, named: bool, reader: &Reader<'_>) -> Option<Present> {
    let present = section.text("present");
    let password = section.secret("password");
    let proxy_secret = section.secret("proxy_secret");
    let key = section.secret("jwt_key");
    let way = present.as_ref().map_or("proxy", |said| said.value.as_str());
    let account = |section: &Section<'_>, password: Option<At<Secret>>| {
        if !named {
            section.missing("user");
        }
        if password.is_none() {
            section.missing("password");
        }
        password.map(|password| password.value)
    };
    let unused = |said: Option<&At<Secret>>, name| {
        if let Some(said) = said {
            let message = format!("`couchdb.{name}` is of no use with `present = \"{way}\"`");
            reader.mistake(said.place, message);
        }
    };
    match way {
        "jwt" => {
            unused(password.as_ref(), "password");
            unused(proxy_secret.as_ref(), "proxy_secret");
            if key.is_none() {
                section.missing("jwt_key");
            }
            let key = key?;
            let read = SigningKey::parse(&key.value).map_err(|why| {
                let message = format!("`couchdb.jwt_key` can't be used: {why}");
                reader.mistake(key.place, message);
            });
            read.ok().map(|key| Present::Jwt { key })
        }
        "proxy" => {
            unused(key.as_ref(), "jwt_key");
            if proxy_secret.is_none() {
                section.missing("proxy_secret");
            }
            let password = account(section, password);
            Some(Present::Proxy {
                password: password?,
                secret: proxy_secret?.value,
            })
        }
        "service" => {
            unused(key.as_ref(), "jwt_key");
            account(section, password).map(|password| Present::Service { password })
        }
        other => {
            account(section, password);
            let place = present.as_ref().map_or(0, |said| said.place);
            let message = format!("`{other}` is none of `jwt`, `proxy` and `service`");
            reader.mistake(place, message);
            None
        }
    }
}

fn sent_roles(said: Option<&At<String>>, reader: &Reader<'_>) -> Option<SentRoles> {
    match said.map(|said| said.value.as_str()) {
        None | Some("all") => Some(SentRoles::All),
        Some("asked") => Some(SentRoles::Asked),
        Some(other) => {
            let place = said.map_or(0, |said| said.place);
            reader.mistake(place, format!("`{other}` is neither `all` nor `asked`"));
            None
        }
    }
}

fn origins(nodes: Vec<At<String>>, verifiable: bool, reader: &Reader<'_>) -> Vec<Origin> {
    let mut origins = Vec::new();
    for node in nodes {
        match parse_origin(&node.value) {
            Some(origin) => {
                if origin.tls && !verifiable {
                    let message = "an https node is verified by `couchdb.ca`, which is missing";
                    reader.mistake(node.place, message);
                }
                origins.push(origin);
            }
            None => reader.mistake(
                node.place,
                "a node is `http://host:port` or `https://host:port`, without user and path",
            ),
        }
    }
    origins
}
