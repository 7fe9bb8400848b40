//! Intake without a network: fields, bodies, time. The raw bytes are in `tests/edge`.

use super::{Door, Inbound, Intake, Peer, inbound::Shape};
use crate::body::{self, Body, Cut};
use crate::budget::Budget;
use crate::caller::UserName;
use crate::config::{Config, Limits};
use crate::refusal::{Limit, Refusal, Shared};
use crate::shares::{Holder, Holdings};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use proptest::prelude::{any, prop_assert_eq, proptest};
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

fn peer() -> Peer {
    Peer {
        address: "10.0.0.1:4000".parse().unwrap(),
        tls: true,
        server_name: None,
        place: None,
    }
}

fn accept(request: &Request<()>, trusted: &str) -> Result<Intake, Refusal> {
    let text = format!(
        "[listen]\naddress='127.0.0.1:1'\n[couchdb]\nnodes=['http://h']\nuser='u'\npassword='p'\n\
         present='service'\n[identity.session]\nsecret='0123456789abcdef'\n[policies]\n\
         directory='p'\n[trusted]\nproxies=[{trusted}]\n"
    );
    let config = Config::parse(&text, Path::new("x")).unwrap();
    let door = Door::new(&config.limits, &[], &config.trusted, &[]);
    let (parts, ()) = request.clone().into_parts();
    Intake::from_parts(&parts, None, Some(0), peer(), &door)
}

fn pieces(pieces: Vec<Bytes>) -> Body {
    let frames = pieces.into_iter().map(|piece| Ok(Frame::data(piece)));
    body::boxed(StreamBody::new(stream::iter(frames)))
}

fn inbound(raw: Body, declared: Option<u64>, gzip: bool) -> Inbound {
    let limits = Limits {
        body: 1000,
        ..Limits::default()
    };
    let streams = false;
    Inbound::new(raw, declared, &limits, Shape { streams, gzip })
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_content_type_may_be_said_twice_but_not_two() {
    let twice = |second: &str| {
        let request = Request::put("/db/doc")
            .header("host", "h")
            .header("content-type", "application/json")
            .header("content-type", second)
            .body(())
            .unwrap();
        accept(&request, "")
    };
    let intake = twice("application/json").unwrap();
    assert_eq!(
        intake.header(&http::header::CONTENT_TYPE),
        Some("application/json")
    );
    assert_eq!(intake.headers.get_all("content-type").iter().count(), 1);
    assert!(twice("text/plain").is_err());
}

#[test]
fn identity_headers_do_not_pass_in_any_spelling() {
    let request = Request::get("/db")
        .header("host", "h")
        .header("X-Auth-CouchDB-UserName", "admin")
        .header("x_auth_couchdb_roles", "_admin")
        .header("X-AUTH-COUCHDB_TOKEN", "t")
        .header("accept", "application/json")
        .body(())
        .unwrap();
    let intake = accept(&request, "").unwrap();
    let names: Vec<_> = intake
        .headers
        .keys()
        .map(http::HeaderName::as_str)
        .collect();
    assert_eq!(names, ["accept"]);
}

#[test]
fn only_trusted_proxies_say_who_the_client_is() {
    let request = Request::get("/db")
        .header("host", "h")
        .header("x-request-id", "evil")
        .header("x-forwarded-for", "6.6.6.6, 5.5.5.5, 10.0.0.9")
        .body(())
        .unwrap();
    let open = accept(&request, "").unwrap();
    assert_eq!(open.address.to_string(), "10.0.0.1");
    assert_ne!(open.request_id, "evil");
    let behind = accept(&request, "'10.0.0.0/8'").unwrap();
    // What stands left of the first untrusted address may be invented by it.
    assert_eq!(behind.address.to_string(), "5.5.5.5");
    assert_eq!(behind.request_id, "evil");
}

#[test]
fn only_trusted_proxies_say_what_they_were_asked_for() {
    let ask = |host: &str, trusted| {
        let request = Request::get("/db")
            .header("host", "h:1")
            .header("x-forwarded-host", host)
            .header("x-forwarded-proto", "http")
            .body(())
            .unwrap();
        accept(&request, trusted).map(|intake| (intake.host, intake.tls))
    };
    assert_eq!(ask("DB.example", "").unwrap(), ("h:1".into(), true));
    let trusted = "'10.0.0.0/8'";
    assert_eq!(
        ask("DB.example", trusted).unwrap(),
        ("db.example".into(), false)
    );
    assert_eq!(ask("a, b", trusted).unwrap(), ("h:1".into(), false));
    assert!(ask("no/host", trusted).is_err());
}

#[test]
fn request_ids_differ() {
    let request = Request::get("/").header("host", "h").body(()).unwrap();
    let door = Door::new(&Limits::default(), &[], &[], &[]);
    let ids = [0, 1].map(|_| {
        let (parts, ()) = request.clone().into_parts();
        Intake::from_parts(&parts, None, Some(0), peer(), &door)
            .unwrap()
            .request_id
    });
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test]
async fn a_body_is_collected_up_to_the_limit() {
    let body = || inbound(pieces(vec!["ab".into(), "cd".into()]), None, false);
    assert_eq!(body().collect(4).await.unwrap(), "abcd");
    assert_eq!(body().collect(3).await, Err(Refusal::TooLarge(Limit::Body)));
    let declared = inbound(pieces(vec![]), Some(10), false);
    assert_eq!(
        declared.collect(9).await,
        Err(Refusal::TooLarge(Limit::Body))
    );
}

#[tokio::test]
async fn a_body_shorter_than_it_said_is_not_whole() {
    let body = inbound(pieces(vec!["ab".into()]), Some(3), false);
    assert_eq!(body.collect(9).await, Err(Cut::ClientBroken.refusal()));
}

#[tokio::test]
async fn trailers_are_dropped() {
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-auth-couchdb-username", "admin".parse().unwrap());
    let frames = [
        Ok(Frame::data(Bytes::from("a"))),
        Ok(Frame::trailers(trailers)),
    ];
    let raw = body::boxed(StreamBody::new(stream::iter(frames)));
    let mut body = inbound(raw, None, false).stream();
    assert!(body.frame().await.unwrap().unwrap().is_data());
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn a_bomb_is_stopped_at_the_limit() {
    let bomb = gzip(&vec![0; 10_000_000]);
    assert!(bomb.len() > 1000, "else it would not be split");
    let limits = Limits {
        body: 100_000,
        ..Limits::default()
    };
    let shape = Shape {
        streams: false,
        gzip: true,
    };
    let body = Inbound::new(pieces(vec![bomb.into()]), None, &limits, shape);
    let meter = body.meter();
    assert_eq!(
        body.collect(100_000).await,
        Err(Refusal::TooLarge(Limit::Body))
    );
    assert!(meter.load(std::sync::atomic::Ordering::Relaxed) <= 100_000);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stops_sending_is_too_slow() {
    let begun = stream::once(async { Ok(Frame::data(Bytes::from("a"))) });
    let raw = body::boxed(StreamBody::new(begun.chain(stream::pending())));
    let start = tokio::time::Instant::now();
    let refused = inbound(raw, None, false).collect(9).await;
    assert_eq!(refused, Err(Refusal::ClientSlow));
    assert_eq!(
        start.elapsed().as_secs(),
        Limits::default().body_idle.as_secs()
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_that_drips_is_too_slow() {
    let drops = stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        Some((Ok(Frame::data(Bytes::from("a"))), ()))
    });
    let raw = body::boxed(StreamBody::new(Box::pin(drops)));
    let start = tokio::time::Instant::now();
    assert_eq!(
        inbound(raw, None, false).collect(999).await,
        Err(Refusal::ClientSlow)
    );
    assert!(start.elapsed() <= Duration::from_secs(60));
}

/// A body of these first bytes and then so many each second, that never ends; how long it was waited for.
async fn seconds_of(first: usize, then: usize, every: u64) -> u64 {
    let drops = stream::unfold(first, move |bytes| async move {
        if bytes != first {
            tokio::time::sleep(Duration::from_secs(every)).await;
        }
        Some((Ok(Frame::data(vec![b'x'; bytes].into())), then))
    });
    let limits = Limits::default();
    let shape = Shape {
        streams: false,
        gzip: false,
    };
    let raw = body::boxed(StreamBody::new(Box::pin(drops)));
    let body = Inbound::new(raw, None, &limits, shape);
    let start = tokio::time::Instant::now();
    let hour = Duration::from_secs(3600);
    let refused = tokio::time::timeout(hour, body.collect(limits.body)).await;
    assert!(matches!(refused, Err(_) | Ok(Err(Refusal::ClientSlow))));
    start.elapsed().as_secs()
}

#[tokio::test(start_paused = true)]
async fn a_body_below_one_kibibyte_a_second_is_ended_after_half_a_minute() {
    assert!((30..=32).contains(&seconds_of(1, 500, 1).await));
    assert!((30..=40).contains(&seconds_of(1, 1000, 8).await));
    assert!((30..=60).contains(&seconds_of(10, 1, 29).await));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_was_quick_earns_no_hours() {
    assert!(seconds_of(50 << 20, 1, 20).await <= 60);
    assert!(seconds_of(50 << 20, 512, 1).await <= 90);
    // Who stalls for a moment now and then goes on.
    assert_eq!(seconds_of(1 << 20, 64 << 10, 25).await, 3600);
    assert_eq!(seconds_of(1, 1100, 1).await, 3600);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_waits_for_us_is_not_slow() {
    let raw = pieces(vec!["a".into(), "b".into()]);
    let mut body = inbound(raw, None, false).stream();
    body.frame().await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(body.frame().await.unwrap().is_ok());
}

proptest! {
    /// The network cuts where it likes; the body must not notice.
    #[test]
    fn cuts_do_not_matter_to_gzip(text: Vec<u8>, at: proptest::sample::Index) {
        let coded = gzip(&text);
        let (left, right) = coded.split_at(at.index(coded.len() + 1));
        let raw = pieces(vec![Bytes::copy_from_slice(left), Bytes::copy_from_slice(right)]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let plain = runtime.block_on(inbound(raw, None, true).collect(1000)).unwrap();
        prop_assert_eq!(&plain[..], &text[..]);
    }

    /// A head is taken in with one meaning, or refused; it never panics.
    #[test]
    fn no_head_panics(host in any::<Vec<u8>>(), name in "[a-z_-]{1,20}", value: Vec<u8>) {
        let request = Request::get("/").header("host", host).header(name, value).body(());
        if let Ok(request) = request {
            let _ = accept(&request, "");
        }
    }
}

#[tokio::test]
async fn bodies_that_are_read_whole_share_a_budget() {
    let budget = Arc::new(Budget::new(1 << 20, 25));
    let body = |text: String| {
        let limits = Limits::default();
        let shape = Shape {
            streams: false,
            gzip: false,
        };
        let body = Inbound::new(pieces(vec![text.into()]), None, &limits, shape);
        body.counted(&budget).collect(limits.body)
    };
    // Two bytes each, and more than thirty in a tree.
    let refused = body("0,".repeat(20_000)).await;
    assert_eq!(refused, Err(Refusal::TooLarge(Limit::Body)));
    let one = body("x".repeat(700_000)).await.unwrap();
    let two = body("x".repeat(700_000)).await;
    assert_eq!(two, Err(Refusal::Unavailable(1)));
    // Short ones find room all the same.
    body("x".repeat(10_000)).await.unwrap();
    drop(one);
    body("x".repeat(700_000)).await.unwrap();
}

#[tokio::test]
async fn nobody_holds_more_than_a_share_of_the_budget() {
    let budget = Budget::new(1 << 20, 25);
    let body = |holder: &Holder, length: usize| {
        let limits = Limits::default();
        let shape = Shape {
            streams: false,
            gzip: false,
        };
        let raw = pieces(vec!["x".repeat(length).into()]);
        let budget = budget.of_request(&Holdings::new(holder.clone()));
        let body = Inbound::new(raw, None, &limits, shape);
        body.counted(&budget).collect(limits.body)
    };
    let name = |name: &str| Holder::Name(UserName::parse(name).unwrap());
    let attacker = name("attacker");
    let mut held = Vec::new();
    let refused = loop {
        match body(&attacker, 120_000).await {
            Ok(body) => held.push(body),
            Err(refusal) => break refusal,
        }
    };
    assert_eq!(refused, Refusal::OverShare(Shared::Bodies, 1));
    assert!((2..=6).contains(&held.len()), "{}", held.len());
    assert_eq!(
        body(&attacker, 400_000).await,
        Err(Refusal::TooLarge(Limit::Body))
    );
    // By another name, and by an address.
    let other = body(&name("other"), 200_000).await.unwrap();
    let address = Holder::at("10.0.0.1".parse().unwrap());
    body(&address, 150_000).await.unwrap();
    drop((held, other));
    body(&attacker, 300_000).await.unwrap();
}

#[tokio::test]
async fn however_short_bodies_are_they_take_no_more_than_there_is() {
    let budget = Budget::new(1 << 20, 25);
    let body = |holder: &Holder, length: usize| {
        let limits = Limits::default();
        let shape = Shape {
            streams: false,
            gzip: false,
        };
        let raw = pieces(vec!["x".repeat(length).into()]);
        let budget = budget.of_request(&Holdings::new(holder.clone()));
        let body = Inbound::new(raw, None, &limits, shape);
        body.counted(&budget).collect(limits.body)
    };
    let name = |name: String| Holder::Name(UserName::parse(&name).unwrap());
    for length in [1100, 10_000, 60_000] {
        let mut held = Vec::new();
        let mut all = 0;
        // However many names they have.
        for attacker in 0..50 {
            let attacker = name(format!("attacker{attacker}"));
            let mut own = 0;
            loop {
                assert!(all < 2 << 20, "{length}: they hold {all} bytes");
                match body(&attacker, length).await {
                    Ok(body) => held.push(body),
                    Err(refusal) => {
                        assert!([429, 503].contains(&refusal.status()), "{refusal:?}");
                        break;
                    }
                }
                (own, all) = (own + length, all + length);
            }
            assert!(own < 600_000, "{length}: {own}");
            if attacker == name("attacker0".into()) {
                // Others find room all the same.
                body(&name("other".into()), length).await.unwrap();
            }
        }
        drop(held);
        body(&name("attacker0".into()), length).await.unwrap();
    }
}

#[test]
fn what_comes_by_trusted_proxies_counts_to_the_address_that_they_name() {
    let request = |forwarded: &str| {
        Request::get("/")
            .header("host", "h")
            .header("x-forwarded-for", forwarded)
            .body(())
            .unwrap()
    };
    let holder = |forwarded, trusted| {
        let intake = accept(&request(forwarded), trusted).unwrap();
        intake.holdings.holder()
    };
    let at = |address: &str| Holder::at(address.parse().unwrap());
    assert_eq!(holder("6.6.6.6", ""), at("10.0.0.1"));
    assert_eq!(holder("6.6.6.6", "'10.0.0.0/8'"), at("6.6.6.6"));
    assert_eq!(holder("2001:db8::7", "'10.0.0.0/8'"), at("2001:db8::8"));
    assert_eq!(holder("x", "'10.0.0.0/8'"), Holder::Many);
}

#[test]
fn a_feed_and_a_stream_come_back_with_their_request() {
    let limits = Limits {
        streams: 4,
        feeds: 4,
        ..Limits::default()
    };
    let door = Door::new(&limits, &[], &[], &[]);
    let begin = || {
        let request = Request::get("/").header("host", "h").body(()).unwrap();
        let (mut parts, ()) = request.into_parts();
        parts.version = http::Version::HTTP_2;
        Intake::from_parts(&parts, None, Some(0), peer(), &door).unwrap()
    };
    let one = begin();
    door.begin(&one).unwrap();
    assert_eq!(
        door.begin(&begin()),
        Err(Refusal::OverShare(Shared::Streams, 1))
    );
    door.open_feed(&one.holdings).unwrap();
    let two = begin();
    assert_eq!(
        door.open_feed(&two.holdings),
        Err(Refusal::OverShare(Shared::Feeds, 10))
    );
    drop(one);
    door.begin(&two).unwrap();
    door.open_feed(&two.holdings).unwrap();
}
