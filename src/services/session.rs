//! `/_session`: log in, who am I, log out, as CouchDB answers them; and `/session`, the same sessions in
//! the words of nodes.
//!
//! `POST` takes a form or JSON, with `name` or `username`, or a Basic header where the body is empty.
//! `next` and `fail`, by which CouchDB redirects anywhere, are not looked at. What CouchDB tells about its
//! handlers and its database of users is not told.
//!
//! Invariant: an answer here is about the caller himself; a wrong name and a wrong password look alike.

use std::net::IpAddr;
use std::sync::Arc;

use crate::caller::{Caller, Role};
use crate::identity::{Failed, Identity, Recognised, Scheme, SetCookie};
use crate::json::{Object, Value};
use crate::refusal::Refusal;
use crate::secret::Secret;

/// The session endpoint.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    identity: Arc<Identity>,
}

/// An answer in JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// 200: what is refused is a [`Refusal`].
    pub(crate) status: u16,
    /// The JSON.
    pub(crate) body: Vec<u8>,
    /// A cookie to set.
    pub(crate) set_cookie: Option<SetCookie>,
}

impl Session {
    /// For these callers.
    pub(crate) fn new(identity: Arc<Identity>) -> Self {
        Self { identity }
    }

    /// `POST /_session`.
    pub(crate) async fn login(
        &self,
        content_type: Option<&str>,
        body: &[u8],
        authorization: Option<&[u8]>,
        peer: IpAddr,
    ) -> Result<Answer, Refusal> {
        let opened = if body.is_empty() {
            let opened = self.identity.open_basic(authorization, peer).await?;
            opened.ok_or(Refusal::BadRequest("request body must contain a username"))?
        } else {
            let (name, password) = credentials(content_type.unwrap_or_default(), body)?;
            self.identity.open(&name, &password, peer).await?
        };
        let (caller, cookie) = opened;
        let mut answer = Object::new();
        answer.insert("ok", true);
        answer.insert("name", caller.name().map_or(Value::Null, Value::from));
        answer.insert("roles", roles(&caller));
        Ok(ok(answer, Some(cookie)))
    }

    /// `GET` and `HEAD /_session`. Whoever has a cookie that is not valid any more is told that he is
    /// nobody, as CouchDB does, and loses the cookie.
    pub(crate) fn read(&self, recognised: &Result<Recognised, Failed>) -> Result<Answer, Refusal> {
        let (caller, scheme, cookie) = match recognised {
            Ok(Recognised {
                caller,
                scheme,
                renew,
                ..
            }) => (caller, *scheme, renew),
            Err(Failed {
                refusal: Refusal::SessionEnded,
                scheme: Scheme::Cookie,
                clear,
            }) => (&Caller::Anonymous, Scheme::Nothing, clear),
            Err(failed) => return Err(failed.refusal.clone()),
        };
        let mut context = Object::new();
        context.insert("name", caller.name().map_or(Value::Null, Value::from));
        context.insert("roles", roles(caller));
        let mut info = Object::new();
        info.insert(
            "authentication_handlers",
            vec!["cookie".into(), "default".into()],
        );
        match scheme {
            Scheme::Nothing => None,
            Scheme::Cookie => info.insert("authenticated", "cookie"),
            Scheme::Basic => info.insert("authenticated", "default"),
            Scheme::Token => info.insert("authenticated", "jwt"),
        };
        let mut answer = Object::new();
        answer.insert("ok", true);
        answer.insert("userCtx", context);
        answer.insert("info", info);
        Ok(ok(answer, cookie.clone()))
    }

    /// `GET` and `HEAD /session`: who asks, and after how many milliseconds he should ask again. A session
    /// is renewed by it.
    pub(crate) async fn renew(
        &self,
        recognised: Recognised,
        cookie: Option<&str>,
    ) -> Result<Answer, Refusal> {
        let renewed = match (recognised.scheme, cookie) {
            (Scheme::Cookie, Some(cookie)) => self.identity.renew(cookie.as_bytes()).await?,
            (Scheme::Cookie | Scheme::Basic | Scheme::Token | Scheme::Nothing, _) => None,
        };
        let refresh = u64::try_from(self.identity.refresh().as_millis()).unwrap_or(u64::MAX);
        let mut answer = Object::new();
        let name = recognised.caller.name();
        answer.insert("user", name.map_or(Value::Null, Value::from));
        answer.insert("refresh", refresh);
        Ok(ok(answer, renewed.or(recognised.renew)))
    }

    /// `DELETE /_session`: the session is over, also for whoever else has its cookie or has renewed it. Where CouchDB
    /// could not be told in time, it is over here, and elsewhere once CouchDB can.
    pub(crate) async fn logout(&self, cookie: Option<&[u8]>) -> Answer {
        self.identity.end_session(cookie).await;
        let mut answer = Object::new();
        answer.insert("ok", true);
        ok(answer, Some(self.identity.clear()))
    }
}

fn ok(answer: Object, set_cookie: Option<SetCookie>) -> Answer {
    let mut body = Value::from(answer).to_bytes();
    body.push(b'\n');
    Answer {
        status: 200,
        body,
        set_cookie,
    }
}

/// As CouchDB lists them: an administrator has the role `_admin`.
fn roles(caller: &Caller) -> Vec<Value> {
    let administrator = caller.is_administrator().then_some("_admin");
    administrator
        .into_iter()
        .chain(caller.roles().iter().map(Role::as_str))
        .map(Value::from)
        .collect()
}

/// Name and password of a body. A form can come from any page on the web, but brings nobody anything
/// that he does not know; JSON must say that it is JSON.
fn credentials(content_type: &str, body: &[u8]) -> Result<(String, Secret), Refusal> {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    let fields = if kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        form(body)?
    } else if kind.eq_ignore_ascii_case("application/json") {
        json(body)?
    } else {
        return Err(Refusal::UnsupportedMedia(
            "Content-Type must be 'application/x-www-form-urlencoded' or 'application/json'",
        ));
    };
    let [name, username, password] = fields;
    let name = match (name, username) {
        (Some(name), Some(other)) if name != other => {
            return Err(Refusal::BadRequest(
                "request body contains different usernames",
            ));
        }
        (Some(name), _) | (None, Some(name)) => name,
        (None, None) => return Err(Refusal::BadRequest("request body must contain a username")),
    };
    Ok((name, Secret::new(password.unwrap_or_default())))
}

const FIELDS: [&str; 3] = ["name", "username", "password"];

fn json(body: &[u8]) -> Result<[Option<String>; 3], Refusal> {
    let invalid = Refusal::BadRequest("invalid UTF-8 JSON");
    let value = Value::parse(body).map_err(|_| invalid)?;
    let mut fields = [None, None, None];
    for (field, name) in fields.iter_mut().zip(FIELDS) {
        *field = match value.get(name) {
            None => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::Array(_)
                | Value::Object(_),
            ) => {
                return Err(Refusal::BadRequest("name and password are texts"));
            }
        };
    }
    Ok(fields)
}

fn form(body: &[u8]) -> Result<[Option<String>; 3], Refusal> {
    let invalid = Refusal::BadRequest("the form can't be read");
    let text = std::str::from_utf8(body).map_err(|_| invalid.clone())?;
    let mut fields = [None, None, None];
    for pair in text.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decode(name), decode(value));
        let (Some(name), Some(value)) = (name, value) else {
            return Err(invalid);
        };
        for (field, _) in fields
            .iter_mut()
            .zip(FIELDS)
            .filter(|(_, known)| *known == name)
        {
            if field.replace(value.clone()).is_some() {
                return Err(Refusal::BadRequest("a field of the form is given twice"));
            }
        }
    }
    Ok(fields)
}

/// Decodes a name or value of a form (WHATWG URL section 5.1), and refuses what is not UTF-8.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: u8| {
                    char::from(byte)
                        .to_digit(16)
                        .and_then(|d| u8::try_from(d).ok())
                };
                digit(rest.next()?)?
                    .checked_mul(16)?
                    .checked_add(digit(rest.next()?)?)?
            }
            plain => plain,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests;
