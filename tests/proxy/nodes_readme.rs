//! The worked example of the README, word by word; and nodes from the command line.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Client, World};

/// The blocks of the section on nodes: a request (`GET /node/x as y`), and what is sent or answered.
fn blocks() -> Vec<(String, String)> {
    let readme = include_str!("../../README.md");
    let section = readme
        .split("\n## Nodes")
        .nth(1)
        .unwrap()
        .split("\n## ")
        .next()
        .unwrap();
    let blocks = section.split("```http\n").skip(1);
    let blocks = blocks.map(|block| block.split("```").next().unwrap().split_once('\n').unwrap());
    blocks
        .map(|(request, body)| (request.to_owned(), body.trim().to_owned()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_the_readme_holds() {
    let world = World::with("", "[nodes]\ndatabase = \"@catconf\"\n").await;
    world.database("catconf", json!([])).await;
    let caller = |name: &str| -> Client {
        match name {
            "nobody" => world.anonymous(),
            "phone-7" => world.anonymous().with_login("phone-7", "a long password"),
            name => world.as_(name),
        }
    };
    let blocks = blocks();
    assert!(blocks.len() >= 7, "{blocks:?}");
    for (request, body) in blocks {
        let words: Vec<&str> = request.split(' ').collect();
        let [method, path, "as", name] = words.as_slice() else {
            panic!("{request}");
        };
        if *method == "PUT" {
            let answer = caller(name).ask("PUT", path, &[], body).await;
            assert!(
                matches!(answer.status, 200 | 201),
                "{request}: {:?}",
                answer.body
            );
            continue;
        }
        let answer = caller(name).get(path).await;
        if let Ok(status) = body.split(' ').next().unwrap().parse::<u16>() {
            assert_eq!(answer.status, status, "{request}");
            continue;
        }
        let mut told = answer.yes();
        let metadata = told["metadata"].as_object_mut().unwrap();
        metadata.remove("nodeCtime");
        metadata.remove("nodeCreator");
        let expected: Value =
            serde_json::from_str(&body).unwrap_or_else(|error| panic!("{request}: {error}"));
        assert_eq!(told, expected, "{request}");
    }
}

/// Runs the program beside the world's configuration.
fn run(world: &World, arguments: &[&str], input: &str) -> (i32, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_couchwarden"))
        .args(arguments)
        .current_dir(world.directory.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap(),
        String::from_utf8(text).unwrap().trim().to_owned(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_and_users_are_kept_from_the_command_line() {
    let world = World::with("", "[nodes]\ndatabase = \"@catconf\"\n").await;
    world.database("catconf", json!([])).await;
    let password =
        |text: &str| std::fs::write(world.directory.path().join("password"), text).unwrap();
    let put = r#"{"plan":"basic","metadata":{"nodeId":"root"}}"#;
    let (code, said) = run(&world, &["node", "put", "root"], put);
    assert_eq!(code, 0, "{said}");
    let (code, said) = run(
        &world,
        &["node", "put", "root"],
        r#"{"metadata":{"nodeId":"x"}}"#,
    );
    assert!(code == 1 && said.contains("nodeId"), "{said}");
    password("secret word\n");
    let add = [
        "user",
        "add",
        "phone",
        "--parent",
        "root",
        "--password-file",
        "password",
    ];
    assert_eq!(run(&world, &add, "").0, 0);
    assert_eq!(run(&world, &add, "").0, 1, "it is there already");
    let phone = |password: &str| world.anonymous().with_login("phone", password);
    assert_eq!(
        phone("secret word").get("/node/phone").await.yes()["plan"],
        "basic"
    );
    password("another word");
    assert_eq!(
        run(
            &world,
            &["user", "password", "phone", "--password-file", "password"],
            ""
        )
        .0,
        0
    );
    // The couchwarden that runs learns of it as another one would: within a second.
    let written = Instant::now();
    while phone("another word").get("/node/phone").await.status != 200 {
        assert!(
            written.elapsed() < Duration::from_secs(5),
            "it never learns"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(run(&world, &["node", "list"], "").1, "phone\nroot");
    assert_eq!(
        run(&world, &["node", "list", "--in-domain", "root"], "").1,
        "phone"
    );
    let (_, got) = run(&world, &["node", "get", "phone", "--single-level"], "");
    assert!(got.contains("$2b$") && !got.contains("basic"), "{got}");
    assert_eq!(
        run(&world, &["node", "remove", "root"], "").0,
        1,
        "it has a child"
    );
    assert_eq!(
        run(&world, &["user", "remove", "root"], "").0,
        1,
        "it is no user"
    );
    assert_eq!(run(&world, &["user", "remove", "phone"], "").0, 0);
    assert_eq!(run(&world, &["node", "remove", "root"], "").0, 0);
    assert_eq!(run(&world, &["node", "frobnicate"], "").0, 2);
}
