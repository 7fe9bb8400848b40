//! The connection to CouchDB: which one is spoken to, and what of the client's wishes reaches it.

use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;

use crate::support::{Fake, Pipe, World, backend, plain};

const RULES: &str = r#"
[[rule]]
name = "readers"
databases = ["@notes"]
callers = { roles = ["reader"] }
permit = ["read", "changes"]
hide = ["secret"]
"#;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// An authority, whose certificate lies in a file.
fn authority(file: &Path) -> Issuer<'static, KeyPair> {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    std::fs::write(file, params.self_signed(&key).unwrap().pem()).unwrap();
    Issuer::new(params, key)
}

/// The backend behind a certificate of this authority, or behind one that has signed itself.
async fn behind(params: CertificateParams, signed_by: Option<&Issuer<'static, KeyPair>>) -> Pipe {
    let key = KeyPair::generate().unwrap();
    let certificate = match signed_by {
        Some(issuer) => params.signed_by(&key, issuer),
        None => params.self_signed(&key),
    }
    .unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let address = backend().authority.parse().unwrap();
    Pipe::start(address, certificate.der().clone(), key).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_couchdb_that_can_not_prove_itself_is_not_spoken_to() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.crt");
    let trusted = authority(&file);
    let stranger = authority(&folder.path().join("other.crt"));
    let named = |host: &str| CertificateParams::new([host.to_owned()]).unwrap();
    let dated = |begin: SystemTime, end: SystemTime| {
        let mut params = named("127.0.0.1");
        (params.not_before, params.not_after) = (begin.into(), end.into());
        params
    };
    let now = SystemTime::now();
    let right = behind(dated(now - DAY, now + DAY), Some(&trusted)).await;
    let world = World::over_tls(right.address, &file, RULES).await;
    world
        .database("notes", json!([{ "_id": "a", "n": 1 }]))
        .await;
    assert_eq!(world.as_("rita").get("/@notes/a").await.yes()["n"], 1);
    assert!(right.passed() > 0);
    let wrong = [
        ("another authority", named("127.0.0.1"), Some(&stranger)),
        ("nobody but itself", named("127.0.0.1"), None),
        ("another host", named("couchdb.example"), Some(&trusted)),
        ("expired", dated(now - 2 * DAY, now - DAY), Some(&trusted)),
        ("not yet", dated(now + DAY, now + 2 * DAY), Some(&trusted)),
    ];
    for (why, params, signed_by) in wrong {
        let pipe = behind(params, signed_by).await;
        let world = World::over_tls(pipe.address, &file, RULES).await;
        for who in ["rita", "ops"] {
            world.as_(who).get("/@notes/a").await.no(502, "bad_gateway");
        }
        assert_eq!(pipe.passed(), 0, "{why}");
    }
    // The backend itself, without any TLS.
    let bare = backend().authority.parse().unwrap();
    let world = World::over_tls(bare, &file, RULES).await;
    let answer = world.as_("rita").get("/@notes/a").await;
    answer.no(502, "bad_gateway");
}

/// Where text of an attacker is compressed together with a secret, the length tells the secret.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_compressed_on_its_way_to_a_client() {
    let codings = [("accept-encoding", "gzip, deflate, br, zstd, *;q=0.1")];
    let guess = "guess ".repeat(1000);
    let text = json!({ "_id": "a", "_rev": "1-a", "guess": guess, "secret": "s" }).to_string();
    let fake = Fake::start(move |_| plain(200, &text)).await;
    let world = World::before(&fake, &RULES.replace('@', ""), "").await;
    for who in ["rita", "ops"] {
        let client = world.as_(who);
        for client in [client.clone(), world.over_http2(&client)] {
            let answer = client.ask("GET", "/notes/a", &codings, "").await;
            assert_eq!(answer.yes()["guess"], guess);
            assert_eq!(answer.header("content-encoding"), None, "{who}");
        }
    }
    let seen = fake.seen();
    assert_eq!(seen.len(), 4);
    for asked in seen {
        assert!(!asked.head.contains("gzip"), "{}", asked.head);
    }
}

/// CouchDB gives a thousand at most by its default (CVE-2014-2668).
#[tokio::test(flavor = "multi_thread")]
async fn a_client_gets_a_thousand_identifiers_at_most() {
    let world = World::start("").await;
    for client in [world.anonymous(), world.as_("tom"), world.as_("ops")] {
        let most = client.get("/_uuids?count=1000").await.yes();
        assert_eq!(most["uuids"].as_array().unwrap().len(), 1000);
        for count in ["1001", "99999999999999999999", "-1", "1e9", ""] {
            let refused = client.get(&format!("/_uuids?count={count}")).await;
            refused.no(400, "bad_request");
        }
    }
}
