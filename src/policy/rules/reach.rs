//! What a path of `hide`, `show` and `change` can be about, by what CouchDB itself defines: in the words of
//! `couchwarden check`, or as a mistake where it can be about nothing.
//!
//! Invariant: a path that could hide anything of any document is no mistake.

use crate::json::{Clause, FieldPath, Step, is_couchdbs_own};

use crate::policy::rules::rule::Rule;

/// What CouchDB keeps and tells of an attachment.
const STUB: [&str; 9] = [
    "content_type",
    "data",
    "digest",
    "encoded_length",
    "encoding",
    "follows",
    "length",
    "revpos",
    "stub",
];

const ATTACHMENTS: &str = "_attachments";

/// Why a path can be about nothing; `text` is how it is spelt.
pub(in crate::policy) fn mistake(path: &FieldPath, text: &str) -> Option<String> {
    let [Step::Name(top), below @ ..] = path.steps() else {
        return None;
    };
    if top != ATTACHMENTS || fits(below, Level::Names) {
        return None;
    }
    Some(format!(
        "the path `{text}` is about nothing: below an attachment there is only {}. A dot divides steps; an attachment \
         whose name has dots is written '{}'",
        STUB.join(", "),
        escaped(text)
    ))
}

/// Why a path can be about nothing of a document: CouchDB's own members are shown to all and changed by none.
pub(in crate::policy) fn own_mistake(path: &FieldPath, text: &str) -> Option<String> {
    let top = path.top().filter(|top| is_couchdbs_own(top))?;
    Some(format!(
        "the path `{text}` is about nothing: `{top}` is CouchDB's own"
    ))
}

/// How far below `_attachments` a step is.
#[derive(Debug, Clone, Copy)]
enum Level {
    /// Names of attachments.
    Names,
    /// What there is of one.
    Stub,
    /// Nothing any more: the members of a stub hold texts, numbers and booleans.
    Bottom,
}

/// Could there be a place where these steps end?
fn fits(steps: &[Step], level: Level) -> bool {
    let Some((step, rest)) = steps.split_first() else {
        return true;
    };
    let deep = *step == Step::Deep;
    let next = if deep { steps } else { rest };
    let ends = deep && fits(rest, level);
    ends || match level {
        Level::Names => fits(next, Level::Stub),
        Level::Stub => STUB.iter().any(|name| step.takes(name)) && fits(next, Level::Bottom),
        Level::Bottom => false,
    }
}

/// The spelling in which the whole rest is the name of an attachment, or all of it but a member of its stub.
fn escaped(text: &str) -> String {
    let rest = text.strip_prefix("_attachments.").unwrap_or(text);
    let (name, member) = match rest.rsplit_once('.') {
        Some((name, member)) if STUB.contains(&member) && name.contains('.') => {
            (name, format!(".{member}"))
        }
        Some(_) | None => (rest, String::new()),
    };
    let mut spelt = String::new();
    let mut escapes = false;
    for letter in name.chars() {
        if letter == '.' && !escapes {
            spelt.push('\\');
        }
        escapes = letter == '\\' && !escapes;
        spelt.push(letter);
    }
    format!("{ATTACHMENTS}.{spelt}{member}")
}

/// What each path of a rule is about, in words.
pub(in crate::policy) fn explained(rule: &Rule) -> Vec<String> {
    let mut told = Vec::new();
    let mut tell = |does: &str, paths: &[FieldPath]| {
        for path in paths {
            told.push(format!("`{}` {does} {}", rule.name, meaning(path)));
        }
    };
    for clause in rule.fields.clauses() {
        match clause {
            Clause::All => {}
            Clause::Except(paths) => tell("hides", paths),
            Clause::Only(paths) => tell("shows", paths),
        }
    }
    tell("hides", &rule.hides);
    tell("lets change", rule.change.as_deref().unwrap_or_default());
    told
}

/// What a path is about, in words.
fn meaning(path: &FieldPath) -> String {
    let words = |steps: &[Step]| match steps {
        [step] => word(step),
        steps => format!("`{}`", FieldPath::from_steps(steps)),
    };
    match path.steps() {
        [Step::Deep] => "everything".to_owned(),
        [Step::Name(top)] if top == ATTACHMENTS => "all attachments".to_owned(),
        [Step::Name(top), name] if top == ATTACHMENTS => match name {
            Step::Name(name) => format!("the attachment `{name}`"),
            Step::Any | Step::Deep => "every attachment".to_owned(),
            Step::Like(_) => format!("every attachment {}", words(std::slice::from_ref(name))),
        },
        [Step::Name(top), name, rest @ ..] if top == ATTACHMENTS => format!(
            "{} of the attachment {}",
            words(rest),
            words(std::slice::from_ref(name))
        ),
        [Step::Deep, rest @ ..] => format!("{}, however deep it lies", words(rest)),
        [before @ .., last] => {
            let inside = match before {
                [] => String::new(),
                before => format!(" in {}", words(before)),
            };
            format!("{}{inside}, with all that is in it", word(last))
        }
        [] => "nothing".to_owned(),
    }
}

fn word(step: &Step) -> String {
    match step {
        Step::Name(name) => format!("`{name}`"),
        Step::Any => "any member".to_owned(),
        Step::Deep => "everything".to_owned(),
        Step::Like(_) => format!(
            "named like `{}`",
            FieldPath::from_steps(std::slice::from_ref(step))
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> FieldPath {
        FieldPath::parse(text).unwrap()
    }

    #[test]
    fn a_path_below_an_attachment_that_can_not_fit_is_told_with_its_spelling() {
        for (text, spelt) in [
            ("_attachments.photo.png", r"_attachments.photo\.png"),
            ("_attachments.a.tar.gz", r"_attachments.a\.tar\.gz"),
            (r"_attachments.a\.tar.gz", r"_attachments.a\.tar\.gz"),
            (
                "_attachments.photo.png.digest",
                r"_attachments.photo\.png.digest",
            ),
            ("_attachments.*.png", r"_attachments.*\.png"),
            (
                "_attachments.photo.digest.x",
                r"_attachments.photo\.digest\.x",
            ),
            ("_attachments.**.png.x", r"_attachments.**\.png\.x"),
        ] {
            let told = mistake(&path(text), text).unwrap_or_else(|| panic!("{text}"));
            assert!(told.contains(&format!("written '{spelt}'")), "{told}");
        }
    }

    #[test]
    fn a_path_that_can_fit_is_none() {
        for text in [
            "_attachments",
            "_attachments.photo",
            r"_attachments.photo\.png",
            r"_attachments.photo\.png.digest",
            "_attachments.*",
            "_attachments.hidden*",
            "_attachments.*.digest",
            "_attachments.*.d*",
            "_attachments.*.*",
            "_attachments.photo.**",
            "_attachments.**",
            "_attachments.**.digest",
            // There can be an attachment of this name.
            "_attachments.**.png",
            "_attachments.photo.length.**",
            "a.b.c",
            "**.png",
            "*.photo.png",
        ] {
            assert_eq!(mistake(&path(text), text), None, "{text}");
        }
    }

    #[test]
    fn what_is_couchdbs_own_is_nobodys_to_hide_or_change() {
        for text in ["_id", "_rev", "_revisions.ids", "_conflicts.0", "_deleted"] {
            assert!(own_mistake(&path(text), text).is_some(), "{text}");
        }
        for text in ["_attachments", "a._id", "_i*", "**", "_replication_id"] {
            assert_eq!(own_mistake(&path(text), text), None, "{text}");
        }
    }

    #[test]
    fn a_path_is_told_in_words() {
        for (text, words) in [
            ("secrets", "`secrets`, with all that is in it"),
            ("a.b", "`b` in `a`, with all that is in it"),
            ("a.b.c", "`c` in `a.b`, with all that is in it"),
            ("**.password", "`password`, however deep it lies"),
            ("cf*", "named like `cf*`, with all that is in it"),
            ("calls.*.pin", "`pin` in `calls.*`, with all that is in it"),
            (r"_attachments.photo\.png", "the attachment `photo.png`"),
            (
                "_attachments.photo.digest",
                "`digest` of the attachment `photo`",
            ),
            ("_attachments.*", "every attachment"),
            ("_attachments", "all attachments"),
            ("**", "everything"),
        ] {
            assert_eq!(meaning(&path(text)), words, "{text}");
        }
    }
}
