//! The constants of selectors and pins: JSON values in which variables may stand.
//!
//! Invariant: a constant that a variable is part of compares code point by code point, any other by collation.

use std::borrow::Cow;

use crate::json::Object;
use crate::json::Value;

use crate::policy::mango::collate::Strings;
use crate::policy::pattern::binding::Binding;
use crate::policy::pattern::{Names, PatternError, Reading, Template};

/// A JSON value, perhaps with variables.
#[derive(Debug, Clone)]
pub(in crate::policy) enum Constant {
    Plain(Value),
    Text(Template),
    Array(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl Constant {
    pub(in crate::policy) fn plain(value: &Value) -> Self {
        Self::Plain(value.clone())
    }

    /// A value of a rule, in which `{name}` is a variable wherever it stands in a string.
    pub(in crate::policy) fn rule(value: &Value, names: &mut Names) -> Result<Self, PatternError> {
        let read = match value {
            Value::String(text) => {
                let template = Template::parse(text, Reading::Constant, names)?;
                if template.variables().next().is_some() {
                    Self::Text(template)
                } else {
                    Self::plain(value)
                }
            }
            Value::Array(elements) => Self::Array(
                elements
                    .iter()
                    .map(|element| Self::rule(element, names))
                    .collect::<Result<_, _>>()?,
            ),
            Value::Object(object) => {
                let members = object
                    .iter()
                    .map(|(key, value)| Ok((key.to_owned(), Self::rule(value, names)?)));
                Self::Object(members.collect::<Result<_, PatternError>>()?)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => Self::plain(value),
        };
        Ok(if read.is_bound() {
            read
        } else {
            Self::plain(value)
        })
    }

    /// Is a variable in it?
    pub(in crate::policy) fn is_bound(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Text(_) => true,
            Self::Array(elements) => elements.iter().any(Self::is_bound),
            Self::Object(members) => members.iter().any(|(_, value)| value.is_bound()),
        }
    }

    pub(in crate::policy) fn strings(&self) -> Strings {
        if self.is_bound() {
            Strings::Exact
        } else {
            Strings::Collated
        }
    }

    /// The value with its variables filled in. `None`: one of them has no value.
    pub(in crate::policy) fn value<'a>(&'a self, binding: &'a Binding) -> Option<Cow<'a, Value>> {
        match self {
            Self::Plain(value) => Some(Cow::Borrowed(value)),
            Self::Text(template) => Some(Cow::Owned(Value::String(
                template.text(binding)?.into_owned(),
            ))),
            Self::Array(elements) => {
                let elements = elements
                    .iter()
                    .map(|element| Some(element.value(binding)?.into_owned()));
                Some(Cow::Owned(Value::Array(elements.collect::<Option<_>>()?)))
            }
            Self::Object(members) => {
                let mut object = Object::new();
                for (key, value) in members {
                    object.insert(key.as_str(), value.value(binding)?.into_owned());
                }
                Some(Cow::Owned(Value::Object(object)))
            }
        }
    }
}
