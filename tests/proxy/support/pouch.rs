//! An unmodified PouchDB in Node, told what to do line by line (`tests/backend/client.mjs`).

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use serde_json::{Value, json};

use super::client::Client;
use super::world::World;
use crate::backend;

pub(crate) struct Pouch {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    port: u16,
    prefix: String,
}

impl Pouch {
    /// A client that trusts this couchwarden's certificate.
    pub(crate) fn start(world: &World) -> Self {
        let mut child = backend::node()
            .unwrap_or_else(|problem| panic!("{problem}"))
            .arg("client.mjs")
            .env("NODE_EXTRA_CA_CERTS", world.authority())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            input,
            output,
            port: world.address.port(),
            prefix: world.db(""),
        }
    }

    /// One command; `"@name"` in `source` and `target` is a database of this test, and `who` uses it.
    pub(crate) fn tell(&mut self, who: &Client, mut command: Value) -> Value {
        for end in ["source", "target", "url"] {
            if let Some(name) = command[end]
                .as_str()
                .and_then(|name| name.strip_prefix('@'))
            {
                command[end] =
                    format!("https://localhost:{}/{}{name}", self.port, self.prefix).into();
            }
        }
        if let Some((user, password)) = &who.login {
            command["auth"] = json!({ "user": user, "password": password });
        }
        tokio::task::block_in_place(|| {
            let input = self.input.as_mut().unwrap();
            writeln!(input, "{command}").unwrap();
            input.flush().unwrap();
            let mut line = String::new();
            self.output.read_line(&mut line).unwrap();
            serde_json::from_str(&line).unwrap_or_else(|_| panic!("{command}: {line}"))
        })
    }

    /// One command that must succeed.
    #[track_caller]
    pub(crate) fn ok(&mut self, who: &Client, command: Value) -> Value {
        let answer = self.tell(who, command.clone());
        assert!(answer["error"].is_null(), "{command}: {answer}");
        answer["ok"].clone()
    }

    /// The ids of a local database.
    pub(crate) fn ids(&mut self, who: &Client, db: &str) -> String {
        let rows = self.ok(who, json!({ "op": "allDocs", "db": db }));
        let ids = rows["rows"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["id"].as_str().unwrap());
        ids.collect::<Vec<_>>().join(" ")
    }
}

impl Drop for Pouch {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
