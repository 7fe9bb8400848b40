use std::time::Duration;

use tokio::sync::watch;

use super::{Ended, lock};
use crate::caller::UserName;
use crate::couch::fake::Fake;
use crate::identity::clock::now_ms;
use crate::identity::follow::Follow;
use crate::identity::sessions::{End, Session};

fn ended(fake: &Fake) -> Ended {
    let follow = Follow {
        changed: watch::Sender::new(()),
        fresh: Duration::from_secs(1),
    };
    Ended::new(fake.couch(), follow)
}

fn alice() -> UserName {
    UserName::parse("alice").unwrap()
}

fn session() -> Session {
    Session::begin(now_ms(), 3600).unwrap()
}

fn kept(fake: &Fake) -> Vec<String> {
    let store = fake.store.lock().unwrap();
    let ids = store.documents.keys().filter(|(db, _)| db == "couchwarden");
    ids.map(|(_, id)| id.clone()).collect()
}

async fn has(ended: &Ended, session: &Session) -> bool {
    ended.has(&alice(), session).await.unwrap()
}

#[tokio::test]
async fn an_end_is_written_before_it_is_answered_and_learnt_by_others() {
    let fake = Fake::start().await;
    let (here, there) = (ended(&fake), ended(&fake));
    let (gone, stays) = (session(), session());
    assert!(!has(&there, &gone).await);
    let mut changed = there.changed.subscribe();
    here.end(End::of(&gone)).await;
    assert_eq!(kept(&fake), [End::of(&gone).document()]);
    // To end it once more is no news.
    fake.heard();
    here.end(End::of(&gone)).await;
    assert!(fake.heard().is_empty());
    let story = async {
        changed.changed().await.unwrap();
        assert!(has(&there, &gone).await && has(&here, &gone).await);
        assert!(!has(&there, &stays).await && !has(&here, &stays).await);
        // What follows is asked by nobody.
        fake.heard();
        for _ in 0..10 {
            assert!(!has(&there, &stays).await);
        }
        let asked = fake.heard();
        assert!(
            asked.iter().all(|one| one.contains("longpoll")),
            "{asked:?}"
        );
    };
    tokio::select! {
        () = there.watch() => {}
        () = story => {}
    }
}

#[tokio::test]
async fn an_end_that_couchdb_does_not_take_holds_here_and_is_written_later() {
    let fake = Fake::start().await;
    let (here, there) = (ended(&fake), ended(&fake));
    let (gone, stays) = (session(), session());
    fake.store.lock().unwrap().answer = Some((500, "{}".into()));
    here.end(End::of(&gone)).await;
    assert!(has(&here, &gone).await);
    // Whether another has ended elsewhere can't be told.
    assert!(here.has(&alice(), &stays).await.is_err());
    fake.store.lock().unwrap().answer = None;
    let story = async {
        while kept(&fake).is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        while !lock(&here.unwritten).is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = here.watch() => {}
        () = story => {}
    }
    assert!(has(&there, &gone).await && !has(&there, &stays).await);
}

#[tokio::test]
async fn without_its_database_an_end_holds_here() {
    let fake = Fake::start().await;
    let (here, there) = (ended(&fake), ended(&fake));
    let gone = session();
    for status in [401, 403, 404] {
        fake.store.lock().unwrap().answer = Some((status, "{}".into()));
        here.end(End::of(&gone)).await;
        assert!(has(&here, &gone).await && !has(&here, &session()).await);
        assert!(!has(&there, &gone).await);
        // CouchDB is not asked again for everybody.
        fake.heard();
        assert!(!has(&there, &gone).await);
        assert!(fake.heard().is_empty());
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
}

#[tokio::test]
async fn many_who_wait_ask_once() {
    let fake = Fake::start().await;
    let there = ended(&fake);
    let sessions: Vec<Session> = (0..20).map(|_| session()).collect();
    for answer in [Some((500, "{}".into())), None] {
        let fails = answer.is_some();
        fake.store.lock().unwrap().answer = answer;
        fake.heard();
        let asked = sessions
            .iter()
            .map(|session| async { there.has(&alice(), session).await.is_err() });
        let told = futures_util::future::join_all(asked).await;
        assert!(told.iter().all(|failed| *failed == fails));
        assert_eq!(fake.heard().len(), 1);
    }
}

#[tokio::test]
async fn what_is_over_is_removed_and_nothing_else() {
    let fake = Fake::start().await;
    let here = ended(&fake);
    for n in 0..250 {
        let id = format!("{:012}:session:{n:032x}", 1000 + n);
        fake.put("couchwarden", &format!(r#"{{"_id":"{id}"}}"#));
    }
    let stays = End::of(&session());
    here.end(stays).await;
    fake.put("couchwarden", r#"{"_id":"0 somebody else's"}"#);
    let expected = ["0 somebody else's".to_owned(), stays.document()];
    let story = async {
        while kept(&fake) != expected {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = here.watch() => {}
        () = story => {}
    }
}
