//! The small grammars inside values: host names, roles, database names.
//!
//! Invariant: these functions only read text; what is wrong about it is told by the caller.

use crate::route::name::is_own_database;
use std::net::{IpAddr, Ipv4Addr};

/// `host`, `host:port`, `[::1]:port`.
pub(super) fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    let after_brackets = text.rfind(']').map_or(0, |index| index + 1);
    let Some(colon) = text.get(after_brackets..)?.find(':') else {
        return Some((text, None));
    };
    let (host, port) = text.split_at_checked(after_brackets + colon)?;
    let port = port.strip_prefix(':')?;
    // `+80` parses as a number too.
    let plain = port.bytes().all(|byte| byte.is_ascii_digit());
    plain
        .then(|| port.parse().ok())?
        .map(|port| (host, Some(port)))
}

pub(super) fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    text.parse::<Ipv4Addr>().is_ok() || text.split('.').all(label)
}

/// Is this the name of a host that one operator has for itself: neither an address nor `localhost`?
/// With or without a port.
pub(super) fn keeps_hsts(authority: &str) -> bool {
    let host = split_port(authority).map_or(authority, |(host, _)| host);
    let address = host.trim_start_matches('[').trim_end_matches(']');
    address.parse::<IpAddr>().is_err() && host != "localhost" && !host.ends_with(".localhost")
}

pub(super) fn is_web_origin(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else {
        return false;
    };
    let scheme_good = !scheme.is_empty()
        && scheme
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let host_good = split_port(rest).is_some_and(|(host, _)| {
        let address = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        is_host(host) || address.is_some_and(|host| host.parse::<IpAddr>().is_ok())
    });
    scheme_good && host_good && text == text.to_ascii_lowercase()
}

pub(super) fn is_role(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('_')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b',')
}

/// Why no database of this name can be used.
pub(super) fn unusable_database(text: &str) -> Option<String> {
    if is_own_database(text) {
        return Some(format!("`{text}` is the database of couchwarden itself"));
    }
    (!is_database(text)).then(|| format!("`{text}` is not a database name"))
}

/// CouchDB's rule for the names of databases.
fn is_database(text: &str) -> bool {
    let legal =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_$()+/-".contains(&byte);
    text.starts_with(|c: char| c.is_ascii_lowercase()) && text.bytes().all(legal)
}
