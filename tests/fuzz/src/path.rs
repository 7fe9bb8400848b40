//! Percent-decoding and names: what is accepted is rendered, and read again as the same name.

use couchwarden::route::{
    AttachmentName, Call, DatabaseCall, DbName, DesignCall, DesignName, DocId, FunctionName,
    LocalId, Method, NodeCall, NodeId, Query, Rev, Route, RouteError, ServerCall, Text,
};

/// The input is one name: as it is, and as a raw segment of a path.
pub fn path(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    // Databases of these names are out of reach: the words are couchwarden's own.
    let own = ["node", "session"].contains(&text);
    if let Ok(db) = DbName::parse(text)
        && !own
    {
        again(Call::Database {
            db,
            call: DatabaseCall::Itself,
        });
    }
    for call in below_database(text) {
        again(in_database(call));
    }
    if let Ok(id) = NodeId::parse(text) {
        again(Call::Node(NodeCall::One(id)));
    }
    if let Ok(id) = Text::parse(text)
        && !text.is_empty()
    {
        again(Call::Server(ServerCall::SchedulerJobs(Some(id))));
    }
    if let Ok(rev) = Rev::parse(text) {
        assert_eq!(Rev::parse(rev.as_str()), Ok(rev));
    }
    segment(text);
}

/// Every call of a database in which this name can stand.
fn below_database(text: &str) -> Vec<DatabaseCall> {
    let document = DocId::parse(text).map(DatabaseCall::Document);
    let design = DesignName::parse(text).map(|name| DatabaseCall::Document(name.id()));
    let local = LocalId::parse(text).map(DatabaseCall::Local);
    let attachment = AttachmentName::parse(text).and_then(|name| {
        let doc = DocId::parse("doc")?;
        Ok(DatabaseCall::Attachment { doc, name })
    });
    let view = FunctionName::parse(text).and_then(|name| {
        let ddoc = DesignName::parse("d")?;
        let call = DesignCall::View(name);
        Ok(DatabaseCall::Design { ddoc, call })
    });
    [document, design, local, attachment, view]
        .into_iter()
        .flatten()
        .collect()
}

fn in_database(call: DatabaseCall) -> Call {
    Call::Database {
        db: DbName::parse("db").expect("a name"),
        call,
    }
}

/// Rendered and read again, a call is the same.
fn again(call: Call) {
    let route = Route {
        call,
        method: Method::Get,
        query: Query::default(),
    };
    let rendered = route.render();
    assert_eq!(
        Route::parse("GET", &rendered, None).as_ref(),
        Ok(&route),
        "{rendered}"
    );
}

/// As a segment the text is decoded exactly once, by the rule of RFC 3986 section 2.1, `+` being a space.
fn segment(raw: &str) {
    if raw.contains(['/', '?']) {
        return;
    }
    let parsed = Route::parse("GET", &format!("/db/{raw}"), None);
    let Some(decoded) = decoded(raw.as_bytes()) else {
        assert!(
            matches!(parsed, Err(RouteError::Ambiguous(_))),
            "{raw:?} is {parsed:?}"
        );
        return;
    };
    if let Ok(route) = parsed
        && let Some(id) = route.document()
    {
        assert_eq!(id.as_str().as_bytes(), decoded);
    }
}

/// None where an escape is broken.
fn decoded(raw: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = raw;
    while let [first, after @ ..] = rest {
        rest = after;
        bytes.push(match first {
            b'%' => {
                let (digits, after) = rest.split_at_checked(2)?;
                rest = after;
                let digits = std::str::from_utf8(digits).ok()?;
                // `from_str_radix` would take a sign too.
                let legal = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
                u8::from_str_radix(digits, 16).ok().filter(|_| legal)?
            }
            b'+' => b' ',
            byte => *byte,
        });
    }
    Some(bytes)
}
