//! The section `provisioning`: without `url` there is none.

use super::origin::parse_origin;
use super::raw::{Reader, Section};
use super::words::unusable_database;
use super::{Origin, Provisioning};
use std::time::Duration;

/// A replication that nobody has used for so long ends.
const TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// `couchdb` is the node that is used, for which its replicator has the same address if none is given.
pub(super) fn provisioning(
    mut section: Section<'_>,
    couchdb: Option<&Origin>,
    reader: &Reader<'_>,
) -> Option<Provisioning> {
    let place = section.place;
    let database = section.text("database");
    let url = section.text("url");
    let own = section.text("couchdb");
    let timeout = section.duration("replication_timeout");
    let end_on_logout = section.flag("end_on_logout");
    let others =
        database.is_some() || own.is_some() || timeout.is_some() || end_on_logout.is_some();
    if url.is_none() && others {
        section.missing("url");
    }
    section.finish();
    let origin = |said: &super::raw::At<String>| {
        let origin = parse_origin(&said.value);
        if origin.is_none() {
            let message =
                "an address is `http://host:port` or `https://host:port`, without user and path";
            reader.mistake(said.place, message);
        }
        origin
    };
    let (url, own) = (url.as_ref().and_then(origin), own.as_ref().and_then(origin));
    if let Some(database) = &database
        && let Some(message) = unusable_database(&database.value)
    {
        reader.mistake(database.place, message);
    }
    let url = url?;
    // Security: a token that anybody on the way can read is anybody's.
    let local = ["localhost", "127.0.0.1", "::1"].contains(&url.host.as_str());
    if !url.tls && !local {
        reader.mistake(
            place,
            "`provisioning.url` is plain HTTP on this machine only",
        );
    }
    Some(Provisioning {
        database: database.map_or_else(|| "provisioning".to_owned(), |name| name.value),
        url,
        couchdb: own.or_else(|| couchdb.cloned())?,
        replication_timeout: timeout.map_or(TIMEOUT, |timeout| timeout.value),
        end_on_logout: end_on_logout.is_some_and(|flag| flag.value),
    })
}
