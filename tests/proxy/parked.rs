//! How long a replication of ours lives: parked without use, woken by use and by changes, ended with its user.

use serde_json::{Value, json};

use crate::provision::{name, provision};
use crate::support::{Client, World};
use crate::travel::{jobs, record, until, until_ids, world};

async fn until_jobs(world: &World, db: &str, wanted: usize) {
    let left = async || jobs(world, db).await.len();
    until("replications", left, |left| *left == wanted).await;
}

/// Logs in, and out again.
async fn log_out(world: &World, who: &Client) {
    let login = json!({ "name": name(who), "password": crate::support::PASSWORD });
    let login = world.anonymous().post("/_session", login).await;
    let cookie = login.header("set-cookie").unwrap();
    let cookie = cookie.split(';').next().unwrap();
    let session = world.anonymous().with_header("cookie", cookie);
    session.delete("/_session").await.yes();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_dies_with_its_replication() {
    let world = world("").await;
    let una = world.user("una", &["number_domain:a.example"]);
    let db = provision(&world, &una).await;
    let running = jobs(&world, &db).await;
    let bearer = running[0]["source"]["headers"]["Authorization"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(running[0]["couchwarden"]["owner"], json!(name(&una)));
    let borne = world.anonymous().with_header("authorization", &bearer);
    assert!(
        borne
            .get("/@provisioning/_changes")
            .await
            .ids()
            .contains("number:1@a.example")
    );
    // Not for his own database, not for the server, and not for our own services.
    borne
        .get(&format!("/{db}/_all_docs"))
        .await
        .no(403, "forbidden");
    borne
        .post("/_warden/provisioning", Value::Null)
        .await
        .no(403, "forbidden");
    for job in running {
        world.delete_replication(job["_id"].as_str().unwrap()).await;
    }
    until(
        "the token",
        async || borne.get("/@provisioning/_changes").await.status,
        |status| *status == 401,
    )
    .await;
    // The next call finishes the work, with another token, and the old one stays dead.
    provision(&world, &una).await;
    assert_eq!(jobs(&world, &db).await.len(), 2);
    borne
        .get("/@provisioning/_changes")
        .await
        .no(401, "unauthorized");
}

/// What the replicator shows in the user's database opens that one, and only while the replication lives.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_a_replication_ends_with_it() {
    let world = world("end_on_logout = true\n").await;
    let una = world.user("una", &["number_domain:a.example"]);
    let tom = world.user("tim", &["number_domain:b.example"]);
    let (db, his) = (provision(&world, &una).await, provision(&world, &tom).await);
    let shown = |document: &Value, end: &str| {
        document[end]["headers"]["Authorization"]
            .as_str()
            .map(str::to_owned)
    };
    let [down, up] = &*jobs(&world, &db).await else {
        panic!("two replications");
    };
    let Some(token) = shown(down, "target") else {
        return; // This CouchDB takes no tokens: the replicator comes with a password.
    };
    for document in [down, up] {
        assert!(!document.to_string().contains("\"auth\""), "{document}");
    }
    assert_ne!(shown(up, "source").unwrap(), token);
    let borne = world
        .backend_without_login()
        .with_header("authorization", &token);
    borne.get(&format!("/{db}/_all_docs")).await.yes();
    let session = borne.get("/_session").await.yes();
    let roles = session["userCtx"]["roles"].as_array().unwrap();
    assert_eq!((roles.len(), &roles[0]), (1, &down["couchwarden"]["role"]));
    // No other database, nothing of the server, and nothing here.
    let shared = world.db("provisioning");
    for other in [format!("/{his}/_all_docs"), format!("/{shared}/_all_docs")] {
        borne.get(&other).await.no(403, "forbidden");
    }
    borne
        .put(&format!("/{db}/_design/mine"), json!({}))
        .await
        .no(403, "forbidden");
    let here = world.anonymous().with_header("authorization", &token);
    for path in ["/", "/@provisioning/_changes", &format!("/{db}/_all_docs")] {
        here.get(path).await.no(401, "unauthorized");
    }
    log_out(&world, &una).await;
    borne
        .get(&format!("/{db}/_all_docs"))
        .await
        .no(403, "forbidden");
    // The next replication brings another, and the old one stays dead.
    provision(&world, &una).await;
    let [down, _] = &*jobs(&world, &db).await else {
        panic!("two replications");
    };
    let next = shown(down, "target").unwrap();
    let next = world
        .backend_without_login()
        .with_header("authorization", &next);
    next.get(&format!("/{db}/_all_docs")).await.yes();
    borne
        .get(&format!("/{db}/_all_docs"))
        .await
        .no(403, "forbidden");
}

/// An administrator ends a replication by hand, or writes `_security` anew.
#[tokio::test(flavor = "multi_thread")]
async fn who_may_replicate_is_what_the_documents_say() {
    let world = world("replication_timeout = \"2m\"\n").await;
    let una = world.user("una", &["number_domain:a.example"]);
    let db = provision(&world, &una).await;
    let roles = async || {
        let security = world.backend().get(&format!("/{db}/_security")).await.yes();
        let roles = security["members"]["roles"].as_array().unwrap().clone();
        roles
            .into_iter()
            .filter(|role| role.as_str().unwrap().starts_with("couchwarden:"))
            .collect::<Vec<_>>()
    };
    let marked = async || {
        let jobs = jobs(&world, &db).await;
        let roles = jobs.iter().map(|job| job["couchwarden"]["role"].clone());
        roles.filter(|role| !role.is_null()).collect::<Vec<_>>()
    };
    assert_eq!(roles().await, marked().await);
    let named = json!({ "owner": name(&una), "members": { "names": [name(&una)], "roles": ["x"] }, "admins": { "roles": ["_admin"] } });
    world
        .backend()
        .put(&format!("/{db}/_security"), named)
        .await
        .yes();
    provision(&world, &una).await;
    assert_eq!(roles().await, marked().await);
    let new = json!({ "_id": "number:6@a.example", "user_access": true });
    world.fill("provisioning", json!([new])).await;
    let all = "endpoint:1@a.example number:1@a.example number:6@a.example";
    until_ids(&world, &db, all).await;
}

/// A document of the time before tokens holds the service account's password.
#[tokio::test(flavor = "multi_thread")]
async fn documents_with_a_password_are_written_anew() {
    let world = world("replication_timeout = \"40s\"\n").await;
    let una = world.user("una", &["number_domain:a.example"]);
    let db = provision(&world, &una).await;
    let [down, _] = &*jobs(&world, &db).await else {
        panic!("two replications");
    };
    if down["couchwarden"]["role"].is_null() {
        return; // This CouchDB takes no tokens.
    }
    let mut old = down.clone();
    let basic = json!({ "username": "somebody", "password": "canary" });
    old["target"] = json!({ "url": down["target"]["url"], "auth": { "basic": basic } });
    let mark = old["couchwarden"].as_object_mut().unwrap();
    mark.remove("role");
    let far = mark["used"].as_u64().unwrap() + 3600;
    mark.insert("used".into(), far.into());
    let id = down["_id"].as_str().unwrap();
    world.delete_replication(id).await;
    old.as_object_mut()
        .unwrap()
        .retain(|name, _| name == "_id" || !name.starts_with('_'));
    world
        .backend()
        .put(&format!("/_replicator/{id}"), old)
        .await
        .yes();
    let document = async || {
        world
            .backend()
            .get(&format!("/_replicator/{id}"))
            .await
            .json()
            .to_string()
    };
    let new = until("the document", document, |text| !text.contains("canary")).await;
    assert!(new.contains("\"role\":\"couchwarden:replication:"), "{new}");
    let added = json!({ "_id": "number:7@a.example", "user_access": true });
    world.fill("provisioning", json!([added])).await;
    let all = "endpoint:1@a.example number:1@a.example number:7@a.example";
    until_ids(&world, &db, all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replication_is_parked_without_use_and_goes_on_with_it() {
    let world = world("replication_timeout = \"2s\"\n").await;
    let una = world.user("una", &["number_domain:a.example"]);
    let db = provision(&world, &una).await;
    until_jobs(&world, &db, 0).await;
    // A look into his database is use.
    una.get(&format!("/{db}/_all_docs")).await.yes();
    assert_eq!(jobs(&world, &db).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_replication_is_woken_by_a_change_that_concerns_its_user() {
    let world = world("replication_timeout = \"15s\"\nend_on_logout = true\n").await;
    let una = world.user("una", &["number_domain:a.example"]);
    let tom = world.user("tim", &["number_domain:b.example"]);
    let out = world.user("out", &["number_domain:a.example"]);
    let (hers, his) = (provision(&world, &una).await, provision(&world, &tom).await);
    let ended = provision(&world, &out).await;
    until_ids(&world, &hers, "endpoint:1@a.example number:1@a.example").await;
    log_out(&world, &out).await;
    until_jobs(&world, &hers, 0).await;
    until_jobs(&world, &his, 0).await;
    let mut changed = record(&world, "number:1@a.example").await;
    changed["display_name"] = "changed".into();
    world.fill("provisioning", json!([changed])).await;
    let path = format!("/{hers}/number:1@a.example");
    until(
        "the change",
        async || world.backend().get(&path).await.json(),
        |record| record["display_name"] == "changed",
    )
    .await;
    // Nobody else's is started: not of him who may not see it, and not of him who has logged out.
    assert_eq!(jobs(&world, &his).await.len(), 0);
    assert_eq!(jobs(&world, &ended).await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replication_goes_on_when_its_user_has_another_password() {
    let world = world("replication_timeout = \"20s\"\n").await;
    let una = world.user("una", &["number_domain:a.example"]);
    let db = provision(&world, &una).await;
    until_ids(&world, &db, "endpoint:1@a.example number:1@a.example").await;
    let path = format!("/_users/org.couchdb.user:{}", name(&una));
    let mut account = world.backend().get(&path).await.yes();
    account["password"] = json!("another");
    let held = jobs(&world, &db).await[0]["source"]["headers"]["Authorization"].clone();
    world.backend().put(&path, account).await.yes();
    let borne = world.anonymous();
    let borne = borne.with_header("authorization", held.as_str().unwrap());
    let asked = async || borne.get("/@provisioning/_changes").await.status;
    until("the old token's end", asked, |status| *status == 401).await;
    let new = json!({ "_id": "number:5@a.example", "user_access": true });
    world.fill("provisioning", json!([new])).await;
    let all = "endpoint:1@a.example number:1@a.example number:5@a.example";
    until_ids(&world, &db, all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logging_out_ends_a_replication_where_it_is_configured() {
    let world = world("end_on_logout = true\n").await;
    let una = world.user("una", &["number_domain:a.example"]);
    let db = provision(&world, &una).await;
    assert_eq!(jobs(&world, &db).await.len(), 2);
    log_out(&world, &una).await;
    assert_eq!(jobs(&world, &db).await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_of_a_removed_user_is_nobodys() {
    let world = world("replication_timeout = \"20s\"\n").await;
    let una = world.user("una", &["number_domain:a.example"]);
    let db = provision(&world, &una).await;
    until_ids(&world, &db, "endpoint:1@a.example number:1@a.example").await;
    world.remove_user(&name(&una));
    let path = format!("/{db}/_security");
    let locked = until(
        "the lock",
        async || world.backend().get(&path).await.json(),
        |security| security["members"]["names"] == json!([]),
    );
    assert_eq!(locked.await["members"]["roles"], json!(["_admin"]));
    assert_eq!(jobs(&world, &db).await.len(), 0);
    // Another one of the same name gets another database.
    world.make_user(&name(&una), &["number_domain:b.example"]);
    let other = until(
        "another database",
        async || una.post("/_warden/provisioning", Value::Null).await,
        |answer| answer.status == 200,
    );
    let other = other.await.json()["database"].as_str().unwrap().to_owned();
    world.adopt(&other);
    assert_ne!(other, db);
    una.get(&format!("/{db}/number:1@a.example"))
        .await
        .no(404, "not_found");
}
