//! A small HTTP client: one connection for each request, over TLS to couchwarden or plain to the backend.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// A busy machine may need a while; nothing that passes ever waits for this.
const PATIENCE: Duration = Duration::from_secs(180);

/// Somebody at one end of a connection.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Option<TlsConnector>,
    pub(crate) version: Version,
    /// Sent with each request.
    pub(crate) headers: Vec<(String, String)>,
    /// What `/@` at the beginning of a path stands for.
    pub(crate) prefix: Arc<str>,
    /// Name and password, for those who need them elsewhere.
    pub(crate) login: Option<(String, String)>,
}

/// What was answered, read to its end.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The connection broke off before the end; before the head, the status is 0.
    pub(crate) cut: bool,
}

/// An answer that is read line by line.
pub(crate) struct Feed {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    body: Incoming,
    buffer: Vec<u8>,
    driver: AbortHandle,
}

impl Client {
    pub(crate) fn with_login(mut self, name: &str, password: &str) -> Self {
        let encoded = STANDARD.encode(format!("{name}:{password}"));
        self.login = Some((name.to_owned(), password.to_owned()));
        self.with_header("authorization", &format!("Basic {encoded}"))
    }

    pub(crate) fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The name that this client logs in by.
    pub(crate) fn name(&self) -> &str {
        &self.login.as_ref().unwrap().0
    }

    /// The URL of a database of this test, for somebody who is no `Client`.
    pub(crate) fn url(&self, db: &str) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}/{}{db}", self.address, self.prefix)
    }

    /// The header that this client logs in by.
    pub(crate) fn authorization(&self) -> &str {
        let mut headers = self.headers.iter();
        let found = headers.find(|(name, _)| name == "authorization");
        &found.unwrap().1
    }

    pub(crate) fn http2(mut self) -> Self {
        self.version = Version::HTTP_2;
        self
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], Bytes::new()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.ask("DELETE", path, &[], Bytes::new()).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, body).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.send("PUT", path, body).await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: Value) -> Answer {
        self.ask(
            method,
            path,
            &[("content-type", "application/json")],
            body.to_string(),
        )
        .await
    }

    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let whole = async {
            let Some((response, driver)) = self.begin(method, path, headers, body.into()).await
            else {
                return Answer {
                    status: 0,
                    headers: HeaderMap::new(),
                    body: Bytes::new(),
                    cut: true,
                };
            };
            let (head, mut body) = response.into_parts();
            let mut bytes = Vec::new();
            let mut cut = false;
            while let Some(frame) = body.frame().await {
                match frame.map(hyper::body::Frame::into_data) {
                    Ok(Ok(data)) => bytes.extend_from_slice(&data),
                    Ok(Err(_)) => {}
                    // Over HTTP/2 the same error would come again for ever.
                    Err(_) => {
                        cut = true;
                        break;
                    }
                }
            }
            driver.abort();
            Answer {
                status: head.status.as_u16(),
                headers: head.headers,
                body: bytes.into(),
                cut,
            }
        };
        timeout(PATIENCE, whole)
            .await
            .unwrap_or_else(|_| panic!("{method} {path}: no answer"))
    }

    pub(crate) async fn feed(&self, path: &str) -> Feed {
        self.open("GET", path, None).await
    }

    pub(crate) async fn post_feed(&self, path: &str, body: Value) -> Feed {
        self.open("POST", path, Some(body)).await
    }

    async fn open(&self, method: &str, path: &str, body: Option<Value>) -> Feed {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let headers = [("content-type", "application/json")];
        let begun = self.begin(
            method,
            path,
            if body.is_empty() { &[] } else { &headers },
            body.into(),
        );
        let begun = timeout(PATIENCE, begun)
            .await
            .unwrap_or_else(|_| panic!("{method} {path}: no answer"));
        let (response, driver) = begun.expect("the connection broke off before an answer");
        let (head, body) = response.into_parts();
        Feed {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
            buffer: Vec::new(),
            driver,
        }
    }

    /// `None`: the connection broke off before an answer had begun.
    async fn begin(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Option<(Response<Incoming>, AbortHandle)> {
        let path = match path.strip_prefix("/@") {
            Some(rest) => format!("/{}{rest}", self.prefix),
            None => path.to_owned(),
        };
        let mut request = Request::builder().method(method);
        if self.version == Version::HTTP_2 {
            request = request.uri(format!("https://localhost:{}{path}", self.address.port()));
        } else {
            request = request
                .uri(path)
                .header("host", format!("localhost:{}", self.address.port()));
        }
        let own = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        // As PouchDB does: who says nothing gets documents in several parts where CouchDB has them.
        let json = [("accept", "application/json")];
        let says = |name: &str| headers.iter().any(|(own, _)| *own == name);
        let json = json.into_iter().filter(|(name, _)| !says(name));
        for (name, value) in own.chain(json).chain(headers.iter().copied()) {
            request = request.header(
                name,
                http::HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        let request = request.body(Full::new(body)).unwrap();
        let tcp = TcpStream::connect(self.address).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        match &self.tls {
            None => self.exchange(TokioIo::new(tcp), request).await,
            Some(tls) => {
                let name = ServerName::try_from("localhost").unwrap();
                let stream = tls.connect(name, tcp).await.unwrap();
                self.exchange(TokioIo::new(stream), request).await
            }
        }
    }

    async fn exchange<S>(
        &self,
        stream: S,
        request: Request<Full<Bytes>>,
    ) -> Option<(Response<Incoming>, AbortHandle)>
    where
        S: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
    {
        if self.version == Version::HTTP_2 {
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), stream)
                    .await
                    .unwrap();
            let driver = tokio::spawn(connection).abort_handle();
            return Some((sender.send_request(request).await.ok()?, driver));
        }
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
        let driver = tokio::spawn(connection).abort_handle();
        Some((sender.send_request(request).await.ok()?, driver))
    }
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The JSON of an answer that says yes.
    #[track_caller]
    pub(crate) fn yes(&self) -> Value {
        assert!(
            (200..300).contains(&self.status) && !self.cut,
            "{} {:?}",
            self.status,
            self.body
        );
        self.json()
    }

    /// An answer that says no in CouchDB's shape.
    #[track_caller]
    pub(crate) fn no(&self, status: u16, error: &str) {
        assert_eq!(self.status, status, "{:?}", self.body);
        let body = self.json();
        assert_eq!(body["error"], error, "{body}");
        assert!(body["reason"].is_string(), "{body}");
        assert_eq!(
            self.header("www-authenticate"),
            None,
            "browsers would pop up"
        );
    }

    /// One member of each row of `rows`, `results` or `docs`.
    #[track_caller]
    pub(crate) fn column(&self, name: &str) -> Vec<Value> {
        let body = self.yes();
        let rows = ["rows", "results", "docs"]
            .iter()
            .find_map(|holder| body[holder].as_array());
        rows.unwrap_or_else(|| panic!("no rows: {body}"))
            .iter()
            .map(|row| row[name].clone())
            .collect()
    }

    /// The ids of the rows, as one text: short to compare, and to read where it fails.
    #[track_caller]
    pub(crate) fn ids(&self) -> String {
        let body = self.yes();
        let name = if body["docs"].is_array() { "_id" } else { "id" };
        let ids = self.column(name);
        ids.iter()
            .map(|id| id.as_str().unwrap_or("null"))
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Status and body: what must be the same where nothing may be told apart.
    pub(crate) fn seen(&self) -> (u16, String) {
        (
            self.status,
            String::from_utf8_lossy(&self.body).into_owned(),
        )
    }
}

impl Feed {
    /// The next line, without its end; `None` after the last one.
    pub(crate) async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(
                    String::from_utf8(line)
                        .unwrap()
                        .trim_end_matches(['\r', '\n'])
                        .to_owned(),
                );
            }
            let frame = timeout(PATIENCE, self.body.frame())
                .await
                .expect("the feed is silent");
            match frame?.ok()?.into_data() {
                Ok(data) => self.buffer.extend_from_slice(&data),
                Err(_) => return None,
            }
        }
    }

    /// The next line that is not empty, as JSON.
    pub(crate) async fn row(&mut self) -> Value {
        loop {
            let line = self.line().await.expect("the feed has ended");
            if !line.is_empty() {
                return serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line}"));
            }
        }
    }

    /// Everything until the end.
    pub(crate) async fn rest(&mut self) -> String {
        let mut text = String::from_utf8(std::mem::take(&mut self.buffer)).unwrap();
        while let Some(frame) = timeout(PATIENCE, self.body.frame())
            .await
            .expect("the feed does not end")
        {
            if let Ok(data) = frame.unwrap().into_data() {
                text.push_str(std::str::from_utf8(&data).unwrap());
            }
        }
        text
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
