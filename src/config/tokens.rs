//! `[identity.tokens]`: which tokens of others are believed.
//!
//! Invariant: tokens are believed only where the section says by what.

use super::raw::{Reader, Section, values};
use super::{TokenRules, TokenVoucher, jwk};
use std::time::Duration;

/// Where CouchDB looks for roles too (`jwt_auth/roles_claim_name`).
const ROLES: &str = "_couchdb.roles";

/// Clocks differ.
const LEEWAY: Duration = Duration::from_secs(60);

pub(super) fn tokens(mut section: Section<'_>, reader: &Reader<'_>) -> Option<TokenRules> {
    let keys = section.path("keys");
    let couchdb = section.flag("couchdb");
    let issuer = section.text("issuer");
    let audience = section.text("audience");
    let roles = section.texts("roles");
    let leeway = section.duration("leeway");
    let rules = [
        issuer.is_some(),
        audience.is_some(),
        roles.is_some(),
        leeway.is_some(),
    ];
    let rules = rules.contains(&true);
    let voucher = match (keys, couchdb.filter(|couchdb| couchdb.value)) {
        (None, None) => {
            if rules {
                section.missing("keys");
            }
            None
        }
        (Some(keys), None) => {
            let read = std::fs::read_to_string(&keys.value).map_err(|error| error.to_string());
            let read = read.and_then(|text| jwk::read(&text));
            let message = |why| format!("`identity.tokens.keys` can't be used: {why}");
            let read = read.map_err(|why| reader.mistake(keys.place, message(why)));
            read.ok().map(TokenVoucher::Keys)
        }
        (keys, Some(couchdb)) => {
            if keys.is_some() || rules {
                let message = "where CouchDB vouches for tokens, it has their keys and rules";
                reader.mistake(couchdb.place, message);
            }
            Some(TokenVoucher::CouchDb)
        }
    };
    section.finish();
    let roles = roles.map_or_else(|| vec![ROLES.to_owned()], values);
    Some(TokenRules {
        voucher: voucher?,
        issuer: issuer.map(|issuer| issuer.value),
        audience: audience.map(|audience| audience.value),
        roles,
        leeway: leeway.map_or(LEEWAY, |leeway| leeway.value),
    })
}
