//! Whether a rule is about a caller, and what it captures from them.
//!
//! Invariant: each role or name that matches makes a binding of its own; nothing is captured from two of them.

use crate::caller::Caller;
use crate::caller::User;

use crate::policy::pattern::Variable;
use crate::policy::pattern::binding::Binding;
use crate::policy::pattern::pattern_match::Ways;
use crate::policy::rules::rule::Rule;

/// How certain a match must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) enum Care {
    /// For permits: only what is certain.
    Certain,
    /// For what forbids and hides: also what can't be told.
    Any,
}

/// `None`: the rule is not about this caller. `Some(None)`: it is, but their captures can't be told.
#[expect(
    clippy::option_option,
    reason = "the two ways of having no captures are opposites"
)]
pub(in crate::policy) fn bindings(
    rule: &Rule,
    caller: &Caller,
    care: Care,
) -> Option<Option<Vec<Binding>>> {
    let callers = &rule.callers;
    let mut found = Vec::new();
    let mut unclear = false;
    if callers.everyone || (callers.anonymous && *caller == Caller::Anonymous) {
        found.push(Binding::default());
    }
    if let Some(user) = caller.user() {
        let names = callers
            .names
            .iter()
            .map(|pattern| (pattern, user.name.as_str()));
        let roles = callers
            .roles
            .iter()
            .flat_map(|pattern| user.roles.iter().map(move |role| (pattern, role.as_str())));
        for (pattern, text) in names.chain(roles) {
            match pattern.literal() {
                Some(own) if own == text => found.push(Binding::default()),
                Some(_) => (),
                None => match pattern.split(text) {
                    Ways::None => (),
                    Ways::Many => unclear = true,
                    Ways::One(taken) => {
                        let mut binding = Binding::default();
                        pattern.bind(&taken, &mut binding);
                        found.push(binding);
                    }
                },
            }
        }
    }
    if unclear && care == Care::Any {
        return Some(None);
    }
    for (number, variable) in &rule.own {
        found = extend(found, *number, variable, caller.user());
    }
    if care == Care::Certain {
        found.retain(|binding| {
            rule.used
                .iter()
                .all(|number| binding.get(*number).is_some())
        });
    }
    (!found.is_empty()).then_some(Some(found))
}

fn own<'u>(values: &'u [(String, String)], name: &str) -> Vec<&'u str> {
    let values = values.iter().filter(|(own, _)| own == name);
    values
        .map(|(_, value)| value.as_str())
        .filter(|value| !value.is_empty())
        .collect()
}

/// Each value of the caller's own makes a binding of its own.
fn extend(
    found: Vec<Binding>,
    number: usize,
    variable: &Variable,
    user: Option<&User>,
) -> Vec<Binding> {
    let values: Vec<&str> = match (variable, user) {
        (Variable::User, Some(user)) => vec![user.name.as_str()],
        (Variable::Node(path), Some(user)) => own(&user.attributes, path),
        (Variable::Claim(name), Some(user)) => own(&user.claims, name),
        // Captures are bound already.
        (Variable::User | Variable::Node(_) | Variable::Claim(_), None)
        | (Variable::Capture(_), _) => Vec::new(),
    };
    if values.is_empty() {
        return found;
    }
    let with = |binding: Binding| {
        values.iter().map(move |value| {
            let mut binding = binding.clone();
            binding.set(number, value);
            binding
        })
    };
    found.into_iter().flat_map(with).collect()
}
