//! A node as somebody wants it: the body of a `PUT`, read and checked for what it says by itself. Pure.
//!
//! Invariant: a draft holds no member that a node can't have; its password is nowhere but in a [`Secret`].

use super::unmerge::Steps;
use crate::caller::UserName;
use crate::json::{Number, Object, Value};
use crate::refusal::Refusal;
use crate::secret::Secret;

/// What a client may say in `metadata`. `nodeCreator` and `nodeCtime` are set by us; what is sent for them
/// is what was read before.
const MEMBERS: [&str; 6] = [
    "nodeId",
    "authorization",
    "parents",
    "nodeAdmins",
    "nodeCreator",
    "nodeCtime",
];

/// bcrypt sees no more bytes of a password than these.
pub(super) const LONGEST_PASSWORD: usize = 72;

/// A node as somebody wants it.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    /// All members but `metadata`.
    pub(super) properties: Object,
    pub(super) parents: Vec<String>,
    pub(super) admins: Vec<String>,
    pub(super) authorization: Authorization,
    /// `parents` and `nodeAdmins` as they were sent, if they were.
    lists: Object,
}

/// What is said about logging in.
#[derive(Debug, Clone)]
pub(super) enum Authorization {
    /// It is no user node.
    None,
    /// This password from now on.
    Password(Secret),
    /// The password that it has.
    Keep,
    /// This bcrypt hash.
    Hash(String),
}

/// What we set ourselves.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    /// `nodeCreator`: the name of whoever made the node; nobody's, if he had none.
    pub(super) creator: Value,
    /// `nodeCtime`: when, in seconds since 1970.
    pub(super) time: Value,
}

impl Draft {
    /// Reads a body.
    pub(super) fn read(id: &str, body: Value) -> Result<Self, Refusal> {
        let Value::Object(mut properties) = body else {
            return Err(Refusal::BadRequest("a node must be a JSON object"));
        };
        if let Some((name, _)) = properties.iter().find(|(name, _)| name.starts_with('_')) {
            return wrong(format!("`{name}`: no property begins with an underscore"));
        }
        let Some(Value::Object(metadata)) = properties.remove("metadata") else {
            return wrong("`metadata` must be an object".to_owned());
        };
        if let Some((name, _)) = metadata.iter().find(|(name, _)| !MEMBERS.contains(name)) {
            return wrong(format!("`metadata.{name}` is not known"));
        }
        if metadata.get("nodeId").and_then(Value::as_str) != Some(id) {
            return wrong(format!("`metadata.nodeId` must be `{id}`"));
        }
        let of_member = |(name, value)| Some(altered(value)?.below(name));
        if let Some(steps) = properties.iter().find_map(of_member) {
            return wrong(format!("`{steps}`: this number can't be kept exactly"));
        }
        let mut lists = Object::new();
        for name in ["parents", "nodeAdmins"] {
            if let Some(list) = metadata.get(name) {
                lists.insert(name, list.clone());
            }
        }
        Ok(Self {
            parents: names(&lists, "parents")?,
            admins: names(&lists, "nodeAdmins")?,
            authorization: Authorization::read(id, metadata.get("authorization"))?,
            properties,
            lists,
        })
    }

    /// Is it to be a user node?
    pub(super) fn is_user(&self) -> bool {
        match self.authorization {
            Authorization::None => false,
            Authorization::Password(_) | Authorization::Keep | Authorization::Hash(_) => true,
        }
    }

    /// The document to store: these properties, this hash.
    pub(super) fn document(
        &self,
        id: &str,
        own: Object,
        origin: Origin,
        hash: Option<&str>,
    ) -> Object {
        let mut metadata = Object::new();
        metadata.insert("nodeId", id);
        if let Some(hash) = hash {
            let mut authorization = Object::new();
            authorization.insert("type", "bcrypt");
            authorization.insert("crypted", hash);
            metadata.insert("authorization", authorization);
        }
        for (name, list) in self.lists.iter() {
            metadata.insert(name, list.clone());
        }
        metadata.insert("nodeCreator", origin.creator);
        metadata.insert("nodeCtime", origin.time);
        let mut document = Object::new();
        document.insert("_id", id);
        document.insert("metadata", metadata);
        for (name, value) in own {
            document.insert(name, value);
        }
        document
    }
}

impl Authorization {
    fn read(id: &str, said: Option<&Value>) -> Result<Self, Refusal> {
        let said = match said {
            None => return Ok(Self::None),
            Some(Value::Object(said)) => said,
            Some(
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::String(_)
                | Value::Array(_),
            ) => return wrong("`metadata.authorization` must be an object".to_owned()),
        };
        let text = |name: &str| said.get(name).and_then(Value::as_str);
        let only = |names: &[&str]| said.iter().all(|(name, _)| names.contains(&name));
        let found = match (text("type"), text("password"), text("crypted")) {
            (Some("password"), Some(password), None) if only(&["type", "password"]) => {
                Self::Password(password_of(password)?)
            }
            (Some("bcrypt"), None, None) if only(&["type"]) => Self::Keep,
            (Some("bcrypt"), None, Some(hash)) if only(&["type", "crypted"]) => {
                Self::Hash(hash.to_owned())
            }
            _ => {
                return wrong(
                    "`metadata.authorization` must be `{\"type\":\"password\",\"password\":…}` or \
                     `{\"type\":\"bcrypt\"}`"
                        .to_owned(),
                );
            }
        };
        if UserName::parse(id).is_err() {
            return wrong(format!("`{id}` can't be the name of a user"));
        }
        Ok(found)
    }
}

/// Security: bcrypt takes a longer password for its first 72 bytes, and one with a NUL for what stands
/// before it. (`passwords_are_hashed_and_kept_and_shown_to_administrators_only`)
fn password_of(text: &str) -> Result<Secret, Refusal> {
    if text.is_empty() || text.len() > LONGEST_PASSWORD || text.chars().any(char::is_control) {
        return wrong(format!(
            "`metadata.authorization.password` must have 1 to {LONGEST_PASSWORD} bytes and no control characters"
        ));
    }
    Ok(Secret::new(text))
}

/// A list of ids or names.
fn names(metadata: &Object, name: &str) -> Result<Vec<String>, Refusal> {
    let Some(list) = metadata.get(name) else {
        return Ok(Vec::new());
    };
    let names = list.as_array().and_then(|list| {
        let texts = list
            .iter()
            .map(|one| one.as_str().filter(|text| !text.is_empty()));
        texts.map(|text| text.map(str::to_owned)).collect()
    });
    match names {
        Some(names) => Ok(names),
        None => wrong(format!("`metadata.{name}` must be a list of ids")),
    }
}

pub(super) fn wrong<T>(reason: String) -> Result<T, Refusal> {
    Err(Refusal::Malformed(reason))
}

/// The way to the first number that would be read back as another one.
fn altered(value: &Value) -> Option<Steps> {
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => None,
        Value::Number(number) => (!is_kept(number)).then(Steps::default),
        Value::Array(elements) => elements
            .iter()
            .enumerate()
            .find_map(|(at, element)| Some(altered(element)?.below(&at.to_string()))),
        Value::Object(object) => object
            .iter()
            .find_map(|(name, member)| Some(altered(member)?.below(name))),
    }
}

/// CouchDB keeps an integer as it is written, and any other number as the nearest double.
fn is_kept(number: &Number) -> bool {
    let digit = |byte: u8| byte.is_ascii_digit() || byte == b'-';
    let double = format!("{:e}", number.as_f64());
    number.as_str().bytes().all(digit) || Number::parse(&double).as_ref() == Some(number)
}
