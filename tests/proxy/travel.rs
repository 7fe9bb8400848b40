//! What travels between the shared database and a user's own: by CouchDB's replicator, through couchwarden, with
//! PouchDB as the user's application.

use std::time::Duration;

use serde_json::{Value, json};

use crate::provision::{MORE, USER_DATABASES, name, provision};
use crate::support::{Client, Pouch, World, roles_of_user};

const SHARED: &str = include_str!("../../policies/provisioning.toml");

pub(crate) async fn world(more: &str) -> World {
    let rules = format!(
        "{USER_DATABASES}\n{}",
        SHARED.replace("\"provisioning\"", "\"@provisioning\"")
    );
    let world = World::with(&rules, &format!("{MORE}{more}")).await;
    let record = |id: &str, more: Value| {
        let mut record = json!({ "_id": id, "display_name": "old", "tariff": "flat", "user_access": true, "updated_by": "ops" });
        record
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        record
    };
    let records = json!([
        record("number:1@a.example", json!({ "sip_secret": "hidden" })),
        record("endpoint:1@a.example", json!({})),
        record("number:2@a.example", json!({ "user_access": false })),
        record("number:1@b.example", json!({})),
    ]);
    world.database("provisioning", records).await;
    world
}

/// Asks until the answer is as wanted; fails after a while.
pub(crate) async fn until<T: std::fmt::Debug>(
    what: &str,
    mut ask: impl AsyncFnMut() -> T,
    fit: impl Fn(&T) -> bool,
) -> T {
    let mut last = None;
    for _ in 0..600 {
        let answer = ask().await;
        if fit(&answer) {
            return answer;
        }
        last = Some(answer);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{what}: {last:?}");
}

async fn ids(world: &World, db: &str) -> String {
    let rows = world.backend().get(&format!("/{db}/_all_docs")).await.ids();
    let ids = rows.split(' ').filter(|id| !id.starts_with("_design/"));
    ids.collect::<Vec<_>>().join(" ")
}

pub(crate) async fn until_ids(world: &World, db: &str, wanted: &str) {
    until(db, async || ids(world, db).await, |ids| ids == wanted).await;
}

pub(crate) async fn record(world: &World, id: &str) -> Value {
    world
        .backend()
        .get(&format!("/@provisioning/{id}"))
        .await
        .json()
}

pub(crate) async fn jobs(world: &World, db: &str) -> Vec<Value> {
    let mut jobs = Vec::new();
    for way in ["down", "up"] {
        let answer = world
            .backend()
            .get(&format!("/_replicator/couchwarden:{db}:{way}"))
            .await;
        if answer.status == 200 {
            jobs.push(answer.json());
        }
    }
    jobs
}

/// A device keeps in step with the user's database.
fn sync(world: &World, pouch: &mut Pouch, who: &Client, db: &str) {
    let url = format!("https://localhost:{}/{db}", world.address.port());
    pouch.ok(who, json!({ "op": "open", "db": "mine" }));
    let sync = json!({ "op": "sync-start", "source": "mine", "target": url });
    pouch.ok(who, sync);
}

fn set_roles(who: &Client, change: impl FnOnce(&mut Vec<String>)) {
    let mut roles = roles_of_user(&name(who));
    change(&mut roles);
    crate::support::set_roles(&name(who), &roles);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_works_on_its_own_database_and_policy_decides_what_comes_back() {
    let world = world("").await;
    let una = world.user("una", &["number_domain:a.example"]);
    let db = provision(&world, &una).await;
    until_ids(&world, &db, "endpoint:1@a.example number:1@a.example").await;
    let mut pouch = Pouch::start(&world);
    sync(&world, &mut pouch, &una, &db);
    let wait = |id: &str| json!({ "op": "wait", "db": "mine", "id": id, "timeout": 30_000 });
    let number = pouch.ok(&una, wait("number:1@a.example"))["doc"].clone();
    assert_eq!(number["sip_secret"], Value::Null, "{number}");
    // What he may change arrives, and what he could not see is still there.
    let mut edited = number.clone();
    edited["display_name"] = "new".into();
    edited["updated_by"] = name(&una).into();
    pouch.ok(&una, json!({ "op": "put", "db": "mine", "doc": edited }));
    let arrived = until(
        "the edit",
        async || record(&world, "number:1@a.example").await,
        |record| record["display_name"] == "new",
    );
    assert_eq!(arrived.await["sip_secret"], "hidden");
    // What he may not change, create or delete does not, and what comes later still does.
    let signed = |id: &str| json!({ "_id": id, "tariff": "free", "user_access": true, "updated_by": name(&una) });
    let endpoint = pouch.ok(&una, wait("endpoint:1@a.example"))["doc"].clone();
    let mut forbidden = endpoint.clone();
    forbidden["tariff"] = "free".into();
    forbidden["updated_by"] = name(&una).into();
    for denied in [
        forbidden,
        signed("number:9@a.example"),
        signed("number:1@b.example"),
    ] {
        pouch.ok(&una, json!({ "op": "put", "db": "mine", "doc": denied }));
    }
    let number = pouch.ok(
        &una,
        json!({ "op": "get", "db": "mine", "id": "number:1@a.example" }),
    );
    let mut last = number.clone();
    last["display_name"] = "last".into();
    pouch.ok(&una, json!({ "op": "put", "db": "mine", "doc": last }));
    until(
        "the last edit",
        async || record(&world, "number:1@a.example").await,
        |record| record["display_name"] == "last",
    )
    .await;
    assert_eq!(
        record(&world, "endpoint:1@a.example").await["tariff"],
        "flat"
    );
    assert_eq!(record(&world, "number:1@b.example").await["tariff"], "flat");
    assert_eq!(
        record(&world, "number:9@a.example").await["error"],
        "not_found"
    );
    until_failures(&world, &db).await;
}

/// The shipped rules hide `**.password`, which is nothing of an attachment's.
#[tokio::test(flavor = "multi_thread")]
async fn attachments_travel_and_stay() {
    let world = world("").await;
    let una = world.user("una", &["number_domain:a.example"]);
    let id = "number_domain:a.example";
    let greeting = json!({ "greeting": { "content_type": "text/plain", "data": "aGVsbG8=" } });
    let with = json!([{ "_id": id, "user_access": true, "updated_by": "ops", "password": "hidden", "_attachments": greeting }]);
    world.fill("provisioning", with).await;
    let db = provision(&world, &una).await;
    until_ids(
        &world,
        &db,
        &format!("endpoint:1@a.example number:1@a.example {id}"),
    )
    .await;
    assert_eq!(
        una.get(&format!("/{db}/{id}/greeting")).await.text(),
        "hello"
    );
    let mut pouch = Pouch::start(&world);
    sync(&world, &mut pouch, &una, &db);
    let wait = json!({ "op": "wait", "db": "mine", "id": id, "timeout": 30_000 });
    let mut edited = pouch.ok(&una, wait)["doc"].clone();
    edited["display_name"] = "new".into();
    edited["updated_by"] = name(&una).into();
    pouch.ok(&una, json!({ "op": "put", "db": "mine", "doc": edited }));
    let arrived = until(
        "the edit",
        async || record(&world, id).await,
        |record| record["display_name"] == "new",
    );
    assert_eq!(arrived.await["password"], "hidden");
    let kept = format!("/@provisioning/{id}/greeting");
    assert_eq!(world.backend().get(&kept).await.text(), "hello");
}

/// CouchDB counts what was denied.
async fn until_failures(world: &World, db: &str) {
    let path = format!("/_scheduler/docs/_replicator/couchwarden:{db}:up");
    until(
        "denials",
        async || world.backend().get(&path).await.json(),
        |job| job["info"]["doc_write_failures"].as_u64() >= Some(3),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_role_takes_its_documents_away_and_a_granted_one_brings_them() {
    let world = world("replication_timeout = \"40s\"\n").await;
    let una = world.user("una", &["number_domain:a.example"]);
    let db = provision(&world, &una).await;
    let mut pouch = Pouch::start(&world);
    sync(&world, &mut pouch, &una, &db);
    until_ids(&world, &db, "endpoint:1@a.example number:1@a.example").await;
    una.put(&format!("/{db}/own"), json!({ "updated_by": name(&una) }))
        .await
        .yes();
    set_roles(&una, |roles| {
        roles.push("number_domain:b.example".to_owned())
    });
    until_ids(
        &world,
        &db,
        "endpoint:1@a.example number:1@a.example number:1@b.example own",
    )
    .await;
    set_roles(&una, |roles| {
        roles.retain(|role| role != "number_domain:a.example")
    });
    until_ids(&world, &db, "number:1@b.example own").await;
    until_device(&mut pouch, &una, "number:1@b.example own").await;
    // What was taken away from him is not deleted for everybody.
    assert_eq!(
        record(&world, "number:1@a.example").await["display_name"],
        "old"
    );
    assert_eq!(
        record(&world, "endpoint:1@a.example").await["display_name"],
        "old"
    );
    // What he may see again comes back, in his database and on his devices, and is nobody's conflict.
    set_roles(&una, |roles| {
        roles.push("number_domain:a.example".to_owned())
    });
    let all = "endpoint:1@a.example number:1@a.example number:1@b.example own";
    until_ids(&world, &db, all).await;
    until_device(&mut pouch, &una, all).await;
    for place in [&*world.db("provisioning"), &db] {
        let path = format!("/{place}/number:1@a.example?conflicts=true");
        let back = world.backend().get(&path).await.yes();
        assert_eq!(back["display_name"], "old", "{back}");
        assert_eq!(back["_conflicts"], Value::Null, "{back}");
    }
}

/// The ids on a device that syncs with the user's database.
async fn until_device(pouch: &mut Pouch, who: &Client, wanted: &str) {
    let ids = async || {
        let ids = pouch.ids(who, "mine");
        let ids = ids.split(' ').filter(|id| !id.starts_with("_design/"));
        ids.collect::<Vec<_>>().join(" ")
    };
    until("the device", ids, |ids| ids == wanted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_tell_what_becomes_of_the_replications() {
    let world = world("").await;
    let una = world.user("una", &["number_domain:a.example"]);
    world
        .anonymous()
        .get("/_warden/provisioning/events")
        .await
        .no(401, "unauthorized");
    una.get("/_warden/provisioning/events")
        .await
        .no(404, "not_found");
    let db = provision(&world, &una).await;
    let mut feed = una.feed("/_warden/provisioning/events").await;
    assert_eq!(feed.status, 200);
    assert_eq!(feed.headers["content-type"], "text/event-stream");
    let mut heard = String::new();
    while !heard.contains("event: replication:paused") {
        heard.push_str(&feed.line().await.unwrap());
        heard.push('\n');
    }
    una.put(
        &format!("/{db}/number:8@a.example"),
        json!({ "updated_by": name(&una) }),
    )
    .await
    .yes();
    while !heard.contains("data: {\"direction\":\"up\",\"id\":\"number:8@a.example\"}") {
        heard.push_str(&feed.line().await.unwrap());
        heard.push('\n');
    }
    assert!(heard.contains("event: replication:denied"), "{heard}");
    // Who comes back hears of it again, at another couchwarden too.
    let again = Client {
        address: world.another().await,
        ..una.clone().with_header("last-event-id", "1")
    };
    let mut again = again.feed("/_warden/provisioning/events").await;
    let mut repeated = String::new();
    while !repeated.contains("number:8@a.example") {
        repeated.push_str(&again.line().await.unwrap());
    }
    for job in jobs(&world, &db).await {
        world.delete_replication(job["_id"].as_str().unwrap()).await;
    }
    while !heard.contains("event: replication:canceled") {
        heard.push_str(&feed.line().await.unwrap());
        heard.push('\n');
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_listen_no_more_hears_no_more() {
    let world = world("[limits]\nfeed_lease = \"2s\"\n").await;
    let una = world.user("una", &["number_domain:a.example"]);
    provision(&world, &una).await;
    let mut feed = una.feed("/_warden/provisioning/events").await;
    assert_eq!(feed.status, 200);
    set_roles(&una, |roles| {
        roles.retain(|role| !role.starts_with("provisioned:"));
    });
    while feed.line().await.is_some() {}
    una.get("/_warden/provisioning/events")
        .await
        .no(404, "not_found");
}
