//! `/node` in its corners: odd ids, deep and wide trees, parents that disagree, tags, what is put back as it was
//! read.

use serde_json::{Value, json};

use crate::support::{Client, World};

const NODES: &str = "[nodes]\ndatabase = \"@catconf\"\nattributes = [\"customer.numbers\"]\n";

async fn world(more: &str) -> World {
    let world = World::with("", &format!("{NODES}{more}")).await;
    world.database("catconf", json!([])).await;
    world
}

fn node(id: &str, parents: &[&str], properties: Value) -> Value {
    let mut node = properties;
    node["metadata"] = json!({ "nodeId": id, "parents": parents, "nodeAdmins": [] });
    node
}

fn user(id: &str, parents: &[&str], properties: Value) -> Value {
    let mut node = node(id, parents, properties);
    node["metadata"]["authorization"] = json!({ "type": "password", "password": "secret word" });
    node
}

async fn made(client: &Client, node: Value) {
    let id = node["metadata"]["nodeId"].as_str().unwrap();
    let answer = client.put(&format!("/node/{id}"), node.clone()).await;
    assert_eq!(answer.status, 201, "{:?}", answer.body);
}

fn results(answer: &Value) -> Vec<&str> {
    let ids = answer["results"].as_array().unwrap();
    ids.iter().map(|id| id.as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn head_says_what_get_says() {
    let world = world("").await;
    let ops = world.as_("ops");
    made(&ops, node("root", &[], json!({ "a": 1 }))).await;
    made(&ops, user("phone", &["root"], json!({ "a": 1 }))).await;
    let phone = world.anonymous().with_login("phone", "secret word");
    for path in ["/node", "/node/root", "/node/phone", "/node/phone?raw"] {
        let (get, head) = (
            phone.get(path).await,
            phone.ask("HEAD", path, &[], "").await,
        );
        assert_eq!((get.status, head.status), (200, 200), "{path}");
        for name in ["etag", "content-length", "content-type", "cache-control"] {
            assert_eq!(get.header(name), head.header(name), "{path}: {name}");
        }
        assert!(head.body.is_empty(), "{head:?}");
    }
    let head = async |client: Client| client.ask("HEAD", "/node/phone", &[], "").await.status;
    assert_eq!(head(world.as_("rita")).await, 404);
    assert_eq!(head(world.anonymous()).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_may_be_any_text() {
    let world = world("").await;
    let ops = world.as_("ops");
    // Composed and decomposed, a slash, what URLs and JSON escape, what is no one's word outside of `/node`.
    let ids = [
        ("K%C3%B6ln", "K\u{f6}ln"),
        ("Ko%CC%88ln", "Ko\u{308}ln"),
        ("a%2Fb", "a/b"),
        ("a%20b", "a b"),
        ("a%2Bb", "a+b"),
        ("100%25", "100%"),
        ("%22%5C", "\"\\"),
        ("%F0%9F%93%9E", "\u{1f4de}"),
        ("node", "node"),
    ];
    for (at, (path, id)) in ids.into_iter().enumerate() {
        let path = format!("/node/{path}");
        let answer = ops.put(&path, node(id, &[], json!({ "at": at }))).await;
        assert_eq!(answer.status, 201, "{id}: {:?}", answer.body);
        let child = format!("child{at}");
        made(&ops, node(&child, &[id], json!({ "at": at }))).await;
        let below = format!("/node?in-domain={}", path.replace("/node/", ""));
        assert_eq!(results(&ops.get(&below).await.yes()), [child.as_str()]);
        ops.delete(&path).await.no(400, "bad_request");
    }
    let all = ops.get("/node").await.yes();
    for (at, (path, id)) in ids.into_iter().enumerate() {
        let path = format!("/node/{path}");
        assert_eq!(ops.get(&path).await.yes()["at"], at, "{id}");
        assert!(results(&all).contains(&id), "{id}: {all}");
        assert_eq!(ops.delete(&format!("/node/child{at}")).await.status, 200);
        assert_eq!(ops.delete(&path).await.status, 200);
        assert_eq!(ops.get(&path).await.status, 404, "{id}");
    }
    // A `+` is what CouchDB makes of it, a blank; and other spellings are one id or none.
    made(&ops, node("spelled", &[], json!({}))).await;
    assert_eq!(ops.get("/node/sp%65lled").await.status, 200);
    assert_eq!(
        ops.put("/node/a+b", node("a b", &[], json!({})))
            .await
            .status,
        201
    );
    assert_eq!(ops.get("/node/a%20b").await.status, 200);
    for path in ["_x", "_design%2Fx", "_local%2Fx", "%00", "", "a/b"] {
        let path = format!("/node/{path}");
        let answer = ops.put(&path, node("x", &[], json!({}))).await;
        assert!(matches!(answer.status, 400 | 404), "{path}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deep_chain_is_read_whole_and_ends_where_it_is_too_deep() {
    let world = world("").await;
    let ops = world.as_("ops");
    let documents: Vec<Value> = (0..=513)
        .map(|at| {
            let above = (at > 0).then(|| format!("n{}", at - 1));
            let mut node = node(&format!("n{at}"), &[], json!({ format!("p{at}"): at }));
            node["metadata"]["parents"] = above.into_iter().collect();
            node["_id"] = node["metadata"]["nodeId"].clone();
            node
        })
        .collect();
    world.fill("catconf", Value::Array(documents)).await;
    // It has 512 ancestors, and all that they say.
    let full = ops.get("/node/n512").await.yes();
    assert_eq!(full.as_object().unwrap().len(), 514);
    ops.get("/node/n513").await.no(400, "bad_request");
    let answer = ops
        .put("/node/n?single-level", node("n", &["n512"], json!({})))
        .await;
    answer.no(400, "bad_request");
    assert!(answer.text().contains("too many ancestors"), "{answer:?}");
    made(&ops, node("above", &[], json!({}))).await;
    let answer = ops
        .put("/node/n0", node("n0", &["above"], json!({ "p0": 0 })))
        .await;
    answer.no(400, "bad_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_nodes_are_listed() {
    let world = world("").await;
    let documents = |from: usize| -> Vec<Value> {
        let nodes = (from..from + 500).map(|at| {
            let mut node = node(&format!("n{at:04}"), &["root"], json!({ "at": at }));
            node["_id"] = node["metadata"]["nodeId"].clone();
            node
        });
        nodes.collect()
    };
    made(&world.as_("ops"), node("root", &[], json!({}))).await;
    for from in [0, 500, 1000, 1500] {
        world.fill("catconf", documents(from).into()).await;
    }
    // Written past couchwarden, so it is told of them by their changes.
    let begun = std::time::Instant::now();
    let path = "/node?in-domain=root&domains";
    while results(&world.anonymous().get(path).await.yes()).len() < 2000 {
        assert!(begun.elapsed().as_secs() < 20, "they are never listed");
    }
    let all = world.anonymous().get("/node").await.yes();
    let ids = results(&all);
    assert_eq!((ids.len(), ids[0], ids[1999]), (2001, "n0000", "n1999"));
    assert_eq!(world.as_("rita").get("/node/n1234").await.yes()["at"], 1234);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_ends_with_a_change_of_a_grandparent() {
    let world = world("").await;
    let ops = world.as_("ops");
    made(&ops, node("grandparent", &[], json!({ "v": 1 }))).await;
    made(&ops, node("parent", &["grandparent"], json!({ "v": 1 }))).await;
    made(&ops, node("other", &[], json!({}))).await;
    made(&ops, node("child", &["other", "parent"], json!({ "v": 1 }))).await;
    let ask = async |tag: &str| {
        let headers = [("if-none-match", tag)];
        world
            .anonymous()
            .ask("GET", "/node/child", &headers, "")
            .await
    };
    let tag = ask("\"none\"").await.header("etag").unwrap().to_owned();
    let same = ask(&format!("\"x\", W/{tag}")).await;
    assert_eq!((same.status, same.header("etag")), (304, Some(&*tag)));
    assert!(same.body.is_empty());
    let changed = ops
        .put(
            "/node/grandparent",
            node("grandparent", &[], json!({ "v": 2 })),
        )
        .await;
    assert_eq!(changed.status, 200);
    let now = ask(&tag).await;
    assert_eq!(now.yes()["v"], 2);
    // What the tag names is how the node is seen, too: another reader's, or another form's, is another one.
    let seen = async |client: Client, path: &str| {
        let answer = client.ask("HEAD", path, &[], "").await;
        answer.header("etag").unwrap().to_owned()
    };
    let mut tags = vec![
        seen(world.anonymous(), "/node/child").await,
        seen(world.anonymous(), "/node/child?single-level").await,
        seen(world.anonymous(), "/node/child?raw").await,
        seen(ops.clone(), "/node/child").await,
    ];
    assert_eq!(Some(&*tags[0]), now.header("etag"));
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn parents_may_disagree_about_what_a_property_is() {
    let world = world("").await;
    let ops = world.as_("ops");
    made(
        &ops,
        node(
            "array",
            &[],
            json!({ "x": ["a", "b"], "y": { "k": 1 }, "z": null }),
        ),
    )
    .await;
    made(
        &ops,
        node(
            "object",
            &[],
            json!({ "x": { "0": "c", "k": 2 }, "y": [5], "z": [] }),
        ),
    )
    .await;
    for (parents, expected) in [
        (
            ["array", "object"],
            json!({ "x": { "0": "c", "1": "b", "k": 2 }, "y": { "0": 5, "k": 1 }, "z": [] }),
        ),
        (
            ["object", "array"],
            json!({ "x": { "0": "a", "1": "b", "k": 2 }, "y": { "0": 5, "k": 1 }, "z": null }),
        ),
    ] {
        let empty = node("child", &parents, json!({}));
        let answer = ops.put("/node/child?single-level", empty).await;
        assert!(answer.status < 300, "{:?}", answer.body);
        let read = ops.get("/node/child").await.yes();
        let mut properties = read.clone();
        properties.as_object_mut().unwrap().remove("metadata");
        assert_eq!(properties, expected, "{parents:?}");
        // Put back as it was read, nothing of it becomes the child's own.
        assert_eq!(ops.put("/node/child", read.clone()).await.status, 200);
        assert_eq!(ops.get("/node/child").await.yes(), read);
        let own = ops.get("/node/child?single-level").await.yes();
        assert_eq!(own.as_object().unwrap().len(), 1, "{own}");
        // What an array could not hold is named.
        let mut shorter = read.clone();
        shorter["x"] = json!(["only"]);
        let answer = ops.put("/node/child", shorter).await;
        answer.no(400, "bad_request");
        assert!(answer.text().contains("`x."), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_would_be_read_back_as_another_is_refused_by_its_path() {
    let world = world("").await;
    let ops = world.as_("ops");
    // Sent as text: a JSON library would round it.
    let put = async |number: &str| {
        let metadata = r#""metadata":{"nodeId":"n"}"#;
        let body = format!(r#"{{"a":[0,{{"b.c":{number}}}],{metadata}}}"#);
        ops.ask("PUT", "/node/n", &[], body).await
    };
    for number in ["1e400", "-1e999", "1e-400", "0.10000000000000000555"] {
        let answer = put(number).await;
        answer.no(400, "bad_request");
        let reason = answer.json()["reason"].as_str().unwrap().to_owned();
        assert!(reason.starts_with(r"`a.1.b\.c`"), "{number}: {reason}");
    }
    for number in [
        "0.1",
        "1.50e2",
        "-0.0",
        "5e-324",
        "1.7976931348623157e308",
        "9007199254740991",
    ] {
        let answer = put(number).await;
        assert!(answer.status < 300, "{number}: {:?}", answer.body);
        let read = ops.get("/node/n").await.yes();
        let kept = read["a"][1]["b.c"].as_f64();
        assert_eq!(kept, number.parse().ok(), "{number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_is_put_back_by_each_who_may() {
    let world = world("self_service = true\n").await;
    let (ops, rita) = (world.as_("ops"), world.as_("rita"));
    let numbers = json!({ "customer": { "numbers": ["1"], "name": "A" } });
    let mut customer = node("customer", &[], numbers.clone());
    customer["metadata"]["nodeAdmins"] = json!([world.name("rita")]);
    made(&ops, customer).await;
    made(&ops, user("phone", &["customer"], numbers)).await;
    let phone = world.anonymous().with_login("phone", "secret word");
    for (client, id) in [
        (&ops, "customer"),
        (&ops, "phone"),
        (&rita, "customer"),
        (&phone, "phone"),
    ] {
        for query in ["", "?single-level"] {
            let path = format!("/node/{id}{query}");
            let read = client.get(&path).await.yes();
            let stored = ops.get(&format!("/node/{id}?single-level")).await.yes();
            let answer = client.put(&path, read.clone()).await;
            assert_eq!(answer.status, 200, "{path}: {:?}", answer.body);
            assert_eq!(client.get(&path).await.yes(), read, "{path}");
            let now = ops.get(&format!("/node/{id}?single-level")).await.yes();
            assert_eq!(now, stored, "{path}");
        }
    }
    // Who made it and when is not for the sender to say.
    let mut forged = node("forged", &[], json!({}));
    forged["metadata"]["nodeCreator"] = json!(world.name("ops"));
    forged["metadata"]["nodeCtime"] = json!(1);
    made(&rita, forged).await;
    let made = ops.get("/node/forged").await.yes()["metadata"].clone();
    assert_eq!(made["nodeCreator"], world.name("rita"));
    assert!(
        made["nodeCtime"].as_u64().unwrap() > 1_700_000_000,
        "{made}"
    );
}

/// Channel L4: whoever may delete a node learns that it has children, and neither which nor of what kind.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_delete_does_not_tell_of_hidden_children() {
    let world = world("listing = false\n").await;
    let (ops, rita) = (world.as_("ops"), world.as_("rita"));
    for id in ["open", "shut", "both"] {
        let mut parent = node(id, &[], json!({}));
        parent["metadata"]["nodeAdmins"] = json!([world.name("rita")]);
        made(&ops, parent).await;
    }
    made(&ops, node("visible", &["open", "both"], json!({}))).await;
    made(&ops, user("phone", &["shut", "both"], json!({}))).await;
    let told = async |id: &str| {
        let path = format!("/node/{id}");
        let deleted = rita.delete(&path).await;
        deleted.no(400, "bad_request");
        let mut seen = vec![deleted.seen()];
        // Nor does what a parent can't become.
        let mut raised = user(id, &[], json!({}));
        raised["metadata"]["nodeAdmins"] = json!([world.name("rita")]);
        seen.push(rita.put(&path, raised).await.seen());
        let unnamed = seen
            .into_iter()
            .map(|(status, text)| (status, text.replace(id, "ID")));
        unnamed.collect::<Vec<_>>()
    };
    let answers = [told("open").await, told("shut").await, told("both").await];
    assert!(answers.iter().all(|one| *one == answers[0]), "{answers:?}");
    for word in ["phone", "visible"] {
        assert!(!format!("{answers:?}").contains(word), "{answers:?}");
    }
    // Children are not listed for him either.
    for path in ["/node?in-domain=shut", "/node?users", "/node"] {
        rita.get(path).await.no(403, "forbidden");
        world.anonymous().get(path).await.no(401, "unauthorized");
        assert_eq!(ops.get(path).await.status, 200);
    }
    // An administrator is told what stands in his way.
    let answer = ops.delete("/node/shut").await;
    assert!(answer.text().contains("`phone`"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn creations_are_counted_by_the_clients_own_address_behind_a_trusted_proxy() {
    let nodes = "[nodes]\ndatabase = \"@catconf\"\ncreations = 1\n";
    for (trusted, second) in [("127.0.0.0/8", 201), ("10.9.8.7", 429)] {
        let more = format!("{nodes}[trusted]\nproxies = [\"{trusted}\"]\n");
        let world = World::with("", &more).await;
        world.database("catconf", json!([])).await;
        let create = async |id: &str, address: &str| {
            let client = world.anonymous().with_header("x-forwarded-for", address);
            let path = format!("/node/{id}");
            client.put(&path, node(id, &[], json!({}))).await.status
        };
        assert_eq!(create("a", "192.0.2.1").await, 201, "{trusted}");
        assert_eq!(create("b", "192.0.2.2").await, second, "{trusted}");
        // What a client says of itself before the proxy does is not believed.
        assert_eq!(create("c", "192.0.2.3, 192.0.2.1").await, 429, "{trusted}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_made_again_has_other_nodes() {
    let world = world("").await;
    let ops = world.as_("ops");
    made(&ops, node("before", &[], json!({}))).await;
    made(&ops, node("both", &["before"], json!({ "v": 1 }))).await;
    let path = format!("/{}", world.db("catconf"));
    let made_in = async || {
        let info = world.backend().get(&path).await.yes();
        info["instance_start_time"].as_str().unwrap().to_owned()
    };
    let first = made_in().await;
    // CouchDB tells when a database was made in whole seconds.
    loop {
        assert_eq!(world.backend().delete(&path).await.status, 200);
        world.database("catconf", json!([])).await;
        if made_in().await != first {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    let mut both = node("both", &[], json!({ "v": 2 }));
    both["_id"] = "both".into();
    world.fill("catconf", json!([both])).await;
    let begun = std::time::Instant::now();
    while results(&ops.get("/node").await.yes()) != ["both"] {
        assert!(begun.elapsed().as_secs() < 30, "the old nodes stay");
    }
    assert_eq!(ops.get("/node/both").await.yes()["v"], 2);
    ops.put("/node/after", node("after", &["before"], json!({})))
        .await
        .no(400, "bad_request");
    made(&ops, node("after", &["both"], json!({ "v": 2 }))).await;
}
