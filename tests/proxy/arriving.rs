//! Requests that are answered before their body has come: the connection stays in step, or the answer says that it
//! ends.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::World;

const RULES: &str = r#"
[[rule]]
name = "readers"
databases = ["@notes"]
callers = { roles = ["reader"] }
permit = ["read"]
documents = { team = "red" }
"#;

/// One answer, to the end of its body.
async fn answer(connection: &mut TcpStream) -> String {
    let mut read = Vec::new();
    let text = |read: &[u8]| String::from_utf8_lossy(read).to_lowercase();
    loop {
        let mut piece = [0; 4096];
        let more = timeout(Duration::from_secs(20), connection.read(&mut piece)).await;
        let more = more.expect("an answer").expect("no reset");
        read.extend_from_slice(&piece[..more]);
        let told = text(&read);
        let whole = told.split_once("\r\n\r\n").is_some_and(|(head, body)| {
            let length = head
                .split("content-length: ")
                .nth(1)
                .and_then(|rest| rest.split("\r\n").next()?.parse::<usize>().ok());
            length.is_some_and(|length| body.len() >= length)
        });
        if whole || more == 0 {
            return told;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_before_the_body_keeps_the_connection_or_says_that_it_ends() {
    let world = World::plain(RULES).await;
    world.database("notes", serde_json::json!([])).await;
    let rita = world.as_("rita");
    let wrong = world.anonymous().with_login("nobody", "wrong");
    let notes = world.db("notes");
    let cases = [
        (&rita, format!("PUT /{notes}/_design/x"), 1_000, 403),
        (&rita, "PUT /nowhere/a".to_owned(), 1_000, 404),
        (&rita, format!("PUT /{notes}/_design/x"), 60_000, 403),
        (&rita, format!("PUT /{notes}/_design/x"), 200_000, 403),
        (&wrong, format!("PUT /{notes}/a"), 1_000, 401),
    ];
    for (who, line, length, status) in cases {
        let mut connection = TcpStream::connect(world.address).await.unwrap();
        connection.set_nodelay(true).unwrap();
        let fields = format!(
            "HTTP/1.1\r\nHost: localhost:{}\r\nAuthorization: {}\r\n",
            world.address.port(),
            who.authorization()
        );
        let head = format!(
            "{line} {fields}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        connection.write_all(head.as_bytes()).await.unwrap();
        // As CouchDB's replicator does.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let short = length < 100_000;
        if short {
            connection.write_all(&vec![b' '; length]).await.unwrap();
        }
        let first = answer(&mut connection).await;
        assert!(
            first.starts_with(&format!("http/1.1 {status} ")),
            "{line}: {first}"
        );
        assert_eq!(
            first.contains("\r\nconnection: close"),
            !short,
            "{line}: {first}"
        );
        if short {
            let again = format!("GET / {fields}\r\n");
            connection.write_all(again.as_bytes()).await.unwrap();
            let second = answer(&mut connection).await;
            assert!(second.starts_with("http/1.1 "), "{line}: {second}");
        }
    }
}
