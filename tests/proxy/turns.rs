//! A write that CouchDB does not check is judged, then stored: whatever the way to write, nothing comes in between.

use std::pin::Pin;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::support::{Answer, Client, Tap, World, backend};

/// Tom may write without seeing the balance; Walt may write as he likes.
const RULES: &str = r#"
[[rule]]
name = "clerks"
databases = ["@notes"]
callers = { names = ["$tom"] }
permit = ["read", "update"]
hide = ["balance"]

[[rule]]
name = "bank"
databases = ["@notes"]
callers = { names = ["$walt"] }
permit = ["replicate"]
"#;

const WAYS: [&str; 11] = [
    "PUT",
    "long PUT",
    "PUT by chunks",
    "POST",
    "_bulk_docs",
    "DELETE",
    "PUT in parts",
    "attachment",
    "attachment by chunks",
    "COPY",
    "form",
];

const CHUNKED: (&str, &str) = ("transfer-encoding", "chunked");
const PARTS: [(&str, &str); 1] = [("content-type", "multipart/related; boundary=\"limit\"")];

/// Writes a document in one of these ways.
async fn write(who: &Client, way: &str, id: &str, rev: &str) -> Answer {
    let path = format!("/@notes/{id}");
    let mut document = json!({ "_id": id, "_rev": rev, "balance": 2, "team": "red" });
    match way {
        "PUT" => who.put(&path, document).await,
        "long PUT" => {
            document["long"] = "l".repeat(2 * 1024 * 1024).into();
            who.put(&path, document).await
        }
        "PUT by chunks" => {
            let kind = [("content-type", "application/json"), CHUNKED];
            who.ask("PUT", &path, &kind, document.to_string()).await
        }
        "POST" => who.post("/@notes", document).await,
        "_bulk_docs" => {
            who.post("/@notes/_bulk_docs", json!({ "docs": [document] }))
                .await
        }
        "DELETE" => who.delete(&format!("{path}?rev={rev}")).await,
        "PUT in parts" => {
            document["_attachments"] =
                json!({ "x": { "follows": true, "length": 3, "content_type": "a/b" } });
            let body = format!(
                "--limit\r\nContent-Type: application/json\r\n\r\n{document}\r\n--limit\r\n\r\nxyz\r\n--limit--"
            );
            who.ask("PUT", &path, &PARTS, body).await
        }
        "attachment" => {
            let path = format!("{path}/x?rev={rev}");
            who.ask("PUT", &path, &[("content-type", "a/b")], "xyz")
                .await
        }
        "attachment by chunks" => {
            let path = format!("{path}/x?rev={rev}");
            who.ask("PUT", &path, &[("content-type", "a/b"), CHUNKED], "xyz")
                .await
        }
        "COPY" => {
            let target = format!("{id}?rev={rev}");
            who.ask("COPY", "/@notes/source", &[("destination", &target)], "")
                .await
        }
        "form" => {
            let form = format!(
                "--limit\r\nContent-Disposition: form-data; name=\"_doc\"\r\n\r\n{document}\r\n--limit--\r\n"
            );
            let referer = format!("https://localhost:{}/", who.address.port());
            let headers = [
                ("content-type", "multipart/form-data; boundary=limit"),
                ("referer", referer.as_str()),
            ];
            who.ask("POST", &path, &headers, form).await
        }
        way => panic!("{way}"),
    }
}

/// Above the revision that is stored, as a replicator would send it, but of a later generation.
fn forged(id: &str, rev: &str, digest: &str) -> Value {
    let (_, tail) = rev.split_once('-').unwrap();
    let ids = [digest, "b0", "b1", "b2", tail];
    json!({ "new_edits": false, "docs": [{ "_id": id, "_rev": format!("5-{digest}"), "team": "red",
        "_revisions": { "start": 5, "ids": ids } }] })
}

async fn stored(world: &World, id: &str) -> Value {
    world
        .backend()
        .get(&format!("/@notes/{id}?revs=true"))
        .await
        .json()
}

/// Writes while the forged write is stopped, which goes on after a while.
async fn meanwhile(tap: &Tap, mut writing: Pin<Box<impl Future<Output = Answer>>>) -> Answer {
    let early = tokio::select! {
        answer = &mut writing => Some(answer),
        () = sleep(Duration::from_millis(300)) => None,
    };
    tap.release();
    match early {
        Some(answer) => answer,
        None => writing.await,
    }
}

/// Someone's write comes while a forged one is on its way from couchwarden to CouchDB.
async fn between(world: &World, tap: &Tap, who: &Client, way: &str, number: usize) {
    let id = format!("d{number}");
    let rev = stored(world, &id).await["_rev"]
        .as_str()
        .unwrap()
        .to_owned();
    let digest = format!("f{number:031}");
    tap.stop(&digest);
    let (tom, batch) = (world.as_("tom"), forged(&id, &rev, &digest));
    let forging = tokio::spawn(async move { tom.post("/@notes/_bulk_docs", batch).await });
    tap.stopped().await;
    let answer = meanwhile(tap, Box::pin(write(who, way, &id, &rev))).await;
    forging.await.unwrap().yes();
    let told = answer.json();
    let told = told.get(0).unwrap_or(&told);
    let expected: &[u16] = &[200, 201, 202, 409];
    assert!(expected.contains(&answer.status), "{way}: {answer:?}");
    let Some(made) = told["rev"].as_str() else {
        return;
    };
    let now = stored(world, &id).await;
    let ids = now["_revisions"]["ids"].as_array().unwrap();
    let kept = ids.iter().any(|id| made.ends_with(id.as_str().unwrap()));
    assert!(kept, "{way} was accepted, and lost to {now}");
}

async fn no_way_lets_it(rules: &str) {
    let tap = Tap::start(backend().authority.parse().unwrap()).await;
    let world = World::behind(tap.address, rules, "").await;
    let writers = [world.as_("ops"), world.as_("walt")];
    let mut documents: Vec<Value> = (0..2 * WAYS.len())
        .map(|number| json!({ "_id": format!("d{number}"), "balance": 1, "team": "red" }))
        .collect();
    documents.push(json!({ "_id": "source", "balance": 2, "team": "red" }));
    world.database("notes", documents.into()).await;
    for (number, way) in WAYS.into_iter().enumerate() {
        for (which, who) in writers.iter().enumerate() {
            Box::pin(between(&world, &tap, who, way, 2 * number + which)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_way_to_write_lets_a_forged_history_roll_it_back() {
    Box::pin(no_way_lets_it(RULES)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_does_one_where_rules_decide_by_fields() {
    let rules = RULES.replace(
        "hide = [\"balance\"]",
        "hide = [\"balance\"]\ndocuments = { team = \"red\" }",
    );
    Box::pin(no_way_lets_it(&rules)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_who_goes_away_leaves_no_gap() {
    let tap = Tap::start(backend().authority.parse().unwrap()).await;
    let world = World::behind(tap.address, RULES, "").await;
    let document = json!([{ "_id": "d0", "balance": 1, "team": "red" }]);
    world.database("notes", document).await;
    let rev = stored(&world, "d0").await["_rev"]
        .as_str()
        .unwrap()
        .to_owned();
    let digest = format!("{:032}", 7);
    tap.stop(&digest);
    let (tom, batch) = (world.as_("tom"), forged("d0", &rev, &digest));
    let forging = tokio::spawn(async move { tom.post("/@notes/_bulk_docs", batch).await });
    tap.stopped().await;
    forging.abort();
    let _ = forging.await;
    let ops = world.as_("ops");
    let answer = meanwhile(&tap, Box::pin(write(&ops, "PUT", "d0", &rev))).await;
    // CouchDB has stored what it was sent, and the other comes after it.
    answer.no(409, "conflict");
    assert_eq!(stored(&world, "d0").await["_rev"], format!("5-{digest}"));
}

/// An attachment of which the last byte does not come keeps nobody waiting.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_holds_no_turn() {
    let world = World::plain(RULES).await;
    let document = json!([{ "_id": "d0", "balance": 1, "team": "red" }]);
    world.database("notes", document).await;
    let rev = stored(&world, "d0").await["_rev"]
        .as_str()
        .unwrap()
        .to_owned();
    let ops = world.as_("ops");
    let head = format!(
        "PUT /{}/d0/x?rev={rev} HTTP/1.1\r\nHost: localhost:{}\r\nAuthorization: {}\r\nContent-Length: 1000\r\n\r\nx",
        world.db("notes"),
        world.address.port(),
        ops.authorization()
    );
    let mut slow = TcpStream::connect(world.address).await.unwrap();
    slow.write_all(head.as_bytes()).await.unwrap();
    let tom = world.as_("tom");
    let digest = format!("{:032}", 8);
    tom.post("/@notes/_bulk_docs", forged("d0", &rev, &digest))
        .await
        .yes();
    assert_eq!(stored(&world, "d0").await["_rev"], format!("5-{digest}"));
    drop(slow);
}

/// Who may not write a document doesn't hold its turn, and who writes many holds those of one part at a time.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_batch_holds_no_turn_of_documents_that_are_not_its_senders() {
    let rules = RULES.replace(
        "hide = [\"balance\"]",
        "hide = [\"balance\"]\ndocuments = { team = \"red\" }",
    );
    let tap = Tap::start(backend().authority.parse().unwrap()).await;
    let world = World::behind(tap.address, &rules, "").await;
    let mut documents: Vec<Value> = (0..201)
        .map(|number| json!({ "_id": format!("d{number}"), "balance": 1, "team": "red" }))
        .collect();
    documents.push(json!({ "_id": "victim", "balance": 1, "team": "blue" }));
    world.database("notes", documents.clone().into()).await;
    let mut rows = Vec::new();
    let mut revs = Vec::new();
    for document in documents.iter().rev() {
        let id = document["_id"].as_str().unwrap();
        let rev = stored(&world, id).await["_rev"]
            .as_str()
            .unwrap()
            .to_owned();
        rows.push(forged(id, &rev, &format!("{:032}", 9))["docs"][0].clone());
        revs.push((id, rev));
    }
    tap.stop(&format!("{:032}", 9));
    let (tom, batch) = (
        world.as_("tom"),
        json!({ "new_edits": false, "docs": rows }),
    );
    let forging = tokio::spawn(async move { tom.post("/@notes/_bulk_docs", batch).await });
    tap.stopped().await;
    // The first part is on its way now: of all but the victim, which is refused, and the last document.
    let ops = world.as_("ops");
    for (id, rev) in [revs.first().unwrap(), revs.last().unwrap()] {
        let answer = timeout(Duration::from_secs(20), write(&ops, "PUT", id, rev)).await;
        assert_eq!(answer.expect("it waits").status, 201, "{id}");
    }
    tap.release();
    let told = forging.await.unwrap().yes();
    let told = told.as_array().unwrap();
    assert!(told.iter().all(|row| row["id"] == "victim"), "{told:?}");
    assert_eq!(told.len(), 1);
    // What was written meanwhile was judged again.
    assert_eq!(stored(&world, "d0").await["balance"], 2);
    assert_eq!(stored(&world, "victim").await["balance"], 2);
    assert_eq!(stored(&world, "d200").await["balance"], 1);
    assert_eq!(stored(&world, "d200").await["_rev"], format!("5-{:032}", 9));
}
