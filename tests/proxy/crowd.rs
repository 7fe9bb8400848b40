//! Many users on one CouchDB, each with a database and replications of their own, through one couchwarden; and all their
//! logins through one address. A few of them, unless `CROWD` says how many: `just crowd` takes 2,000.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::memory::{Watched, before};
use crate::provision::{MORE, USER_DATABASES};
use crate::support::{Client, PASSWORD, World, unique};

/// How many ask at the same time.
const AT_ONCE: usize = 16;

/// How many users there are, and for how many seconds they may take to get their databases.
#[expect(
    clippy::disallowed_methods,
    reason = "no configuration file is read by a test"
)]
fn asked(name: &str, usual: usize) -> usize {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap())
}

#[expect(clippy::print_stderr, reason = "what was measured")]
fn tell(text: &str) {
    eprintln!("{text}");
}

/// Does the same for each of them, some at a time, until there is no time left; what came of it.
async fn each<T, F>(
    users: &[Client],
    until: Instant,
    work: impl Fn(Client) -> F + Clone + Send + 'static,
) -> Vec<(usize, T)>
where
    T: Send + 'static,
    F: Future<Output = T> + Send,
{
    let (mut tasks, mut done) = (JoinSet::new(), Vec::new());
    for (n, user) in users.iter().enumerate() {
        if tasks.len() == AT_ONCE {
            done.extend(tasks.join_next().await.map(Result::unwrap));
        }
        if Instant::now() >= until {
            break;
        }
        let (user, work) = (user.clone(), work.clone());
        tasks.spawn(async move { (n, work(user).await) });
    }
    while let Some(one) = tasks.join_next().await {
        done.push(one.unwrap());
    }
    done
}

async fn accounts(world: &World, count: usize) -> Vec<Client> {
    let run = unique();
    let names: Vec<String> = (0..count).map(|n| format!("crowd-{run}-{n}")).collect();
    for some in names.chunks(200) {
        let documents = some.iter().map(|name| {
            json!({
                "_id": format!("org.couchdb.user:{name}"), "name": name, "type": "user",
                "roles": ["number_domain:a.example"], "password": PASSWORD,
            })
        });
        let batch = json!({ "docs": documents.collect::<Vec<_>>() });
        let told = world
            .backend()
            .post("/_users/_bulk_docs", batch)
            .await
            .yes();
        let refused = |row: &Value| row.get("error").is_some();
        assert!(!told.as_array().unwrap().iter().any(refused), "{told}");
    }
    let logged_in = |name: &String| world.anonymous().with_login(name, PASSWORD);
    names.iter().map(logged_in).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_is_provisioned_and_logs_in_from_one_address() {
    let count = asked("CROWD", 12);
    let time = Duration::from_secs(asked("CROWD_SECONDS", 600) as u64);
    let rules = format!(
        "{USER_DATABASES}{}",
        include_str!("../../policies/provisioning.toml")
    );
    let world = World::with(
        &rules.replace("\"provisioning\"", "\"@provisioning\""),
        MORE,
    )
    .await;
    let seen = json!([{ "_id": "number:1@a.example", "user_access": true }]);
    world.database("provisioning", seen).await;
    world.retire();
    let watched = Watched::start(&world).await;
    let users = accounts(&world, count).await;
    let users: Vec<Client> = users
        .into_iter()
        .map(|user| before(&watched, user))
        .collect();
    tell(&format!(
        "before: {} MiB, {} descriptors",
        watched.peak(),
        watched.descriptors()
    ));

    let begun = Instant::now();
    let logins = each(&users[..count.min(1000)], begun + time, |user| async move {
        let (name, password) = user.login.clone().unwrap();
        let login = json!({ "name": name, "password": password });
        let nobody = Client {
            login: None,
            ..user
        };
        nobody.post("/_session", login).await.status
    })
    .await;
    let refused = logins.iter().filter(|(_, status)| *status != 200).count();
    tell(&format!(
        "{} logins through one address in {:.1?}, {refused} refused: {} MiB, {} descriptors",
        logins.len(),
        begun.elapsed(),
        watched.peak(),
        watched.descriptors()
    ));
    assert_eq!((logins.len(), refused), (count.min(1000), 0));

    let begun = Instant::now();
    let made = each(&users, begun + time, |user| async move {
        let begun = Instant::now();
        let answer = user.post("/_warden/provisioning", Value::Null).await;
        (answer.status, answer.text().to_owned(), begun.elapsed())
    })
    .await;
    let mut databases = Vec::new();
    let mut failed = Vec::new();
    let mut times = Vec::new();
    for (n, (status, text, took)) in made {
        match status {
            200 | 201 => {
                let told: Value = serde_json::from_str(&text).unwrap();
                databases.push((n, told["database"].as_str().unwrap().to_owned()));
                times.push(took);
            }
            status => failed.push(format!("{status} {text}")),
        }
    }
    for (_, database) in &databases {
        world.adopt(database);
    }
    times.sort();
    let at = |part: usize| {
        times
            .get(times.len() * part / 100)
            .copied()
            .unwrap_or_default()
    };
    tell(&format!(
        "{} provisioned in {:.0?} ({:.1?} half, {:.1?} nine tenths), {} failed: {} MiB, {} descriptors",
        databases.len(),
        begun.elapsed(),
        at(50),
        at(90),
        failed.len(),
        watched.peak(),
        watched.descriptors()
    ));
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(databases.len(), count, "there was no time for more");

    // The first and the last get what they may see, though CouchDB runs a few hundred replications at once only.
    let begun = Instant::now();
    for (n, database) in [databases.first(), databases.last()].into_iter().flatten() {
        let path = format!("/{database}/number:1@a.example");
        while users[*n].get(&path).await.status != 200 {
            assert!(begun.elapsed() < time, "nothing has come to {database}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    tell(&format!(
        "the first and the last have what they may see after {:.0?}: {} MiB, {} descriptors",
        begun.elapsed(),
        watched.peak(),
        watched.descriptors()
    ));
}
