//! Many writers of few documents at once: what was accepted is stored, and nobody changes what is not his.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::{Client, World};

const RULES: &str = r#"
[[rule]]
name = "counters"
databases = ["@notes"]
callers = { roles = ["writer"] }
permit = ["read", "changes", "update"]
change = ["n"]
hide = ["secret"]
documents = { team = "red" }
"#;

const DOCUMENTS: usize = 4;
const ROUNDS: usize = 40;

/// What a writer does: restricted ones hold the count, administrators the grade and its secret.
#[derive(Clone, Copy, PartialEq)]
enum Work {
    Counts,
    Replicates,
    Forges,
    Grades,
    GradesOne,
}

const WRITERS: [Work; 8] = [
    Work::Counts,
    Work::Counts,
    Work::Replicates,
    Work::Replicates,
    Work::Forges,
    Work::Forges,
    Work::Grades,
    Work::GradesOne,
];

/// A revision that somebody was told of, and the grade in it.
type Known = (String, String);

/// What everybody knows: of each document every revision, the newest last; and which restricted writers made.
#[derive(Default)]
struct Board {
    revs: Vec<Vec<Known>>,
    restricted: Vec<(usize, String)>,
}

fn id(document: usize) -> String {
    format!("d{document}")
}

/// The next number of a small generator (xorshift), so that a run asks for the same each time.
fn draw(state: &mut u64, below: usize) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    usize::try_from(*state % below as u64).unwrap()
}

/// What this writer sends for one document, and the grade that it holds.
fn row(work: Work, document: usize, known: &[Known], name: &str, draw: usize) -> (Value, String) {
    let (rev, grade) = known.last().unwrap().clone();
    let (_, old) = &known[draw % known.len()];
    let (start, tail) = rev.split_once('-').unwrap();
    let start: u64 = start.parse().unwrap();
    let sent = |rev: &str, grade: &str| json!({ "_id": id(document), "_rev": rev, "team": "red", "grade": grade, "n": draw });
    match work {
        Work::Counts => (
            sent(&rev, if draw.is_multiple_of(5) { old } else { &grade }),
            grade,
        ),
        Work::Replicates => {
            let mut row = sent(&format!("{}-{name}", start + 1), &grade);
            row["_revisions"] = json!({ "start": start + 1, "ids": [name, tail] });
            (row, grade)
        }
        // An ancestor that nobody has, a generation that would win, and a grade of long ago.
        Work::Forges => {
            let mut row = sent(&format!("{}-{name}", start + 3), old);
            row["_revisions"] = json!({ "start": start + 3, "ids": [name, "ffff"] });
            (row, old.clone())
        }
        Work::Grades | Work::GradesOne => {
            let mut row = sent(&rev, name);
            row["secret"] = format!("secret of {name}").into();
            (row, name.to_owned())
        }
    }
}

async fn work(who: Client, work: Work, number: usize, board: Arc<Mutex<Board>>) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64.wrapping_add(number as u64);
    for round in 0..ROUNDS {
        let rows: Vec<(Value, String)> = {
            let board = board.lock().unwrap();
            let one = |document: usize| {
                let name = format!(
                    "{:032x}",
                    1 + document + DOCUMENTS * (round + ROUNDS * number)
                );
                row(
                    work,
                    document,
                    &board.revs[document],
                    &name,
                    draw(&mut state, 1_000),
                )
            };
            (0..DOCUMENTS).map(one).collect()
        };
        let forced = matches!(work, Work::Replicates | Work::Forges);
        let answers: Vec<(usize, Value)> = if work == Work::GradesOne {
            let document = round % DOCUMENTS;
            let answer = who
                .put(
                    &format!("/@notes/{}", id(document)),
                    rows[document].0.clone(),
                )
                .await;
            assert!([201, 409].contains(&answer.status), "{answer:?}");
            vec![(document, answer.json())]
        } else {
            let docs: Vec<&Value> = rows.iter().map(|(row, _)| row).collect();
            let answer = who
                .post(
                    "/@notes/_bulk_docs",
                    json!({ "docs": docs, "new_edits": !forced }),
                )
                .await;
            assert_eq!(answer.status, 201, "{answer:?}");
            let told = answer.json();
            let told = told.as_array().unwrap();
            match forced {
                false => told.iter().cloned().enumerate().collect(),
                true => rows
                    .iter()
                    .enumerate()
                    .map(|(document, (row, _))| {
                        let refused = told.iter().find(|told| told["id"] == row["_id"]);
                        (
                            document,
                            refused
                                .cloned()
                                .unwrap_or_else(|| json!({ "ok": true, "rev": row["_rev"] })),
                        )
                    })
                    .collect(),
            }
        };
        let mut board = board.lock().unwrap();
        for (document, answer) in answers {
            if let Some(error) = answer["error"].as_str() {
                let expected: &[&str] = match work {
                    Work::Replicates | Work::Forges => &["forbidden"],
                    Work::Counts => &["conflict", "forbidden"],
                    Work::Grades | Work::GradesOne => &["conflict"],
                };
                assert!(expected.contains(&error), "{answer}");
                continue;
            }
            let rev = answer["rev"]
                .as_str()
                .unwrap_or_else(|| panic!("{answer}"))
                .to_owned();
            board.revs[document].push((rev.clone(), rows[document].1.clone()));
            if !matches!(work, Work::Grades | Work::GradesOne) {
                board.restricted.push((document, rev));
            }
        }
    }
}

/// Every revision that is stored of these, with its history.
async fn stored(
    world: &World,
    revs: &BTreeSet<(usize, String)>,
) -> BTreeMap<(usize, String), Value> {
    let mut found = BTreeMap::new();
    let all: Vec<&(usize, String)> = revs.iter().collect();
    for part in all.chunks(300) {
        let docs: Vec<Value> = part
            .iter()
            .map(|(document, rev)| json!({ "id": id(*document), "rev": rev }))
            .collect();
        let answer = world
            .backend()
            .post("/@notes/_bulk_get?revs=true", json!({ "docs": docs }))
            .await
            .yes();
        for one in answer["results"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|result| result["docs"].as_array().unwrap())
        {
            if let Some(doc) = one["ok"].as_object() {
                let number = doc["_id"].as_str().unwrap()[1..].parse().unwrap();
                found.insert(
                    (number, doc["_rev"].as_str().unwrap().to_owned()),
                    Value::Object(doc.clone()),
                );
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_writes_at_once_lose_nothing_and_change_nothing_that_is_not_theirs() {
    let world = World::start(RULES).await;
    let documents: Vec<Value> = (0..DOCUMENTS)
        .map(|document| json!({ "_id": id(document), "team": "red", "grade": "first", "secret": "secret of first", "n": 0 }))
        .collect();
    world.database("notes", documents.into()).await;
    let mut board = Board::default();
    for document in 0..DOCUMENTS {
        let rev = world
            .backend()
            .get(&format!("/@notes/{}", id(document)))
            .await
            .yes()["_rev"]
            .as_str()
            .unwrap()
            .to_owned();
        board.revs.push(vec![(rev, "first".to_owned())]);
    }
    let board = Arc::new(Mutex::new(board));
    let writers: Vec<_> = WRITERS
        .into_iter()
        .enumerate()
        .map(|(number, kind)| {
            let who = world.as_(if matches!(kind, Work::Grades | Work::GradesOne) {
                "ops"
            } else {
                "walt"
            });
            tokio::spawn(work(who, kind, number, Arc::clone(&board)))
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let board = std::mem::take(&mut *board.lock().unwrap());
    let accepted: BTreeSet<(usize, String)> = board
        .revs
        .iter()
        .enumerate()
        .flat_map(|(document, known)| known.iter().map(move |(rev, _)| (document, rev.clone())))
        .collect();
    let restricted: BTreeSet<&(usize, String)> = board.restricted.iter().collect();
    assert!(
        restricted.len() > 40 && accepted.len() - restricted.len() > 20,
        "{} of {}",
        restricted.len(),
        accepted.len()
    );
    let mut asked: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (document, rev) in &accepted {
        asked.entry(id(*document)).or_default().push(rev);
    }
    let lost = world
        .backend()
        .post("/@notes/_revs_diff", json!(asked))
        .await
        .yes();
    assert_eq!(lost, json!({}), "was accepted and is lost");
    // CouchDB may have compacted meanwhile: then it has no more than the leaves.
    let stored = stored(&world, &accepted).await;
    assert!(stored.len() >= DOCUMENTS);
    for (one, found) in &stored {
        // A secret belongs to its grade: nobody has mixed two states or made one up.
        let grade = found["grade"].as_str().unwrap();
        assert_eq!(found["secret"], format!("secret of {grade}"), "{found}");
        if restricted.contains(one) {
            let ids = found["_revisions"]["ids"].as_array().unwrap();
            let before = found["_revisions"]["start"].as_u64().unwrap() - 1;
            let parent = ids
                .get(1)
                .map(|tail| (one.0, format!("{before}-{}", tail.as_str().unwrap())));
            if let Some(parent) = parent.and_then(|parent| stored.get(&parent)) {
                assert_eq!(found["grade"], parent["grade"], "{found} after {parent}");
            }
        }
    }
}
