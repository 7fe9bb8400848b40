//! Every case of `tests/corpus/raw` against the running edge.

use crate::cases::Case;
use crate::frames::{self, Outcome};
use crate::proxy::Proxy;
use crate::upstream::{Captured, Upstream, field, find};
use std::future::Future;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

/// What follows a case, to see whether its connection is still in use.
const SENTINEL: &[u8] = b"GET /sentinel HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Long enough for every limit of the proxy; reached only by a failure.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_in_is_at_most_one_request_out() {
    judge(Case::all("http"), run).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_holds_for_streams_of_http2() {
    judge(Case::all("h2"), run_stream).await;
}

/// Runs all cases, each with a proxy of its own, and tells all failures at once.
async fn judge<F>(cases: Vec<Case>, run: impl Fn(Case) -> F)
where
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let mut running = JoinSet::new();
    for case in cases {
        let name = case.name.clone();
        let run = run(case);
        running.spawn(async move {
            match tokio::time::timeout(PATIENCE, run).await {
                Ok(Ok(())) => None,
                Ok(Err(failure)) => Some(format!("{name}: {failure}")),
                Err(_) => Some(format!("{name}: neither answer nor end")),
            }
        });
    }
    let mut failures: Vec<String> = running.join_all().await.into_iter().flatten().collect();
    failures.sort();
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

async fn run(case: Case) -> Result<(), String> {
    let (upstream, address) = Upstream::start().await;
    let proxy = Proxy::forwarding(address).await;
    let mut tls = proxy.connect(b"http/1.1").await;
    let open = case.note("connection") == "open";
    // A server that has refused may close before it has read all.
    let _ = tls.write_all(&case.bytes()).await;
    if open {
        let _ = tls.write_all(SENTINEL).await;
    }
    let _ = tls.flush().await;
    let mut statuses = Vec::new();
    let mut bytes = Vec::new();
    let expected = case.note("answers");
    let wanted = expected
        .split_whitespace()
        .filter(|word| *word != "none")
        .count();
    while !open || statuses.len() <= wanted {
        match read_status(&mut tls, &mut bytes).await {
            Some(status) => statuses.push(status),
            None => break,
        }
    }
    if open {
        let last = statuses.pop();
        if last.as_deref() != Some("200") {
            return Err(format!(
                "the connection is not in use any more: {statuses:?} {last:?}"
            ));
        }
    }
    let told = if statuses.is_empty() {
        "none".to_owned()
    } else {
        statuses.join(" ")
    };
    let seen = requests(&upstream);
    compare(&case, &told, &seen)
}

fn requests(upstream: &Upstream) -> Vec<Captured> {
    let mut seen = upstream.captured();
    seen.retain(|captured| !captured.head.starts_with("GET /sentinel "));
    seen
}

async fn run_stream(case: Case) -> Result<(), String> {
    let (upstream, address) = Upstream::start().await;
    let proxy = Proxy::forwarding(address).await;
    let tls = proxy.connect(b"h2").await;
    let told = match frames::exchange(tls, &case.lines).await {
        Outcome::Status(status) => status,
        Outcome::Reset => "reset".to_owned(),
    };
    compare(&case, &told, &requests(&upstream))
}

fn compare(case: &Case, told: &str, seen: &[Captured]) -> Result<(), String> {
    let lines: Vec<String> = seen
        .iter()
        .map(|captured| {
            let line = captured.head.lines().next().unwrap_or_default();
            line.trim_end_matches(" HTTP/1.1").to_owned()
        })
        .collect();
    let lines = if lines.is_empty() {
        "nothing".to_owned()
    } else {
        lines.join(", ")
    };
    if told != case.note("answers") || lines != case.note("upstream") {
        return Err(format!("answered {told}, upstream saw {lines}"));
    }
    for captured in seen {
        let whole = format!(
            "{}{}",
            captured.head,
            String::from_utf8_lossy(&captured.body)
        );
        for text in case.notes("sees") {
            if !whole
                .to_ascii_lowercase()
                .contains(&text.to_ascii_lowercase())
            {
                return Err(format!("upstream did not see `{text}` in {whole:?}"));
            }
        }
        // Our own says at most that nothing follows.
        if field(&captured.head, "connection").is_some_and(|said| said != "close") {
            return Err("upstream saw the client's `connection`".to_owned());
        }
        let hidden = ["upgrade", "expect", "te", "trailer", "x-forwarded-for"];
        if let Some(name) = hidden
            .iter()
            .find(|name| field(&captured.head, name).is_some())
        {
            return Err(format!("upstream saw the field `{name}`"));
        }
        for text in case.notes("hides") {
            if whole
                .to_ascii_lowercase()
                .contains(&text.to_ascii_lowercase())
            {
                return Err(format!("upstream saw `{text}`"));
            }
        }
    }
    Ok(())
}

/// The status of the next answer, whose body is read away; `None` at the end of the connection.
async fn read_status<S: AsyncRead + Unpin>(io: &mut S, bytes: &mut Vec<u8>) -> Option<String> {
    loop {
        let end = loop {
            if let Some(end) = find(bytes, b"\r\n\r\n") {
                break end + 4;
            }
            more(io, bytes).await?;
        };
        let head: Vec<u8> = bytes.drain(..end).collect();
        let head = String::from_utf8(head).unwrap();
        let status = head.split(' ').nth(1).unwrap().to_owned();
        if status == "100" {
            continue;
        }
        let length: usize =
            field(&head, "content-length").map_or(0, |length| length.parse().unwrap());
        while bytes.len() < length {
            more(io, bytes).await?;
        }
        bytes.drain(..length);
        return Some(status);
    }
}

async fn more<S: AsyncRead + Unpin>(io: &mut S, bytes: &mut Vec<u8>) -> Option<()> {
    (io.read_buf(bytes).await.ok()? > 0).then_some(())
}
