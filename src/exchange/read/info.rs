//! `GET /db` for callers to whom no rule opens it: what a replicator needs to know of a database, and no count.

use crate::couch::Couch;
use crate::exchange::answer::Answer;
use crate::exchange::write::answer::object;
use crate::json::Value;
use crate::refusal::Refusal;
use crate::route::DbName;

pub(crate) async fn info(couch: &Couch, db: &DbName) -> Result<Answer, Refusal> {
    let info = couch.info(db).await?.ok_or(Refusal::NoDatabase)?;
    let mut bytes = cut(&info).to_bytes();
    bytes.push(b'\n');
    Ok(Answer::json(bytes))
}

/// What everybody may know of a database in which they may do something.
pub(crate) fn cut(info: &Value) -> Value {
    let kept = [
        "db_name",
        "instance_start_time",
        "props",
        "cluster",
        "disk_format_version",
    ];
    let kept = kept
        .into_iter()
        .filter_map(|name| Some((name, info.get(name)?.clone())));
    // CouchDB's replicator takes a database without it for none. Who begins there misses nothing.
    object(kept.chain([("update_seq", Value::from("0"))]))
}
