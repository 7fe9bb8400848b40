use std::sync::Arc;

use super::{Answer, Asked, Nodes, Settings};
use crate::caller::{Caller, User, UserName};
use crate::couch::fake::Fake;
use crate::identity::tests::{PEER, identity};
use crate::json::Value;
use crate::refusal::Refusal;
use crate::route::{DbName, NodeId, Query};
use crate::secret::Secret;

fn user(name: &str) -> Caller {
    Caller::User(Arc::new(User::new(
        UserName::parse(name).unwrap(),
        Vec::new(),
    )))
}

fn administrator() -> Caller {
    Caller::Administrator(Arc::new(User::new(
        UserName::parse("ops").unwrap(),
        Vec::new(),
    )))
}

fn settings() -> Settings {
    Settings {
        database: DbName::parse("catconf").unwrap(),
        listing: true,
        creation: true,
        creations: 3,
        self_service: false,
        attributes: vec!["customer.numbers".into(), "plan".into()],
    }
}

fn with(fake: &Fake, settings: Settings) -> Nodes {
    let identity = Arc::new(identity(fake));
    Nodes::new(
        fake.couch(),
        identity,
        settings,
        Secret::new("key").derive("etag"),
    )
    .unwrap()
}

fn nodes(fake: &Fake) -> Nodes {
    with(fake, settings())
}

fn asked<'a>(caller: &'a Caller, id: &'a NodeId, query: &'a Query) -> Asked<'a> {
    Asked {
        caller,
        id,
        query,
        peer: Some(PEER),
        if_match: None,
        if_none_match: None,
        replaces: None,
    }
}

/// A tree of a provider, a customer and two users.
async fn telephone_company() -> Fake {
    let fake = Fake::start().await;
    let put = |id: &str, parents: &str, more: &str, properties: &str| {
        let metadata = format!(r#"{{"nodeId":"{id}","parents":{parents}{more}}}"#);
        fake.put(
            "catconf",
            &format!(r#"{{"_id":"{id}","metadata":{metadata}{properties}}}"#),
        );
    };
    let bcrypt = r#","authorization":{"type":"bcrypt","crypted":"$2b$canary"}"#;
    put(
        "provider",
        "[]",
        "",
        r#","plan":"basic","codecs":["g711","g729"]"#,
    );
    put(
        "customer",
        r#"["provider"]"#,
        "",
        r#","customer":{"numbers":["1","2",3]},"codecs":["opus"]"#,
    );
    put(
        "alice",
        r#"["customer"]"#,
        bcrypt,
        r#","screen":{"dim":10}"#,
    );
    put("bob", "[]", bcrypt, "");
    put("orphan", r#"["nobody"]"#, "", "");
    put("squatter", r#"["bob"]"#, "", "");
    put("ouroboros", r#"["ouroboros"]"#, "", "");
    fake.put(
        "catconf",
        r#"{"_id":"_design/x","metadata":{"nodeId":"_design/x"}}"#,
    );
    fake.put("catconf", r#"{"_id":"notes","secret":true}"#);
    fake
}

fn query(pairs: &[(&str, &str)]) -> Query {
    let mut query = Query::default();
    pairs
        .iter()
        .for_each(|(name, value)| query.set(name, value));
    query
}

async fn get(
    fake: &Fake,
    caller: &Caller,
    id: &str,
    pairs: &[(&str, &str)],
) -> Result<Answer, Refusal> {
    let id = NodeId::parse(id).unwrap();
    nodes(fake).read(asked(caller, &id, &query(pairs))).await
}

fn text(answer: Result<Answer, Refusal>) -> String {
    String::from_utf8(answer.unwrap().body.to_vec()).unwrap()
}

#[tokio::test]
async fn a_user_reads_his_full_node() {
    let fake = telephone_company().await;
    let full = concat!(
        r#"{"plan":"basic","codecs":["opus","g729"],"customer":{"numbers":["1","2",3]},"screen":{"dim":10},"#,
        r#""metadata":{"nodeId":"alice","parents":["customer"],"authorization":{"type":"bcrypt"}}}"#
    );
    assert_eq!(text(get(&fake, &user("alice"), "alice", &[]).await), full);
    // The tree, and then all documents at once.
    assert_eq!(fake.heard().len(), 2);
    let own = text(get(&fake, &user("alice"), "alice", &[("single-level", "")]).await);
    assert!(
        own.starts_with(r#"{"screen":{"dim":10},"metadata""#),
        "{own}"
    );
    let raw = text(get(&fake, &user("alice"), "alice", &[("raw", "")]).await);
    assert!(raw.starts_with(r#"{"_id":"alice","_rev":"3-"#), "{raw}");
}

#[tokio::test]
async fn a_burst_of_reads_of_a_cold_node_reads_each_document_once() {
    let fake = telephone_company().await;
    let (nodes, alice) = (nodes(&fake), user("alice"));
    let (id, query) = (NodeId::parse("alice").unwrap(), query(&[]));
    let burst = || (0..100).map(|_| nodes.read(asked(&alice, &id, &query)));
    let read = futures_util::future::join_all(burst()).await;
    assert!(read.iter().all(|answer| *answer == read[0]));
    // The tree, and then the node with both its ancestors in one request.
    let heard = fake.heard();
    assert_eq!(heard.len(), 2, "{heard:?}");
    let read = futures_util::future::join_all(burst()).await;
    assert!(read.iter().all(Result::is_ok));
    assert_eq!(fake.heard(), Vec::<String>::new());
}

#[tokio::test]
async fn a_hidden_node_looks_like_an_absent_one() {
    let fake = telephone_company().await;
    for id in ["alice", "never", "notes"] {
        fake.heard();
        assert_eq!(
            get(&fake, &user("bob"), id, &[]).await,
            Err(Refusal::Missing),
            "{id}"
        );
        assert_eq!(fake.heard().len(), 1);
        assert_eq!(
            get(&fake, &Caller::Anonymous, id, &[]).await,
            Err(Refusal::Unauthorized),
            "{id}"
        );
    }
    assert!(
        get(&fake, &Caller::Anonymous, "customer", &[])
            .await
            .is_ok()
    );
    let shown = text(get(&fake, &administrator(), "alice", &[]).await);
    assert!(shown.contains("canary"));
}

#[tokio::test]
async fn a_broken_parent_looks_like_any_other() {
    let fake = telephone_company().await;
    let told = async |caller: &Caller, id: &str| get(&fake, caller, id, &[]).await.unwrap_err();
    for id in ["orphan", "squatter", "ouroboros"] {
        let expected = Refusal::Malformed(format!("the parents of node `{id}` can't be followed"));
        assert_eq!(told(&user("bob"), id).await, expected);
        assert!(
            get(&fake, &user("bob"), id, &[("single-level", "")])
                .await
                .is_ok()
        );
    }
    let admin = administrator();
    assert_eq!(
        told(&admin, "orphan").await.reason(),
        "the parent `nobody` of node `orphan` is missing"
    );
    assert_eq!(
        told(&admin, "squatter").await.reason(),
        "the parent `bob` of node `squatter` is a user node"
    );
    assert_eq!(
        told(&admin, "ouroboros").await.reason(),
        "node `ouroboros` is among its own ancestors"
    );
}

#[tokio::test]
async fn a_tag_is_that_of_the_node_and_all_its_ancestors() {
    let fake = telephone_company().await;
    let nodes = nodes(&fake);
    let id = NodeId::parse("alice").unwrap();
    let read = async |caller: &Caller, tags: Option<String>| {
        let query = Query::default();
        let mut asked = asked(caller, &id, &query);
        asked.if_none_match = tags.as_deref();
        nodes.store.catch_up().await.unwrap();
        nodes.read(asked).await.unwrap()
    };
    let alice = user("alice");
    let first = read(&alice, None).await.etag.unwrap();
    let again = read(&alice, Some(format!("\"x\", W/{first}"))).await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    assert_ne!(read(&administrator(), None).await.etag.unwrap(), first);
    fake.put(
        "catconf",
        r#"{"_id":"provider","metadata":{"nodeId":"provider"}}"#,
    );
    assert_eq!(read(&alice, Some(first)).await.status, 200);
}

#[tokio::test]
async fn nodes_are_listed_by_kind_and_parent() {
    let fake = telephone_company().await;
    let list = async |pairs: &[(&str, &str)]| {
        text(nodes(&fake).list(&Caller::Anonymous, &query(pairs)).await)
    };
    let all =
        r#"{"results":["alice","bob","customer","orphan","ouroboros","provider","squatter"]}"#;
    assert_eq!(list(&[]).await, all);
    assert_eq!(
        list(&[("users", "")]).await,
        r#"{"results":["alice","bob"]}"#
    );
    assert_eq!(
        list(&[("in-domain", "customer")]).await,
        r#"{"results":["alice"]}"#
    );
    assert_eq!(
        list(&[("in-domain", "customer"), ("domains", "true")]).await,
        r#"{"results":[]}"#
    );
    let closed = with(
        &fake,
        Settings {
            listing: false,
            ..settings()
        },
    );
    let refused = async |caller: &Caller| {
        closed
            .list(caller, &Query::default())
            .await
            .map(|_| ())
            .map_err(|r| r.status())
    };
    assert_eq!(refused(&Caller::Anonymous).await, Err(401));
    assert_eq!(refused(&user("bob")).await, Err(403));
    assert_eq!(refused(&administrator()).await, Ok(()));
}

#[tokio::test]
async fn a_listing_longer_than_a_page_of_changes_is_whole() {
    let fake = Fake::start().await;
    for at in 0..1101 {
        fake.put(
            "catconf",
            &format!(r#"{{"_id":"n{at:05}","metadata":{{"nodeId":"n{at:05}"}}}}"#),
        );
    }
    let list = nodes(&fake)
        .list(&administrator(), &Query::default())
        .await
        .unwrap();
    let list = Value::parse(&list.body).unwrap();
    assert_eq!(list.get("results").unwrap().as_array().unwrap().len(), 1101);
}

#[tokio::test]
async fn unknown_parameters_are_refused() {
    let fake = telephone_company().await;
    assert_eq!(
        get(&fake, &administrator(), "alice", &[("rev", "1")])
            .await
            .unwrap_err()
            .status(),
        400
    );
    assert_eq!(
        get(&fake, &administrator(), "alice", &[("raw", "1")])
            .await
            .unwrap_err()
            .status(),
        400
    );
}

#[tokio::test]
async fn a_caller_gets_the_values_of_his_own_user_node() {
    let fake = telephone_company().await;
    let with_attributes = async |caller: Caller| nodes(&fake).with_attributes(caller).await;
    let values = with_attributes(user("alice"))
        .await
        .unwrap()
        .user()
        .unwrap()
        .attributes
        .clone();
    let expected = [
        ("customer.numbers", "1"),
        ("customer.numbers", "2"),
        ("customer.numbers", "3"),
        ("plan", "basic"),
    ];
    assert_eq!(
        values,
        expected.map(|(path, text)| (path.to_owned(), text.to_owned()))
    );
    // A node that is not a user node is nobody's own.
    let customer = with_attributes(user("customer")).await.unwrap();
    assert!(customer.user().unwrap().attributes.is_empty());
    assert_eq!(
        with_attributes(Caller::Anonymous).await.unwrap(),
        Caller::Anonymous
    );
    let lost = r#"{"_id":"eve","metadata":{"nodeId":"eve","parents":["gone"],"authorization":{"type":"bcrypt"}}}"#;
    fake.put("catconf", lost);
    assert_eq!(
        with_attributes(user("eve")).await,
        Err(Refusal::Internal("the attributes of a node cannot be read"))
    );
}
