//! CouchDB's answers in several parts: where the network cuts makes no difference, what does not fit its document is
//! cut off, and hidden attachments never come out.

use std::cell::LazyCell;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use couchwarden::body::{Body, Cut, boxed};
use couchwarden::caller::{Caller, Role, User, UserName};
use couchwarden::config::Config;
use couchwarden::exchange::in_parts;
use couchwarden::json::quote;
use couchwarden::policy::{Permit, Policy, PolicySettings, Verdict};
use couchwarden::route::Route;
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::runtime::{Builder, Runtime};

use super::model::{cuts, place};

const RULES: &str = "
[[rule]]
name      = 'team'
databases = ['db']
callers   = { everyone = true }
permit    = ['read', 'changes']
hide      = ['secret', '_attachments.hidden*']
documents = { team = 'red' }
";

/// Nothing listens there: what would have to be read besides is missing.
const CONFIG: &str = "
[listen]
address = '127.0.0.1:0'
[couchdb]
nodes = ['http://127.0.0.1:1']
user = 'warden'
password = 'errand'
proxy_secret = 'shared'
[identity.session]
secret = '0123456789abcdef'
[policies]
directory = 'policies'
";

/// Stands in all that is hidden, and in nothing else.
const CANARY: &str = "CANARY";

static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    let files = [("fuzz".to_owned(), RULES.to_owned())];
    Policy::load(&files, &PolicySettings::default()).expect("the rules are sound")
});
static SETTINGS: LazyLock<Config> = LazyLock::new(|| {
    Config::parse(CONFIG, Path::new("/fuzz.toml")).expect("the configuration is sound")
});
thread_local! {
    static RUNTIME: LazyCell<Runtime> = LazyCell::new(|| {
        let runtime = Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime")
    });
}

/// The input begins with a line that says what was asked for: `one`, `leaves` or `bulk`. Below it stands CouchDB's
/// answer, with the boundary `b`; or, if the line ends in ` built`, a list of attachments, `NAME CONTENT` on each
/// line, of which a sound answer is built.
pub fn multipart(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n');
    let (head, body) = data.split_at(end.unwrap_or(data.len()));
    let Some(body) = body.get(1..) else { return };
    let (asked, built) = match head {
        b"one" => (Asked::One, false),
        b"one built" => (Asked::One, true),
        b"leaves" => (Asked::Leaves, false),
        b"leaves built" => (Asked::Leaves, true),
        b"bulk built" => (Asked::Bulk, true),
        _ => (Asked::Bulk, false),
    };
    let place = place(data);
    match (built, std::str::from_utf8(body)) {
        (true, Ok(list)) => sound(asked, &Attachment::list(list), place),
        (true | false, _) => drop(seen(asked, body, place)),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    One,
    Leaves,
    Bulk,
}

struct Attachment {
    name: String,
    content: String,
    hidden: bool,
}

impl Attachment {
    fn list(text: &str) -> Vec<Self> {
        let mut found: Vec<Self> = Vec::new();
        for line in text.lines().take(8) {
            let (name, content) = line.split_once(' ').unwrap_or((line, ""));
            if found.iter().any(|other| other.name == name) {
                continue;
            }
            let hidden = name.starts_with("hidden");
            let content = content.replace(CANARY, "");
            found.push(Self {
                name: name.replace(CANARY, ""),
                content: match hidden {
                    true => format!("{content}{CANARY}\r\n--b--"),
                    false => content,
                },
                hidden,
            });
        }
        found
    }

    /// Does its head hold it, whoever reads that?
    fn stands_in_a_head(&self) -> bool {
        !self
            .name
            .chars()
            .any(|letter| letter.is_control() || letter == '"')
    }
}

/// Of a sound answer everything comes out but what is hidden.
fn sound(asked: Asked, attachments: &[Attachment], place: usize) {
    let answer = match asked {
        Asked::One => related(attachments, "b"),
        Asked::Leaves | Asked::Bulk => mixed(asked, attachments),
    };
    // What can't stand in a head is read anew, to stand in the document; nothing answers here.
    let aside = |one: &Attachment| !one.hidden && !one.stands_in_a_head();
    let Some(shown) = seen(asked, &answer, place) else {
        assert!(attachments.iter().any(aside), "a sound answer is shown");
        return;
    };
    let holds = |text: &str| {
        text.is_empty()
            || shown
                .windows(text.len())
                .any(|found| found == text.as_bytes())
    };
    assert!(!holds(CANARY), "{}", String::from_utf8_lossy(&shown));
    for attachment in attachments {
        if !attachment.hidden && attachment.stands_in_a_head() {
            assert!(holds(&attachment.content), "{}", attachment.name);
        }
    }
}

/// One document as `couch_httpd_multipart` writes it.
fn related(attachments: &[Attachment], boundary: &str) -> Vec<u8> {
    let mut answer = format!("--{boundary}\r\nContent-Type: application/json\r\n\r\n").into_bytes();
    answer.extend(document(attachments));
    for Attachment { name, content, .. } in attachments {
        let length = content.len();
        let head = format!(
            "\r\n--{boundary}\r\nContent-Disposition: attachment; filename=\"{name}\"\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{content}"
        );
        answer.extend(head.into_bytes());
    }
    answer.extend(format!("\r\n--{boundary}--").into_bytes());
    answer
}

/// The same document twice, as `chttpd_db` writes several.
fn mixed(asked: Asked, attachments: &[Attachment]) -> Vec<u8> {
    let mut answer = match asked {
        Asked::Bulk => b"\r\n--b".to_vec(),
        Asked::One | Asked::Leaves => b"--b".to_vec(),
    };
    for _ in 0..2 {
        match attachments {
            [] => {
                answer.extend(b"\r\nContent-Type: application/json\r\n\r\n");
                answer.extend(document(attachments));
            }
            _ => {
                answer.extend(b"\r\nContent-Type: multipart/related; boundary=\"inner\"\r\n\r\n");
                answer.extend(related(attachments, "inner"));
            }
        }
        answer.extend(b"\r\n--b");
    }
    answer.extend(b"--");
    answer
}

fn document(attachments: &[Attachment]) -> Vec<u8> {
    let mut document =
        format!(r#"{{"_id":"doc","_rev":"1-a","team":"red","secret":"{CANARY}""#).into_bytes();
    if !attachments.is_empty() {
        document.extend(br#","_attachments":{"#);
        for (at, Attachment { name, content, .. }) in attachments.iter().enumerate() {
            if at > 0 {
                document.push(b',');
            }
            quote(name, &mut document);
            let stub = format!(
                r#":{{"content_type":"text/plain","revpos":1,"digest":"md5-x","length":{},"follows":true}}"#,
                content.len()
            );
            document.extend(stub.into_bytes());
        }
        document.push(b'}');
    }
    document.push(b'}');
    document
}

/// What comes out, however the answer is cut; none where it is cut off.
fn seen(asked: Asked, answer: &[u8], place: usize) -> Option<Vec<u8>> {
    let [whole, bytes, halves] = cuts(answer, place).map(|pieces| run(asked, &pieces));
    assert_eq!(whole, bytes);
    assert_eq!(whole, halves);
    whole
}

fn run(asked: Asked, pieces: &[&[u8]]) -> Option<Vec<u8>> {
    let frames: Vec<Result<Frame<Bytes>, Cut>> = pieces
        .iter()
        .map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece))))
        .collect();
    let upstream: Body = boxed(StreamBody::new(stream::iter(frames)));
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let answer = in_parts(permit(asked), &SETTINGS, b"b", upstream).await;
            let mut body = answer.ok()?.into_body();
            let mut shown = Vec::new();
            while let Some(frame) = body.frame().await {
                shown.extend(frame.ok()?.into_data().ok()?);
            }
            Some(shown)
        })
    })
}

fn permit(asked: Asked) -> Permit {
    let (method, target) = match asked {
        Asked::One => ("GET", "/db/doc?attachments=true"),
        Asked::Leaves => ("GET", "/db/doc?open_revs=all&attachments=true"),
        Asked::Bulk => ("POST", "/db/_bulk_get?attachments=true"),
    };
    let role = Role::parse("reader").expect("a role");
    let user = User::new(UserName::parse("ann").expect("a name"), vec![role]);
    let route = Route::parse(method, target, None).expect("a route");
    match POLICY.decide(&Caller::User(Arc::new(user)), route) {
        Verdict::Permit(permit) => permit,
        Verdict::Deny(_) | Verdict::Ask(_) => panic!("the caller may read"),
    }
}
