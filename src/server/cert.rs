//! A development authority and a server certificate signed by it.
//!
//! Invariant: no file is overwritten, and no key is ever readable by others.

use memchr::memmem;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls_pki_types::CertificateDer;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Some clients refuse longer lives of server certificates, private authority or not.
const LIFE: u32 = 820;

/// The name of the authority, by which its certificates are known.
const AUTHORITY: &str = "couchwarden development authority";

/// Why there are no certificates.
#[derive(Debug, thiserror::Error)]
pub enum CertError {
    /// One of the files is there already.
    #[error("`{0}` exists already")]
    Exists(PathBuf),
    /// A file can't be written.
    #[error("can't write `{0}`: {1}")]
    Write(PathBuf, std::io::Error),
    /// A host can't stand in a certificate.
    #[error("can't make a certificate: {0}")]
    Make(#[from] rcgen::Error),
}

/// Writes `ca.crt`, `ca.key`, `default.crt` and `default.key`, and tells their paths in this order.
pub fn make(directory: &Path, hosts: &[String]) -> Result<Vec<PathBuf>, CertError> {
    let paths: Vec<PathBuf> = ["ca.crt", "ca.key", "default.crt", "default.key"]
        .iter()
        .map(|name| directory.join(name))
        .collect();
    if let Some(present) = paths.iter().find(|path| path.exists()) {
        return Err(CertError::Exists(present.clone()));
    }
    std::fs::create_dir_all(directory)
        .map_err(|error| CertError::Write(directory.to_owned(), error))?;

    let ca_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let ca_params = authority()?;
    let ca = ca_params.self_signed(&ca_key)?;
    let issuer = Issuer::new(ca_params, ca_key);
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let certificate = server(hosts)?.signed_by(&key, &issuer)?;

    let texts = [
        (ca.pem(), 0o644),
        (issuer.key().serialize_pem(), 0o600),
        (certificate.pem(), 0o644),
        (key.serialize_pem(), 0o600),
    ];
    for (path, (text, mode)) in paths.iter().zip(texts) {
        write_new(path, &text, mode)?;
    }
    Ok(paths)
}

/// Is one of these signed by a development authority? Its name stands in them as it is.
pub(super) fn is_for_development(chain: &[CertificateDer<'_>]) -> bool {
    let named = |der: &CertificateDer<'_>| memmem::find(der, AUTHORITY.as_bytes()).is_some();
    chain.iter().any(named)
}

fn authority() -> Result<CertificateParams, rcgen::Error> {
    let mut params = dated(CertificateParams::new(Vec::new())?);
    params
        .distinguished_name
        .push(DnType::CommonName, AUTHORITY);
    // It signs server certificates directly, and no other authorities.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn server(hosts: &[String]) -> Result<CertificateParams, rcgen::Error> {
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    for host in hosts {
        if !names.contains(host) {
            names.push(host.clone());
        }
    }
    let mut params = dated(CertificateParams::new(names)?);
    params
        .distinguished_name
        .push(DnType::CommonName, "couchwarden");
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

fn dated(mut params: CertificateParams) -> CertificateParams {
    #[expect(
        clippy::disallowed_methods,
        reason = "a certificate is dated; no rule depends on this clock"
    )]
    let now = SystemTime::now();
    // Clocks of clients may be behind ours.
    params.not_before = (now - DAY).into();
    params.not_after = (now + DAY * LIFE).into();
    params
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), CertError> {
    let wrong = |error| CertError::Write(path.to_owned(), error);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(wrong)?;
    file.write_all(text.as_bytes()).map_err(wrong)
}
