//! Generations that nobody has reached by writing: refused where they are forged, and no trap where they stand already.

use serde_json::{Value, json};

use crate::support::{Answer, Client, Fake, World, backend, plain};

const RULES: &str = r#"
[[rule]]
name = "own"
databases = ["@notes"]
callers = { names = ["$walt"] }
permit = ["replicate"]
documents = { owner = "walt" }

[[rule]]
name = "open"
databases = ["@open"]
callers = { names = ["$walt"] }
permit = ["replicate"]
"#;

/// Every way to write the document `id` with this revision as the one that it follows.
async fn every_way(who: &Client, db: &str, id: &str, rev: &str) -> Vec<(&'static str, Answer)> {
    let (path, json) = (format!("/{db}/{id}"), ("content-type", "application/json"));
    let (start, digest) = rev.split_once('-').unwrap();
    let body = json!({ "_rev": rev, "owner": "walt" });
    let listed = json!({ "_id": id, "_rev": rev, "owner": "walt" });
    let revisions =
        format!(r#"{{"_revisions":{{"start":{start},"ids":["{digest}"]}},"owner":"walt"}}"#);
    let plain = r#"{"owner":"walt"}"#;
    let tag = format!("\"{rev}\"");
    let tagged = [json, ("if-match", &*tag)];
    let parts = format!("--x\r\ncontent-type: application/json\r\n\r\n{body}\r\n--x--");
    let form =
        format!("--x\r\ncontent-disposition: form-data; name=\"_doc\"\r\n\r\n{body}\r\n--x--\r\n");
    let related = [("content-type", "multipart/related; boundary=x")];
    let referer = format!("https://localhost:{}/", who.address.port());
    let of_form = [
        ("content-type", "multipart/form-data; boundary=x"),
        ("referer", &*referer),
    ];
    let to = format!("{id}?rev={rev}");
    let query = format!("{path}?rev={rev}");
    let named = format!("{path}/file?rev={rev}");
    let batch = json!({ "docs": [listed.clone()] });
    vec![
        ("?rev", who.ask("PUT", &query, &[json], plain).await),
        ("_rev", who.put(&path, body.clone()).await),
        (
            "_revisions",
            who.ask("PUT", &path, &[json], revisions).await,
        ),
        ("If-Match", who.ask("PUT", &path, &tagged, plain).await),
        (
            "batch",
            who.put(&format!("{path}?batch=ok"), body.clone()).await,
        ),
        ("related", who.ask("PUT", &path, &related, parts).await),
        ("form", who.ask("POST", &path, &of_form, form).await),
        ("attachment", who.ask("PUT", &named, &[], "bytes").await),
        ("POST", who.post(&format!("/{db}"), listed.clone()).await),
        (
            "_bulk_docs",
            who.post(&format!("/{db}/_bulk_docs"), batch).await,
        ),
        ("DELETE", who.delete(&query).await),
        (
            "COPY",
            who.ask("COPY", &format!("/{db}/from"), &[("destination", &*to)], "")
                .await,
        ),
    ]
}

/// Is it the one row of a batch that says so, or the answer itself?
fn is_refused(answer: &Answer) -> bool {
    let row = || {
        let told: Value = serde_json::from_slice(&answer.body).ok()?;
        Some(told.get(0)?.get("error")?.is_string())
    };
    match answer.status {
        400..500 => true,
        201 => row().unwrap_or(false),
        _ => false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_way_to_write_stores_a_forged_generation() {
    let world = World::start(RULES).await;
    for db in ["notes", "open"] {
        let from = json!({ "_id": "from", "owner": "walt" });
        world.database(db, json!([from])).await;
    }
    let walt = world.as_("walt");
    let highest = u128::MAX.to_string();
    for (n, generation) in [
        "1099511627776",
        "18446744073709551616",
        &highest,
        &"9".repeat(60),
    ]
    .into_iter()
    .enumerate()
    {
        let rev = format!("{generation}-{:032x}", 15);
        for db in ["@notes", "@open"] {
            let id = format!("new{n}");
            for (way, answer) in every_way(&walt, db, &id, &rev).await {
                assert!(is_refused(&answer), "{db} {way} {generation}: {answer:?}");
            }
            let stored = format!("/{}/{id}", world.db(db.trim_start_matches('@')));
            world.backend().get(&stored).await.no(404, "not_found");
        }
    }
    // What stands under such a revision already is written over by whoever has it.
    let far = revision(far(), 'a');
    let stored = json!({ "_id": "there", "_rev": far, "owner": "walt" });
    let batch = json!({ "docs": [stored], "new_edits": false });
    let path = format!("/{}/_bulk_docs", world.db("open"));
    assert_eq!(world.backend().post(&path, batch).await.yes(), json!([]));
    let answers = every_way(&walt, "@open", "there", &far).await;
    // The first one of all; what is written later is told nothing.
    let won = answers.iter().filter(|(_, answer)| !is_refused(answer));
    let won: Vec<&str> = won
        .map(|(way, _)| *way)
        .filter(|way| *way != "batch")
        .collect();
    assert_eq!(won, ["?rev"]);
}

/// More than writing comes to, and as far as this backend counts without mistakes: the embedded one by doubles.
fn far() -> u128 {
    match backend().is_couchdb() {
        true => u128::from(u64::MAX),
        false => 1 << 44,
    }
}

fn revision(generation: u128, digit: char) -> String {
    format!("{generation}-{}", digit.to_string().repeat(32))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_generation_leaves_room_for_those_after_it() {
    let world = World::start(RULES).await;
    world
        .database("notes", json!([{ "_id": "a", "owner": "walt" }]))
        .await;
    let walt = world.as_("walt");
    for id in ["a", "new"] {
        for generation in [
            (1 << 40) + 1,
            u128::from(i64::MAX as u64),
            u128::from(u64::MAX),
        ] {
            let forged = json!({ "_id": id, "_rev": revision(generation, 'f'), "owner": "walt" });
            let path = format!("/@notes/{id}?new_edits=false");
            walt.put(&path, forged.clone()).await.no(403, "forbidden");
            let batch = json!({ "docs": [forged], "new_edits": false });
            let told = walt.post("/@notes/_bulk_docs", batch).await.yes();
            assert_eq!(told[0]["error"], "forbidden", "{told}");
        }
    }
    // Nor where no rule binds the writer.
    world.database("open", json!([])).await;
    for generation in ["1099511627777", "18446744073709551616"] {
        let forged = json!({ "_rev": format!("{generation}-{:032x}", 15) });
        let told = walt.put("/@open/new?new_edits=false", forged).await;
        told.no(403, "forbidden");
    }
    let tag = format!("\"1099511627777-{:032x}\"", 15);
    let headers = [("content-type", "application/json"), ("if-match", &*tag)];
    let told = walt.ask("PUT", "/@open/new?new_edits=false", &headers, "{}");
    told.await.no(403, "forbidden");
    for generation in ["0", &"9".repeat(60), &"9".repeat(100)] {
        let forged = json!({ "_rev": format!("{generation}-{:032x}", 15) });
        let told = walt.put("/@open/new?new_edits=false", forged).await;
        told.no(400, "bad_request");
    }
    // One that was stemmed long ago is none.
    let old = json!({ "_rev": revision(1 << 40, 'a'), "owner": "walt" });
    walt.put("/@notes/old?new_edits=false", old).await.yes();
    let rev = walt.get("/@notes/old").await.yes()["_rev"].clone();
    assert_eq!(rev, revision(1 << 40, 'a'));
    let next = walt
        .put("/@notes/old", json!({ "_rev": rev, "owner": "walt" }))
        .await;
    let next = next.yes()["rev"].as_str().unwrap().to_owned();
    assert!(next.starts_with("1099511627777-"), "{next}");
}

/// A replica that names one is told so of that one; the rest of what it asks is answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_revision_that_nobody_can_have_reached_is_missing() {
    let world = World::start(RULES).await;
    world
        .database("notes", json!([{ "_id": "a", "owner": "walt" }]))
        .await;
    world.database("open", json!([{ "_id": "a" }])).await;
    let numbers = [
        "9223372036854775808".to_owned(),
        "18446744073709551616".to_owned(),
        "340282366920938463463374607431768211456".to_owned(),
        "9".repeat(60),
        "9".repeat(1000),
    ];
    for (name, db) in [("walt", "notes"), ("walt", "open"), ("ops", "open")] {
        let who = world.as_(name);
        let path = |rest: &str| format!("/@{db}/{rest}");
        let rev = who.get(&path("a")).await.yes()["_rev"].clone();
        let real = rev.as_str().unwrap();
        for number in &numbers {
            // Of what passes as it comes CouchDB reads each digit.
            if number.len() > 60 && db == "open" {
                continue;
            }
            let far = format!("{number}-{}", "f".repeat(32));
            let asked = json!({ "a": [far, real], "b": [far] });
            let told = who.post(&path("_revs_diff"), asked.clone()).await.yes();
            assert_eq!(told["a"]["missing"], json!([far]), "{name} {db}");
            assert_eq!(told["b"]["missing"], json!([far]), "{name} {db}");
            let told = who.post(&path("_missing_revs"), asked).await.yes();
            assert_eq!(told["missing_revs"]["a"], json!([far]), "{name} {db}");
            let asked = json!({ "docs": [{ "id": "a", "rev": far }, { "id": "a", "rev": real }] });
            let told = who.post(&path("_bulk_get"), asked).await.yes();
            let found = told["results"].as_array().unwrap().iter();
            let mut found = found.flat_map(|row| row["docs"].as_array().unwrap());
            assert!(found.any(|one| one["ok"]["_rev"] == real), "{told}");
            // No path is so long.
            if number.len() > 60 {
                continue;
            }
            let listed = format!("a?open_revs=%5B%22{real}%22,%22{far}%22%5D");
            let told = who.get(&path(&listed)).await.yes();
            assert_eq!(told[0]["ok"]["_rev"], real, "{told}");
            assert_eq!(told[1], json!({ "missing": far }));
            let since = format!("a?atts_since=%5B%22{far}%22%5D");
            assert_eq!(who.get(&path(&since)).await.yes()["_rev"], real);
            let alone = who.get(&path(&format!("a?rev={far}"))).await;
            alone.no(404, "not_found");
        }
    }
}

/// CouchDB reads a number of a million digits for a minute.
#[tokio::test(flavor = "multi_thread")]
async fn couchdb_is_given_no_generation_that_it_reads_for_long() {
    let fake = Fake::start(|_| plain(200, r#"{"results":[]}"#)).await;
    let rules = RULES.replace('@', "");
    let world = World::before(&fake, &rules, "").await;
    let far = format!("{}-a", "9".repeat(100_000));
    let walt = world.as_("walt");
    for db in ["notes", "open"] {
        for entry in [
            json!({ "id": "a", "rev": far }),
            json!({ "id": "a", "atts_since": [far] }),
        ] {
            let asked = json!({ "docs": [entry, { "id": "a", "rev": "1-a" }] });
            walt.post(&format!("/{db}/_bulk_get"), asked).await.yes();
        }
        let asked = json!({ "a": [far, "1-a"] });
        for path in ["_revs_diff", "_missing_revs", "_purge"] {
            let _ = walt.post(&format!("/{db}/{path}"), asked.clone()).await;
        }
    }
    for seen in fake.seen() {
        assert!(!seen.body.contains("99999999999"), "{}", seen.target);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_that_stands_there_is_written_over() {
    let world = World::start(RULES).await;
    world.database("notes", json!([])).await;
    let path = format!("/{}/_bulk_docs", world.db("notes"));
    for id in ["a", "b", "c"] {
        let stored = json!({ "_id": id, "_rev": revision(far(), 'a'), "owner": "walt", "n": 0 });
        let batch = json!({ "docs": [stored], "new_edits": false });
        assert_eq!(world.backend().post(&path, batch).await.yes(), json!([]));
    }
    let walt = world.as_("walt");
    let read = walt.get("/@notes/a?revs=true").await.yes();
    assert_eq!(read["_rev"], revision(far(), 'a'));
    // As any document.
    let written = walt
        .put(
            "/@notes/a",
            json!({ "_rev": read["_rev"], "owner": "walt", "n": 1 }),
        )
        .await
        .yes();
    let generation = (far() + 1).to_string();
    let rev = written["rev"].as_str().unwrap().to_owned();
    assert_eq!(rev.split_once('-').unwrap().0, generation);
    let told = walt
        .post(
            "/@notes/_revs_diff",
            json!({ "a": [rev, revision(far(), 'a'), "1-b"] }),
        )
        .await;
    assert_eq!(told.yes(), json!({ "a": { "missing": ["1-b"] } }));
    // By a device that has it.
    let ids = ["b", "a"].map(|digit| digit.repeat(32));
    let device = format!(
        r#"{{"docs":[{{"_id":"b","_revisions":{{"start":{generation},"ids":{}}},"owner":"walt","n":2}}],"new_edits":false}}"#,
        json!(ids)
    );
    let json = [("content-type", "application/json")];
    let told = walt.ask("POST", "/@notes/_bulk_docs", &json, device).await;
    assert_eq!(told.yes(), json!([]));
    assert_eq!(walt.get("/@notes/b").await.yes()["n"], 2);
    // But not beyond what the history names.
    let jump = json!({ "_id": "b", "_rev": revision(far() + 1000, 'c'), "owner": "walt" });
    let batch = json!({ "docs": [jump], "new_edits": false });
    let told = walt.post("/@notes/_bulk_docs", batch).await.yes();
    assert_eq!(told[0]["error"], "forbidden", "{told}");
    let rev = revision(far(), 'a');
    walt.delete(&format!("/@notes/c?rev={rev}")).await.yes();
    walt.get("/@notes/c").await.no(404, "not_found");
}
