//! Shares: what one holder gets, what is left for the next, and that all of it comes back.

use super::{Capacity, ConnectionPlace, Full, Holder, Holdings, network};
use crate::caller::UserName;
use proptest::prelude::{Strategy, prop_assert, prop_assert_eq, proptest};
use std::sync::Arc;

fn name(name: &str) -> Holder {
    Holder::Name(UserName::parse(name).unwrap())
}

fn address(address: &str) -> Holder {
    Holder::at(address.parse().unwrap())
}

/// As many as it gets, one by one.
fn all_of(capacity: &Arc<Capacity>, holder: &Holder) -> Vec<super::Held> {
    std::iter::from_fn(|| capacity.take(holder.clone(), 1).ok()).collect()
}

#[test]
fn nobody_gets_more_than_their_share_of_what_the_others_leave() {
    let capacity = Capacity::new(100, 50);
    let greedy = all_of(&capacity, &name("greedy"));
    assert_eq!(greedy.len(), 50);
    assert_eq!(capacity.take(name("greedy"), 1).err(), Some(Full::Share));
    let second = all_of(&capacity, &address("10.0.0.1"));
    assert_eq!(second.len(), 25);
    drop(greedy);
    let more = all_of(&capacity, &address("10.0.0.1"));
    assert_eq!(second.len() + more.len(), 50);
}

#[test]
fn however_many_are_greedy_there_is_room_for_one_more() {
    let capacity = Capacity::new(1000, 50);
    let mut held = Vec::new();
    for greedy in 0..9 {
        let all = all_of(&capacity, &name(&format!("greedy{greedy}")));
        assert!(!all.is_empty(), "{greedy}");
        held.push(all);
    }
    assert!(capacity.take(name("modest"), 1).is_ok());
}

#[test]
fn the_last_one_is_given_away_and_then_there_is_none() {
    let capacity = Capacity::new(3, 50);
    let names = ["a", "b", "c"].map(name);
    let held = names.map(|name| capacity.take(name, 1).unwrap());
    assert_eq!(capacity.take(name("d"), 1).err(), Some(Full::All));
    assert_eq!(capacity.take(Holder::Many, 1).err(), Some(Full::All));
    drop(held);
    assert!(capacity.take(name("d"), 1).is_ok());
}

#[test]
fn what_stands_for_many_has_no_share() {
    let capacity = Capacity::new(100, 50);
    assert_eq!(all_of(&capacity, &Holder::Many).len(), 100);
}

#[test]
fn one_network_of_ipv6_is_one_address() {
    let network = |text: &str| network(text.parse().unwrap()).to_string();
    assert_eq!(network("2001:db8::1:2:3:4"), "2001:db8::");
    assert_eq!(network("2001:db8:0:1::1"), "2001:db8:0:1::");
    assert_eq!(network("::ffff:192.0.2.1"), "192.0.2.1");
    assert_eq!(address("2001:db8::1"), address("2001:db8::2"));
}

#[test]
fn what_a_name_holds_is_no_longer_its_addresss() {
    let capacity = Capacity::new(100, 50);
    let places: Vec<_> = (0..90)
        .map(|user| {
            let place = ConnectionPlace::of_client(capacity.take(address("10.0.0.1"), 1).unwrap());
            place.hand_over(&name(&format!("user{user}"))).unwrap();
            place
        })
        .collect();
    drop(places);
    assert!(capacity.ledger().by.is_empty());
    assert_eq!(capacity.ledger().all, 0);
}

#[test]
fn what_does_not_fit_stays_where_it_is() {
    let capacity = Capacity::new(4, 50);
    let _held = capacity.take(name("a"), 2).unwrap();
    let holdings = Holdings::new(address("10.0.0.1"));
    holdings.take(&capacity).unwrap();
    assert_eq!(holdings.hand_over(&name("a")), Err(Full::Share));
    assert_eq!(holdings.holder(), address("10.0.0.1"));
    assert_eq!(capacity.ledger().of(&name("a")), 2);
    holdings.hand_over(&name("b")).unwrap();
    assert_eq!(capacity.ledger().of(&address("10.0.0.1")), 0);
}

#[derive(Debug, Clone)]
enum Step {
    Take(u8, usize),
    Set(usize, usize),
    HandOver(usize, u8),
    Drop(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    use proptest::prelude::{any, prop_oneof};
    let step = prop_oneof![
        (0..4_u8, 0..20_usize).prop_map(|(who, count)| Step::Take(who, count)),
        (any::<usize>(), 0..20_usize).prop_map(|(which, count)| Step::Set(which, count)),
        (any::<usize>(), 0..4_u8).prop_map(|(which, who)| Step::HandOver(which, who)),
        any::<usize>().prop_map(Step::Drop),
    ];
    proptest::collection::vec(step, 0..60)
}

proptest! {
    /// The books are right after every step, and empty at the end.
    #[test]
    fn what_is_taken_comes_back(steps in steps()) {
        let capacity = Capacity::new(50, 50);
        let who = |who: u8| match who {
            0 => Holder::Many,
            who => name(&who.to_string()),
        };
        let mut held: Vec<super::Held> = Vec::new();
        for step in steps {
            let which = |which: usize, held: &Vec<super::Held>| which % held.len().max(1);
            match step {
                Step::Take(by, count) => held.extend(capacity.take(who(by), count).ok()),
                Step::Set(at, count) => {
                    let at = which(at, &held);
                    let _ = held.get_mut(at).map(|held| held.set(count));
                }
                Step::HandOver(at, to) => {
                    let at = which(at, &held);
                    let _ = held.get_mut(at).map(|held| held.hand_over(&who(to)));
                }
                Step::Drop(at) if !held.is_empty() => drop(held.remove(which(at, &held))),
                Step::Drop(_) => {}
            }
            let all: usize = held.iter().map(|held| held.count).sum();
            let ledger = capacity.ledger();
            prop_assert_eq!(ledger.all, all);
            prop_assert!(all <= 50);
            for by in 1..4 {
                let holder = who(by);
                let count: usize = held.iter().filter(|held| held.holder == holder).map(|held| held.count).sum();
                prop_assert_eq!(ledger.of(&holder), count);
            }
        }
        drop(held);
        prop_assert!(capacity.ledger().by.is_empty());
        prop_assert_eq!(capacity.ledger().all, 0);
    }
}
