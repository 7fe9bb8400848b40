//! What is mended, and what is left alone.

use super::Lines;
use crate::server::foreign::encoded;
use proptest::prelude::*;

/// What comes out when these bytes come in piece by piece.
fn mended(pieces: &[&[u8]]) -> Vec<u8> {
    let mut lines = Lines::default();
    let mend = |piece: &&[u8]| encoded(piece, &lines.follow(piece));
    pieces.iter().flat_map(mend).collect()
}

fn text(bytes: &str) -> String {
    String::from_utf8(mended(&[bytes.as_bytes()])).unwrap()
}

#[test]
fn quotes_in_a_target_are_encoded() {
    let sent = "GET /db/<a>`?key=\"ü\"&j={\"a\":[1]} HTTP/1.1\r\nHost: \"x\"\r\n\r\n";
    let meant =
        "GET /db/%3Ca%3E%60?key=%22%C3%BC%22&j={%22a%22:[1]} HTTP/1.1\r\nHost: \"x\"\r\n\r\n";
    assert_eq!(text(sent), meant);
}

#[test]
fn only_a_path_is_a_target_that_is_mended() {
    for sent in [
        "GET http://\"x\"/?\" HTTP/1.1\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\n\r\n",
        "GET \"/\" HTTP/1.1\r\n\r\n",
        "\"GET\" /\r\n\r\n",
        "GET / \"HTTP/1.1\"\r\n\r\n",
    ] {
        assert_eq!(text(sent), sent);
    }
}

#[test]
fn a_body_is_counted_and_left_alone() {
    let request = "PUT /db/a HTTP/1.1\r\nCONTENT-length:\t19 \r\n\r\n";
    let body = "GET /\"a\" HTTP/1.1\r\n";
    let next = "\r\nGET /\" HTTP/1.1\n\n";
    let sent = format!("{request}{body}{next}GET /\" HTTP/1.1\r\n\r\n");
    let meant = format!("{request}{body}\r\nGET /%22 HTTP/1.1\n\nGET /%22 HTTP/1.1\r\n\r\n");
    assert_eq!(text(&sent), meant);
}

#[test]
fn after_a_body_that_can_not_be_counted_nothing_is_touched() {
    let long = "0".repeat(200);
    for head in [
        "POST /%22 HTTP/1.1\r\nTransfer-Encoding: chunked",
        "POST /%22 HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1",
        "POST /%22 HTTP/1.1\r\nContent-Length: +1",
        "POST /%22 HTTP/1.1\r\nContent-Length: 1, 1",
        "POST /%22 HTTP/1.1\r\nContent-Length:",
        "POST /%22 HTTP/1.1\r\nContent-Length: 99999999999999999999",
        &format!("POST /%22 HTTP/1.1\r\nContent-Length: {long}1"),
        "POST /%22 HTTP/1.1\r\nContent-Length: 1\r\nExpect: 100-continue",
        "GET /%22 HTTP/1.1\r\nUpgrade: h2c",
        "CONNECT /%22 HTTP/1.1",
    ] {
        let sent = format!("{head}\r\n\r\nGET /\" HTTP/1.1\r\n\r\n");
        assert_eq!(text(&sent), sent);
    }
}

#[test]
fn a_fragment_makes_a_request_line_malformed() {
    for (sent, meant) in [
        ("GET /db#x HTTP/1.1", "GET /db\0x HTTP/1.1"),
        ("GET /#\"# HTTP/1.1", "GET /\0%22\0 HTTP/1.1"),
        ("GET #x HTTP/1.1", "GET \0x HTTP/1.1"),
        (
            "GET http://localhost/db#x HTTP/1.1",
            "GET http://localhost/db\0x HTTP/1.1",
        ),
    ] {
        // Not in a field, nor in a body.
        let rest = "\r\nReferer: /#x\r\nContent-Length: 2\r\n\r\n#/GET /_session HTTP/1.1\r\n\r\n";
        assert_eq!(text(&format!("{sent}{rest}")), format!("{meant}{rest}"));
    }
}

/// A request with a body, as sent and as it should be mended.
fn request() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let end = prop_oneof![Just("\r\n"), Just("\n")];
    ("[a-z\"<>`ü?&=]{0,12}", "[ -~\r\n]{0,40}", end).prop_map(|(target, body, end)| {
        let whole = |target: &str| {
            let length = body.len();
            let head = format!("PUT /{target} HTTP/1.1{end}Content-Length: {length}{end}{end}");
            [head.as_bytes(), body.as_bytes()].concat()
        };
        let meant = target
            .replace('"', "%22")
            .replace('<', "%3C")
            .replace('>', "%3E")
            .replace('`', "%60")
            .replace('ü', "%C3%BC");
        (whole(&target), whole(&meant))
    })
}

proptest! {
    /// Request lines are mended and bodies are not, wherever the network cuts.
    #[test]
    fn cuts_do_not_matter(
        requests in prop::collection::vec(request(), 1..4),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let sent: Vec<u8> = requests.iter().flat_map(|(sent, _)| sent.clone()).collect();
        let meant: Vec<u8> = requests.iter().flat_map(|(_, meant)| meant.clone()).collect();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(sent.len() + 1)).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for cut in cuts.into_iter().chain([sent.len()]) {
            pieces.push(&sent[from..cut]);
            from = cut;
        }
        prop_assert_eq!(mended(&pieces), meant);
    }

    /// Whatever comes in, what is not on the list comes out as it was.
    #[test]
    fn nothing_else_changes(sent in "(GET|PUT|x|)( /| |)[ -~\r\n\tü]{0,60}") {
        let plain = sent.replace(['"', '<', '>', '`', 'ü', '#'], "_");
        prop_assert_eq!(mended(&[plain.as_bytes()]), plain.into_bytes());
    }
}
