//! A CouchDB in memory, as small as the tests of our own errands allow. Not for the tests of the road:
//! those have the real thing.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::{Couch, ServiceAccount, basic};
use crate::client::Client;
use crate::config;
use crate::json::{Object, Value};
use crate::secret::Secret;

/// What the fake holds and has heard.
#[derive(Default)]
pub(crate) struct Store {
    /// (database, id) → document. A deleted one has `_deleted`.
    pub(crate) documents: BTreeMap<(String, String), Value>,
    /// Passwords of CouchDB's users.
    pub(crate) passwords: BTreeMap<String, String>,
    /// Requests, as `METHOD path?query`.
    pub(crate) heard: Vec<String>,
    /// The `X-Forwarded-For` of the last request.
    pub(crate) forwarded_for: Option<String>,
    /// If set, every answer is this one.
    pub(crate) answer: Option<(u16, String)>,
    changes: Vec<(String, String)>,
    /// Revisions that came without `new_edits`.
    grafted: std::collections::BTreeSet<String>,
}

/// The fake, and a `Couch` that talks to it.
#[derive(Clone)]
pub(crate) struct Fake {
    pub(crate) store: Arc<Mutex<Store>>,
    pub(crate) port: u16,
}

pub(crate) fn json(text: &str) -> Value {
    Value::parse(text.as_bytes()).unwrap()
}

impl Fake {
    #[expect(
        clippy::disallowed_methods,
        reason = "the fake's own tasks end with its runtime"
    )]
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let store: Arc<Mutex<Store>> = Arc::default();
        let fake = Self {
            store: Arc::clone(&store),
            port,
        };
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let store = Arc::clone(&store);
                tokio::spawn(async move {
                    let service = service_fn(move |request| serve(Arc::clone(&store), request));
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        fake
    }

    pub(crate) fn couch(&self) -> Couch {
        self.couch_with_limit(1 << 20)
    }

    pub(crate) fn couch_with_limit(&self, limit: usize) -> Couch {
        let password = Secret::new("errands");
        let settings = config::CouchDb {
            nodes: vec![config::Origin {
                tls: false,
                host: "127.0.0.1".into(),
                port: self.port,
            }],
            user: "warden".into(),
            present: config::Present::Service { password },
            role: config::MemberRole::parse("warden").unwrap(),
            roles: config::SentRoles::All,
            ca: None,
        };
        let client = Client::new(&settings, &config::Limits::default()).unwrap();
        Couch::new(client, ServiceAccount::new(&settings).unwrap(), limit)
    }

    /// Puts a document, whose revision counts up.
    pub(crate) fn put(&self, db: &str, text: &str) {
        let mut document = json(text);
        let mut store = self.store.lock().unwrap();
        let id = document.get("_id").unwrap().as_str().unwrap().to_owned();
        let rev = format!("{}-{}", store.changes.len() + 1, "a".repeat(32));
        document.as_object_mut().unwrap().insert("_rev", rev);
        store.changes.push((db.to_owned(), id.clone()));
        store.documents.insert((db.to_owned(), id), document);
    }

    /// A user of `_users`.
    pub(crate) fn user(&self, name: &str, password: &str, roles: &str) {
        let id = format!("org.couchdb.user:{name}");
        let text = format!(
            r#"{{"_id":"{id}","name":"{name}","type":"user","roles":{roles},"salt":"{password}"}}"#
        );
        self.put("_users", &text);
        self.store
            .lock()
            .unwrap()
            .passwords
            .insert(name.into(), password.into());
    }

    pub(crate) fn heard(&self) -> Vec<String> {
        std::mem::take(&mut self.store.lock().unwrap().heard)
    }
}

async fn serve(
    store: Arc<Mutex<Store>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    #[expect(clippy::disallowed_methods, reason = "limited")]
    let body = Limited::new(body, 1 << 20)
        .collect()
        .await
        .unwrap()
        .to_bytes();
    let header = |name| {
        head.headers
            .get(name)
            .map(|value: &http::HeaderValue| value.to_str().unwrap().to_owned())
    };
    let target = head.uri.to_string();
    let forever = {
        let mut store = store.lock().unwrap();
        store.heard.push(format!("{} {target}", head.method));
        store.forwarded_for = header("x-forwarded-for");
        target.contains("feed=longpoll")
    };
    let mut answer = (200, String::new());
    for _ in 0..100 {
        answer = respond(
            &mut store.lock().unwrap(),
            head.method.as_str(),
            &target,
            header("authorization"),
            &body,
        );
        if !forever || answer.0 != 200 || !answer.1.contains(r#""results":[]"#) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    Ok(Response::builder()
        .status(answer.0)
        .body(Full::from(answer.1))
        .unwrap())
}

/// The one request, taken apart.
struct Asked<'a> {
    db: String,
    query: &'a str,
    body: &'a [u8],
}

impl Asked<'_> {
    fn parameter(&self, name: &str) -> Option<String> {
        let mut pairs = self
            .query
            .split('&')
            .filter_map(|pair| pair.split_once('='));
        let value = pairs.find(|(key, _)| *key == name).map(|(_, value)| value);
        value.map(unescape)
    }

    fn json(&self) -> Value {
        Value::parse(self.body).unwrap()
    }
}

fn unescape(text: &str) -> String {
    text.replace("%3A", ":").replace("%22", "\"")
}

fn respond(
    store: &mut Store,
    method: &str,
    target: &str,
    authorization: Option<String>,
    body: &[u8],
) -> (u16, String) {
    if let Some(answer) = &store.answer {
        return answer.clone();
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let authorization = authorization.unwrap_or_default();
    if path == "/_session" {
        return session(store, &authorization);
    }
    let account = basic("warden", &Secret::new("errands")).unwrap();
    assert_eq!(authorization, account.to_str().unwrap());
    let path = path.trim_start_matches('/');
    let (db, rest) = path.split_once('/').unwrap_or((path, ""));
    let asked = Asked {
        db: unescape(db),
        query,
        body,
    };
    match (method, rest) {
        ("PUT", "") => (412, r#"{"error":"file_exists","reason":"x"}"#.into()),
        (_, "_security") => (200, "{}".into()),
        ("POST", "_purge") => purge(store, &asked),
        ("POST", "_all_docs") => (200, by_keys(store, &asked)),
        ("GET", "_all_docs") => (200, page(store, &asked)),
        ("POST", "_bulk_get") => (200, bulk_get(store, &asked)),
        ("POST", "_bulk_docs") => graft(store, &asked),
        ("GET", "_changes") => (200, changes(store, &asked)),
        ("PUT", id) => put(store, &asked, &unescape(id)),
        (_, id) => match store.documents.get(&(asked.db, unescape(id))) {
            Some(doc) if query.contains("open_revs=") => {
                (200, format!(r#"[{{"ok":{doc}}},{{"missing":"1-x"}}]"#))
            }
            Some(doc) if doc.get("_deleted").is_none() => (200, doc.to_string()),
            _ => (404, r#"{"error":"not_found","reason":"missing"}"#.into()),
        },
    }
}

fn row(store: &Store, asked: &Asked<'_>, id: &str) -> String {
    let Some(doc) = store.documents.get(&(asked.db.clone(), id.to_owned())) else {
        return format!(r#"{{"key":"{id}","error":"not_found"}}"#);
    };
    let rev = doc.get("_rev").unwrap();
    if doc.get("_deleted").is_some() {
        let value = format!(r#"{{"rev":{rev},"deleted":true}}"#);
        return format!(r#"{{"id":"{id}","key":"{id}","value":{value},"doc":null}}"#);
    }
    format!(r#"{{"id":"{id}","key":"{id}","value":{{"rev":{rev}}},"doc":{doc}}}"#)
}

fn rows(rows: &[String]) -> String {
    format!(r#"{{"total_rows":1,"rows":[{}]}}"#, rows.join(",\n"))
}

fn by_keys(store: &Store, asked: &Asked<'_>) -> String {
    let body = asked.json();
    let keys = body.get("keys").unwrap().as_array().unwrap();
    let found = keys
        .iter()
        .map(|key| row(store, asked, key.as_str().unwrap()));
    rows(&found.collect::<Vec<_>>())
}

fn page(store: &Store, asked: &Asked<'_>) -> String {
    let start = asked
        .parameter("startkey")
        .map(|start| json(&start).as_str().unwrap().to_owned());
    let skip = asked
        .parameter("skip")
        .map_or(0, |skip| skip.parse().unwrap());
    let limit = asked.parameter("limit").unwrap().parse().unwrap();
    let ids = store
        .documents
        .keys()
        .filter(|(db, _)| *db == asked.db)
        .map(|(_, id)| id);
    let ids = ids.filter(|id| start.as_ref().is_none_or(|start| *id >= start));
    let end = asked.parameter("endkey");
    let end = end.map(|end| json(&end).as_str().unwrap().to_owned());
    let ids = ids.filter(|id| end.as_ref().is_none_or(|end| *id <= end));
    let found = ids.skip(skip).take(limit).map(|id| row(store, asked, id));
    rows(&found.collect::<Vec<_>>())
}

fn bulk_get(store: &Store, asked: &Asked<'_>) -> String {
    let body = asked.json();
    let one = |wanted: &Value| {
        let id = wanted.get("id").unwrap().as_str().unwrap();
        let doc = store.documents.get(&(asked.db.clone(), id.to_owned()));
        let rev = wanted.get("rev");
        let doc = doc.filter(|doc| rev.is_none() || doc.get("_rev") == rev);
        let doc = doc.map_or(r#"{"error":{}}"#.into(), |doc| format!(r#"{{"ok":{doc}}}"#));
        format!(r#"{{"id":"{id}","docs":[{doc}]}}"#)
    };
    let results = body
        .get("docs")
        .unwrap()
        .as_array()
        .unwrap()
        .iter()
        .map(one);
    format!(
        r#"{{"results":[{}]}}"#,
        results.collect::<Vec<_>>().join(",")
    )
}

fn changes(store: &Store, asked: &Asked<'_>) -> String {
    let last = store.changes.len();
    let since = asked.parameter("since").unwrap();
    let since = if since == "now" {
        last
    } else {
        since.parse().unwrap()
    };
    let new = store
        .changes
        .iter()
        .skip(since)
        .filter(|key| key.0 == asked.db && store.documents.contains_key(key));
    let row = |key: &(String, String)| {
        let doc = match asked.parameter("include_docs") {
            Some(_) => format!(r#","doc":{}"#, store.documents[key]),
            None => String::new(),
        };
        format!(r#"{{"seq":1,"id":"{}","changes":[]{doc}}}"#, key.1)
    };
    let new: Vec<String> = new.map(row).collect();
    format!(r#"{{"results":[{}],"last_seq":{last}}}"#, new.join(","))
}

fn put(store: &mut Store, asked: &Asked<'_>, id: &str) -> (u16, String) {
    let key = (asked.db.clone(), id.to_owned());
    let mut new = asked.json();
    let stored = store.documents.get(&key);
    let stands = stored.and_then(|doc| doc.get("_rev")) == new.get("_rev");
    let free = stored.is_some_and(|doc| doc.get("_deleted").is_some()) && new.get("_rev").is_none();
    if !stands && !free {
        return (409, r#"{"error":"conflict","reason":"x"}"#.into());
    }
    let rev = format!("{}-{}", store.changes.len() + 1, "b".repeat(32));
    let object = new.as_object_mut().unwrap();
    object.insert("_id", id);
    object.insert("_rev", rev.as_str());
    store.changes.push(key.clone());
    store.documents.insert(key, new);
    (201, format!(r#"{{"ok":true,"id":"{id}","rev":"{rev}"}}"#))
}

fn purge(store: &mut Store, asked: &Asked<'_>) -> (u16, String) {
    for (id, _) in asked.json().as_object().unwrap().iter() {
        let key = (asked.db.clone(), id.to_owned());
        store.documents.remove(&key);
    }
    (201, r#"{"purge_seq":null,"purged":{}}"#.into())
}

/// Without `new_edits`: what is there under the same revision, or was, stays.
fn graft(store: &mut Store, asked: &Asked<'_>) -> (u16, String) {
    for doc in asked.json().get("docs").unwrap().as_array().unwrap() {
        let mut doc = doc.clone();
        let object = doc.as_object_mut().unwrap();
        object.remove("_revisions");
        let key = (
            asked.db.clone(),
            object.get("_id").unwrap().as_str().unwrap().to_owned(),
        );
        let rev = object.get("_rev").unwrap().as_str().unwrap().to_owned();
        if store.grafted.insert(rev) {
            store.changes.push(key.clone());
            store.documents.insert(key, doc);
        }
    }
    (201, "[]".into())
}

fn session(store: &Store, authorization: &str) -> (u16, String) {
    let user = store.passwords.iter().find(|(name, password)| {
        let header = basic(name, &Secret::new(password.as_bytes()));
        header.is_ok_and(|header| header.to_str().unwrap() == authorization)
    });
    let Some((name, _)) = user else {
        return (401, r#"{"error":"unauthorized","reason":"x"}"#.into());
    };
    let mut context = Object::new();
    context.insert("name", name.as_str());
    context.insert("roles", vec!["_admin".into()]);
    (
        200,
        format!(r#"{{"ok":true,"userCtx":{}}}"#, Value::from(context)),
    )
}
