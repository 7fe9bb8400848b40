//! `couchwarden deploy`: design documents as files.

use std::path::Path;

use couchwarden::{DeployError, Deployed, Wish, deploy};
use serde_json::{Value, json};

use crate::support::World;

const TELL: Wish = Wish {
    dry_run: true,
    prune: false,
};
const PUT: Wish = Wish {
    dry_run: false,
    prune: false,
};
const PRUNE: Wish = Wish {
    dry_run: false,
    prune: true,
};

const DAY: &str =
    "// By day.\nfunction (doc) {\n  emit(require('views/lib/day').of(doc.at), doc.n);\n}\n";

fn write(world: &World, path: &str, text: &str) {
    let path = world
        .directory
        .path()
        .join("ddocs")
        .join(world.db("calls"))
        .join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// A world with one design document in its folder, and a database without it.
async fn filled() -> World {
    let world = World::start("").await;
    let calls = json!([
        { "_id": "a", "at": "2026-11-25T10:00", "n": 2 },
        { "_id": "b", "at": "2026-11-25T11:00", "n": 3 },
        { "_id": "c", "at": "2026-11-26T09:00", "n": 4 },
    ]);
    world.database("calls", calls).await;
    write(&world, "app/views/by_day/map.js", DAY);
    write(&world, "app/views/by_day/reduce.js", "_sum\n");
    write(
        &world,
        "app/lib/day.js",
        "exports.of = function (at) { return at.slice(0, 10); };\n",
    );
    write(
        &world,
        "app/validate_doc_update.js",
        "function (newDoc, oldDoc, userCtx) {\n  if (newDoc.bad) throw ({ forbidden: 'bad' });\n}\n",
    );
    write(&world, "app/fields.json", r#"{ "version": 1 }"#);
    world
}

async fn run(world: &World, wish: Wish) -> (Result<Deployed, DeployError>, String) {
    let mut told = Vec::new();
    let ended = deploy(&world.config, wish, &mut |line| told.push(line.to_owned())).await;
    (ended, told.join("\n"))
}

async fn design_docs(world: &World) -> Vec<String> {
    let answer = world.backend().get("/@calls/_design_docs").await;
    answer.ids().split(' ').map(str::to_owned).collect()
}

async fn sums(world: &World) -> Value {
    let path = "/@calls/_design/app/_view/by_day?group=true";
    world.backend().get(path).await.yes()["rows"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn design_documents_are_put_where_they_differ_and_nowhere_else() {
    let world = filled().await;
    let (ended, told) = run(&world, TELL).await;
    assert_eq!(ended.unwrap(), Deployed::Differs);
    assert!(
        told.contains("+ views.by_day.map") && told.contains("_design/app"),
        "{told}"
    );
    assert_eq!(design_docs(&world).await, [""], "a dry run has written");
    let (ended, _) = run(&world, PUT).await;
    assert_eq!(ended.unwrap(), Deployed::Done);
    let days = json!([{ "key": "2026-11-25", "value": 5 }, { "key": "2026-11-26", "value": 4 }]);
    assert_eq!(sums(&world).await, days);
    assert_eq!(
        design_docs(&world).await,
        ["_design/app"],
        "the copy is gone"
    );
    let stored = world.backend().get("/@calls/_design/app").await.yes();
    assert_eq!(stored["version"], 1);
    world
        .backend()
        .put("/@calls/x", json!({ "bad": true }))
        .await
        .no(403, "forbidden");
    let (ended, told) = run(&world, PUT).await;
    assert_eq!((ended.unwrap(), told.as_str()), (Deployed::Done, ""));
    let again = world.backend().get("/@calls/_design/app").await.yes();
    assert_eq!(
        again["_rev"], stored["_rev"],
        "nothing differed, and it was written"
    );
    let (ended, _) = run(&world, TELL).await;
    assert_eq!(ended.unwrap(), Deployed::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_view_is_built_before_it_is_put_in_place() {
    let world = filled().await;
    run(&world, PUT).await.0.unwrap();
    write(
        &world,
        "app/views/by_day/map.js",
        &DAY.replace("doc.n", "doc.n * 10"),
    );
    let (ended, told) = run(&world, PUT).await;
    ended.unwrap();
    assert!(
        told.contains("-   emit(") && told.contains("+   emit(") && told.contains("* 10"),
        "{told}"
    );
    assert_eq!(sums(&world).await[0]["value"], 50);
    assert_eq!(design_docs(&world).await, ["_design/app"]);
    // The copy was there: its tombstone tells.
    let copy = world
        .backend()
        .get("/@calls/_design%2Fcouchwarden-next%3Aapp")
        .await;
    let copy = if copy.status == 404 {
        copy
    } else {
        world
            .backend()
            .get("/@calls/_design/couchwarden-next%3Aapp")
            .await
    };
    copy.no(404, "not_found");
    assert_eq!(copy.json()["reason"], "deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_interrupted_run_left_is_taken_up_by_the_next() {
    let world = filled().await;
    let left = json!([
        { "_id": "_design/couchwarden-next:app", "language": "javascript", "views": { "x": { "map": "function (doc) {}" } } },
        { "_id": "_design/couchwarden-next:other", "views": { "x": { "map": "function (doc) {}" } } },
    ]);
    world.fill("calls", left).await;
    run(&world, PUT).await.0.unwrap();
    assert_eq!(design_docs(&world).await, ["_design/app"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_prune_deletes_and_never_an_index_of_mango() {
    let world = filled().await;
    world
        .fill(
            "calls",
            json!([{ "_id": "_design/old", "views": { "x": { "map": "function (doc) {}" } } }]),
        )
        .await;
    let index = json!({ "index": { "fields": ["n"] }, "ddoc": "mango", "name": "n" });
    world.backend().post("/@calls/_index", index).await.yes();
    run(&world, PUT).await.0.unwrap();
    assert!(
        design_docs(&world)
            .await
            .contains(&"_design/old".to_owned())
    );
    let (ended, told) = run(&world, PRUNE).await;
    ended.unwrap();
    assert!(
        told.starts_with("- ") && told.ends_with("/_design/old"),
        "{told}"
    );
    let left = design_docs(&world).await;
    assert!(
        left.contains(&"_design/app".to_owned()) && !left.contains(&"_design/old".to_owned()),
        "{left:?}"
    );
    let indexes = world.backend().get("/@calls/_index").await.yes();
    assert!(
        indexes["indexes"].to_string().contains("\"n\""),
        "{indexes}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_told_all_at_once_and_nothing_is_written() {
    let world = filled().await;
    write(
        &world,
        "app/views/broken/map.js",
        "function (doc) {\n  emit(doc._id, ;\n}",
    );
    write(&world, "app/filters/none.js", "var a = 1;");
    let (ended, _) = run(&world, PUT).await;
    let told = ended.unwrap_err().to_string();
    assert!(
        told.contains("map.js: line 2") && told.contains("none.js: line 1"),
        "{told}"
    );
    assert_eq!(design_docs(&world).await, [""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_there_is_a_mistake() {
    let world = World::start("").await;
    write(&world, "app/fields.json", "{}");
    let (ended, _) = run(&world, PUT).await;
    assert!(
        ended
            .unwrap_err()
            .to_string()
            .contains("there is no database")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_programs_exit_code_tells_a_difference_from_a_failure() {
    let world = filled().await;
    let file = world.directory.path().join("couchwarden.toml");
    let code = |options: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_couchwarden"));
        command
            .arg("deploy")
            .arg("--config")
            .arg(&file)
            .args(options);
        command.output().unwrap().status.code()
    };
    assert_eq!(code(&["--dry-run"]), Some(1));
    assert_eq!(code(&[]), Some(0));
    assert_eq!(code(&["--dry-run"]), Some(0));
    assert_eq!(code(&["--unknown"]), Some(2));
    write(&world, "app/filters/none.js", "var a = 1;");
    assert_eq!(code(&["--dry-run"]), Some(2));
}

/// What is shipped can be deployed.
#[test]
fn the_shipped_design_documents_have_no_mistake() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("ddocs");
    let told = couchwarden::check_ddocs(&folder);
    assert!(told.is_ok(), "{told:?}");
}
