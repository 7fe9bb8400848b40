//! `/node` under concurrency: two couchwardens, many writers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Client, World};

const NODES: &str = "[nodes]\ndatabase = \"@catconf\"\n";

fn node(id: &str, parents: &[String], user: bool) -> Value {
    let mut node = json!({ "metadata": { "nodeId": id, "parents": parents } });
    if user {
        // A hash costs nothing to store.
        let crypted = "$2b$04$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
        node["metadata"]["authorization"] = json!({ "type": "bcrypt", "crypted": crypted });
    }
    node
}

/// A little generator, so that each run is the same.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % sides
    }
}

/// One random write among twelve ids; gives the status.
async fn write(client: &Client, dice: &mut Dice) -> u16 {
    let id = format!("n{}", dice.roll(12));
    if dice.roll(4) == 0 {
        return client.delete(&format!("/node/{id}")).await.status;
    }
    let parents: BTreeSet<String> = (0..dice.roll(3))
        .map(|_| format!("n{}", dice.roll(12)))
        .collect();
    let parents: Vec<String> = parents.into_iter().collect();
    let node = node(&id, &parents, dice.roll(4) == 0);
    client.put(&format!("/node/{id}"), node).await.status
}

/// Every node as it is stored: its parents, and whether it is a user node.
async fn stored(world: &World) -> BTreeMap<String, (Vec<String>, bool)> {
    let path = format!(
        "/{}/_all_docs?include_docs=true&conflicts=true",
        world.db("catconf")
    );
    let rows = world.backend().get(&path).await.yes();
    let mut nodes = BTreeMap::new();
    for row in rows["rows"].as_array().unwrap() {
        let document = &row["doc"];
        assert_eq!(document["_conflicts"], Value::Null, "{document}");
        let metadata = &document["metadata"];
        if let Some(id) = metadata["nodeId"].as_str() {
            let parents = metadata["parents"].as_array().unwrap();
            let parents = parents.iter().map(|id| id.as_str().unwrap().to_owned());
            nodes.insert(
                id.to_owned(),
                (parents.collect(), metadata["authorization"].is_object()),
            );
        }
    }
    nodes
}

fn assert_sound(nodes: &BTreeMap<String, (Vec<String>, bool)>) {
    for (id, (parents, _)) in nodes {
        for parent in parents {
            let found = nodes
                .get(parent)
                .unwrap_or_else(|| panic!("{id}: the parent {parent} is missing"));
            assert!(!found.1, "{id}: the parent {parent} is a user node");
        }
        let (mut above, mut seen) = (parents.clone(), BTreeSet::new());
        while let Some(ancestor) = above.pop() {
            assert_ne!(ancestor, *id, "{id} is among its own ancestors");
            if seen.insert(ancestor.clone()) {
                above.extend(nodes[&ancestor].0.iter().cloned());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_racing_writes_through_two_couchwardens_break_nothing() {
    let world = Arc::new(World::with("", NODES).await);
    world.database("catconf", json!([])).await;
    let other = world.another().await;
    let mut writers = Vec::new();
    for at in 0..20_u64 {
        let mut client = world.as_("ops");
        if at % 2 == 1 {
            client.address = other;
        }
        writers.push(tokio::spawn(async move {
            let mut dice = Dice(at + 1);
            let mut statuses = BTreeMap::new();
            for _ in 0..50 {
                let begun = Instant::now();
                *statuses.entry(write(&client, &mut dice).await).or_insert(0) += 1;
                assert!(begun.elapsed() < Duration::from_secs(25));
            }
            statuses
        }));
    }
    let mut all: BTreeMap<u16, u32> = BTreeMap::new();
    for writer in writers {
        for (status, count) in writer.await.unwrap() {
            *all.entry(status).or_default() += count;
        }
    }
    assert_sound(&stored(&world).await);
    let known: BTreeSet<u16> = [200, 201, 400, 404, 503].into();
    assert!(all.keys().all(|status| known.contains(status)), "{all:?}");
    assert!(all[&200] + all[&201] > 100, "{all:?}");
    // Who waits in vain for his turn is told to come back; few are.
    assert!(all.get(&503).is_none_or(|late| *late < 20), "{all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_read_here_at_once_and_elsewhere_within_a_second() {
    let world = World::with("", NODES).await;
    world.database("catconf", json!([])).await;
    let here = world.as_("ops");
    let there = Client {
        address: world.another().await,
        ..here.clone()
    };
    assert_eq!(there.get("/node/n").await.status, 404);
    for value in 0..20 {
        let mut root = node("root", &[], false);
        root["v"] = json!(value);
        assert!(here.put("/node/root?single-level", root).await.status < 300);
        if value == 0 {
            assert_eq!(
                here.put(
                    "/node/n?single-level",
                    node("n", &["root".to_owned()], false)
                )
                .await
                .status,
                201
            );
        }
        assert_eq!(here.get("/node/n").await.yes()["v"], value);
        let written = Instant::now();
        while there.get("/node/n").await.json()["v"] != value {
            assert!(
                written.elapsed() < Duration::from_secs(1),
                "{value} is late"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_conditions_the_last_writer_wins() {
    let world = Arc::new(World::with("", NODES).await);
    world.database("catconf", json!([])).await;
    let other = world.another().await;
    assert_eq!(
        world
            .as_("ops")
            .put("/node/n", node("n", &[], false))
            .await
            .status,
        201
    );
    let mut writers = Vec::new();
    for at in 0..20 {
        let mut client = world.as_("ops");
        if at % 2 == 1 {
            client.address = other;
        }
        writers.push(tokio::spawn(async move {
            let mut node = node("n", &[], false);
            node["v"] = json!(at);
            client.put("/node/n", node).await.status
        }));
    }
    for writer in writers {
        assert_eq!(writer.await.unwrap(), 200);
    }
    let last = world.as_("ops").get("/node/n").await.yes();
    assert!(last["v"].as_u64().unwrap() < 20, "{last}");
}
