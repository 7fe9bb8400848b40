//! `/node`: configuration that inherits, as callers write it.

use serde_json::{Value, json};

use crate::support::{Client, World, backend};

const NODES: &str =
    "[nodes]\ndatabase = \"@catconf\"\nattributes = [\"customer.numbers\"]\ncreations = 1000\n";

async fn world(more: &str) -> World {
    let world = World::with("", &format!("{NODES}{more}")).await;
    world.database("catconf", json!([])).await;
    world
}

fn node(id: &str, parents: &[&str], admins: &[&str], properties: Value) -> Value {
    let mut node = properties;
    node["metadata"] = json!({ "nodeId": id, "parents": parents, "nodeAdmins": admins });
    node
}

fn user(id: &str, password: &str, parents: &[&str], admins: &[&str]) -> Value {
    let mut node = node(id, parents, admins, json!({}));
    node["metadata"]["authorization"] = json!({ "type": "password", "password": password });
    node
}

async fn put(client: &Client, node: &Value) -> u16 {
    let id = node["metadata"]["nodeId"].as_str().unwrap();
    client
        .put(&format!("/node/{id}"), node.clone())
        .await
        .status
}

/// Without what we set ourselves.
fn told(answer: &Value) -> Value {
    let mut told = answer.clone();
    let metadata = told["metadata"].as_object_mut().unwrap();
    metadata.remove("nodeCreator");
    metadata.remove("nodeCtime");
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_is_read_back_and_only_the_difference_is_stored() {
    let world = world("").await;
    let ops = world.as_("ops");
    let root = node(
        "root",
        &[],
        &[],
        json!({ "plan": "basic", "codecs": ["g711", "g729"], "dial": { "out": true } }),
    );
    assert_eq!(put(&ops, &root).await, 201);
    let full = node(
        "child",
        &["root"],
        &[],
        json!({ "plan": "basic", "codecs": ["g711", "opus", 3], "dial": { "out": null }, "x": {} }),
    );
    assert_eq!(put(&ops, &full).await, 201);
    let read = ops.get("/node/child").await.yes();
    assert_eq!(told(&read), full);
    assert_eq!(read["metadata"]["nodeCreator"], world.name("ops"));
    assert!(read["metadata"]["nodeCtime"].as_u64().unwrap() > 1_700_000_000);
    let single = ops.get("/node/child?single-level").await.yes();
    let own = node(
        "child",
        &["root"],
        &[],
        json!({ "codecs": ["g711", "opus", 3], "dial": { "out": null }, "x": {} }),
    );
    assert_eq!(told(&single), own);
    // What is read can be put back as it is, and nobody else becomes its creator.
    assert_eq!(put(&ops, &read).await, 200);
    assert_eq!(ops.get("/node/child").await.yes(), read);
    // The parent changes, and the child with it.
    let root = node(
        "root",
        &[],
        &[],
        json!({ "plan": "gold", "codecs": ["g711", "g729"], "dial": { "out": true } }),
    );
    assert_eq!(put(&ops, &root).await, 200);
    assert_eq!(ops.get("/node/child").await.yes()["plan"], "gold");
    let single = node("child", &["root"], &[], json!({ "plan": "own" }));
    assert_eq!(
        ops.put("/node/child?single-level", single.clone())
            .await
            .status,
        200
    );
    assert_eq!(
        told(&ops.get("/node/child?single-level").await.yes()),
        single
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_read_back_is_refused_by_its_path() {
    let world = world("").await;
    let ops = world.as_("ops");
    let root = node(
        "root",
        &[],
        &[],
        json!({ "a": { "b": 1 }, "list": [1, 2, 3] }),
    );
    assert_eq!(put(&ops, &root).await, 201);
    for (properties, path) in [
        (json!({ "list": [1, 2, 3] }), "`a`"),
        (json!({ "a": {}, "list": [1, 2, 3] }), "`a.b`"),
        (json!({ "a": { "b": 2 }, "list": [9] }), "`list.1`"),
    ] {
        let answer = ops
            .put("/node/n", node("n", &["root"], &[], properties))
            .await;
        answer.no(400, "bad_request");
        let reason = answer.json()["reason"].clone();
        assert!(reason.as_str().unwrap().starts_with(path), "{reason}");
    }
    // The embedded server is JavaScript, and loses the other one.
    let name = if backend().is_couchdb() {
        "__proto__"
    } else {
        "constructor"
    };
    let shadowed = node(
        "n",
        &["root"],
        &[],
        json!({ "a": null, "list": "none", "x": { name: { "a": 1 } } }),
    );
    let answer = ops.put("/node/n", shadowed.clone()).await;
    assert_eq!(answer.status, 201, "{:?}", answer.body);
    assert_eq!(told(&ops.get("/node/n").await.yes()), shadowed);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_node_is_refused_to_administrators_too() {
    let world = world("").await;
    let ops = world.as_("ops");
    assert_eq!(put(&ops, &node("root", &[], &[], json!({}))).await, 201);
    assert_eq!(
        put(&ops, &node("child", &["root"], &[], json!({}))).await,
        201
    );
    assert_eq!(
        put(&ops, &user("phone", "secret word", &[], &[])).await,
        201
    );
    let metadata = |more: Value| {
        let mut metadata = json!({ "nodeId": "n" });
        metadata
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        json!({ "metadata": metadata })
    };
    for (body, word) in [
        (json!([]), "object"),
        (json!({ "a": 1 }), "metadata"),
        (json!({ "metadata": { "nodeId": "m" } }), "nodeId"),
        (
            json!({ "_rev": "1-a", "metadata": { "nodeId": "n" } }),
            "_rev",
        ),
        (metadata(json!({ "owner": "x" })), "metadata.owner"),
        (metadata(json!({ "parents": "root" })), "metadata.parents"),
        (
            metadata(json!({ "nodeAdmins": [1] })),
            "metadata.nodeAdmins",
        ),
        (metadata(json!({ "parents": ["gone"] })), "gone"),
        (metadata(json!({ "parents": ["phone"] })), "phone"),
        (metadata(json!({ "parents": ["n"] })), "n"),
        (
            metadata(json!({ "authorization": { "type": "bcrypt" } })),
            "password",
        ),
        (
            metadata(json!({ "authorization": { "type": "bcrypt", "crypted": "x" } })),
            "bcrypt",
        ),
        (
            metadata(json!({ "authorization": { "type": "password" } })),
            "authorization",
        ),
        (metadata(json!({ "authorization": null })), "authorization"),
    ] {
        let answer = ops.put("/node/n", body.clone()).await;
        answer.no(400, "bad_request");
        let reason = answer.json()["reason"].clone();
        assert!(reason.as_str().unwrap().contains(word), "{body}: {reason}");
    }
    let looped = ops
        .put("/node/root", node("root", &["child"], &[], json!({})))
        .await;
    looped.no(400, "bad_request");
    let parent = ops
        .put("/node/root", user("root", "secret word", &[], &[]))
        .await;
    parent.no(400, "bad_request");
    ops.delete("/node/root").await.no(400, "bad_request");
    assert_eq!(ops.delete("/node/child").await.status, 200);
    assert_eq!(ops.delete("/node/root").await.status, 200);
    ops.get("/node/root").await.no(404, "not_found");
    ops.put(
        "/node/couchwarden%3Aorder",
        json!({ "metadata": { "nodeId": "couchwarden:order" } }),
    )
    .await
    .no(400, "bad_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_those_in_both_lists_may_write() {
    let world = world("").await;
    let (ops, rita, walt) = (world.as_("ops"), world.as_("rita"), world.as_("walt"));
    let (rita_name, walt_name) = (world.name("rita"), world.name("walt"));
    assert_eq!(
        put(&ops, &node("d", &[], &[&rita_name], json!({ "v": 0 }))).await,
        201
    );
    // Who may comes first: this is no node at all.
    walt.put("/node/d", json!([])).await.no(403, "forbidden");
    world
        .anonymous()
        .put("/node/d", json!([]))
        .await
        .no(401, "unauthorized");
    rita.put("/node/d", json!([])).await.no(400, "bad_request");
    let both: &[&str] = &[&rita_name, &walt_name];
    assert_eq!(put(&walt, &node("d", &[], both, json!({}))).await, 403);
    assert_eq!(
        put(&rita, &node("d", &[], &[&walt_name], json!({}))).await,
        403
    );
    assert_eq!(
        put(&rita, &node("d", &[], both, json!({ "v": 1 }))).await,
        200
    );
    assert_eq!(
        put(&walt, &node("d", &[], both, json!({ "v": 2 }))).await,
        200
    );
    world
        .as_("sue")
        .delete("/node/d")
        .await
        .no(403, "forbidden");
    world
        .anonymous()
        .delete("/node/d")
        .await
        .no(401, "unauthorized");
    assert_eq!(walt.delete("/node/d").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn anybody_creates_nodes_unless_it_is_switched_off() {
    let open = world("").await;
    let stranger = open.anonymous();
    assert_eq!(
        put(&stranger, &node("mine", &[], &["me"], json!({}))).await,
        201
    );
    assert_eq!(
        put(&stranger, &user("newcomer", "secret word", &[], &[])).await,
        201
    );
    let newcomer = open.anonymous().with_login("newcomer", "secret word");
    assert_eq!(
        told(&newcomer.get("/node/newcomer").await.yes())["metadata"]["authorization"],
        json!({ "type": "bcrypt" })
    );
    // A user need not be able to write his own node.
    assert_eq!(
        put(&newcomer, &user("newcomer", "other word", &[], &[])).await,
        403
    );
    newcomer.delete("/node/newcomer").await.no(403, "forbidden");
    let closed = world("creation = false\n").await;
    assert_eq!(
        put(&closed.anonymous(), &node("mine", &[], &[], json!({}))).await,
        401
    );
    assert_eq!(
        put(&closed.as_("rita"), &node("mine", &[], &[], json!({}))).await,
        403
    );
    assert_eq!(
        put(&closed.as_("ops"), &node("mine", &[], &[], json!({}))).await,
        201
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_create_so_many_nodes_and_then_wait() {
    let world = World::with("", "[nodes]\ndatabase = \"@catconf\"\ncreations = 2\n").await;
    world.database("catconf", json!([])).await;
    let stranger = world.as_("rita");
    assert_eq!(put(&stranger, &node("a", &[], &[], json!({}))).await, 201);
    assert_eq!(
        put(&world.anonymous(), &node("b", &[], &[], json!({}))).await,
        201
    );
    let answer = stranger
        .put("/node/c", node("c", &[], &[], json!({})))
        .await;
    answer.no(429, "too_many_requests");
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=1801).contains(&wait), "{wait}");
    assert_eq!(
        put(&world.as_("ops"), &node("c", &[], &[], json!({}))).await,
        201
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_takes_over_a_name() {
    let world = world("").await;
    let ops = world.as_("ops");
    let gone = world.user("gone", &[]);
    let (gone_name, _) = gone.login.clone().unwrap();
    let path = format!("/_users/org.couchdb.user%3A{gone_name}");
    let rev = world.backend().get(&path).await.yes()["_rev"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        world
            .backend()
            .delete(&format!("{path}?rev={rev}"))
            .await
            .status,
        200
    );
    assert_eq!(put(&ops, &user("was", "secret word", &[], &[])).await, 201);
    assert_eq!(ops.delete("/node/was").await.status, 200);
    assert_eq!(
        put(&ops, &node("domain", &[], &["someday"], json!({}))).await,
        201
    );
    let rita = world.name("rita");
    assert_eq!(
        put(&ops, &node("open", &[], &[&rita], json!({}))).await,
        201
    );
    assert_eq!(
        put(&ops, &user("phone", "secret word", &[], &[])).await,
        201
    );
    let expected = json!({ "error": "forbidden", "reason": "you may not write this node" });
    let names = [
        &world.name("ops"),
        &backend().user,
        &world.name("sue"),
        &gone_name,
        "was",
        "someday",
        "anonymous",
        "phone",
        "open",
    ];
    for name in names {
        let answer = world
            .as_("rita")
            .put(
                &format!("/node/{name}"),
                user(name, "mine now", &[], &[&rita]),
            )
            .await;
        assert_eq!(
            (answer.status, answer.json()),
            (403, expected.clone()),
            "{name}"
        );
        let answer = world
            .anonymous()
            .put(&format!("/node/{name}"), user(name, "mine now", &[], &[]))
            .await;
        answer.no(401, "unauthorized");
    }
    // A user's node is not opened to everybody by those who may only write it.
    let mut phone = user("phone2", "secret word", &[], &[&rita]);
    assert_eq!(put(&ops, &phone).await, 201);
    phone["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("authorization");
    assert_eq!(put(&world.as_("rita"), &phone).await, 403);
    assert_eq!(put(&ops, &user("was", "secret word", &[], &[])).await, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_hashed_and_kept_and_shown_to_administrators_only() {
    let world = world("self_service = true\n").await;
    let ops = world.as_("ops");
    assert_eq!(
        put(&ops, &user("phone", "secret word", &[], &[])).await,
        201
    );
    let stored = ops.get("/node/phone").await.yes();
    let hash = stored["metadata"]["authorization"]["crypted"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(hash.starts_with("$2b$04$"), "{hash}");
    let document = world
        .backend()
        .get(&format!("/{}/phone", world.db("catconf")))
        .await;
    assert!(
        !document.text().contains("secret word"),
        "{}",
        document.text()
    );
    let phone = world.anonymous().with_login("phone", "secret word");
    let mut own = phone.get("/node/phone").await.yes();
    assert_eq!(
        own["metadata"]["authorization"],
        json!({ "type": "bcrypt" })
    );
    // Put back as read: the password stays.
    own["screen"] = json!("dark");
    assert_eq!(put(&phone, &own).await, 200);
    assert_eq!(
        ops.get("/node/phone").await.yes()["metadata"]["authorization"]["crypted"],
        json!(hash)
    );
    own["metadata"]["authorization"] = json!({ "type": "bcrypt", "crypted": hash });
    assert_eq!(
        put(&phone, &own).await,
        403,
        "only_administrators_send_a_hash"
    );
    assert_eq!(put(&ops, &own).await, 200);
    for password in ["x".repeat(73), "nul\0".to_owned(), String::new()] {
        ops.put("/node/phone", user("phone", &password, &[], &[]))
            .await
            .no(400, "bad_request");
    }
    assert_eq!(
        put(&ops, &user("phone", &"x".repeat(72), &[], &[])).await,
        200
    );
    phone.get("/node/phone").await.no(401, "unauthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_ends_sessions_and_logins() {
    let world = world("").await;
    let ops = world.as_("ops");
    assert_eq!(
        put(&ops, &user("phone", "secret word", &[], &[])).await,
        201
    );
    let login = world.anonymous().with_login("phone", "secret word");
    let cookie = login.ask("POST", "/session", &[], "").await;
    let cookie = cookie
        .header("set-cookie")
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let session = world.anonymous().with_header("cookie", &cookie);
    assert_eq!(session.get("/node/phone").await.status, 200);
    assert_eq!(login.get("/node/phone").await.status, 200);
    assert_eq!(
        put(&ops, &user("phone", "another word", &[], &[])).await,
        200
    );
    session.get("/node/phone").await.no(401, "unauthorized");
    login.get("/node/phone").await.no(401, "unauthorized");
    assert_eq!(ops.delete("/node/phone").await.status, 200);
    world
        .anonymous()
        .with_login("phone", "another word")
        .get("/node")
        .await
        .no(401, "unauthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_opened_renewed_and_closed() {
    let world = world("").await;
    assert_eq!(
        put(&world.as_("ops"), &user("phone", "secret word", &[], &[])).await,
        201
    );
    let login = world.anonymous().with_login("phone", "secret word");
    world
        .anonymous()
        .ask("PUT", "/session", &[], "")
        .await
        .no(400, "bad_request");
    world
        .anonymous()
        .with_login("phone", "wrong")
        .ask("PUT", "/session", &[], "")
        .await
        .no(401, "unauthorized");
    let opened = login.ask("PUT", "/session", &[], "").await;
    assert_eq!(
        opened.yes(),
        json!({ "ok": true, "name": "phone", "roles": [] })
    );
    let cookie = opened.header("set-cookie").unwrap();
    assert!(
        cookie.starts_with("AuthSession=") && cookie.contains("HttpOnly"),
        "{cookie}"
    );
    let session = world
        .anonymous()
        .with_header("cookie", cookie.split(';').next().unwrap());
    let read = session.get("/session").await;
    assert_eq!(read.yes(), json!({ "user": "phone", "refresh": 300_000 }));
    assert!(
        read.header("set-cookie")
            .unwrap()
            .starts_with("AuthSession="),
        "not renewed"
    );
    // It is the session of `/_session`, too.
    assert_eq!(
        session.get("/_session").await.yes()["userCtx"]["name"],
        "phone"
    );
    assert_eq!(
        world.anonymous().get("/session").await.yes()["user"],
        Value::Null
    );
    let closed = session.delete("/session").await;
    assert!(
        closed
            .header("set-cookie")
            .unwrap()
            .starts_with("AuthSession=;"),
        "{closed:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_administrators_write_what_policies_read() {
    let world = world("self_service = true\n").await;
    let ops = world.as_("ops");
    let rita = world.name("rita");
    let numbers = json!({ "customer": { "numbers": ["1"], "name": "A" } });
    assert_eq!(
        put(&ops, &node("customer", &[], &[&rita], numbers.clone())).await,
        201
    );
    assert_eq!(
        put(&ops, &node("other", &[], &[&rita], json!({}))).await,
        201
    );
    let mut phone = user("phone", "secret word", &["customer"], &[]);
    phone["customer"] = numbers["customer"].clone();
    assert_eq!(put(&ops, &phone).await, 201);
    let refused = async |client: &Client, node: Value| {
        let id = node["metadata"]["nodeId"].as_str().unwrap();
        let answer = client.put(&format!("/node/{id}"), node.clone()).await;
        answer.no(403, "forbidden");
        assert!(
            answer.text().contains("customer.numbers"),
            "{}",
            answer.text()
        );
    };
    let phone = world.anonymous().with_login("phone", "secret word");
    let own = phone.get("/node/phone").await.yes();
    for change in [
        json!({ "numbers": ["2"], "name": "A" }),
        json!({ "numbers": ["1", "2"], "name": "A" }),
        json!("none"),
    ] {
        let mut changed = own.clone();
        changed["customer"] = change;
        refused(&phone, changed).await;
    }
    let mut elsewhere = own.clone();
    elsewhere["metadata"]["parents"] = json!([]);
    elsewhere.as_object_mut().unwrap().remove("customer");
    refused(&phone, elsewhere).await;
    let mut renamed = own.clone();
    renamed["customer"]["name"] = json!("B");
    assert_eq!(put(&phone, &renamed).await, 200);
    // In ancestors, too: what they say is inherited.
    let rita = world.as_("rita");
    let rita_name = world.name("rita");
    refused(
        &rita,
        node(
            "customer",
            &[],
            &[&rita_name],
            json!({ "customer": { "numbers": ["2"] } }),
        ),
    )
    .await;
    refused(
        &rita,
        node("other", &["customer"], &[&rita_name], numbers.clone()),
    )
    .await;
    refused(&rita, node("new", &[], &[], numbers.clone())).await;
    let mut stranger = user("stranger", "secret word", &["customer"], &[]);
    stranger["customer"] = numbers["customer"].clone();
    refused(&rita, stranger).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_can_not_guess_what_he_may_not_read() {
    let world = world("").await;
    let rita = world.name("rita");
    let mut phone = user("phone", "secret word", &[], &[&rita]);
    phone["customer"] = json!({ "numbers": ["17"] });
    assert_eq!(put(&world.as_("ops"), &phone).await, 201);
    let mut answers = Vec::new();
    for guess in [
        json!({ "numbers": ["17"] }),
        json!({ "numbers": ["18"] }),
        json!({}),
    ] {
        let mut phone = phone.clone();
        phone["metadata"]["authorization"] = json!({ "type": "bcrypt" });
        phone["customer"] = guess;
        answers.push(world.as_("rita").put("/node/phone", phone).await.seen());
    }
    assert_eq!(answers[0].0, 403, "{answers:?}");
    assert!(
        answers.iter().all(|answer| *answer == answers[0]),
        "{answers:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_that_can_not_be_one_looks_like_any_other() {
    let world = world("").await;
    let ops = world.as_("ops");
    assert_eq!(
        put(&ops, &user("phone", "secret word", &[], &[])).await,
        201
    );
    assert_eq!(put(&ops, &node("below", &[], &[], json!({}))).await, 201);
    let reason = async |parent: &str| {
        let answer = world
            .as_("rita")
            .put("/node/selfish", node("selfish", &[parent], &[], json!({})))
            .await;
        answer.no(400, "bad_request");
        answer.text().replace(parent, "PARENT")
    };
    assert_eq!(reason("phone").await, reason("gone").await);
    assert_eq!(reason("selfish").await, reason("gone").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_cover_a_node_and_its_ancestors() {
    let world = world("").await;
    let ops = world.as_("ops");
    let root = |value: u64| node("root", &[], &[], json!({ "v": value }));
    let child = |value: u64| node("child", &["root"], &[], json!({ "v": value }));
    assert_eq!(put(&ops, &root(1)).await, 201);
    let send = async |method: &str, header: (&str, &str), body: Value| {
        let headers = [header, ("content-type", "application/json")];
        ops.ask(method, "/node/child", &headers, body.to_string())
            .await
            .status
    };
    assert_eq!(send("PUT", ("if-match", "*"), child(1)).await, 412);
    assert_eq!(send("PUT", ("if-none-match", "*"), child(1)).await, 201);
    assert_eq!(send("PUT", ("if-none-match", "*"), child(2)).await, 412);
    let tag = ops
        .get("/node/child")
        .await
        .header("etag")
        .unwrap()
        .to_owned();
    assert_eq!(put(&ops, &root(2)).await, 200);
    assert_eq!(send("PUT", ("if-match", &tag), child(3)).await, 412);
    let tag = ops
        .get("/node/child")
        .await
        .header("etag")
        .unwrap()
        .to_owned();
    assert_eq!(
        send("PUT", ("if-match", &format!("\"x\", {tag}")), child(4)).await,
        200
    );
    assert_eq!(send("DELETE", ("if-match", &tag), json!({})).await, 412);
    let tag = ops
        .get("/node/child")
        .await
        .header("etag")
        .unwrap()
        .to_owned();
    assert_eq!(send("DELETE", ("if-match", &tag), json!({})).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn users_write_their_own_nodes_where_that_is_switched_on() {
    let world = world("self_service = true\n").await;
    let ops = world.as_("ops");
    assert_eq!(
        put(&ops, &user("phone", "secret word", &[], &[])).await,
        201
    );
    assert_eq!(
        put(&ops, &user("other", "secret word", &[], &[])).await,
        201
    );
    let phone = world.anonymous().with_login("phone", "secret word");
    assert_eq!(put(&phone, &user("phone", "new word", &[], &[])).await, 200);
    let phone = world.anonymous().with_login("phone", "new word");
    assert_eq!(put(&phone, &user("other", "new word", &[], &[])).await, 403);
    phone.delete("/node/other").await.no(404, "not_found");
    assert_eq!(phone.delete("/node/phone").await.status, 200);
}
