//! Certificates and the socket. Whole connections are in `tests/edge`.

use super::descriptors::fit;
use super::socket::Paced;
use super::{cert, tls};
use crate::config::{Limits, Listen};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;

fn listen(certificates: &Path) -> Listen {
    Listen {
        address: "127.0.0.1:0".parse().unwrap(),
        certificates: certificates.to_owned(),
        insecure: false,
        names: Vec::new(),
        hsts: None,
    }
}

#[test]
fn development_certificates_can_be_served_and_are_not_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let paths = cert::make(directory.path(), &["db.example.com".to_owned()]).unwrap();
    for path in &paths {
        let key = path.extension().unwrap() == "key";
        let mode = std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & 0o077 == 0, key, "{path:?}");
    }
    assert!(tls::server_config(&listen(directory.path())).is_ok());
    let again = cert::make(directory.path(), &[]).unwrap_err();
    assert!(
        again.to_string().ends_with("ca.crt` exists already"),
        "{again}"
    );
}

#[test]
fn a_directory_without_certificates_says_how_to_make_them() {
    let directory = tempfile::tempdir().unwrap();
    let error = tls::server_config(&listen(directory.path())).unwrap_err();
    assert!(error.to_string().contains("couchwarden cert"), "{error}");
}

#[test]
fn a_certificate_with_the_key_of_another_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    cert::make(directory.path(), &[]).unwrap();
    let ca = directory.path().join("ca.key");
    std::fs::copy(ca, directory.path().join("default.key")).unwrap();
    assert!(tls::server_config(&listen(directory.path())).is_err());
}

#[test]
fn nobody_is_bound_to_a_certificate_of_development() {
    let directory = tempfile::tempdir().unwrap();
    cert::make(directory.path(), &[]).unwrap();
    let bound = Listen {
        hsts: Some(Duration::from_secs(86_400)),
        ..listen(directory.path())
    };
    let error = tls::server_config(&bound).unwrap_err().to_string();
    assert!(error.contains("default.crt"), "{error}");
    // One of another authority.
    let key = rcgen::KeyPair::generate().unwrap();
    let names = vec!["db.example.com".to_owned()];
    let params = rcgen::CertificateParams::new(names).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    std::fs::write(directory.path().join("default.crt"), certificate.pem()).unwrap();
    std::fs::write(directory.path().join("default.key"), key.serialize_pem()).unwrap();
    assert!(tls::server_config(&bound).is_ok());
}

#[test]
fn clients_never_take_the_descriptors_that_couchdb_needs() {
    let limits = Limits::default();
    let all = fit(&limits, 1 << 20);
    assert_eq!(
        (all.connections, all.streams),
        (limits.connections, limits.streams)
    );
    for descriptors in [64, 256, 1024, 4096, 20_000] {
        let fitted = fit(&limits, descriptors);
        assert!(fitted.connections > 0 && fitted.streams > 0);
        let left = descriptors - fitted.connections;
        assert!(left > fitted.connections + fitted.streams, "{descriptors}");
    }
    let mut lopsided = limits;
    lopsided.streams = 1_000_000;
    let fitted = fit(&lopsided, 1024);
    assert!(fitted.connections >= 1 && fitted.connections * 2 + fitted.streams <= 1024);
}

#[test]
fn a_certificate_is_chosen_by_name() {
    let directory = tempfile::tempdir().unwrap();
    cert::make(directory.path(), &[]).unwrap();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let pair = || tls::read_pair(&directory.path().join("default.crt"), &provider).unwrap();
    let [exact, wildcard, default] = [(); 3].map(|()| Arc::new(pair()));
    let mut names = tls::Names::default();
    names.add("db.example.com", Arc::clone(&exact));
    names.add("*.example.com", Arc::clone(&wildcard));
    assert!(names.find(Some("elsewhere.org")).is_none());
    assert!(names.find(None).is_none());
    names.add("default", Arc::clone(&default));
    let chosen = |name, pair| Arc::ptr_eq(names.find(name).unwrap(), pair);
    assert!(chosen(Some("DB.example.com"), &exact));
    assert!(chosen(Some("a.example.com"), &wildcard));
    assert!(chosen(Some("a.b.example.com"), &default));
    assert!(chosen(Some("example.com"), &default));
    assert!(chosen(None, &default));
}

#[tokio::test(start_paused = true)]
async fn a_write_without_progress_fails_in_time() {
    let (ours, _theirs) = tokio::io::duplex(16);
    let mut socket = Paced::new(ours, Duration::from_secs(60));
    let start = Instant::now();
    let error = socket.write_all(&[0; 100]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    assert_eq!(start.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_that_goes_on_reading_is_served() {
    let (ours, mut theirs) = tokio::io::duplex(16);
    let mut socket = Paced::new(ours, Duration::from_secs(60));
    let reader = async {
        let mut buffer = [0; 10];
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_secs(50)).await;
            theirs.read_exact(&mut buffer).await.unwrap();
        }
    };
    let (written, ()) = tokio::join!(socket.write_all(&[0; 100]), reader);
    assert!(written.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_close_waits_a_little_for_what_is_still_sent() {
    let (ours, mut theirs) = tokio::io::duplex(16);
    let mut socket = Paced::new(ours, Duration::from_secs(60));
    let start = Instant::now();
    let sender = async {
        // More than fits: it is taken, and thrown away.
        theirs.write_all(&[0; 1000]).await.unwrap();
        assert_eq!(theirs.read(&mut [0; 1]).await.unwrap(), 0);
    };
    let (closed, ()) = tokio::join!(socket.shutdown(), sender);
    assert!(closed.is_ok());
    assert_eq!(start.elapsed().as_secs(), 1);
}
