//! What an operator is told at the start about the CouchDB behind couchwarden.
//!
//! Invariant: nothing here keeps couchwarden from serving: a CouchDB that can't be asked is not warned of.

use crate::config::{CouchDb, Present, SentRoles};
use crate::couch::Couch;
use crate::json::Value;
use crate::policy::Policy;
use crate::route::DbName;

/// Of how many databases it is looked at whom they let in, and how many are named.
const DATABASES: usize = 1000;
const NAMED: usize = 20;

/// Tells all of it, and does not return.
pub(super) async fn tell(couch: &Couch, settings: &CouchDb, policy: &Policy) {
    if couch.believes_anybody().await == Ok(true) {
        tracing::warn!(
            "CouchDB believes whoever names himself: set `proxy_use_secret = true` in its [chttpd_auth]"
        );
    }
    if couch.has_virtual_hosts().await == Ok(true) {
        tracing::warn!(
            "CouchDB has virtual hosts, which nobody reaches through couchwarden; one that stands for every host would \
             answer other requests than those that were judged: take them out of its [vhosts]"
        );
    }
    if couch.believes_us().await == Ok(false) {
        tracing::error!(
            "CouchDB does not take the tokens of couchwarden: its [chttpd] authentication_handlers need \
             {{chttpd_auth, jwt_authentication_handler}}, its [jwt_keys] what `couchwarden key` prints, and its clock \
             must be right within half a minute"
        );
    }
    if settings.roles == SentRoles::Asked {
        tracing::warn!(
            "`[couchdb] roles = \"asked\"`: validation functions see those roles of a writer only that a rule about the \
             database or its _security asks about"
        );
    }
    let closed = closed_databases(couch, settings, policy).await;
    if !closed.is_empty() {
        let (count, databases) = (
            closed.len(),
            closed.get(..NAMED).unwrap_or(&closed).join(", "),
        );
        tracing::warn!(
            count,
            databases,
            "CouchDB lets nobody but administrators into these databases: the role of `[couchdb] role` is not among the \
             members in their _security"
        );
    }
    std::future::pending().await
}

/// The databases that rules name, and that do not admit the role by which callers come.
async fn closed_databases(couch: &Couch, settings: &CouchDb, policy: &Policy) -> Vec<String> {
    if matches!(settings.present, Present::Service { .. }) {
        return Vec::new();
    }
    let mut closed = Vec::new();
    for name in policy.named_databases().take(DATABASES) {
        let Ok(db) = DbName::parse(name) else {
            continue;
        };
        let Some(role) = settings
            .role
            .of(Some(&db))
            .filter(|_| !name.starts_with('_'))
        else {
            continue;
        };
        if let Ok(Some(security)) = couch.security(&db).await
            && !admits(&security, &role)
        {
            closed.push(name.to_owned());
        }
    }
    closed.sort_unstable();
    closed
}

/// Does this `_security` let in whoever has this role, and nothing else?
fn admits(security: &Value, role: &str) -> bool {
    let list = |who: &str, what: &str| {
        let found = security.at(&[who, what]).and_then(Value::as_array);
        found
            .unwrap_or_default()
            .iter()
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
    };
    let (names, roles) = (list("members", "names"), list("members", "roles"));
    let open = names.is_empty() && roles.is_empty();
    open || roles.contains(&role) || list("admins", "roles").contains(&role)
}

#[cfg(test)]
mod tests {
    use super::admits;
    use crate::couch::fake::json;

    #[test]
    fn a_database_that_does_not_admit_the_role_is_closed() {
        let by_roles = |roles: &str| json(&format!(r#"{{"members":{{"roles":{roles}}}}}"#));
        assert!(admits(&by_roles(r#"["x","warden:a"]"#), "warden:a"));
        assert!(!admits(&by_roles(r#"["warden:b"]"#), "warden:a"));
        assert!(!admits(&by_roles(r#"["_admin"]"#), "warden:a"));
        assert!(!admits(
            &json(r#"{"members":{"names":["una"]}}"#),
            "warden:a"
        ));
        assert!(admits(
            &json(r#"{"admins":{"roles":["warden:a"]},"members":{"roles":["x"]}}"#),
            "warden:a"
        ));
        for open in [
            "{}",
            r#"{"members":{"names":[],"roles":[]},"admins":{"roles":["_admin"]}}"#,
        ] {
            assert!(admits(&json(open), "warden:a"), "{open}");
        }
    }
}
