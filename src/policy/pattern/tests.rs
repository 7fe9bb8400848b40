use proptest::prelude::*;

use super::{Names, Reading, Template};
use crate::policy::pattern::binding::Binding;
use crate::policy::pattern::pattern_match::Ways;

fn parse(text: &str) -> (Template, Names) {
    let mut names = Names::default();
    let template = Template::parse(text, Reading::Pattern, &mut names).unwrap();
    (template, names)
}

#[track_caller]
fn check(pattern: &str, text: &str, expected: &Ways<'_>) {
    assert_eq!(
        &parse(pattern).0.split(text),
        expected,
        "`{pattern}` on `{text}`"
    );
}

#[test]
fn patterns_match_whole_strings() {
    check("number:{number}", "number:123", &Ways::One(vec!["123"]));
    check("number:{number}", "xnumber:123", &Ways::None);
    check("number:{number}", "number:", &Ways::None);
    check("a*", "a", &Ways::One(vec![""]));
    check("*", "", &Ways::One(vec![""]));
    check("abc", "abcd", &Ways::None);
    check("{a}@{b}", "x@y", &Ways::One(vec!["x", "y"]));
    check("{a}@{b}", "@y", &Ways::None);
    check("a\\*b", "a*b", &Ways::One(vec![]));
    check("a\\*b", "axb", &Ways::None);
    check("ä{x}ö", "äüö", &Ways::One(vec!["ü"]));
}

#[test]
fn a_text_that_could_be_split_in_two_ways_has_no_reading() {
    check("{a}@{b}", "x@y@z", &Ways::Many);
    check("{a}-{b}", "a-b-c", &Ways::Many);
    check("*a*", "aa", &Ways::Many);
    check("{a}:{b}:{c}", "1:2:3", &Ways::One(vec!["1", "2", "3"]));
    check("{a}:{b}:{c}", "1:2:3:4", &Ways::Many);
    // An empty capture is none, so this has one reading.
    check("{a}-{b}", "-x-y", &Ways::One(vec!["-x", "y"]));
}

#[test]
fn a_filled_in_capture_is_literal() {
    let (pattern, _) = parse("endpoint:*@{domain}");
    let mut binding = Binding::default();
    binding.set(0, "*");
    assert_eq!(
        pattern.matches("endpoint:7@*", &binding),
        Some(Ways::One(vec!["7"]))
    );
    assert_eq!(
        pattern.matches("endpoint:7@evil", &binding),
        Some(Ways::None)
    );
    assert_eq!(pattern.matches("endpoint:7@x", &Binding::default()), None);
}

#[test]
fn what_has_no_one_meaning_is_refused() {
    let mut names = Names::default();
    for text in ["", "a{", "}a", "{1a}", "{}", "{a b}", "{node:}", "a\\"] {
        assert!(
            Template::parse(text, Reading::Pattern, &mut names).is_err(),
            "`{text}`"
        );
    }
    for text in ["{a}{b}", "{a}*", "**", "{a}-{a}"] {
        let template = Template::parse(text, Reading::Pattern, &mut names).unwrap();
        assert!(template.captures(text, &names).is_err(), "`{text}`");
    }
}

/// All the ways, counted as naively as can be.
fn naive(pattern: &[char], text: &[char]) -> usize {
    match (pattern.split_first(), text) {
        (None, []) => 1,
        (None, _) => 0,
        (Some(('*', rest)), text) => (0..=text.len()).map(|at| naive(rest, &text[at..])).sum(),
        (Some((letter, rest)), [first, text @ ..]) if letter == first => naive(rest, text),
        (Some(_), _) => 0,
    }
}

proptest! {
    #[test]
    fn ways_are_counted_as_a_naive_reader_counts_them(pattern in "(a|b|ä|\\*(a|b|ä)){0,5}\\*?", text in "[abä]{0,8}") {
        prop_assume!(!pattern.is_empty());
        let letters: Vec<char> = pattern.chars().collect();
        let count = naive(&letters, &text.chars().collect::<Vec<_>>());
        let parsed = parse(&pattern).0;
        let ways = parsed.split(&text);
        match count {
            0 => prop_assert_eq!(ways, Ways::None),
            1 => prop_assert!(matches!(ways, Ways::One(_))),
            _ => prop_assert_eq!(ways, Ways::Many),
        }
    }
}
