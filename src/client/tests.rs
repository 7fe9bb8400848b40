//! The client against a CouchDB that lies, breaks off, or is silent.

use super::{Answered, Client, ClientError, Kind, Reuse};
use crate::body::{self, Body, Cut};
use crate::config::{CouchDb, Limits, MemberRole, Origin, Present, SentRoles};
use crate::secret::Secret;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A database that gives this answer to whatever comes, and keeps or closes the connection.
#[expect(clippy::disallowed_methods, reason = "a test plays the other side")]
async fn database(answer: &'static str, keeps: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((mut tcp, _)) = listener.accept().await {
            let mut scrap = [0; 1024];
            let _ = tcp.read(&mut scrap).await;
            let _ = tcp.write_all(answer.as_bytes()).await;
            if keeps {
                kept.push(tcp);
            }
        }
    });
    address
}

fn client(address: SocketAddr) -> Client {
    let limits = Limits {
        upstream_answer: Duration::from_millis(100),
        upstream_idle: Duration::from_millis(100),
        ..Limits::default()
    };
    client_within(address, &limits)
}

fn client_within(address: SocketAddr, limits: &Limits) -> Client {
    let couchdb = CouchDb {
        nodes: vec![Origin {
            tls: false,
            host: address.ip().to_string(),
            port: address.port(),
        }],
        user: "warden".to_owned(),
        present: Present::Service {
            password: Secret::new("x"),
        },
        role: MemberRole::parse("warden").unwrap(),
        roles: SentRoles::All,
        ca: None,
    };
    Client::new(&couchdb, limits).unwrap()
}

fn request(body: Body) -> Request<Body> {
    Request::post("/db?x=1").body(body).unwrap()
}

async fn answer(text: &'static str, keeps: bool) -> Result<Vec<Result<Bytes, Cut>>, ClientError> {
    let client = client(database(text, keeps).await);
    let answer = client
        .send(request(body::full("{}")), Kind::Request, Reuse::IfWhole)
        .await?;
    let mut body = answer.into_body();
    let mut frames = Vec::new();
    while let Some(frame) = body.frame().await {
        let ended = frame.is_err();
        frames.push(frame.map(|frame| frame.into_data().unwrap()));
        // A cut body stays cut: it never says that it is at its end.
        if ended {
            break;
        }
    }
    Ok(frames)
}

#[tokio::test]
async fn an_answer_comes_without_its_trailers() {
    let text = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x\r\n\r\n\
                1\r\na\r\n0\r\nx: y\r\n\r\n";
    assert_eq!(answer(text, true).await.unwrap(), [Ok(Bytes::from("a"))]);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_cut() {
    for text in [
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\na",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\nzz\r\n",
    ] {
        let frames = answer(text, false).await.unwrap();
        assert_eq!(frames.last(), Some(&Err(Cut::Upstream)), "{text}");
    }
}

#[tokio::test]
async fn an_answer_that_stands_still_is_cut() {
    let text = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\na";
    let frames = answer(text, true).await.unwrap();
    assert_eq!(frames.last(), Some(&Err(Cut::UpstreamSlow)));
}

#[tokio::test]
async fn silence_is_slow_and_nonsense_is_broken() {
    assert_eq!(answer("", true).await, Err(ClientError::Slow));
    assert_eq!(
        answer("nonsense\r\n\r\n", true).await,
        Err(ClientError::Broken)
    );
    let switch = "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n";
    assert_eq!(answer(switch, true).await, Err(ClientError::Broken));
    let two = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab";
    assert_eq!(answer(two, true).await, Err(ClientError::Broken));
}

#[tokio::test]
async fn where_nobody_listens_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let sent = client(address)
        .send(request(body::empty()), Kind::Request, Reuse::IfWhole)
        .await;
    assert_eq!(sent.map(drop), Err(ClientError::Unreachable));
}

#[tokio::test]
async fn a_body_that_fails_tells_why() {
    let address = database("", true).await;
    let begun = stream::once(async { Ok(Frame::data(Bytes::from("a"))) });
    let failing = begun.chain(stream::once(async { Err(Cut::ClientTooLarge) }));
    let body = body::boxed(StreamBody::new(failing));
    let sent = client(address)
        .send(request(body), Kind::Request, Reuse::IfWhole)
        .await;
    assert_eq!(
        sent.map(drop),
        Err(ClientError::Client(Cut::ClientTooLarge))
    );
}

#[tokio::test]
async fn the_database_is_not_slow_while_the_client_sends() {
    let address = database("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", true).await;
    // The database of this test answers at once; one that waits for the whole body must not be blamed
    // for a body that takes longer than its own time.
    let late = stream::once(async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        Ok(Frame::data(Bytes::from("a")))
    });
    let body = body::boxed(StreamBody::new(Box::pin(late)));
    let sent = client(address)
        .send(request(body), Kind::Request, Reuse::IfWhole)
        .await;
    assert!(sent.is_ok());
}

/// CouchDB takes a POST that says no length for one whose body is missing.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a test plays the other side")]
async fn a_request_without_a_body_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = client(listener.local_addr().unwrap());
    let head = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let mut head = vec![0; 1024];
        let read = tcp.read(&mut head).await.unwrap();
        head.truncate(read);
        let _ = tcp
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .await;
        String::from_utf8(head).unwrap()
    });
    client
        .send(request(body::empty()), Kind::Request, Reuse::IfWhole)
        .await
        .unwrap();
    let head = head.await.unwrap();
    assert!(head.contains("content-length: 0\r\n"), "{head}");
}

/// A database that drops the first connection without a word and answers on those after it.
#[expect(clippy::disallowed_methods, reason = "a test plays the other side")]
async fn dropping() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut first = true;
        while let Ok((mut tcp, _)) = listener.accept().await {
            let mut scrap = [0; 1024];
            let _ = tcp.read(&mut scrap).await;
            if !std::mem::take(&mut first) {
                let _ = tcp
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                    .await;
            }
        }
    });
    address
}

#[tokio::test]
async fn a_get_is_sent_again_when_its_connection_died_and_a_post_is_not() {
    let get = Request::get("/db").body(body::empty()).unwrap();
    let answer = client(dropping().await)
        .send(get, Kind::Request, Reuse::IfWhole)
        .await;
    assert_eq!(answer.unwrap().status(), 200);
    let post = request(body::full("{}"));
    let answer = client(dropping().await)
        .send(post, Kind::Request, Reuse::IfWhole)
        .await;
    assert_eq!(answer.err(), Some(ClientError::Broken));
}

/// A request as a database has seen it: on its how-manieth connection, and its head.
type Asked = (usize, String);

/// A database that reads nothing but heads, gives each request this answer, and goes on.
#[expect(clippy::disallowed_methods, reason = "a test plays the other side")]
async fn repeating(answer: &'static [u8]) -> (Client, Arc<Mutex<Vec<Asked>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = client(listener.local_addr().unwrap());
    let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
    let log = Arc::clone(&asked);
    tokio::spawn(async move {
        for number in 0.. {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                while let Some(head) = head(&mut tcp).await {
                    log.lock().unwrap().push((number, head));
                    let _ = tcp.write_all(answer).await;
                }
            });
        }
    });
    (client, asked)
}

/// The next head, and nothing of what is behind it.
async fn head(tcp: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tcp.read_u8().await.ok()?);
    }
    Some(String::from_utf8_lossy(&head).to_lowercase())
}

/// Sends a request and reads the answer to its end.
async fn whole(client: &Client, request: Request<Body>, reuse: Reuse) -> u16 {
    let answer = client.send(request, Kind::Request, reuse).await.unwrap();
    let status = answer.status().as_u16();
    let mut body = answer.into_body();
    while let Some(frame) = body.frame().await {
        frame.unwrap();
    }
    status
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(body::empty()).unwrap()
}

/// By which connections the requests came.
fn connections(asked: &Mutex<Vec<Asked>>) -> Vec<usize> {
    asked
        .lock()
        .unwrap()
        .iter()
        .map(|(number, _)| *number)
        .collect()
}

#[tokio::test]
async fn a_connection_is_used_again_after_a_whole_answer() {
    for text in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 404 Object Not Found\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 304 Not Modified\r\n\r\n",
    ] {
        let (client, asked) = repeating(text.as_bytes()).await;
        for _ in 0..3 {
            whole(&client, get("/db"), Reuse::IfWhole).await;
        }
        assert_eq!(connections(&asked), [0, 0, 0], "{text}");
    }
}

#[tokio::test]
async fn a_connection_is_closed_where_the_answer_does_not_end_for_sure() {
    for text in [
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\n\r\n",
        // More than was announced.
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}{",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n\r\n",
    ] {
        let (client, asked) = repeating(text.as_bytes()).await;
        for _ in 0..3 {
            whole(&client, get("/db"), Reuse::IfWhole).await;
        }
        assert_eq!(connections(&asked), [0, 1, 2], "{text}");
    }
}

#[tokio::test]
async fn an_answer_that_is_not_read_to_its_end_ends_the_connection() {
    let (client, asked) =
        repeating(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
            .await;
    for frames in [0, 1] {
        let sent = client.send(get("/db"), Kind::Request, Reuse::IfWhole);
        let mut body = sent.await.unwrap().into_body();
        for _ in 0..frames {
            body.frame().await.unwrap().unwrap();
        }
    }
    whole(&client, get("/db"), Reuse::IfWhole).await;
    assert_eq!(connections(&asked), [0, 1, 2]);
}

/// CouchDB has read the head only, and its answer is good: what it will make of the rest, nobody knows.
#[tokio::test]
async fn a_body_that_the_kernel_has_not_taken_ends_the_connection() {
    let (client, asked) = repeating(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
    let long = Request::post("/db/_bulk_docs").body(body::full(vec![b' '; 64 << 20]));
    whole(&client, long.unwrap(), Reuse::IfWhole).await;
    whole(&client, get("/db"), Reuse::IfWhole).await;
    assert_eq!(connections(&asked), [0, 1]);
}

#[tokio::test]
async fn what_is_not_sure_to_end_has_a_connection_for_itself() {
    let (client, asked) = repeating(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
    for reuse in [Reuse::IfWhole, Reuse::Never, Reuse::Never, Reuse::IfWhole] {
        whole(&client, get("/db"), reuse).await;
    }
    assert_eq!(connections(&asked), [0, 1, 2, 0]);
    let closes = |(_, head): &Asked| head.contains("connection: close\r\n");
    let told: Vec<bool> = asked.lock().unwrap().iter().map(closes).collect();
    assert_eq!(told, [false, true, true, false]);
}

#[tokio::test]
async fn a_client_apart_shares_no_connection() {
    let (client, asked) = repeating(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
    let apart = client.clone().apart();
    for client in [&client, &apart, &client, &apart] {
        whole(client, get("/db"), Reuse::IfWhole).await;
    }
    assert_eq!(connections(&asked), [0, 1, 0, 1]);
}

/// What a database does on a connection that waits.
#[derive(Clone, Copy)]
enum Meanwhile {
    Closes,
    Sends(&'static [u8]),
}

/// Tokio has had no time to learn of it: between the first answer and the second request nothing is awaited.
#[tokio::test]
async fn what_arrives_between_two_answers_ends_the_connection() {
    for meanwhile in [
        Meanwhile::Closes,
        Meanwhile::Sends(b"x"),
        Meanwhile::Sends(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nforeign"),
    ] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = client(listener.local_addr().unwrap());
        let (go, gone) = (mpsc::channel(), mpsc::channel());
        let database = std::thread::spawn(move || {
            let (mut first, _) = listener.accept().unwrap();
            reply(&mut first);
            go.1.recv().unwrap();
            let kept = match meanwhile {
                Meanwhile::Closes => {
                    drop(first);
                    None
                }
                Meanwhile::Sends(bytes) => {
                    first.write_all(bytes).unwrap();
                    Some(first)
                }
            };
            gone.0.send(()).unwrap();
            let (mut second, _) = listener.accept().unwrap();
            reply(&mut second);
            drop(kept);
        });
        whole(&client, get("/db"), Reuse::IfWhole).await;
        go.0.send(()).unwrap();
        gone.1.recv().unwrap();
        // With a body: nothing of it was sent, so it goes by another connection.
        let sent = client.send(request(body::full("{}")), Kind::Request, Reuse::IfWhole);
        let body = sent.await.unwrap().into_body().frame().await;
        assert_eq!(body.unwrap().unwrap().into_data().unwrap(), "{}");
        database.join().unwrap();
    }
}

/// Reads a head, and answers.
fn reply(tcp: &mut std::net::TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        tcp.read_exact(&mut byte).unwrap();
        head.extend_from_slice(&byte);
    }
    tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        .unwrap();
}

#[tokio::test]
async fn a_connection_that_waits_for_too_long_is_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let limits = Limits {
        upstream_keep: Duration::from_millis(50),
        ..Limits::default()
    };
    let client = client_within(listener.local_addr().unwrap(), &limits);
    let (status, ended) = tokio::join!(whole(&client, get("/db"), Reuse::IfWhole), async {
        let (mut tcp, _) = listener.accept().await.unwrap();
        head(&mut tcp).await.unwrap();
        tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await
            .unwrap();
        tcp.read(&mut [0]).await
    });
    assert_eq!((status, ended.unwrap()), (200, 0));
}

/// A database that answers when a request has begun and hangs up on the rest of it, which resets the connection.
fn hasty(answer: &'static str) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((mut tcp, _)) = listener.accept() {
            // More is there by then than is read of it.
            std::thread::sleep(Duration::from_millis(5));
            let _ = tcp.read(&mut [0; 16]);
            let _ = tcp.write_all(answer.as_bytes());
        }
    });
    address
}

/// A body of two pieces. The second one comes when the answer has, and is written before anything is read again.
fn late() -> Body {
    let pieces = stream::iter(0..2).map(|piece| {
        std::thread::sleep(Duration::from_millis(30 * piece));
        Ok(Frame::data(Bytes::from(vec![b'x'; 10_000])))
    });
    body::boxed(StreamBody::new(pieces))
}

async fn text_of(mut body: Answered) -> Result<String, Cut> {
    let mut text = String::new();
    while let Some(frame) = body.frame().await {
        text += str::from_utf8(&frame?.into_data().unwrap()).unwrap();
    }
    Ok(text)
}

#[tokio::test]
async fn an_answer_that_came_before_the_end_of_the_request_is_read() {
    let text = "HTTP/1.1 409 Conflict\r\ncontent-length: 4\r\n\r\nno!!";
    for reuse in [Reuse::IfWhole, Reuse::Never] {
        let client = client(hasty(text));
        for _ in 0..10 {
            let answer = client.send(request(late()), Kind::Request, reuse).await;
            let answer = answer.unwrap();
            assert_eq!(answer.status(), 409);
            assert_eq!(text_of(answer.into_body()).await, Ok("no!!".into()));
        }
    }
}

#[tokio::test]
async fn an_answer_that_was_cut_by_a_reset_never_looks_whole() {
    for text in [
        "",
        "HTTP/1.1 409 Con",
        "HTTP/1.1 409 Conflict\r\ncontent-length: 5\r\n\r\nno!!",
        // Its end is that of the connection, which did not end in order.
        "HTTP/1.1 409 Conflict\r\n\r\nno!!",
    ] {
        let client = client(hasty(text));
        let answer = client.send(request(late()), Kind::Request, Reuse::Never);
        match answer.await {
            Ok(answer) => {
                let body = text_of(answer.into_body()).await;
                assert_eq!(body, Err(Cut::Upstream), "{text}");
            }
            Err(error) => assert_eq!(error, ClientError::Broken, "{text}"),
        }
    }
}
