//! Parameters as CouchDB reads them.

use super::*;
use crate::route::name::Rev;

fn query(raw: &str, names: Names) -> Query {
    Query::parse(raw, names).unwrap()
}

fn view(raw: &str) -> Result<ViewQuery, QueryError> {
    query(raw, Names::View).view()
}

fn changes(raw: &str) -> Result<ChangesQuery, QueryError> {
    query(raw, Names::Changes).changes()
}

fn document(raw: &str) -> Result<DocumentQuery, QueryError> {
    query(raw, Names::Exact).document()
}

#[track_caller]
fn check_reason<T: std::fmt::Debug>(found: Result<T, QueryError>, error: &str, reason: &str) {
    let found = found.unwrap_err();
    assert_eq!((found.error(), found.reason()), (error, reason));
}

#[test]
fn names_and_values_are_decoded_once() {
    let query = query("a=1+2%2B3;b%20c=%2525&d&e=f=g&&", Names::Exact);
    let pairs: Vec<_> = query.iter().collect();
    assert_eq!(
        pairs,
        [("a", "1 2+3"), ("b c", "%25"), ("d", ""), ("e", "f=g")]
    );
    assert!(query.has("d") && !query.has("x"));
    assert!(Query::parse("=x", Names::Exact).is_err());
}

#[test]
fn names_are_folded_where_couchdb_folds_them() {
    let names = |raw, names| -> Vec<String> {
        query(raw, names)
            .iter()
            .map(|(name, _)| name.to_owned())
            .collect()
    };
    let keys = "start_key=1&end_key_doc_id=2&Limit=3";
    assert_eq!(
        names(keys, Names::View),
        ["startkey", "endkey_docid", "Limit"]
    );
    assert_eq!(
        names(keys, Names::Function),
        ["start_key", "end_key_doc_id", "Limit"]
    );
    assert_eq!(names("SINCE=1&View=2", Names::Changes), ["since", "View"]);
    assert_eq!(names("Last-Event-ID=1", Names::Changes), ["since"]);
}

#[test]
fn a_parameter_is_set_in_its_place() {
    let mut query = query("a=1&b=2", Names::Exact);
    query.set("a", "3");
    query.set("c", "4");
    query.remove("b");
    assert_eq!(query.iter().collect::<Vec<_>>(), [("a", "3"), ("c", "4")]);
}

#[test]
fn a_view_query_is_read_and_written_back() {
    let raw = "key=%22a%22&descending=TRUE&inclusive_end=False&limit=5&skip=%2B2&reduce=false&group=true\
               &group_level=1&include_docs=true&sorted=false&stable=true&update=lazy&_nonce=x&update_seq=true";
    let read = view(raw).unwrap();
    assert_eq!(read.key.as_deref(), Some("\"a\""));
    assert!(read.descending && !read.inclusive_end && read.include_docs && read.update_seq);
    assert_eq!(
        (read.limit, read.skip, read.group_level),
        (Some(5), 2, Some(1))
    );
    assert_eq!(
        (read.reduce, read.group, read.sorted),
        (Some(false), Some(true), Some(false))
    );
    assert_eq!((read.stable, read.update), (Some(true), Some(Update::Lazy)));
    let again = read.pairs().view().unwrap();
    assert_eq!(again.pairs(), read.pairs());
    assert_eq!(ViewQuery::default().pairs(), Query::default());
    assert!(ViewQuery::default().inclusive_end);
    assert_eq!(
        view("limit=99999999999999999999").unwrap().limit,
        Some(u64::MAX)
    );
}

#[test]
fn view_errors_are_couchdbs() {
    let parse = "query_parse_error";
    check_reason(
        view("descending=maybe"),
        parse,
        "Invalid boolean parameter: \"maybe\"",
    );
    check_reason(view("limit=x"), parse, "Invalid value for integer: \"x\"");
    check_reason(view("limit="), parse, "Invalid value for integer: \"\"");
    check_reason(
        view("skip=-1"),
        parse,
        "Invalid value for positive integer: -1",
    );
    check_reason(view("stale=true"), parse, "Invalid value for `stale`.");
    check_reason(view("stable=TRUE"), parse, "Invalid value for `stable`.");
    check_reason(view("update=x"), parse, "Invalid value for `update`.");
    check_reason(
        view("frob=1"),
        "bad_request",
        "unknown query parameter `frob`",
    );
}

#[test]
fn parameters_whose_order_matters_are_refused() {
    for raw in [
        "key=1&startkey=2",
        "key=1&endkey=2",
        "keys=[]&key=1",
        "keys=[]&startkey=1",
        "stale=ok&update=true",
        "stale=ok&stable=true",
    ] {
        assert!(matches!(view(raw), Err(QueryError::Parse(_))), "{raw}");
    }
}

#[test]
fn the_query_string_wins_over_the_body() {
    let mut read = view("limit=5&start_key=1").unwrap();
    read.absorb("limit", "7").unwrap();
    read.absorb("startkey", "\"hidden\"").unwrap();
    read.absorb("skip", "3").unwrap();
    read.absorb("descending", "true").unwrap();
    read.absorb("include_docs", "\"TRUE\"").unwrap();
    read.absorb("endkey", " {\"a\": 1.0} ").unwrap();
    read.absorb("end_key_doc_id", "\"x\\u0041\"").unwrap();
    assert_eq!((read.limit, read.skip), (Some(5), 3));
    assert_eq!(
        (read.startkey.as_deref(), read.endkey.as_deref()),
        (Some("1"), Some(" {\"a\": 1.0} "))
    );
    assert_eq!(read.endkey_docid.as_deref(), Some("xA"));
    assert!(read.descending && read.include_docs);
}

#[test]
fn a_body_is_read_strictly() {
    let absorb = |name: &str, json: &str| ViewQuery::default().absorb(name, json);
    for (name, json) in [
        ("limit", "\"5\""),
        ("limit", "null"),
        ("limit", "1.5"),
        ("limit", "-1"),
        ("descending", "1"),
        ("descending", "null"),
        ("startkey_docid", "5"),
        ("frob", "1"),
        ("stale", "true"),
    ] {
        assert!(absorb(name, json).is_err(), "{name}: {json}");
    }
    let mut twice = ViewQuery::default();
    twice.absorb("start_key", "1").unwrap();
    assert!(twice.absorb("startkey", "2").is_err());
    let mut mixed = view("key=1").unwrap();
    assert!(mixed.absorb("startkey", "0").is_err());
}

#[test]
fn a_changes_query_is_read_and_written_back() {
    let raw = "feed=live&since=5-x&Limit=1&heartbeat=true&style=all_docs&include_docs=true&conflicts=TRUE\
               &filter=dd/f&who=me&timeout=60000&seq_interval=10&doc_ids=[]&view=a/b";
    let read = changes(raw).unwrap();
    assert_eq!(
        (read.feed, read.heartbeat),
        (Feed::Continuous, Some(Heartbeat::Default))
    );
    assert!(
        read.style_all_docs && read.include_docs && !read.conflicts && read.has_filter_function()
    );
    assert_eq!(read.other, [("who".to_owned(), "me".to_owned())]);
    assert_eq!(
        (read.limit, read.timeout, read.seq_interval),
        (Some(1), Some(60000), Some(10))
    );
    assert_eq!(read.pairs().changes(), Ok(read));
    assert_eq!(ChangesQuery::default().pairs(), Query::default());
}

#[test]
fn changes_errors_are_couchdbs() {
    let bad = "bad_request";
    check_reason(
        changes("limit=-1"),
        bad,
        "The limit value should be a non-negative integer",
    );
    check_reason(
        changes("limit=x"),
        bad,
        "The limit parameter should be a non-negative integer",
    );
    check_reason(
        changes("timeout=x"),
        bad,
        "The timeout parameter should be a non-negative integer",
    );
    let reason = "The heartbeat value should be a positive integer (in milliseconds).";
    check_reason(changes("heartbeat=0"), bad, reason);
    let reason = "Invalid heartbeat value. Expecting a positive integer value (in milliseconds).";
    check_reason(changes("heartbeat=no"), bad, reason);
    check_reason(changes("seq_interval=0"), bad, "invalid_seq_interval");
    let reason = "Supported `feed` types: normal, continuous, live, longpoll, eventsource";
    check_reason(changes("feed=x"), bad, reason);
    check_reason(changes("who=me"), bad, "unknown query parameter `who`");
    check_reason(
        changes("filter=_view&who=me"),
        bad,
        "unknown query parameter `who`",
    );
}

#[test]
fn a_document_query_is_read_and_written_back() {
    let raw = "rev=1-a&open_revs=[\"2-b\",\"3-c\"]&atts_since=[\"1-a\"]&revs=true&meta=true&latest=TRUE\
               &new_edits=false&batch=ok&w=2&attachments=true&deleted=true";
    let read = document(raw).unwrap();
    assert_eq!(read.rev.as_ref().map(Rev::as_str), Some("1-a"));
    assert!(
        read.revs && read.revs_info && read.conflicts && read.deleted_conflicts && !read.latest
    );
    assert!(read.batch && read.attachments && read.deleted);
    assert_eq!((read.new_edits, read.w), (Some(false), Some(2)));
    assert_eq!(read.pairs().document(), Ok(read));
    assert_eq!(
        document("open_revs=all").unwrap().open_revs,
        Some(OpenRevs::All)
    );
    assert_eq!(document("open_revs=[]").unwrap().open_revs, None);
    assert_eq!(DocumentQuery::default().pairs(), Query::default());
}

#[test]
fn document_errors_are_couchdbs() {
    check_reason(document("rev=x"), "bad_request", "Invalid rev format");
    check_reason(
        document("open_revs=[\"x\"]"),
        "bad_request",
        "Invalid rev format",
    );
    check_reason(
        document("open_revs=7"),
        "bad_request",
        "Invalid list of revisions",
    );
    check_reason(
        document("atts_since=all"),
        "bad_request",
        "Invalid list of revisions",
    );
    check_reason(
        document("Rev=1-a"),
        "bad_request",
        "unknown query parameter `Rev`",
    );
    check_reason(
        document("w=0"),
        "bad_request",
        "`w` is not a positive integer",
    );
}
