//! `POST /_warden/provisioning` and `/_warden/voicemail`: a database for each user, whatever state it is found in.

use serde_json::{Value, json};

use crate::support::{Client, World, roles_of_user};

pub(crate) const USER_DATABASES: &str = include_str!("../../policies/userdb.toml");

/// With the design documents that are shipped.
pub(crate) const MORE: &str = concat!(
    "[ddocs]\ndirectory = \"",
    env!("CARGO_MANIFEST_DIR"),
    "/ddocs\"\n[provisioning]\ndatabase = \"@provisioning\"\nurl = \"https://localhost:$port\"\n"
);

async fn world() -> World {
    let world = World::with(USER_DATABASES, MORE).await;
    world.database("provisioning", json!([])).await;
    world
}

/// Asks for the caller's database, which is deleted with the world.
pub(crate) async fn provision(world: &World, who: &Client) -> String {
    let answer = who.post("/_warden/provisioning", Value::Null).await.yes();
    let db = answer["database"].as_str().unwrap().to_owned();
    world.adopt(&db);
    db
}

pub(crate) fn name(who: &Client) -> String {
    who.login.clone().unwrap().0
}

/// All that must hold of a database that is complete.
pub(crate) async fn assert_complete(world: &World, who: &Client, db: &str) {
    let security = world.backend().get(&format!("/{db}/_security")).await.yes();
    let name = name(who);
    assert_eq!(security["members"]["names"], json!([name]), "{security}");
    assert_eq!(security["members"]["users"], Value::Null, "{security}");
    assert_eq!(
        security["admins"],
        json!({ "names": [], "roles": ["_admin"] })
    );
    assert_eq!(security["owner"], json!(name));
    let design = world
        .backend()
        .get(&format!("/{db}/_design/mailbox"))
        .await
        .yes();
    assert!(design["validate_doc_update"].is_string(), "{design}");
    let roles = roles_of_user(&name);
    assert!(roles.contains(&format!("user_database:{db}")), "{roles:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_gets_one_database_and_it_is_his_alone() {
    let world = world().await;
    let una = world.user("una", &[]);
    let db = provision(&world, &una).await;
    assert!(db.starts_with('u') && db.len() == 33, "{db}");
    assert_complete(&world, &una, &db).await;
    assert_eq!(
        provision(&world, &una).await,
        db,
        "the second call has made another one"
    );
    // His own, with his name on what he writes; its design is not his to change.
    let path = format!("/{db}/note");
    una.put(&path, json!({ "updated_by": name(&una) }))
        .await
        .yes();
    una.put(&format!("/{db}/other"), json!({ "updated_by": "ops" }))
        .await
        .no(403, "forbidden");
    una.put(&format!("/{db}/_design/mine"), json!({}))
        .await
        .no(403, "forbidden");
    una.put(&format!("/{db}/_security"), json!({}))
        .await
        .no(403, "forbidden");
    // Nobody else's: not here, and not at CouchDB itself.
    let tom = world.as_("tom");
    tom.get(&path).await.no(404, "not_found");
    world.anonymous().get(&path).await.no(401, "unauthorized");
    let direct = world.backend_without_login();
    direct.get(&path).await.no(401, "unauthorized");
    let stranger = direct
        .clone()
        .with_login(&world.name("tom"), crate::support::PASSWORD);
    stranger.get(&path).await.no(403, "forbidden");
    let owner = direct.with_login(&name(&una), crate::support::PASSWORD);
    owner.get(&path).await.yes();
    owner
        .put(&format!("/{db}/_design/mine"), json!({}))
        .await
        .no(403, "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_user_of_couchdb_gets_one() {
    let world = world().await;
    let call = "/_warden/provisioning";
    world
        .anonymous()
        .post(call, Value::Null)
        .await
        .no(401, "unauthorized");
    world
        .as_("rita")
        .get(call)
        .await
        .no(405, "method_not_allowed");
    let without = World::with(USER_DATABASES, "").await;
    without
        .as_("rita")
        .post(call, Value::Null)
        .await
        .no(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_made_database_is_repaired() {
    let world = world().await;
    let una = world.user("una", &[]);
    let db = provision(&world, &una).await;
    let backend = world.backend();
    let security = format!("/{db}/_security");
    let open = json!({ "owner": name(&una), "members": { "users": [name(&una)] }, "admins": { "roles": ["_admin"] } });
    for broken in [json!({}), open] {
        backend.put(&security, broken).await.yes();
        assert_eq!(provision(&world, &una).await, db);
        assert_complete(&world, &una, &db).await;
    }
    let design = backend.get(&format!("/{db}/_design/mailbox")).await.yes();
    let rev = design["_rev"].as_str().unwrap();
    backend
        .delete(&format!("/{db}/_design/mailbox?rev={rev}"))
        .await
        .yes();
    provision(&world, &una).await;
    assert_complete(&world, &una, &db).await;
    backend.delete(&format!("/{db}")).await.yes();
    assert_eq!(provision(&world, &una).await, db);
    assert_complete(&world, &una, &db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replication_that_is_not_as_it_should_be_is_made_anew() {
    let world = world().await;
    let una = world.user("una", &[]);
    let db = provision(&world, &una).await;
    let path = format!("/_replicator/couchwarden:{db}:down");
    let good = world.backend().get(&path).await.yes();
    let break_it = |part: &str| {
        let mut broken = good.clone();
        match part {
            "rights" => broken["couchwarden"]["rights"] = json!("of another role"),
            "owner" => broken["couchwarden"]["owner"] = json!("somebody"),
            "ends" => broken["source"]["url"] = json!("http://127.0.0.1:9/nowhere"),
            "once" => broken["continuous"] = json!(false),
            other => panic!("{other}"),
        }
        broken
    };
    for part in ["rights", "owner", "ends", "once"] {
        world
            .delete_replication(&format!("couchwarden:{db}:down"))
            .await;
        let mut broken = break_it(part);
        broken.as_object_mut().unwrap().remove("_rev");
        world.backend().put(&path, broken).await.yes();
        assert_eq!(provision(&world, &una).await, db);
        let now = world.backend().get(&path).await.yes();
        assert_eq!(now["continuous"], good["continuous"], "{part}");
        for end in ["source", "target"] {
            assert_eq!(now[end]["url"], good[end]["url"], "{part}");
        }
        for kept in ["owner", "rights", "database"] {
            let (now, good) = (&now["couchwarden"], &good["couchwarden"]);
            assert_eq!(now[kept], good[kept], "{part}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_calls_at_once_through_two_couchwardens_make_one_database() {
    let world = world().await;
    let twin = world.another().await;
    let una = world.user("una", &[]);
    let there = Client {
        address: twin,
        ..una.clone()
    };
    let before = world.backend().get("/_all_dbs").await.yes();
    let (one, two) = tokio::join!(provision(&world, &una), provision(&world, &there));
    assert_eq!(one, two);
    assert_complete(&world, &una, &one).await;
    let claimed = roles_of_user(&name(&una));
    assert_eq!(
        claimed
            .iter()
            .filter(|role| role.starts_with("provisioned:"))
            .count(),
        1
    );
    let known = before.as_array().unwrap();
    assert!(!known.contains(&one.into()), "{known:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_a_user_writes_himself_claims_nothing() {
    let world = world().await;
    let (una, tom) = (world.user("una", &[]), world.user("tim", &[]));
    let hers = provision(&world, &una).await;
    let path = format!("/_users/org.couchdb.user:{}", name(&tom));
    let mut document = world.backend().get(&path).await.yes();
    document["provisioning"] = json!({ "database": hers });
    world.backend().put(&path, document).await.yes();
    let his = provision(&world, &tom).await;
    assert_ne!(his, hers);
    // Not even if an administrator mixes two users up.
    let mut document = world.backend().get(&path).await.yes();
    document["roles"] = json!([format!("provisioned:{hers}")]);
    world.backend().put(&path, document).await.yes();
    tom.post("/_warden/provisioning", Value::Null)
        .await
        .no(403, "forbidden");
    assert_complete(&world, &una, &hers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_owner_opens_a_voicemail_database() {
    let world = world().await;
    let id = format!("u{:032x}", rand());
    let una = world.user(
        "una",
        &[&format!("user_database:{id}"), "user_database:box"],
    );
    world.adopt(&id);
    let backend = world.backend();
    backend.put(&format!("/{id}"), Value::Null).await.yes();
    let before = json!({ "admins": { "names": ["switch"], "roles": ["_admin"] }, "members": { "names": ["switch"], "roles": ["warden"] }, "note": 1 });
    backend.put(&format!("/{id}/_security"), before).await.yes();
    let call = format!("/_warden/voicemail/{id}");
    world
        .anonymous()
        .post(&call, Value::Null)
        .await
        .no(401, "unauthorized");
    world
        .as_("tom")
        .post(&call, Value::Null)
        .await
        .no(404, "not_found");
    let absent = format!("/_warden/voicemail/u{:032x}", 7);
    assert_eq!(
        world.as_("tom").post(&call, Value::Null).await.seen(),
        world.as_("tom").post(&absent, Value::Null).await.seen()
    );
    una.post("/_warden/voicemail/box", Value::Null)
        .await
        .no(400, "bad_request");
    for _ in 0..2 {
        una.post(&call, Value::Null).await.yes();
        let security = backend.get(&format!("/{id}/_security")).await.yes();
        let roles = json!(["warden", format!("user_database:{id}"), "update:user_db:"]);
        assert_eq!(
            security["members"],
            json!({ "names": ["switch"], "roles": roles })
        );
        assert_eq!(security["admins"]["names"], json!(["switch"]));
        assert_eq!(security["note"], 1, "what is not ours is lost");
    }
}

/// A number that no other run has.
fn rand() -> u128 {
    let text = crate::support::unique();
    text.bytes().fold(0, |sum: u128, byte| {
        sum.wrapping_mul(131).wrapping_add(byte.into())
    })
}
