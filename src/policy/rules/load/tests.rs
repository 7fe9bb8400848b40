use crate::policy::{Policy, PolicySettings};

fn mistakes(text: &str) -> Vec<String> {
    let settings = PolicySettings {
        attributes: vec!["customer.numbers".to_owned()],
    };
    match Policy::load(&[("a.toml".to_owned(), text.to_owned())], &settings) {
        Ok(_) => Vec::new(),
        Err(mistakes) => mistakes.iter().map(ToString::to_string).collect(),
    }
}

/// A rule that is right: lines 1 to 5. What is added begins at line 6.
const RIGHT: &str = "[[rule]]\nname = 'r'\ndatabases = ['d']\ncallers = { roles = ['x:{a}'] }\npermit = ['read', 'view:v/w', 'update']\n";

#[track_caller]
fn added(text: &str, expected: &str) {
    assert_eq!(mistakes(&format!("{RIGHT}{text}\n")), [expected], "{text}");
}

#[test]
fn a_right_rule_has_no_mistakes() {
    assert_eq!(mistakes(RIGHT), [""; 0]);
    assert_eq!(mistakes(""), [""; 0]);
    for text in [
        "documents = { owner = '{a}', _id = { '$pattern' = ['x:*', 'y:{a}'] } }",
        "keys = ['{a}', 'x{user}', 5, '{node:customer.numbers}', '{claim:sub}']",
        "rows = { 'value.owner' = '{a}' }",
        "reduce = true",
        "hide = ['a.b', 'cf*', '**.password']",
        "show = []",
        "change = ['a']",
        "administrators = true",
        "documents = { a = { b = { '$gt' = 1.5 } }, c = { '$regex' = '^a{2}$' } }",
    ] {
        assert_eq!(mistakes(&format!("{RIGHT}{text}\n")), [""; 0], "{text}");
    }
}

#[test]
fn a_path_that_can_be_about_nothing_is_a_mistake() {
    let rule = |text: &str| {
        format!(
            "[[rule]]\nname = 'r'\ndatabases = ['d']\ncallers = {{ everyone = true }}\n{text}\n"
        )
    };
    for (text, count) in [
        ("permit = ['read']\nhide = ['_rev']", 1),
        (
            "permit = ['read']\nshow = ['_attachments.a.b', '_id', 'x']",
            1,
        ),
        (
            "permit = ['update']\nchange = ['_attachments.a.png', '_attachments.a', '_rev']",
            2,
        ),
        ("hide = ['_attachments.a.png']", 1),
        // The values of views are made by functions.
        ("permit = ['view:v/w']\nhide = ['_id']", 0),
        ("hide = ['_rev']", 0),
        (
            "permit = ['read']\nhide = ['_attachments.*.digest', '_attachments.a\\.png', '**._id']",
            0,
        ),
    ] {
        let told = mistakes(&rule(text));
        assert_eq!(told.len(), count, "{text}: {told:?}");
        assert!(
            told.iter().all(|one| one.contains("is about nothing")),
            "{told:?}"
        );
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn every_mistake_is_named_with_its_line() {
    for (text, expected) in [
        ("hid = ['a']", "a.toml:6: unknown key `hid`"),
        ("hide = 'a'", "a.toml:6: `hide` must be a list of strings"),
        (
            "hide = [\n'a..b']",
            "a.toml:7: the field path `a..b` has an empty step",
        ),
        (
            "hide = ['x',\n'_attachments.photo.png']",
            "a.toml:7: the path `_attachments.photo.png` is about nothing: below an attachment there is only content_type, data, digest, encoded_length, encoding, follows, length, revpos, stub. A dot divides steps; an attachment whose name has dots is written '_attachments.photo\\.png'",
        ),
        (
            "change = ['_id']",
            "a.toml:6: the path `_id` is about nothing: `_id` is CouchDB's own",
        ),
        ("forbid = [\n'reed']", "a.toml:7: there is no action `reed`"),
        (
            "forbid = ['changes']\ndocuments = { '_attachments.a' = { '$exists' = true } }",
            "a.toml:7: `changes` can't be decided by `_attachments`: tombstones have none, and nobody would learn of them",
        ),
        (
            "forbid = ['view:a']",
            "a.toml:6: there is no action `view:a`",
        ),
        (
            "forbid = ['view:*/b']",
            "a.toml:6: there is no action `view:*/b`",
        ),
        (
            "forbid = ['server:nothing']",
            "a.toml:6: there is no action `server:nothing`",
        ),
        ("forbid = []", "a.toml:6: there is no action in the list"),
        (
            "hide = ['a']\nshow = ['b']",
            "a.toml:7: a rule has `hide` or `show`, not both",
        ),
        (
            "keys = 'x*'",
            "a.toml:6: keys are compared whole; `*` has no meaning in `keys`",
        ),
        ("keys = []", "a.toml:6: `keys` has no key"),
        (
            "keys = '{b}'",
            "a.toml:6: `{b}` is used but no role or name captures it",
        ),
        ("rows = 1", "a.toml:6: `rows` must be a table"),
        ("reduce = 1", "a.toml:6: `reduce` must be true or false"),
        (
            "rows = { key = 1 }\nreduce = true",
            "a.toml:7: `reduce` mixes rows: it can't stand beside `documents` or `rows`",
        ),
        (
            "documents = {}",
            "a.toml:6: `documents` has no condition; leave it out",
        ),
        (
            "[rule.documents]\na = 1\nb = { '$in' = 1 }",
            "a.toml:8: bad argument for operator `$in`",
        ),
        (
            "documents = { '$text' = 'x' }",
            "a.toml:6: invalid operator `$text`",
        ),
        (
            "documents = { '$eq' = 1 }",
            "a.toml:6: `$eq` needs a field to apply to",
        ),
        (
            "documents = { a = { '$regex' = '(?=x)' } }",
            "a.toml:6: the regular expression `(?=x)` is not supported",
        ),
        (
            "documents = { a = { '$regex' = '{a}' } }",
            "a.toml:6: captures can't be used in `$regex`",
        ),
        (
            "documents = { 'x{a}' = 1 }",
            "a.toml:6: captures can't be used in `x{a}`",
        ),
        (
            "documents = { a = 2020-01-01 }",
            "a.toml:6: JSON has no dates; write a string",
        ),
        (
            "documents = { a = nan }",
            "a.toml:6: JSON has no such number",
        ),
        (
            "documents = { a = '{node:b}' }",
            "a.toml:6: `{node:b}`: `b` is not listed in `[nodes] attributes`",
        ),
        (
            "documents = { a = { '$pattern' = '**' } }",
            "a.toml:6: `**` has two wildcards side by side, so that no text has one reading",
        ),
        (
            "documents = { a = { '$pattern' = 'x{' } }",
            "a.toml:6: `x{` has a brace that is not part of `{name}`; write `\\{` or `\\}` for a brace",
        ),
        ("[rules]", "a.toml:6: unknown key `rules`"),
        (
            "[[rule]]\nname = 'r2'\ncallers = { everyone = true }\nforbid = ['read']\n",
            "a.toml:6: the rule has no `databases`",
        ),
    ] {
        added(text, expected);
    }
}

#[track_caller]
fn alone(text: &str, expected: &[&str]) {
    assert_eq!(mistakes(text), expected, "{text}");
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn a_rule_that_says_nothing_or_what_it_cannot_keep_is_a_mistake() {
    let rule = |rest: &str| format!("[[rule]]\nname = 'r'\n{rest}");
    let all = "callers = { everyone = true }\n";
    alone(
        &rule(&format!("databases = ['d']\n{all}")),
        &["a.toml:1: the rule neither permits, nor forbids, nor hides anything"],
    );
    alone(
        &rule("databases = ['d']\npermit = ['read']\n"),
        &["a.toml:1: the rule has no `callers`; write `callers = { everyone = true }` for all"],
    );
    alone(
        &rule("databases = ['d']\npermit = ['read']\ncallers = {}\n"),
        &["a.toml:5: `callers` matches nobody"],
    );
    alone(
        &rule("databases = ['d']\npermit = ['read']\ncallers = { role = ['x'] }\n"),
        &[
            "a.toml:5: unknown key `role`",
            "a.toml:5: `callers` matches nobody",
        ],
    );
    alone(
        &rule("databases = ['{db}']\npermit = ['read']\ncallers = { roles = ['x'] }\n"),
        &["a.toml:3: `{db}` is used but no role or name captures it"],
    );
    alone(
        &rule("databases = ['d']\npermit = ['read']\ncallers = { roles = ['_admin'] }\n"),
        &["a.toml:5: roles that begin with `_` are dropped when a caller logs in"],
    );
    alone(
        &rule("databases = ['d']\npermit = ['read']\ncallers = { names = ['{user}'] }\n"),
        &["a.toml:5: `{user}` can't capture: it has a value already"],
    );
    alone(
        &rule(&format!("databases = ['Db']\n{all}permit = ['read']\n")),
        &["a.toml:3: `Db` can't be the name of a database"],
    );
    alone(
        &rule(&format!(
            "databases = ['couchwarden']\n{all}forbid = ['read']\n"
        )),
        &["a.toml:3: `couchwarden` is the database of couchwarden itself, which no rule opens"],
    );
    alone(
        &rule(&format!("databases = []\n{all}permit = ['read']\n")),
        &["a.toml:3: `databases` names none"],
    );
    alone(
        &rule(&format!("databases = ['d']\n{all}permit = ['server:up']\n")),
        &["a.toml:3: `databases` has no meaning for actions on the server"],
    );
    alone(
        &rule(&format!(
            "databases = ['d']\n{all}permit = ['info']\ndocuments = {{ a = 1 }}\n"
        )),
        &["a.toml:6: `documents` has no meaning for these actions"],
    );
    alone(
        &rule(&format!(
            "databases = ['d']\n{all}permit = ['read']\nkeys = 'x'\nreduce = true\nrows = {{ a = 1 }}\nchange = ['a']\n"
        )),
        &[
            "a.toml:6: `keys` has no meaning without a view in `permit`",
            "a.toml:7: `reduce` has no meaning without a view in `permit`",
            "a.toml:7: `reduce` mixes rows: it can't stand beside `documents` or `rows`",
            "a.toml:8: `rows` has no meaning without a view in `permit`",
            "a.toml:9: `change` has no meaning without a write in `permit`",
        ],
    );
    alone(
        &rule(&format!(
            "databases = ['d']\n{all}forbid = ['read']\nhide = ['a']\n"
        )),
        &["a.toml:6: `hide` has no meaning in a rule that only forbids"],
    );
    alone(
        &rule(&format!(
            "databases = ['d']\n{all}forbid = ['read']\nshow = ['a']\n"
        )),
        &["a.toml:6: `show` has no meaning without `permit`"],
    );
    alone(
        &rule(&format!(
            "databases = ['d']\n{all}permit = ['function:a/b']\nhide = ['a']\n"
        )),
        &["a.toml:5: what a function answers can't be filtered: permit it in a rule alone"],
    );
    alone(
        &format!("[[rule]]\ndatabases = ['d']\n{all}permit = ['read']\n"),
        &["a.toml:1: the rule has no `name`"],
    );
    alone(
        "rule = 5\n",
        &["a.toml:1: rules are a list: write `[[rule]]`"],
    );
}

#[test]
fn all_mistakes_of_all_files_come_at_once() {
    let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let twice = RIGHT.replace("read", "reed");
    let files = [
        file("a.toml", RIGHT),
        file("b.toml", &twice),
        file("c.toml", "x = \n[y\n"),
    ];
    let mistakes = Policy::load(&files, &PolicySettings::default()).unwrap_err();
    let places: Vec<(&str, usize)> = mistakes
        .iter()
        .map(|mistake| (mistake.file.as_str(), mistake.line))
        .collect();
    assert_eq!(places.get(..2), Some(&[("b.toml", 2), ("b.toml", 5)][..]));
    assert!(
        places
            .iter()
            .any(|(file, line)| *file == "c.toml" && *line == 1),
        "{places:?}"
    );
    assert!(
        places
            .iter()
            .any(|(file, line)| *file == "c.toml" && *line == 2),
        "{places:?}"
    );
}
