//! Rights that grow reach an unmodified PouchDB, between two replications and in the middle of a live one; nobody else
//! starts again.

use serde_json::{Value, json};

use crate::support::{Client, Pouch, World};

const RULES: &str = r#"
[[rule]]
name      = "readers"
databases = ["@notes"]
callers   = { roles = ["reader"] }
permit    = ["replicate"]
documents = { kind = "open" }

[[rule]]
name      = "insiders"
databases = ["@notes"]
callers   = { roles = ["insider"] }
permit    = ["replicate"]
documents = { kind = "shut" }

[[rule]]
name      = "growers"
databases = ["@notes"]
callers   = { roles = ["grower"] }
permit    = ["replicate"]
documents = { kind = { "$in" = ["open"] } }

[[rule]]
name      = "nodes"
databases = ["@notes"]
callers   = { everyone = true }
permit    = ["replicate"]
documents = { kind = "{node:sees}" }
"#;

const MORE: &str = r#"
[nodes]
database   = "@catconf"
attributes = ["sees"]
[limits]
feed_lease = "2s"
"#;

/// What makes rights grow.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Cause {
    Role,
    Policies,
    Attribute,
}

const CAUSES: [Cause; 3] = [Cause::Role, Cause::Policies, Cause::Attribute];

#[tokio::test(flavor = "multi_thread")]
async fn what_has_become_visible_arrives_with_the_next_replication() {
    for cause in CAUSES {
        let (world, grower) = filled(cause).await;
        let rita = world.as_("rita");
        let mut pouch = Pouch::start(&world);
        for (who, db) in [(&grower, "mine"), (&rita, "other")] {
            pouch.ok(who, json!({ "op": "open", "db": db }));
            assert_eq!(pull(&mut pouch, who, db), 3, "{cause:?}");
            assert_eq!(pull(&mut pouch, who, db), 0, "{cause:?}");
            assert_eq!(pouch.ids(who, db), "a c e", "{cause:?}");
        }
        grow(&world, cause, &grower).await;
        while grower.get("/@notes/_changes").await.ids() != "a b c d e" {}
        assert_eq!(pull(&mut pouch, &grower, "mine"), 5, "{cause:?}");
        assert_eq!(pouch.ids(&grower, "mine"), "a b c d e", "{cause:?}");
        // From now on he goes on where he is, as the other one did all the time.
        assert_eq!(pull(&mut pouch, &grower, "mine"), 0, "{cause:?}");
        assert_eq!(pull(&mut pouch, &rita, "other"), 0, "{cause:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_become_visible_arrives_in_the_middle_of_a_live_replication() {
    for cause in CAUSES {
        let (world, grower) = filled(cause).await;
        let rita = world.as_("rita");
        let mut pouch = Pouch::start(&world);
        let mut syncs = Vec::new();
        for (who, db) in [(&grower, "mine"), (&rita, "other")] {
            pouch.ok(who, json!({ "op": "open", "db": db }));
            let command = json!({ "op": "sync-start", "source": db, "target": "@notes" });
            syncs.push(pouch.ok(who, command)["sync"].clone());
            pouch.ok(who, json!({ "op": "wait", "db": db, "id": "e" }));
            let paused = json!({ "op": "sync-wait", "sync": syncs.last(), "event": "paused" });
            pouch.ok(who, paused);
        }
        rows(&mut pouch, &rita);
        grow(&world, cause, &grower).await;
        for id in ["b", "d"] {
            pouch.ok(
                &grower,
                json!({ "op": "wait", "db": "mine", "id": id, "timeout": 20_000 }),
            );
        }
        // The live one still lives, and so does the other, who saw this row and no other.
        world
            .fill("notes", json!([{ "_id": "f", "kind": "open" }]))
            .await;
        for (who, db) in [(&grower, "mine"), (&rita, "other")] {
            pouch.ok(
                who,
                json!({ "op": "wait", "db": db, "id": "f", "timeout": 20_000 }),
            );
        }
        assert_eq!(rows(&mut pouch, &rita), 1, "{cause:?}");
        assert_eq!(pouch.ids(&rita, "other"), "a c e f", "{cause:?}");
        for sync in syncs {
            let events = pouch.ok(&rita, json!({ "op": "sync-events", "sync": sync }));
            assert!(
                !events.to_string().contains("\"event\":\"error\""),
                "{events}"
            );
            pouch.ok(&rita, json!({ "op": "sync-stop", "sync": sync }));
        }
    }
}

async fn grow(world: &World, cause: Cause, grower: &Client) {
    match cause {
        Cause::Role => world.roles(grower, &["reader", "insider"]),
        Cause::Policies => {
            world.reload(&RULES.replace(r#""$in" = ["open"]"#, r#""$in" = ["open", "shut"]"#));
        }
        Cause::Attribute => {
            let mut room = world.backend().get("/@catconf/room").await.yes();
            room["sees"] = json!(["open", "shut"]);
            world.fill("catconf", json!([room])).await;
        }
    }
}

/// How many rows of `_changes` this user was sent by one replication.
fn pull(pouch: &mut Pouch, who: &Client, db: &str) -> u64 {
    rows(pouch, who);
    let command = json!({ "op": "replicate", "source": "@notes", "target": db });
    let outcome = pouch.ok(who, command);
    assert_eq!(outcome["denied"], json!([]), "{outcome}");
    rows(pouch, who)
}

/// How many rows of `_changes` this user was sent since the last time.
fn rows(pouch: &mut Pouch, who: &Client) -> u64 {
    pouch.ok(who, json!({ "op": "rows" }))["rows"]
        .as_u64()
        .unwrap()
}

/// Documents of which every second is open, and somebody whose rights can grow by this cause.
async fn filled(cause: Cause) -> (World, Client) {
    let world = World::with(RULES, MORE).await;
    let metadata =
        |id: &str, parents: Value| json!({ "nodeId": id, "parents": parents, "nodeAdmins": [] });
    let mut phone = json!({ "_id": "phone", "metadata": metadata("phone", json!(["room"])) });
    let hashed = bcrypt::hash("secret word", 4).unwrap();
    phone["metadata"]["authorization"] = json!({ "type": "bcrypt", "crypted": hashed });
    let room = json!({ "_id": "room", "sees": ["open"], "metadata": metadata("room", json!([])) });
    world.database("catconf", json!([phone, room])).await;
    world.database("notes", json!([])).await;
    for (n, id) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        let kind = if n % 2 == 0 { "open" } else { "shut" };
        world
            .fill("notes", json!([{ "_id": id, "kind": kind }]))
            .await;
    }
    let grower = match cause {
        Cause::Role => world.user("rosa", &["reader"]),
        Cause::Policies => world.user("rosa", &["grower"]),
        Cause::Attribute => world.anonymous().with_login("phone", "secret word"),
    };
    (world, grower)
}
