//! Documents with several leaves: whoever may write one of them takes over nothing by it, and brings nothing back.

use serde_json::{Value, json};

use crate::support::{Answer, Client, World};

const RULES: &str = r#"
[[rule]]
name = "without-secrets"
databases = ["@notes"]
callers = { roles = ["writer"] }
permit = ["replicate"]
hide = ["secret"]
documents = { team = "red" }

[[rule]]
name = "titles"
databases = ["@notes"]
callers = { names = ["$tom"] }
permit = ["replicate"]
change = ["title"]
documents = { team = "red" }

[[rule]]
name = "free"
databases = ["@notes"]
callers = { roles = ["reader"] }
permit = ["replicate"]
documents = { team = "red" }
"#;

/// A leaf that descends from nothing that is stored.
fn leaf(id: &str, rev: &str, more: Value) -> Value {
    let (start, hash) = rev.split_once('-').unwrap();
    let start: u64 = start.parse().unwrap();
    let mut leaf = json!({ "_id": id, "_rev": rev, "team": "red",
        "_revisions": { "start": start, "ids": [hash] } });
    leaf.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    leaf
}

async fn world(leaves: Value) -> World {
    let world = World::start(RULES).await;
    world
        .database("notes", json!([{ "_id": "a", "team": "red" }]))
        .await;
    let batch = json!({ "new_edits": false, "docs": leaves });
    world
        .backend()
        .post("/@notes/_bulk_docs", batch)
        .await
        .yes();
    world
}

/// The revisions of all leaves.
async fn leaves(world: &World, id: &str) -> Vec<String> {
    let path = format!("/@notes/{id}?open_revs=all");
    let json = [("accept", "application/json")];
    let found = world.backend().ask("GET", &path, &json, "").await.yes();
    let rev = |leaf: &Value| leaf["ok"]["_rev"].as_str().unwrap().to_owned();
    let mut revs: Vec<String> = found.as_array().unwrap().iter().map(rev).collect();
    revs.sort();
    revs
}

async fn stored(world: &World, id: &str) -> Value {
    world.backend().get(&format!("/@notes/{id}")).await.yes()
}

/// Writes over a leaf in every way that is checked by CouchDB.
async fn every_way(who: &Client, id: &str, rev: &str, document: Value) -> Vec<Answer> {
    let path = format!("/@notes/{id}");
    let mut over = document;
    over["_id"] = id.into();
    over["_rev"] = rev.into();
    let to = [("destination", &*format!("{id}?rev={rev}"))];
    vec![
        who.put(&path, over.clone()).await,
        who.post("/@notes", over.clone()).await,
        who.ask("COPY", "/@notes/a", &to, "").await,
        who.ask("PUT", &format!("{path}/x?rev={rev}"), &[], "bytes")
            .await,
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn no_losing_leaf_is_made_to_win_over_what_is_not_its_writers() {
    let blue = json!({ "team": "blue" });
    let world = world(json!([
        leaf("cf", "2-ff", blue.clone()),
        leaf("cf", "2-00", json!({})),
        leaf("dead", "2-ff", blue),
        leaf("dead", "2-00", json!({ "_deleted": true })),
        leaf("own", "2-ff", json!({})),
        leaf("own", "2-00", json!({})),
    ]))
    .await;
    for name in ["walt", "rita"] {
        let who = world.as_(name);
        who.get("/@notes/cf").await.no(404, "not_found");
        who.get("/@notes/cf?rev=2-00").await.yes();
        for id in ["cf", "dead"] {
            for answer in every_way(&who, id, "2-00", json!({ "team": "red" })).await {
                assert!([404, 409].contains(&answer.status), "{id} {answer:?}");
            }
            let over = json!({ "_id": id, "_rev": "2-00", "team": "red" });
            let rows = who
                .post("/@notes/_bulk_docs", json!({ "docs": [over] }))
                .await;
            assert_eq!(rows.yes()[0]["error"], "conflict");
            assert_eq!(leaves(&world, id).await, ["2-00", "2-ff"]);
        }
    }
    // His own leaf he may end, and who sees and may change everything may win over what is his.
    let rita = world.as_("rita");
    rita.delete("/@notes/cf?rev=2-00").await.yes();
    assert_eq!(stored(&world, "cf").await["_rev"], "2-ff");
    let over = json!({ "_id": "own", "_rev": "2-00", "team": "red" });
    let won = rita.put("/@notes/own", over).await.yes();
    assert_eq!(stored(&world, "own").await["_rev"], won["rev"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_losing_leaf_brings_back_what_its_writer_may_not_change() {
    let old = json!({ "secret": 100, "level": 9, "title": "old" });
    let new = json!({ "secret": 0, "level": 1, "title": "new" });
    let world = world(json!([
        leaf("d", "1-aa", old.clone()),
        leaf("d", "3-bb", new.clone()),
        leaf("e", "3-aa", old),
        leaf("e", "3-bb", new),
    ]))
    .await;
    let kept = |document: &Value| (document["secret"].clone(), document["level"].clone());
    for (name, own) in [
        ("walt", json!({ "title": "t", "level": 9 })),
        ("tom", json!({ "title": "t", "level": 9, "secret": 100 })),
    ] {
        let who = world.as_(name);
        for (id, rev) in [("d", "1-aa"), ("e", "3-aa")] {
            let mut over = own.clone();
            over["team"] = "red".into();
            for answer in every_way(&who, id, rev, over.clone()).await {
                answer.no(409, "conflict");
            }
            // By a history that is longer than the winner's: what is hidden is as in the winner, and what may not be
            // changed must be.
            let forged = |rev: &str, parent: &str| {
                let (start, hash) = rev.split_once('-').unwrap();
                let start: u64 = start.parse().unwrap();
                let (first, last) = parent.split_once('-').unwrap();
                let gap = start - first.parse::<u64>().unwrap() - 1;
                let mut ids = vec![hash.to_owned()];
                ids.extend((0..gap).map(|n| format!("f{n}{name}")));
                ids.push(last.to_owned());
                let mut document = over.clone();
                document["_id"] = id.into();
                document["_rev"] = rev.into();
                document["_revisions"] = json!({ "start": start, "ids": ids });
                document
            };
            let batch = json!({ "new_edits": false, "docs": [forged("9-cc", rev)] });
            let rows = who.post("/@notes/_bulk_docs", batch).await.yes();
            let now = stored(&world, id).await;
            match name {
                "tom" => assert_eq!(rows[0]["error"], "forbidden", "{rows}"),
                // He may change `level`.
                _ => assert_eq!(now["secret"], 0, "{now}"),
            }
            // The winner stays while there is another leaf that he sees; the losing ones may go.
            let winner = now["_rev"].as_str().unwrap();
            let path = format!("/@notes/{id}?rev={winner}");
            who.delete(&path).await.no(403, "forbidden");
            let bulk = json!({ "docs": [{ "_id": id, "_rev": winner, "_deleted": true }] });
            let rows = who.post("/@notes/_bulk_docs", bulk).await.yes();
            assert_eq!(rows[0]["error"], "forbidden");
            assert_eq!(stored(&world, id).await["_rev"], winner);
        }
        world.backend().post("/@notes/_bulk_docs", json!({ "new_edits": false, "docs": [leaf("d", "20-ee", json!({ "secret": 0, "level": 1 })), leaf("e", "20-ee", json!({ "secret": 0, "level": 1 }))] })).await.yes();
    }
    assert_eq!(kept(&stored(&world, "d").await), (json!(0), json!(1)));
    // Without the losing leaves it may be deleted.
    let walt = world.as_("walt");
    for rev in leaves(&world, "d").await {
        if rev != "20-ee" {
            walt.delete(&format!("/@notes/d?rev={rev}")).await.yes();
        }
    }
    walt.delete("/@notes/d?rev=20-ee").await.yes();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_leaves_each_reader_sees_their_own() {
    let all: Vec<Value> = (0..120)
        .map(|n| {
            let team = if n % 3 == 0 { "blue" } else { "red" };
            leaf("many", &format!("1-{n:032x}"), json!({ "team": team }))
        })
        .collect();
    let world = world(all.into()).await;
    let expected: Vec<String> = (0..120)
        .filter(|n| n % 3 != 0)
        .map(|n| format!("1-{n:032x}"))
        .collect();
    let rita = world.as_("rita");
    let told = rita.get("/@notes/_changes?style=all_docs").await.yes();
    let rows = told["results"].as_array().unwrap();
    let row = rows.iter().find(|row| row["id"] == "many").unwrap();
    let rev = |leaf: &Value| leaf["rev"].as_str().unwrap().to_owned();
    let mut revs: Vec<String> = row["changes"].as_array().unwrap().iter().map(rev).collect();
    revs.sort();
    assert_eq!(revs, expected);
    // The winner is the last one but those of the blue team.
    let read = rita.get("/@notes/many?conflicts=true").await.yes();
    let text = |rev: &Value| rev.as_str().unwrap().to_owned();
    let mut revs: Vec<String> = read["_conflicts"]
        .as_array()
        .unwrap()
        .iter()
        .map(text)
        .collect();
    revs.push(text(&read["_rev"]));
    revs.sort();
    assert_eq!(revs, expected);
}
