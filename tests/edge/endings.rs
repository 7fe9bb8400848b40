//! How answers and requests end: a cut one never looks whole, and nobody is waited for without a limit.

use crate::frames::{self, DATA, GOAWAY, HEADERS, Outcome, RESET};
use crate::proxy::{Proxy, limits};
use crate::upstream::find;
use bytes::Bytes;
use couchwarden::body::{self, Body, Cut};
use couchwarden::config::Limits;
use couchwarden::intake::{Door, Intake};
use couchwarden::server::Drained;
use futures_util::stream::{self, StreamExt as _};
use http::Response;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// Reached only by a failure.
const PATIENCE: Duration = Duration::from_secs(60);

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A handler whose answers begin with `begun`, and fail when they are told to.
async fn cutting() -> (Proxy, Arc<Notify>) {
    let fail = Arc::new(Notify::new());
    let told = Arc::clone(&fail);
    let proxy = Proxy::start(limits(), move |_, _| {
        let told = Arc::clone(&told);
        let begun = stream::once(async { Ok(Frame::data(Bytes::from("begun"))) });
        let cut = stream::once(async move {
            told.notified().await;
            Err(Cut::Filter)
        });
        async { Response::new(body::boxed(StreamBody::new(begun.chain(cut)))) }
    })
    .await;
    (proxy, fail)
}

fn endless() -> Body {
    let piece = Bytes::from(vec![b'x'; 16 * 1024]);
    let pieces = stream::repeat_with(move || Ok(Frame::data(piece.clone())));
    body::boxed(StreamBody::new(pieces))
}

fn get() -> Vec<u8> {
    let fields = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/"),
    ];
    frames::block(&fields.map(|(name, value)| (name.into(), value.into())))
}

#[tokio::test]
async fn a_cut_answer_has_no_last_chunk() {
    let (proxy, fail) = cutting().await;
    let mut tls = proxy.connect(b"http/1.1").await;
    tls.write_all(GET).await.unwrap();
    let mut bytes = Vec::new();
    while find(&bytes, b"begun").is_none() {
        tls.read_buf(&mut bytes).await.unwrap();
    }
    fail.notify_one();
    let ended = tls.read_to_end(&mut bytes).await;
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    assert!(!text.contains("\r\n0\r\n"), "{text}");
    // TLS ends without its goodbye, so that an answer without framing would be seen to be cut as well.
    assert!(ended.is_err(), "{text}");
}

#[tokio::test]
async fn a_cut_answer_resets_its_stream() {
    let (proxy, fail) = cutting().await;
    let mut tls = proxy.connect(b"h2").await;
    frames::greet(&mut tls, &[]).await;
    frames::write(&mut tls, HEADERS, 5, 1, &get()).await;
    loop {
        let frame = frames::read(&mut tls).await.unwrap();
        assert!(
            !(frame.kind == DATA && frame.flags & 1 == 1),
            "the cut answer looks whole"
        );
        assert_ne!(frame.kind, GOAWAY);
        if frame.kind == DATA {
            fail.notify_one();
        }
        if frame.kind == RESET {
            break;
        }
    }
}

#[tokio::test]
async fn a_reset_without_error_does_not_complete_a_body() {
    let (collected, mut was_collected) = tokio::sync::mpsc::unbounded_channel();
    let door = Arc::new(Door::new(&limits(), &[], &[], &[]));
    let proxy = Proxy::start(limits(), move |request, peer| {
        let intake = Intake::accept(request, peer, &door).unwrap();
        let collected = collected.clone();
        async move {
            collected.send(intake.body.collect(100).await).unwrap();
            Response::new(body::empty())
        }
    })
    .await;
    let mut tls = proxy.connect(b"h2").await;
    frames::greet(&mut tls, &[]).await;
    let fields = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/db/_bulk_docs"),
    ];
    let head = frames::block(&fields.map(|(name, value)| (name.into(), value.into())));
    frames::write(&mut tls, HEADERS, 4, 1, &head).await;
    frames::write(&mut tls, DATA, 0, 1, b"half").await;
    frames::write(&mut tls, RESET, 0, 1, &[0; 4]).await;
    let body = was_collected.recv().await.unwrap();
    assert_eq!(body, Err(Cut::ClientBroken.refusal()));
}

#[tokio::test]
async fn who_never_shakes_hands_is_sent_away() {
    let limits = Limits {
        handshake_time: Duration::from_millis(50),
        ..limits()
    };
    let proxy = Proxy::start(limits, |_, _| async { Response::new(body::empty()) }).await;
    let mut tcp = TcpStream::connect(proxy.address).await.unwrap();
    assert_eq!(tcp.read(&mut [0; 16]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_head_that_never_ends_is_not_waited_for() {
    let limits = Limits {
        head_time: Duration::from_millis(50),
        ..limits()
    };
    let proxy = Proxy::start(limits, |_, _| async { Response::new(body::empty()) }).await;
    let mut tls = proxy.connect(b"http/1.1").await;
    tls.write_all(b"GET / HTTP/1.1\r\nHost: loc").await.unwrap();
    let mut bytes = Vec::new();
    let _ = tls.read_to_end(&mut bytes).await;
    assert!(!bytes.starts_with(b"HTTP/1.1 200"));
}

/// Whether one more request is answered.
async fn is_answered(client: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &[u8]) -> bool {
    if client.write_all(request).await.is_err() {
        return false;
    }
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        match client.read_u8().await {
            Ok(byte) => answer.push(byte),
            Err(_) => return false,
        }
    }
    answer.starts_with(b"HTTP/1.1 200")
}

/// CouchDB's replicator pauses for up to 64 seconds, and dies if its connection is closed when it tries again.
#[tokio::test]
async fn a_connection_between_requests_is_kept_for_longer_than_a_head_may_take() {
    let limits = Limits {
        head_time: Duration::from_millis(300),
        idle_time: PATIENCE,
        ..limits()
    };
    // A body of unknown length that nobody reads would end its connection.
    let proxy = Proxy::start(limits, |request, _| async {
        let read = request.into_body().collect().await;
        read.unwrap();
        Response::new(body::empty())
    })
    .await;
    let post = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}";
    for request in [GET, post] {
        let mut tls = proxy.connect(b"http/1.1").await;
        for _ in 0..2 {
            assert!(is_answered(&mut tls, request).await);
            tokio::time::sleep(limits.head_time * 2).await;
        }
        // But the next head is as short of time as the first one.
        tls.write_all(b"GET / HTTP/1.1\r\nHost: loc").await.unwrap();
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(PATIENCE / 2, tls.read_to_end(&mut rest)).await;
        assert!(ended.is_ok() && rest.is_empty());
    }
    // Behind a body that is not followed nobody knows where the next head begins.
    let chunked =
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let mut tls = proxy.connect(b"http/1.1").await;
    assert!(is_answered(&mut tls, chunked).await);
    assert!(is_answered(&mut tls, chunked).await);
    let ended = tokio::time::timeout(PATIENCE / 2, tls.read_to_end(&mut Vec::new())).await;
    assert!(ended.is_ok());
}

#[tokio::test]
async fn a_connection_that_is_idle_for_too_long_is_ended() {
    let limits = Limits {
        head_time: Duration::from_millis(100),
        idle_time: Duration::from_millis(200),
        ..limits()
    };
    let proxy = Proxy::start(limits, |_, _| async { Response::new(body::empty()) }).await;
    for first in [true, false] {
        let mut tls = proxy.connect(b"http/1.1").await;
        assert!(first || is_answered(&mut tls, GET).await);
        let ended = tokio::time::timeout(PATIENCE, tls.read_to_end(&mut Vec::new())).await;
        assert!(ended.is_ok());
    }
}

#[tokio::test]
async fn a_connection_of_http2_without_streams_is_ended() {
    let limits = Limits {
        head_time: Duration::from_millis(50),
        ..limits()
    };
    let proxy = Proxy::start(limits, |_, _| async { Response::new(body::empty()) }).await;
    let mut tls = proxy.connect(b"h2").await;
    frames::greet(&mut tls, &[]).await;
    while let Some(frame) = frames::read(&mut tls).await {
        if frame.kind == GOAWAY {
            return;
        }
    }
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_cut() {
    let limits = Limits {
        write_idle: Duration::from_millis(100),
        ..limits()
    };
    let (ended, mut has_ended) = tokio::sync::mpsc::unbounded_channel();
    let proxy = Proxy::start(limits, move |_, _| {
        let guard = Guard(ended.clone());
        async move { Response::new(body::boxed(Held(endless(), guard))) }
    })
    .await;
    let mut tls = proxy.connect(b"http/1.1").await;
    tls.write_all(GET).await.unwrap();
    // Nothing is read: the buffers of both kernels fill, and then it is our turn to lose patience.
    let ended = tokio::time::timeout(PATIENCE, has_ended.recv()).await;
    assert_eq!(ended, Ok(Some(())));
    drop(tls);
}

#[tokio::test]
async fn a_stream_without_a_window_is_reset_and_the_connection_lives() {
    let limits = Limits {
        write_idle: Duration::from_millis(100),
        ..limits()
    };
    let proxy = Proxy::start(limits, |_, _| async { Response::new(endless()) }).await;
    let mut tls = proxy.connect(b"h2").await;
    // SETTINGS_INITIAL_WINDOW_SIZE of nothing at all.
    frames::greet(&mut tls, &[(4, 0)]).await;
    frames::write(&mut tls, HEADERS, 5, 1, &get()).await;
    loop {
        let frame = frames::read(&mut tls).await.unwrap();
        assert_ne!(frame.kind, DATA);
        assert_ne!(frame.kind, GOAWAY);
        if frame.kind == RESET {
            break;
        }
    }
    frames::write(&mut tls, HEADERS, 5, 3, &get()).await;
    assert_eq!(
        frames::outcome(&mut tls).await,
        Outcome::Status("200".to_owned())
    );
}

#[tokio::test]
async fn what_has_begun_is_finished_when_the_server_stops() {
    let (arrived, mut has_arrived) = tokio::sync::mpsc::unbounded_channel();
    let (go, _) = tokio::sync::broadcast::channel::<()>(1);
    let wait = go.clone();
    let proxy = Proxy::start(limits(), move |_, _| {
        let mut wait = wait.subscribe();
        arrived.send(()).unwrap();
        async move {
            wait.recv().await.unwrap();
            Response::new(body::full("done"))
        }
    })
    .await;
    let mut tls = proxy.connect(b"http/1.1").await;
    tls.write_all(GET).await.unwrap();
    has_arrived.recv().await.unwrap();
    let address = proxy.address;
    let stopping = tokio::spawn(proxy.stop());
    // The listener closes first.
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    go.send(()).unwrap();
    let mut bytes = Vec::new();
    tls.read_to_end(&mut bytes).await.unwrap();
    assert!(find(&bytes, b"\r\n\r\ndone").is_some());
    assert!(find(&bytes.to_ascii_lowercase(), b"connection: close").is_some());
    drop(tls);
    assert_eq!(stopping.await.unwrap(), Drained { cut: 0 });
}

#[tokio::test]
async fn what_does_not_finish_in_the_grace_is_cut() {
    let limits = Limits {
        grace: Duration::from_millis(50),
        ..limits()
    };
    let (arrived, mut has_arrived) = tokio::sync::mpsc::unbounded_channel();
    let proxy = Proxy::start(limits, move |_, _| {
        arrived.send(()).unwrap();
        std::future::pending()
    })
    .await;
    let mut tls = proxy.connect(b"http/1.1").await;
    tls.write_all(GET).await.unwrap();
    has_arrived.recv().await.unwrap();
    assert_eq!(proxy.stop().await, Drained { cut: 1 });
}

/// Answers when it is told to, which is after the client has ended its side.
async fn later(listen: &str) -> (Proxy, Arc<Notify>) {
    let go = Arc::new(Notify::new());
    let told = Arc::clone(&go);
    let proxy = Proxy::with(limits(), listen, "", move |request, _| {
        let told = Arc::clone(&told);
        async move {
            let read = request.into_body().collect().await;
            told.notified().await;
            let read = read.map(|read| read.to_bytes()).unwrap_or_default();
            Response::new(body::full([&read[..], b" done"].concat()))
        }
    })
    .await;
    (proxy, go)
}

/// The answer to a request after which the client ends its side.
async fn answer_after_the_end<S>(
    (proxy, go): &(Proxy, Arc<Notify>),
    mut io: S,
    request: &[u8],
) -> String
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    io.write_all(request).await.unwrap();
    io.shutdown().await.unwrap();
    // The end has arrived before what another connection says later, and is answered.
    let mut other = TcpStream::connect(proxy.address).await.unwrap();
    other.write_all(b"nonsense\r\n\r\n").await.unwrap();
    let _ = other.read_to_end(&mut Vec::new()).await;
    go.notify_one();
    let mut answer = Vec::new();
    let whole = io.read_to_end(&mut answer);
    let _ = tokio::time::timeout(PATIENCE, whole).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_client_that_ends_its_side_gets_its_answer() {
    let put = b"PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody";
    let chunked =
        b"PUT / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n";
    for request in [GET, put, chunked] {
        let plain = later("insecure = true").await;
        let tcp = TcpStream::connect(plain.0.address).await.unwrap();
        let answer = answer_after_the_end(&plain, tcp, request).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
        assert!(answer.ends_with(" done"), "{answer}");
        let encrypted = later("").await;
        let tls = encrypted.0.connect(b"http/1.1").await;
        let answer = answer_after_the_end(&encrypted, tls, request).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
        assert!(answer.ends_with(" done"), "{answer}");
    }
}

/// A body that tells when it is dropped.
struct Held(Body, Guard);
struct Guard(tokio::sync::mpsc::UnboundedSender<()>);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = Cut;
    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let Self(body, _guard) = &mut *self;
        std::pin::Pin::new(body).poll_frame(cx)
    }
}
