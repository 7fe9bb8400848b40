//! `_users`: each user's own document, and sign-up where a rule opens it.

use serde_json::{Value, json};

use crate::support::{Client, World};

/// The password of everybody in the cast.
const PASSWORD: &str = "correct horse";

/// The shipped file, sign-up opened.
async fn world(more: &str) -> World {
    let shipped = include_str!("../../policies/users.toml");
    let opened = shipped
        .replace("\n# [", "\n[")
        .replace("\n# name", "\nname");
    let opened = ["databases", "callers", "permit", "change", "_id", "roles"]
        .iter()
        .fold(opened, |text, key| {
            text.replace(&format!("\n# {key} "), &format!("\n{key} "))
        });
    assert_eq!(opened.matches("[[rule]]").count(), 2, "{opened}");
    World::with(&opened, more).await
}

fn path(client: &Client) -> String {
    let (name, _) = client.login.clone().unwrap();
    format!("/_users/org.couchdb.user:{name}")
}

fn fresh(name: &str) -> Value {
    json!({ "name": name, "type": "user", "roles": [], "password": PASSWORD })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_reads_his_own_account_and_no_other() {
    let world = world("").await;
    let (user, other) = (world.user("ann", &["reader"]), world.user("bob", &[]));
    let own = user.get(&path(&user)).await.yes();
    assert_eq!(own["roles"], json!(["reader"]));
    for hidden in ["derived_key", "salt", "iterations", "password_scheme"] {
        assert!(own[hidden].is_null(), "{own}");
    }
    let foreign = user.get(&path(&other)).await;
    foreign.no(404, "not_found");
    let absent = user.get("/_users/org.couchdb.user:nobody").await;
    assert_eq!(foreign.body, absent.body);
    world
        .anonymous()
        .get(&path(&user))
        .await
        .no(401, "unauthorized");
    let rows = user.get("/_users/_all_docs").await.yes();
    assert_eq!(rows["rows"].as_array().unwrap().len(), 1, "{rows}");
    assert_eq!(rows["rows"][0]["id"], own["_id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_changes_his_password_and_his_profile_and_never_his_roles() {
    let world = world("").await;
    let user = world.user("ann", &["reader"]);
    let path = path(&user);
    let mut own = user.get(&path).await.yes();
    own["profile"] = json!({ "city": "Ulm" });
    let saved = user.put(&path, own.clone()).await.yes();
    own["_rev"] = saved["rev"].clone();
    // Nothing of it was lost: the old password is still good.
    assert_eq!(user.get(&path).await.yes()["profile"]["city"], "Ulm");

    let mut raised = own.clone();
    raised["roles"] = json!(["reader", "writer"]);
    user.put(&path, raised).await.no(403, "forbidden");
    let mut planted = own.clone();
    planted["derived_key"] = json!("00");
    user.put(&path, planted).await.no(403, "forbidden");

    own["password"] = json!("battery staple");
    user.put(&path, own).await.yes();
    let (name, _) = user.login.clone().unwrap();
    let renewed = world.anonymous().with_login(&name, "battery staple");
    let stored = renewed.get(&path).await.yes();
    assert!(stored["password"].is_null(), "{stored}");
    assert_eq!(stored["roles"], json!(["reader"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_written_one_by_one_under_their_own_id() {
    let world = world("").await;
    let user = world.user("ann", &[]);
    let own = user.get(&path(&user)).await.yes();
    let batch = json!({ "docs": [own] });
    let rows = user.post("/_users/_bulk_docs", batch).await.yes();
    assert_eq!(rows[0]["error"], "forbidden", "{rows}");
    let attachment = format!("{}/photo", path(&user));
    let answer = user
        .ask("PUT", &attachment, &[("content-type", "image/png")], "x")
        .await;
    answer.no(403, "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_signs_up_and_logs_in() {
    let world = world("").await;
    let name = world.free_name();
    let path = format!("/_users/org.couchdb.user:{name}");
    let stranger = world.anonymous();
    let mut raised = fresh(&name);
    raised["roles"] = json!(["writer"]);
    stranger.put(&path, raised).await.no(403, "forbidden");
    stranger.put(&path, fresh(&name)).await.yes();
    let user = stranger.clone().with_login(&name, PASSWORD);
    assert_eq!(user.get(&path).await.yes()["name"], name.as_str());

    let posted = world.free_name();
    let mut account = fresh(&posted);
    account["_id"] = json!(format!("org.couchdb.user:{posted}"));
    stranger.post("/_users", account.clone()).await.yes();
    stranger
        .post("/_users", account.clone())
        .await
        .no(409, "conflict");
    account["_id"] = json!(format!("org.couchdb.user:{}", world.name("ops")));
    account["name"] = json!(world.name("ops"));
    stranger.post("/_users", account).await.no(409, "conflict");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_signs_up_under_a_name_that_is_or_was_anothers() {
    let world = world("[nodes]\ndatabase = \"@nodes\"").await;
    let node = world.free_name();
    world
        .database(
            "nodes",
            json!([{ "_id": node, "metadata": { "nodeId": node } }]),
        )
        .await;
    let user = world.user("ann", &[]);
    let gone = world.user("bob", &[]);
    let stored = world.backend().get(&path(&gone)).await.yes();
    let ended = format!("{}?rev={}", path(&gone), stored["_rev"].as_str().unwrap());
    world.backend().delete(&ended).await.yes();
    let gone = gone.login.unwrap().0;
    let account = user.login.unwrap().0;
    // The cast's administrator has an account; this name has none, and would be one all the same.
    let errands = world.config.couchdb.user.clone();
    for name in [
        world.name("ops"),
        account,
        gone,
        node,
        errands,
        "anonymous".to_owned(),
    ] {
        let path = format!("/_users/org.couchdb.user:{name}");
        let answer = world.anonymous().put(&path, fresh(&name)).await;
        assert_eq!(answer.status, 409, "{name}: {:?}", answer.body);
    }
}

/// A name that nobody has yet, but that some node already lets write it.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_signs_up_under_a_name_that_writes_a_node() {
    let world = world("[nodes]\ndatabase = \"@nodes\"").await;
    let name = world.free_name();
    let metadata = json!({ "nodeId": "customer", "nodeAdmins": [name] });
    let nodes = json!([{ "_id": "customer", "metadata": metadata }]);
    world.database("nodes", nodes).await;
    let (stranger, path) = (
        world.anonymous(),
        format!("/_users/org.couchdb.user:{name}"),
    );
    let mut account = fresh(&name);
    account["_id"] = json!(format!("org.couchdb.user:{name}"));
    stranger
        .put(&path, account.clone())
        .await
        .no(409, "conflict");
    stranger
        .post("/_users", account.clone())
        .await
        .no(409, "conflict");
    let kind = [("content-type", "multipart/related; boundary=b")];
    let parts = format!("--b\r\ncontent-type: application/json\r\n\r\n{account}\r\n--b--");
    let answer = stranger.ask("PUT", &path, &kind, parts).await;
    answer.no(415, "bad_content_type");
    let kind = [("content-type", "multipart/form-data; boundary=b")];
    let form = format!(
        "--b\r\ncontent-disposition: form-data; name=\"_doc\"\r\n\r\n{account}\r\n--b--\r\n"
    );
    let answer = stranger.ask("POST", &path, &kind, form).await;
    answer.no(401, "unauthorized");
    let user = world.user("ann", &[]);
    let target = format!("org.couchdb.user:{name}");
    let copied = user
        .ask("COPY", &self::path(&user), &[("destination", &target)], "")
        .await;
    copied.no(403, "forbidden");
    let batch = json!({ "docs": [account.clone()] });
    let answer = stranger.post("/_users/_bulk_docs", batch).await;
    answer.no(401, "unauthorized");
    let forced = json!({ "docs": [account.clone()], "new_edits": false });
    stranger.post("/_users/_bulk_docs", forced).await;
    world.backend().get(&path).await.no(404, "not_found");
    // Once no node names him any more, the name is to be had.
    let open = json!({ "metadata": { "nodeId": "customer" } });
    let changed = world.as_("ops").put("/node/customer", open).await;
    assert_eq!(changed.status, 200, "{:?}", changed.body);
    stranger.put(&path, account).await.yes();
}
