use super::difference::{Change, compare};
use super::document::{File, assemble};
use super::script;
use crate::json::Value;
use crate::route::DesignName;

const MAP: &str = "// Above.\nfunction (doc) {\n  emit(doc._id, 1);\n}\n";

fn files(files: &[(&str, &str)]) -> Vec<File> {
    let file = |(path, text): &(&str, &str)| File {
        path: (*path).to_owned(),
        text: (*text).to_owned(),
    };
    files.iter().map(file).collect()
}

fn design(of: &[(&str, &str)]) -> super::Design {
    assemble(DesignName::parse("app").unwrap(), &files(of)).unwrap()
}

fn faults(of: &[(&str, &str)]) -> String {
    let faults = assemble(DesignName::parse("app").unwrap(), &files(of)).unwrap_err();
    let told = faults
        .iter()
        .map(|fault| format!("{}: {}", fault.path, fault.message));
    told.collect::<Vec<_>>().join("\n")
}

#[test]
fn files_become_the_members_of_a_design_document() {
    let design = design(&[
        ("fields.json", r#"{"autoupdate":false}"#),
        ("filters/mine.js", "function (doc, req) { return true; };\n"),
        (
            "lib/day.js",
            "exports.day = function (t) { return t.slice(0, 10); };\n",
        ),
        ("options.json", r#"{"local_seq":true}"#),
        (
            "validate_doc_update.js",
            "(newDoc) => { throw ({ forbidden: 'no' }); }",
        ),
        ("views/by_day/map.js", MAP),
        ("views/by_day/reduce.js", "_stats\n"),
    ]);
    let expected = r#"{"language":"javascript","autoupdate":false,"filters":{"mine":"function (doc, req) { return true; }"},
        "views":{"lib":{"day":"exports.day = function (t) { return t.slice(0, 10); };\n"},
                 "by_day":{"map":"function (doc) {\n  emit(doc._id, 1);\n}","reduce":"_stats"}},
        "options":{"local_seq":true},"validate_doc_update":"(newDoc) => { throw ({ forbidden: 'no' }); }"}"#;
    let expected = Value::parse(expected.as_bytes()).unwrap();
    assert_eq!(Value::from(design.fields.clone()), expected);
    assert_eq!(design.any_view(), Some("by_day"));
}

#[test]
fn every_fault_of_a_folder_is_told() {
    let told = faults(&[
        ("fields.json", r#"{"_id":"x"}"#),
        ("filters/mine.txt", "x"),
        ("lib/day.js", "var day = 1;"),
        ("readme.md", "x"),
        (
            "views/broken/map.js",
            "\n// One.\nfunction (doc) {\n  emit(doc._id, ;\n}\n",
        ),
        ("views/list/reduce.js", "_sum"),
        ("views/no/map.js", "emit(1, 2)"),
    ]);
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), 7, "{told}");
    assert!(told.contains("views/list: there is no map.js"), "{told}");
    let broken = lines.iter().find(|line| line.contains("broken"));
    assert!(broken.unwrap().contains("line 4"), "{told}");
}

#[test]
fn a_function_is_one_function_and_nothing_beside_it() {
    for good in [
        "function (doc) {}",
        "function name(a, b) { return a; };",
        "(doc) => { emit(doc?.a ?? 1); }",
    ] {
        assert!(script::function(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        "// only this\n",
        "1",
        "{}",
        "function a() {} function b() {}",
        "function (doc) {",
        "function (doc) {} ()",
        "function (doc) {}) + (function () {}",
        "var a = 1;",
    ] {
        assert!(script::function(bad).is_err(), "{bad}");
    }
    for good in [
        "exports.a = 1",
        "module.exports = { a: 1 };",
        "if (true) { module.exports.a = 1; }",
        "exports['a'] = 2",
    ] {
        assert_eq!(script::module(good), Ok(()), "{good}");
    }
    for bad in [
        "",
        "var exports;",
        "other.exports = 1",
        "exports.a = ",
        "}); ({",
    ] {
        assert!(script::module(bad).is_err(), "{bad}");
    }
}

#[test]
fn only_what_an_index_is_made_of_needs_a_new_index() {
    let base = [
        ("views/a/map.js", MAP),
        ("validate_doc_update.js", "function (n) {}"),
    ];
    let wanted = design(&base);
    let stored = wanted.over(None);
    assert_eq!(compare(&wanted, Some(&stored)), Change::Nothing);
    let other = design(&[
        ("views/a/map.js", MAP),
        ("validate_doc_update.js", "function (n) { return; }"),
    ]);
    let Change::Replace(lines) = compare(&other, Some(&stored)) else {
        panic!("no view has changed");
    };
    assert_eq!(
        lines.first().map(String::as_str),
        Some("~ validate_doc_update")
    );
    let text = MAP.replace('1', "2");
    let other = design(&[
        ("views/a/map.js", &text),
        ("validate_doc_update.js", "function (n) {}"),
    ]);
    let Change::Build(lines) = compare(&other, Some(&stored)) else {
        panic!("a view has changed");
    };
    assert_eq!(
        lines,
        [
            "~ views.a.map",
            "    -   emit(doc._id, 1);",
            "    +   emit(doc._id, 2);"
        ]
    );
    assert!(matches!(compare(&wanted, None), Change::Build(_)));
    // A comment above a function is none of CouchDB's business.
    let text = MAP.replace("Above", "Still above");
    let same = design(&[
        ("views/a/map.js", &text),
        ("validate_doc_update.js", "function (n) {}"),
    ]);
    assert_eq!(compare(&same, Some(&stored)), Change::Nothing);
}

#[test]
fn a_stored_document_keeps_its_attachments() {
    let stored =
        r#"{"_id":"_design/app","_rev":"3-a","_attachments":{"logo":{"stub":true}},"old":1}"#;
    let stored = Value::parse(stored.as_bytes()).unwrap();
    let written = design(&[]).over(Some(&stored));
    assert_eq!(written.get("_rev"), stored.get("_rev"));
    assert_eq!(written.get("_attachments"), stored.get("_attachments"));
    assert_eq!(written.get("old"), None);
}
