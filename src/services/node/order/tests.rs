use super::{ID, Order, Write};
use crate::couch::fake::{Fake, json};
use crate::json::Object;
use crate::route::{DbName, DocId};
use crate::secret::Secret;
use crate::services::node::store::Store;

fn db() -> DbName {
    DbName::parse("catconf").unwrap()
}

fn instance(fake: &Fake) -> (Order, Store) {
    let store = Store::new(fake.couch(), db(), Secret::new("key").derive("etag"));
    (Order::new(fake.couch(), db()).unwrap(), store)
}

fn document(id: &str) -> Object {
    let text = format!(r#"{{"_id":"{id}","metadata":{{"nodeId":"{id}"}}}}"#);
    json(&text).as_object().unwrap().clone()
}

fn creation(id: &str) -> Write {
    Write::creation(DocId::parse(id).unwrap(), None, document(id)).unwrap()
}

#[tokio::test]
async fn of_two_who_judged_by_the_same_one_decides() {
    let fake = Fake::start().await;
    let ((one, store), (two, other)) = (instance(&fake), instance(&fake));
    let (first, second) = (
        one.enter(&store).await.unwrap(),
        two.enter(&other).await.unwrap(),
    );
    assert!(two.decide(second, &creation("b")).await.unwrap());
    assert!(!one.decide(first, &creation("a")).await.unwrap());
    let again = one.enter(&store).await.unwrap();
    assert!(one.decide(again, &creation("a")).await.unwrap());
}

#[tokio::test]
async fn the_write_of_one_who_died_is_done_by_the_next() {
    let fake = Fake::start().await;
    let ((one, store), (two, other)) = (instance(&fake), instance(&fake));
    let point = one.enter(&store).await.unwrap();
    assert!(one.decide(point, &creation("a")).await.unwrap());
    assert!(!store.look(|tree| tree.node("a").is_some()));
    two.enter(&other).await.unwrap();
    assert!(other.look(|tree| tree.node("a").is_some()));
}

/// One who was slow does his write after another has done it for him, and deleted the node since.
#[tokio::test]
async fn a_creation_that_comes_late_does_not_bring_a_node_back() {
    let fake = Fake::start().await;
    let ((one, store), (two, other)) = (instance(&fake), instance(&fake));
    let point = one.enter(&store).await.unwrap();
    let slow = creation("a");
    assert!(one.decide(point, &slow).await.unwrap());
    let point = two.enter(&other).await.unwrap();
    let rev = other.look(|tree| tree.find("a").unwrap().rev().to_owned());
    let mut tombstone = document("a");
    tombstone.insert("_deleted", true);
    let delete = Write::change(slow.id.clone(), &rev, tombstone);
    assert!(two.decide(point, &delete).await.unwrap());
    two.carry_out(&delete).await.unwrap();
    one.carry_out(&slow).await.unwrap();
    store.catch_up().await.unwrap();
    assert!(!store.look(|tree| tree.node("a").is_some()));
}

#[tokio::test]
async fn the_document_of_the_order_is_no_node() {
    let fake = Fake::start().await;
    let (one, store) = instance(&fake);
    let point = one.enter(&store).await.unwrap();
    assert!(one.decide(point, &creation("a")).await.unwrap());
    one.enter(&store).await.unwrap();
    assert!(store.look(|tree| tree.find(ID).is_some() && tree.node(ID).is_none()));
}
