//! Documents with their attachments in several parts, and attachments by themselves.

use serde_json::{Value, json};

use crate::support::{Answer, Client, World};

const RULES: &str = r#"
[[rule]]
name = "red-team"
databases = ["@files"]
callers = { roles = ["reader"] }
permit = ["read", "changes"]
hide = ["secret", "_attachments.hidden*"]
[rule.documents]
team = "red"
"#;

const MIXED: [(&str, &str); 1] = [("accept", "multipart/mixed")];
const RELATED: [(&str, &str); 1] = [("accept", "multipart/related")];

/// What stands in one part: its head, and its body.
type Part = (String, Vec<u8>);

/// A document and its attachments by name.
type Document = (Value, Vec<(String, Vec<u8>)>);

/// The parts between boundaries. Attachments of these tests hold no boundary.
fn parts(body: &[u8], boundary: &str) -> Vec<Part> {
    let body = [b"\r\n", body].concat();
    let mark = format!("\r\n--{boundary}");
    let at = |from: usize| {
        body[from..]
            .windows(mark.len())
            .position(|text| text == mark.as_bytes())
            .map(|place| from + place)
    };
    let mut found = Vec::new();
    let mut start = at(0).expect("no boundary") + mark.len();
    while let Some(end) = at(start) {
        let part = &body[start..end];
        let head = part
            .windows(4)
            .position(|text| text == b"\r\n\r\n")
            .expect("no head");
        let text = String::from_utf8(part[2..head.max(2)].to_vec()).unwrap();
        found.push((text, part[head + 4..].to_vec()));
        start = end + mark.len();
    }
    assert!(body[start..].starts_with(b"--"), "no end");
    found
}

fn boundary(head: &str) -> String {
    let (_, rest) = head.split_once("boundary=").expect(head);
    rest.trim_matches('"').to_owned()
}

/// From a part or a whole answer.
fn document(head: &str, body: &[u8]) -> Document {
    if !head.contains("multipart/related") {
        assert!(head.contains("application/json"), "{head}");
        return (serde_json::from_slice(body).unwrap(), Vec::new());
    }
    let mut parts = parts(body, &boundary(head)).into_iter();
    let (_, json) = parts.next().unwrap();
    let attachments = parts.map(|(head, bytes)| {
        let (_, name) = head.split_once("filename=\"").unwrap();
        let bytes = match head.contains("Content-Encoding: gzip") {
            true => inflate(&bytes),
            false => bytes,
        };
        (name.split('"').next().unwrap().to_owned(), bytes)
    });
    (
        serde_json::from_slice(&json).unwrap(),
        attachments.collect(),
    )
}

fn inflate(bytes: &[u8]) -> Vec<u8> {
    use std::io::Read as _;
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(bytes)
        .read_to_end(&mut plain)
        .unwrap();
    plain
}

fn of_answer(answer: &Answer) -> Document {
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    assert!(!answer.cut);
    document(answer.header("content-type").unwrap(), &answer.body)
}

fn leaves(answer: &Answer) -> Vec<Document> {
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    assert!(!answer.cut);
    let media_type = answer.header("content-type").unwrap();
    let parts = parts(&answer.body, &boundary(media_type));
    parts
        .iter()
        .map(|(head, body)| document(head, body))
        .collect()
}

/// Content that compresses badly, longer than any buffer on the way.
fn noise() -> Vec<u8> {
    let mut state = 1_u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..700_000).map(next).collect()
}

async fn filled() -> World {
    use base64::Engine as _;
    let world = World::start(RULES).await;
    let text = |text: &[u8]| base64::engine::general_purpose::STANDARD.encode(text);
    let files = json!({
        "hidden.txt": { "content_type": "text/plain", "data": text(b"s-hidden in a file") },
        "noise": { "content_type": "application/octet-stream", "data": text(&noise()) },
        "dir/page.html": { "content_type": "text/html", "data": text(b"<script>alert(1)</script>") },
    });
    let documents = json!([
        { "_id": "red", "team": "red", "secret": "s-1", "_attachments": files },
        { "_id": "blue", "team": "blue", "secret": "s-2", "_attachments": files },
        { "_id": "sealed", "team": "red", "_attachments": { "hidden.txt": files["hidden.txt"] } },
        { "_id": "bare", "team": "red", "secret": "s-3" },
    ]);
    world.database("files", documents).await;
    world
}

async fn rev(world: &World, id: &str) -> String {
    let stored = world.backend().get(&format!("/@files/{id}")).await.yes();
    stored["_rev"].as_str().unwrap().to_owned()
}

/// What may be seen of the attachments of `red`.
#[track_caller]
fn check_files(found: &Document) {
    let (document, files) = found;
    assert_eq!(document["_id"], "red");
    assert!(document["secret"].is_null());
    let stubs = document["_attachments"].as_object().unwrap();
    let mut names: Vec<&String> = stubs.keys().collect();
    names.sort();
    assert_eq!(names, ["dir/page.html", "noise"]);
    assert!(stubs.values().all(|stub| stub["follows"] == true));
    let mut files = files.clone();
    files.sort();
    assert_eq!(files.len(), 2);
    assert_eq!(files[0].1, b"<script>alert(1)</script>");
    assert_eq!(
        (files[1].0.as_str(), files[1].1 == noise()),
        ("noise", true)
    );
}

fn holds(answer: &Answer, secret: &str) -> bool {
    let plain = answer
        .body
        .windows(secret.len())
        .any(|text| text == secret.as_bytes());
    plain || format!("{:?}", answer.headers).contains(secret)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_comes_with_those_attachments_that_may_be_seen() {
    let world = filled().await;
    let rita = world.as_("rita");
    let get = |client: &Client, path: &'static str| {
        let client = client.clone();
        async move { client.ask("GET", path, &RELATED, "").await }
    };
    let whole = get(&world.backend(), "/@files/red?attachments=true").await;
    assert_eq!(of_answer(&whole).1.len(), 3, "as CouchDB sends it");
    let seen = get(&rita, "/@files/red?attachments=true").await;
    check_files(&of_answer(&seen));
    assert!(!holds(&seen, "hidden") && !holds(&seen, "s-1"));
    let tag = seen.header("etag").unwrap();
    let same = [RELATED[0], ("if-none-match", tag)];
    let again = rita
        .ask("GET", "/@files/red?attachments=true", &same, "")
        .await;
    assert_eq!(again.status, 304);
    let head = rita
        .ask("HEAD", "/@files/red?attachments=true", &RELATED, "")
        .await;
    assert_eq!((head.status, head.header("etag")), (200, Some(tag)));
    // Where nothing follows it is plain JSON.
    for id in ["sealed", "bare"] {
        let path = format!("/@files/{id}?attachments=true");
        let alone = rita.ask("GET", &path, &RELATED, "").await;
        assert_eq!(alone.header("content-type"), Some("application/json"));
        assert_eq!(alone.yes()["_id"], id);
        assert!(!holds(&alone, "hidden"));
    }
    let inline = rita.get("/@files/red?attachments=true").await;
    assert!(inline.yes()["_attachments"]["noise"]["data"].is_string());
    assert!(!holds(&inline, "hidden"));
    let hidden = get(&rita, "/@files/blue?attachments=true").await;
    let absent = get(&rita, "/@files/none?attachments=true").await;
    assert_eq!(hidden.seen(), absent.seen());
    hidden.no(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_out_of_its_head_stays_inside_its_document() {
    use base64::Engine as _;
    let world = filled().await;
    let text = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let inside = "\r\n--boundary--\r\nContent-Length: 1\r\n\r\n";
    let file = |media_type: &str| json!({ "content_type": media_type, "data": text(inside) });
    let name = "x\"\r\nContent-Type: text/html\r\nContent-Length: 43\r\n\r\n--boundary";
    let hostile = json!({ "_id": "hostile", "team": "red", "_attachments": {
        name: file("application/octet-stream"),
        "hidden\r\n\r\n": file("application/octet-stream"),
        "plain": file("application/octet-stream"),
        "typed": file("application/octet-stream\r\nX-More: 1"),
    } });
    world.fill("files", json!([hostile])).await;
    let rita = world.as_("rita");
    for path in ["hostile?attachments=true", "hostile?open_revs=all"] {
        let (accept, single) = match path.contains("open_revs") {
            true => (MIXED, false),
            false => (RELATED, true),
        };
        let answer = rita
            .ask("GET", &format!("/@files/{path}"), &accept, "")
            .await;
        let (document, files) = match single {
            true => of_answer(&answer),
            false => leaves(&answer).remove(0),
        };
        assert_eq!(files, [("plain".to_owned(), inside.as_bytes().to_vec())]);
        let listed = &document["_attachments"];
        assert_eq!(listed.as_object().unwrap().len(), 3, "{listed}");
        for name in [name, "typed"] {
            assert_eq!(listed[name]["data"], text(inside), "{name}");
            assert!(listed[name]["stub"].is_null() && listed[name]["follows"].is_null());
        }
        assert_eq!(listed["plain"]["follows"], true);
    }
    // Inside JSON there is nothing to break out of.
    let inline = rita.get("/@files/hostile?attachments=true").await.yes();
    assert_eq!(inline["_attachments"][name]["data"], text(inside));
}

#[tokio::test(flavor = "multi_thread")]
async fn leaves_come_with_their_attachments_in_one_stream() {
    let world = filled().await;
    let rita = world.as_("rita");
    let all = rita
        .ask("GET", "/@files/red?open_revs=all&revs=true", &MIXED, "")
        .await;
    let found = leaves(&all);
    assert_eq!(found.len(), 1);
    check_files(&found[0]);
    assert!(found[0].0["_revisions"].is_object());
    assert!(!holds(&all, "s-hidden") && !holds(&all, "hidden.txt"));
    let (red, blue) = (rev(&world, "red").await, rev(&world, "blue").await);
    let other = format!("9-{}", "0".repeat(32));
    let listed =
        |id: &str, rev: &str| format!("/@files/{id}?open_revs=%5B%22{rev}%22%2C%22{other}%22%5D");
    let found = rita.ask("GET", &listed("red", &red), &MIXED, "").await;
    let found = leaves(&found);
    check_files(&found[0]);
    assert_eq!(found[1].0, json!({ "missing": other }));
    // What is hidden is missing, in the same words.
    let hidden = leaves(&rita.ask("GET", &listed("blue", &blue), &MIXED, "").await);
    assert_eq!(hidden[0].0, json!({ "missing": blue }));
    for query in ["open_revs=all", "open_revs=all&latest=true"] {
        let hidden = rita
            .ask("GET", &format!("/@files/blue?{query}"), &MIXED, "")
            .await;
        let absent = rita
            .ask("GET", &format!("/@files/none?{query}"), &MIXED, "")
            .await;
        assert_eq!(hidden.seen(), absent.seen());
    }
    for query in ["", "&latest=true", "&revs=true&latest=true"] {
        let hidden = rita.get(&format!("{}{query}", listed("blue", &blue))).await;
        let absent = rita.get(&format!("{}{query}", listed("none", &blue))).await;
        assert_eq!(hidden.seen(), absent.seen(), "{query}");
        assert_eq!(
            hidden.yes(),
            json!([{ "missing": blue }, { "missing": other }])
        );
        let red = rita
            .get(&format!("{}{query}", listed("red", &red)))
            .await
            .yes();
        assert_eq!(
            (&red[0]["ok"]["_id"], &red[1]),
            (&json!("red"), &json!({ "missing": other }))
        );
    }
    // CouchDB's replicator dies of a part that says so, and of an answer without parts.
    let replicator = [MIXED[0], ("user-agent", "CouchDB-Replicator/3.5.2")];
    for (id, rev, wanted) in [
        ("red", &red, "red"),
        ("blue", &blue, "_local/couchwarden-not-given"),
        ("none", &blue, "_local/couchwarden-not-given"),
    ] {
        let found = leaves(&rita.ask("GET", &listed(id, rev), &replicator, "").await);
        let ids: Vec<&Value> = found.iter().map(|(document, _)| &document["_id"]).collect();
        assert_eq!(ids, [wanted], "{id}");
    }
    let latest = format!("{}&latest=true", listed("blue", &blue));
    let latest = leaves(&rita.ask("GET", &latest, &MIXED, "").await);
    assert_eq!(latest.len(), 2);
    assert!(latest.iter().all(|(row, _)| row["missing"].is_string()));
}

/// With `latest` we ask CouchDB for histories ourselves, to know which leaf stands for which revision.
#[tokio::test(flavor = "multi_thread")]
async fn a_history_comes_only_where_it_was_asked_for() {
    let world = filled().await;
    let rita = world.as_("rita");
    for id in ["red", "bare"] {
        let path = format!("/@files/{id}");
        let mut document = world.backend().get(&path).await.yes();
        let old = document["_rev"].as_str().unwrap().to_owned();
        document["more"] = json!(1);
        let new = world.backend().put(&path, document).await.yes()["rev"].clone();
        for query in ["latest=true", "latest=true&revs=true"] {
            let path = format!("{path}?open_revs=%5B%22{old}%22%5D&{query}");
            let json = rita.get(&path).await.yes();
            let mixed = leaves(&rita.ask("GET", &path, &MIXED, "").await);
            assert_eq!((json.as_array().unwrap().len(), mixed.len()), (1, 1));
            for found in [&json[0]["ok"], &mixed[0].0] {
                assert_eq!((&found["_rev"], &found["more"]), (&new, &json!(1)));
                let told = found.get("_revisions").is_some();
                assert_eq!(told, query.contains("revs"), "{query}: {found}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_comes_in_several_parts() {
    let world = filled().await;
    let rita = world.as_("rita");
    let docs = json!({ "docs": [
        { "id": "red", "rev": rev(&world, "red").await },
        { "id": "blue", "rev": rev(&world, "blue").await },
        { "id": "none" }, { "id": "sealed" }, { "id": "bare" },
    ] });
    for kind in ["multipart/mixed", "multipart/related"] {
        let headers = [("accept", kind), ("content-type", "application/json")];
        let path = "/@files/_bulk_get?revs=true";
        let whole = world
            .backend()
            .ask("POST", path, &headers, docs.to_string())
            .await;
        assert_eq!(leaves(&whole).len(), 5, "as CouchDB sends it");
        let seen = rita.ask("POST", path, &headers, docs.to_string()).await;
        assert!(seen.header("content-type").unwrap().starts_with(kind));
        let found = leaves(&seen);
        let ids: Vec<&Value> = found.iter().map(|(document, _)| &document["_id"]).collect();
        assert_eq!(ids, ["red", "sealed", "bare"]);
        check_files(&found[0]);
        assert!(!holds(&seen, "s-hidden") && !holds(&seen, "hidden.txt"));
        assert!(!holds(&seen, "blue"));
    }
    // Who takes JSON too gets JSON.
    let both = [
        ("accept", "application/json, multipart/mixed"),
        ("content-type", "application/json"),
    ];
    let json = rita
        .ask("POST", "/@files/_bulk_get", &both, docs.to_string())
        .await;
    let given = json.column("docs");
    let given: Vec<usize> = given
        .iter()
        .map(|docs| docs.as_array().unwrap().len())
        .collect();
    assert_eq!(given, [1, 0, 0, 1, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn attachments_that_a_client_has_stay_stubs() {
    let world = filled().await;
    let rita = world.as_("rita");
    let red = rev(&world, "red").await;
    let path = format!("/@files/red?atts_since=%5B%22{red}%22%5D");
    for accept in [RELATED, [("accept", "application/json")]] {
        let (document, files) = of_answer(&rita.ask("GET", &path, &accept, "").await);
        assert_eq!(document["_attachments"]["noise"]["stub"], true);
        assert!(files.is_empty());
        assert!(document["_attachments"]["hidden.txt"].is_null());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attachment_runs_no_script_here() {
    let world = filled().await;
    let rita = world.as_("rita");
    let page = rita.get("/@files/red/dir/page.html").await;
    assert_eq!(
        (page.status, page.text()),
        (200, "<script>alert(1)</script>")
    );
    assert_eq!(page.header("content-security-policy"), Some("sandbox"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert!(page.header("cache-control").unwrap().starts_with("private"));
    // CouchDB says so too unless `[csp] attachments_enable` is off; an administrator is the last whom a page may use.
    let own = world.as_("ops").get("/@files/red/dir/page.html").await;
    assert_eq!(own.header("content-security-policy"), Some("sandbox"));
    assert_eq!(own.header("x-content-type-options"), Some("nosniff"));
    let tag = page.header("etag").unwrap();
    let same = [("if-none-match", tag)];
    let again = rita
        .ask("GET", "/@files/red/dir%2Fpage.html", &same, "")
        .await;
    assert_eq!(again.status, 304);
    let some = rita
        .ask("GET", "/@files/red/noise", &[("range", "bytes=10-19")], "")
        .await;
    assert_eq!((some.status, &some.body[..]), (206, &noise()[10..20]));
    let head = rita.ask("HEAD", "/@files/red/noise", &[], "").await;
    assert_eq!(
        (head.status, head.header("content-length")),
        (200, Some("700000"))
    );
    let listed = rita
        .get("/@files/_all_docs?include_docs=true&attachments=true")
        .await;
    assert_eq!(listed.ids(), "bare red sealed");
    assert!(!holds(&listed, "hidden"));
    let absent = rita.get("/@files/red/none.txt").await;
    for hidden in [
        "/@files/red/hidden.txt",
        "/@files/blue/noise",
        "/@files/none/noise",
    ] {
        let hidden = rita.ask("GET", hidden, &[("range", "bytes=0-1")], "").await;
        assert_eq!(hidden.seen(), absent.seen());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_attachment_of_a_later_revision_is_not_served_for_an_earlier_one() {
    let world = World::start(RULES).await;
    let file = |text: &str| {
        use base64::Engine as _;
        let data = base64::engine::general_purpose::STANDARD.encode(text);
        json!({ "file": { "content_type": "text/plain", "data": data } })
    };
    let first = json!({ "_id": "moved", "team": "red", "_attachments": file("open") });
    world.database("files", json!([first])).await;
    let earlier = rev(&world, "moved").await;
    let second =
        json!({ "_id": "moved", "_rev": earlier, "team": "blue", "_attachments": file("s-moved") });
    world.fill("files", json!([second])).await;
    let rita = world.as_("rita");
    let path = format!("/@files/moved/file?rev={earlier}");
    assert_eq!(rita.get(&path).await.text(), "open");
    let latest = rita.get(&format!("{path}&latest=true")).await;
    assert!(!holds(&latest, "s-moved"), "{:?}", latest.body);
    rita.get("/@files/moved/file").await.no(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_revision_that_is_named_is_judged_by_itself() {
    let world = World::start(RULES).await;
    world.database("files", json!([])).await;
    let mut revs: Vec<String> = Vec::new();
    for team in ["red", "blue", "red"] {
        let mut document = json!({ "_id": "moved", "team": team, "secret": format!("s-{team}") });
        if let Some(rev) = revs.last() {
            document["_rev"] = rev.as_str().into();
        }
        world.fill("files", json!([document])).await;
        revs.push(rev(&world, "moved").await);
    }
    let rita = world.as_("rita");
    for (rev, status) in revs.iter().zip([200, 404, 200]) {
        let one = rita.get(&format!("/@files/moved?rev={rev}")).await;
        assert_eq!(one.status, status, "{rev}");
        assert!(!holds(&one, "s-"));
    }
    // Hidden is as gone: the hash stays in the history, by which replicas know each other's revisions.
    let info = rita.get("/@files/moved?revs_info=true").await.yes();
    let statuses: Vec<&str> = info["_revs_info"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["status"].as_str().unwrap())
        .collect();
    assert_eq!(statuses, ["available", "missing", "available"]);
    let whole = rita.get("/@files/moved?revs=true").await.yes();
    assert_eq!(whole["_revisions"]["start"], 3);
    // The newest leaf is hidden: nothing of the document is there, whichever way it is asked for.
    let last = json!({ "_id": "moved", "_rev": revs[2], "team": "blue" });
    world.fill("files", json!([last])).await;
    for query in [
        "",
        "?revs_info=true",
        "?meta=true",
        "?open_revs=all",
        "?latest=true",
    ] {
        let hidden = rita.get(&format!("/@files/moved{query}")).await;
        let absent = rita.get(&format!("/@files/none{query}")).await;
        assert_eq!(hidden.seen(), absent.seen(), "{query}");
        assert_eq!(hidden.status, 404);
    }
}
