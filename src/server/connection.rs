//! One connection: handshake, the protocol that ALPN has chosen, its end.
//!
//! Invariant: the protocol is decided by the handshake, never by looking at bytes (which hyper does without
//! a deadline); every phase has one.

use super::socket::Paced;
use super::stream::{Delivered, Load, Streams};
use super::target::Typed;
use crate::body::{Arriving, Body, Endless, Sound, keeping};
use crate::config::Limits;
use crate::intake::Peer;
use crate::shares::ConnectionPlace;
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// Where a client comes from, and the place that its connection takes.
pub(super) type Arrival = (SocketAddr, Option<Arc<ConnectionPlace>>);

/// Between memory for each slow reader and speed of large bodies (edge A4).
const BUFFER: usize = 64 * 1024;

const STREAMS: u32 = 100;
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Twenty is what h2 has found out to be right against rapid resets.
const PENDING_RESETS: usize = 20;
const PING_AFTER: Duration = Duration::from_secs(30);
const PING_ANSWER: Duration = Duration::from_secs(20);

/// Answers after which a connection of HTTP/1 is closed: the client's next bytes may not be what it
/// thinks, or what we think, they are. (Unless it is marked as [`Sound`].)
const CLOSING: [u16; 9] = [400, 405, 408, 413, 414, 417, 421, 431, 501];

/// What all connections share.
pub(super) struct Settings {
    http1: http1::Builder,
    limits: Limits,
}

impl Settings {
    pub(super) fn new(limits: &Limits) -> Self {
        let mut http1 = http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            // It runs from the end of the request before; heads themselves are timed by [`Typed`].
            .header_read_timeout(limits.idle_time.max(limits.head_time))
            // Who has nothing more to say may still want to be answered.
            .half_close(true)
            .max_header_size(limits.head)
            .max_buf_size(BUFFER);
        // hyper's default; to name it would cost an allocation for each request.
        if limits.fields != 100 {
            http1.max_headers(limits.fields);
        }
        Self {
            http1,
            limits: *limits,
        }
    }

    fn http2(&self, streams: Streams) -> http2::Builder<Streams> {
        let mut http2 = http2::Builder::new(streams);
        let head = u32::try_from(self.limits.head).unwrap_or(u32::MAX);
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(BUFFER)
            .max_header_list_size(head)
            .max_pending_accept_reset_streams(PENDING_RESETS)
            .keep_alive_interval(PING_AFTER)
            .keep_alive_timeout(PING_ANSWER);
        http2
    }
}

/// Serves one connection to its end.
pub(super) async fn serve<H, F>(
    tcp: TcpStream,
    arrival: Arrival,
    acceptor: Option<TlsAcceptor>,
    settings: Arc<Settings>,
    stopped: watch::Receiver<bool>,
    handle: H,
) where
    H: Fn(Request<Arriving>, Peer) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    if let Err(error) = tcp.set_nodelay(true) {
        tracing::debug!(%error, "no delay");
    }
    serve_io(tcp, arrival, acceptor, settings, stopped, handle).await;
}

/// The same for any pair of ends, so that tests need no socket.
pub(super) async fn serve_io<S, H, F>(
    io: S,
    (address, place): Arrival,
    acceptor: Option<TlsAcceptor>,
    settings: Arc<Settings>,
    mut stopped: watch::Receiver<bool>,
    handle: H,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    H: Fn(Request<Arriving>, Peer) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let socket = Paced::new(io, settings.limits.write_idle);
    let mut peer = Peer {
        address,
        tls: acceptor.is_some(),
        server_name: None,
        place,
    };
    let Some(acceptor) = acceptor else {
        return serve_http1(socket, peer, &settings, stopped, handle).await;
    };
    // Boxed, so that the handshake's state is gone when the handshake is.
    let handshake = Box::pin(tokio::time::timeout(
        settings.limits.handshake_time,
        acceptor.accept(socket),
    ));
    let tls = tokio::select! {
        shaken = handshake => match shaken {
            Ok(Ok(tls)) => tls,
            Ok(Err(error)) => return tracing::debug!(%error, "no handshake"),
            Err(_) => return tracing::debug!("no handshake in time"),
        },
        () = told(&mut stopped) => return,
    };
    let session = tls.get_ref().1;
    peer.server_name = session.server_name().map(Arc::from);
    if session.alpn_protocol() == Some(b"h2") {
        serve_http2(tls, peer, &settings, stopped, handle).await;
    } else {
        serve_http1(tls, peer, &settings, stopped, handle).await;
    }
}

async fn serve_http1<S, H, F>(
    io: S,
    peer: Peer,
    settings: &Settings,
    mut stopped: watch::Receiver<bool>,
    handle: H,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    H: Fn(Request<Arriving>, Peer) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let (io, listening) = Typed::http1(io, settings.limits.head_time);
    let service = service_fn(move |request: Request<Incoming>| {
        let listening = listening.clone();
        let answering = listening.answering();
        let (parts, body) = request.into_parts();
        let (body, left) = Arriving::new(body, &parts.headers);
        let answer = handle(Request::from_parts(parts, body), peer.clone());
        async move {
            let mut answer = answer.await;
            let status = answer.status().as_u16();
            let sound = answer.extensions().get::<Sound>().is_some() && matches!(status, 400 | 405);
            if (CLOSING.contains(&status) && !sound) || left.ends_connection() {
                let close = HeaderValue::from_static("close");
                answer.headers_mut().insert(CONNECTION, close);
            }
            if answer.extensions().get::<Endless>().is_some() {
                // Security: else nothing would tell that the client of a quiet feed has gone, and it would keep its
                // connection to CouchDB (`a_client_that_leaves_a_quiet_feed_is_noticed`).
                answer = answer.map(|body| keeping(body, listening.begin()));
            }
            if let Some(answering) = answering {
                answer = answer.map(|body| keeping(body, answering));
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let mut connection = pin!(settings.http1.serve_connection(TokioIo::new(io), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = told(&mut stopped) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "the connection ended early");
    }
}

async fn serve_http2<S, H, F>(
    io: S,
    peer: Peer,
    settings: &Settings,
    mut stopped: watch::Receiver<bool>,
    handle: H,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    H: Fn(Request<Arriving>, Peer) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let load = Arc::new(Load::default());
    let streams = Streams::new(settings.limits.write_idle, Arc::clone(&load));
    let service = service_fn(move |mut request: Request<Incoming>| {
        *request.version_mut() = Version::HTTP_2;
        let answer = handle(request.map(Arriving::stream), peer.clone());
        async move {
            let answer: Response<Body> = answer.await;
            Ok::<_, Infallible>(answer.map(Delivered::new))
        }
    });
    let builder = settings.http2(streams);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(Typed::http2(io)), service));
    let early = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = told(&mut stopped) => None,
        () = load.unused(settings.limits.head_time, settings.limits.idle_time) => None,
    };
    let ended = match early {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            finish(connection, &load, settings.limits.write_idle).await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "the connection ended early");
    }
}

/// After the goodbye: streams may end in their own time, a client that keeps the connection without any
/// may not.
async fn finish<C>(connection: Pin<&mut C>, load: &Load, limit: Duration) -> hyper::Result<()>
where
    C: Future<Output = hyper::Result<()>>,
{
    tokio::select! {
        ended = connection => ended,
        () = load.unused_for(limit) => Ok(()),
    }
}

/// Ends when the server is told to stop, or is gone.
async fn told(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
