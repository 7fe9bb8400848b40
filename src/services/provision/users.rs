//! The document of a user in `_users`: its id, and the caller that it describes.

use super::plan;
use crate::caller::{Role, User, UserName};
use crate::json::Value;
use crate::refusal::Refusal;
use crate::route::DocId;

pub(super) fn user_of(name: UserName, document: &Value) -> User {
    let roles = plan::roles(document).filter_map(|role| Role::parse(role).ok());
    User::new(name, roles.collect())
}

pub(super) fn user_id(name: &UserName) -> Result<DocId, Refusal> {
    DocId::parse(&format!("org.couchdb.user:{name}"))
        .map_err(|_| Refusal::Internal("a name of a user is none of an account"))
}
