//! Where a server is: `https://couch.example:6984`.

use super::words::{is_host, split_port};
use std::fmt;
use std::net::IpAddr;

/// A server's address as a URL without path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// https.
    pub tls: bool,
    /// A name or address, IPv6 without brackets.
    pub host: String,
    /// Given, or the scheme's own.
    pub port: u16,
}

impl Origin {
    /// `host:port` as a `Host` header has it; the scheme's own port is left out.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        match (self.tls, self.port) {
            (false, 80) | (true, 443) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

/// Reads `scheme://host[:port]`, with or without a slash at the end.
pub(super) fn parse_origin(text: &str) -> Option<Origin> {
    let (scheme, rest) = text.split_once("://")?;
    let (tls, default) = match scheme {
        "http" => (false, 80),
        "https" => (true, 443),
        _ => return None,
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = split_port(rest)?;
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    let known = is_host(host) || host.parse::<IpAddr>().is_ok();
    known.then(|| Origin {
        tls,
        host: host.to_owned(),
        port: port.unwrap_or(default),
    })
}
