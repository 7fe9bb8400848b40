//! Connections to one CouchDB node: TCP, and TLS verified by the configured authority.
//!
//! CouchDB may answer before it has read the whole request, and hang up: then what it has said is still to be read,
//! though nothing can be written any more.
//!
//! Invariant: whatever address a request names, the connection goes to the configured node. A connection that is asked
//! for silence ([`Watch::demand_silence`]) gives an error instead of what has arrived on it. One that can't be written
//! to any more ends with an error, never in order.

use crate::config::Origin;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use socket2::SockRef;
use std::io;
use std::mem::MaybeUninit;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Makes connections to the one node.
#[derive(Clone)]
pub(super) struct Connector(Arc<Way>);

struct Way {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    limit: Duration,
}

impl Connector {
    pub(super) fn new(origin: &Origin, ca: Option<&Path>, limit: Duration) -> Result<Self, String> {
        let tls = match (origin.tls, ca) {
            (false, _) => None,
            (true, None) => return Err("an https node needs `couchdb.ca`".to_owned()),
            (true, Some(ca)) => {
                let name = ServerName::try_from(origin.host.clone())
                    .map_err(|_| format!("`{}` is not a server name", origin.host))?;
                Some((TlsConnector::from(Arc::new(verified_by(ca)?)), name))
            }
        };
        Ok(Self(Arc::new(Way {
            host: origin.host.clone(),
            port: origin.port,
            tls,
            limit,
        })))
    }
}

/// Security: a node whose certificate is not signed by this authority is not spoken to (leaks A20).
fn verified_by(ca: &Path) -> Result<ClientConfig, String> {
    let file = ca.display();
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(ca)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| format!("can't read `{file}`: {error}"))?;
    for certificate in certificates {
        roots
            .add(certificate)
            .map_err(|error| format!("`{file}` is not an authority: {error}"))?;
    }
    if roots.is_empty() {
        return Err(format!("`{file}` holds no certificate"));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

impl Connector {
    /// A new connection.
    pub(super) async fn connect(&self) -> io::Result<Socket> {
        tokio::time::timeout(self.0.limit, self.0.connect())
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }
}

impl Way {
    async fn connect(&self) -> io::Result<Socket> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await?;
        tcp.set_nodelay(true)?;
        let stream = match &self.tls {
            None => Stream::Plain(TokioIo::new(tcp)),
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), tcp).await?;
                Stream::Tls(Box::new(TokioIo::new(stream)))
            }
        };
        Ok(Socket {
            stream,
            watch: Arc::default(),
            hung_up: None,
        })
    }
}

/// A connection, encrypted or not.
pub(super) struct Socket {
    stream: Stream,
    watch: Arc<Watch>,
    /// Why nothing can be written any more.
    hung_up: Option<io::ErrorKind>,
}

enum Stream {
    Plain(TokioIo<TcpStream>),
    Tls(Box<TokioIo<TlsStream<TcpStream>>>),
}

/// What must be known of a connection from outside, while hyper has it.
#[derive(Debug, Default)]
pub(super) struct Watch {
    silence: AtomicBool,
    blocked: AtomicBool,
}

impl Watch {
    /// The next time that something is to be read, nothing may be there.
    pub(super) fn demand_silence(&self) {
        self.silence.store(true, Ordering::Relaxed);
    }

    /// Is something left that the kernel did not take when it was to be written?
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }
}

impl Socket {
    pub(super) fn watch(&self) -> Arc<Watch> {
        Arc::clone(&self.watch)
    }

    /// Writes by this. Where the other side has hung up, nothing is written any more and nothing fails: how the
    /// connection ends is told to who reads.
    fn write<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(&mut Stream, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let written = match self.hung_up {
            Some(_) => Poll::Pending,
            None => match write(&mut self.stream, cx) {
                Poll::Ready(Err(error)) if is_hung_up(&error) => {
                    self.hung_up = Some(error.kind());
                    // What is there has been there before: nothing else would wake who reads.
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                written @ (Poll::Ready(_) | Poll::Pending) => written,
            },
        };
        self.watch
            .blocked
            .store(written.is_pending(), Ordering::Relaxed);
        written
    }

    /// Is there nothing more to come? Writing may have taken the error that reading would have met.
    fn is_at_its_end(&self) -> bool {
        matches!(self.peek(), Ok(0))
    }

    /// Security: asks the kernel itself. Tokio learns of what has arrived only when the runtime gets to it, which may be
    /// after the next request has been sent. (`what_arrives_between_two_answers_ends_the_connection`)
    fn has_something_to_read(&self) -> bool {
        // The end, and an error, are something too.
        !self
            .peek()
            .is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    fn peek(&self) -> io::Result<usize> {
        let tcp = match &self.stream {
            Stream::Plain(io) => io.inner(),
            Stream::Tls(io) => io.inner().get_ref().0,
        };
        SockRef::from(tcp).peek(&mut [MaybeUninit::uninit()])
    }
}

fn is_hung_up(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}

impl Read for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let socket = self.get_mut();
        if socket.watch.silence.swap(false, Ordering::Relaxed) && socket.has_something_to_read() {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        // Security: an answer that ends with its connection would look whole. (TLS tells its own end.)
        // (`an_answer_that_was_cut_by_a_reset_never_looks_whole`)
        if let (Some(kind), Stream::Plain(_)) = (socket.hung_up, &socket.stream)
            && socket.is_at_its_end()
        {
            return Poll::Ready(Err(kind.into()));
        }
        match &mut socket.stream {
            Stream::Plain(io) => Pin::new(io).poll_read(cx, buffer),
            Stream::Tls(io) => Pin::new(io).poll_read(cx, buffer),
        }
    }
}

impl Write for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().write(cx, |stream, cx| match stream {
            Stream::Plain(io) => Pin::new(io).poll_write(cx, bytes),
            Stream::Tls(io) => Pin::new(io).poll_write(cx, bytes),
        })
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = self.get_mut();
        match &mut socket.stream {
            // Nothing is kept back, and whether all of it has been taken is not told here.
            Stream::Plain(io) => Pin::new(io).poll_flush(cx),
            Stream::Tls(_) => socket.write(cx, |stream, cx| match stream {
                Stream::Plain(io) => Pin::new(io).poll_flush(cx),
                Stream::Tls(io) => Pin::new(io).poll_flush(cx),
            }),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Stream::Tls(io) => Pin::new(io).poll_shutdown(cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(io) => io.is_write_vectored(),
            Stream::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().write(cx, |stream, cx| match stream {
            Stream::Plain(io) => Pin::new(io).poll_write_vectored(cx, bytes),
            Stream::Tls(io) => Pin::new(io).poll_write_vectored(cx, bytes),
        })
    }
}
