//! What is left when CouchDB, or couchwarden, is gone in the middle: the next call finishes it, and nobody has
//! seen a database before its `_security` was set.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::provision::{MORE, USER_DATABASES, assert_complete, name, provision};
use crate::support::{Client, Cutter, World, backend, roles_of_user};

/// Far more than there are.
const STEPS: i64 = 20;

async fn world(cutter: &Cutter) -> World {
    let couchdb = format!("couchdb = \"http://{}\"\n", backend().authority);
    let world = World::behind(cutter.address, USER_DATABASES, &format!("{MORE}{couchdb}")).await;
    world.database("provisioning", json!([])).await;
    world
}

/// The database that is claimed for this user, however far its making has come.
async fn assert_closed(world: &World, who: &Client) {
    let roles = roles_of_user(&name(who));
    let Some(db) = roles
        .iter()
        .find_map(|role| role.strip_prefix("provisioned:"))
    else {
        return;
    };
    world.adopt(db);
    let found = world.backend().get(&format!("/{db}/_all_docs")).await;
    if found.status == 404 {
        return;
    }
    let security = world.backend().get(&format!("/{db}/_security")).await.yes();
    let secured = security["members"]["names"] == json!([name(who)]);
    assert!(
        secured || found.ids().is_empty(),
        "{security} {:?}",
        found.ids()
    );
}

/// The next call finishes what was begun.
async fn assert_finished(world: &World, una: &Client) {
    assert_closed(world, una).await;
    let db = provision(world, una).await;
    assert_complete(world, una, &db).await;
    for way in ["down", "up"] {
        let path = format!("/_replicator/couchwarden:{db}:{way}");
        world.backend().get(&path).await.yes();
        // Nothing is replicated here; to try it for ever is work for nothing.
        world
            .delete_replication(&path["/_replicator/".len()..])
            .await;
    }
    let claimed = roles_of_user(&name(una));
    let claimed = claimed
        .iter()
        .filter(|role| role.starts_with("provisioned:"));
    assert_eq!(claimed.count(), 1);
}

/// Was this the last step, at which the call got through? More are known to be there than a few.
fn is_last(step: i64, through: bool) -> bool {
    assert!(!through || step > 4, "there are fewer steps than are known");
    through
}

/// Stops at every write in turn, before it or after it; then the next call finishes.
async fn stop_at_each_step(made: bool) {
    let cutter = Cutter::start(backend().authority.parse().unwrap()).await;
    let world = world(&cutter).await;
    for step in 0..STEPS {
        let una = world.user("una", &[]);
        // Known before, so that only the steps are counted.
        una.get("/").await.yes();
        cutter.arm(step, made);
        let answer = una.post("/_warden/provisioning", Value::Null).await;
        let through = answer.status == 200;
        assert!(through || answer.status >= 500, "{step}: {answer:?}");
        cutter.disarm();
        assert_finished(&world, &una).await;
        if is_last(step, through) {
            return;
        }
    }
    panic!("no call got through");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_step_couchdb_is_gone_at_the_next_call_finishes() {
    stop_at_each_step(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_step_is_made_and_its_answer_lost_the_next_call_finishes() {
    stop_at_each_step(true).await;
}

/// A couchwarden of its own process, of the world's configuration.
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn start(world: &World) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_couchwarden"));
        command
            .arg("serve")
            .current_dir(world.directory.path())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        // Its log says where it listens.
        let address = log.find_map(|line| {
            let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
            let listens = line["message"] == "listening";
            listens.then(|| line["address"].as_str().unwrap().parse().unwrap())
        });
        std::thread::spawn(move || log.for_each(drop));
        let address = address.expect("the program does not listen");
        Self { child, address }
    }

    /// As `SIGKILL` does, without a word.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Kills couchwarden at every write in turn, before it or after it; then another couchwarden finishes.
async fn kill_at_each_step(made: bool) {
    let cutter = Cutter::start(backend().authority.parse().unwrap()).await;
    let world = world(&cutter).await;
    for step in 0..STEPS {
        let una = world.user("una", &[]);
        let process = Process::start(&world);
        let there = Client {
            address: process.address,
            ..una.clone()
        };
        there.get("/").await.yes();
        let held = cutter.hold(step, made);
        let through = tokio::select! {
            answer = there.post("/_warden/provisioning", Value::Null) => {
                answer.yes();
                true
            }
            held = held => {
                held.unwrap();
                false
            }
        };
        process.kill();
        cutter.disarm();
        assert_finished(&world, &una).await;
        if is_last(step, through) {
            return;
        }
    }
    panic!("no call got through");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_step_couchwarden_is_killed_at_another_one_finishes() {
    tokio::join!(kill_at_each_step(false), kill_at_each_step(true));
}
