//! The client against a CouchDB that lies, breaks off, or is silent.

use super::{Client, ClientError, Kind};
use crate::body::{self, Body, Cut};
use crate::config::{CouchDb, Limits, Origin, Present};
use crate::secret::Secret;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

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
    let couchdb = CouchDb {
        nodes: vec![Origin {
            tls: false,
            host: address.ip().to_string(),
            port: address.port(),
        }],
        user: "warden".to_owned(),
        password: Secret::new("x"),
        present: Present::Service,
        role: "warden".to_owned(),
        ca: None,
    };
    let limits = Limits {
        upstream_answer: Duration::from_millis(100),
        upstream_idle: Duration::from_millis(100),
        ..Limits::default()
    };
    Client::new(&couchdb, &limits).unwrap()
}

fn request(body: Body) -> Request<Body> {
    Request::post("/db?x=1").body(body).unwrap()
}

async fn answer(text: &'static str, keeps: bool) -> Result<Vec<Result<Bytes, Cut>>, ClientError> {
    let client = client(database(text, keeps).await);
    let answer = client
        .send(request(body::full("{}")), Kind::Request)
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
        .send(request(body::empty()), Kind::Request)
        .await;
    assert_eq!(sent.map(drop), Err(ClientError::Unreachable));
}

#[tokio::test]
async fn a_body_that_fails_tells_why() {
    let address = database("", true).await;
    let begun = stream::once(async { Ok(Frame::data(Bytes::from("a"))) });
    let failing = begun.chain(stream::once(async { Err(Cut::ClientTooLarge) }));
    let body = body::boxed(StreamBody::new(failing));
    let sent = client(address).send(request(body), Kind::Request).await;
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
    let sent = client(address).send(request(body), Kind::Request).await;
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
        .send(request(body::empty()), Kind::Request)
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
    let answer = client(dropping().await).send(get, Kind::Request).await;
    assert_eq!(answer.unwrap().status(), 200);
    let post = request(body::full("{}"));
    let answer = client(dropping().await).send(post, Kind::Request).await;
    assert_eq!(answer.err(), Some(ClientError::Broken));
}
