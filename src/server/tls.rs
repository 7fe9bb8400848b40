//! TLS: certificates from a directory, chosen by server name.
//!
//! Invariant: a certificate without its key, or with another's, stops the start; no 0-RTT (writes could be
//! replayed); TLS 1.2 and 1.3 only.

use super::cert::is_for_development;
use crate::config::Listen;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The pair that serves names without a pair of their own, and clients that name none.
const DEFAULT: &str = "default";

/// The development authority, which `couchwarden cert` leaves in the same place; it serves no name.
const AUTHORITY: &str = "ca";

/// Why the certificates can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The directory can't be read.
    #[error("can't read the certificates in `{0}`: {1}")]
    Directory(PathBuf, std::io::Error),
    /// There is nothing to serve with.
    #[error("no certificate in `{0}`; `couchwarden cert` makes one for development")]
    None(PathBuf),
    /// One of the files is wrong.
    #[error("can't use `{0}`: {1}")]
    Pair(PathBuf, String),
    /// Browsers would not let developers go on without this certificate.
    #[error("`listen.hsts` is not for `{0}`, which `couchwarden cert` has made for development")]
    Development(PathBuf),
    /// The library refuses the settings.
    #[error("tls: {0}")]
    Settings(#[from] rustls::Error),
}

/// Reads all pairs and makes the settings of the listener.
pub(super) fn server_config(listen: &Listen) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let names = Names::read(listen, &provider)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(names));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ignore_client_order = true;
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    // Security: early data can be replayed, and we serve writes.
    config.max_early_data_size = 0;
    Ok(config)
}

/// Which pair serves which name.
#[derive(Debug, Default)]
pub(super) struct Names {
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// By the part after `*.`.
    wildcard: HashMap<String, Arc<CertifiedKey>>,
    default: Option<Arc<CertifiedKey>>,
}

impl Names {
    fn read(listen: &Listen, provider: &CryptoProvider) -> Result<Self, TlsError> {
        let directory = &listen.certificates;
        let unreadable = |error| TlsError::Directory(directory.to_owned(), error);
        let mut names = Self::default();
        for entry in std::fs::read_dir(directory).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.extension().is_none_or(|extension| extension != "crt") {
                continue;
            }
            let Some(name) = path.file_stem().and_then(|stem| stem.to_str()) else {
                return Err(TlsError::Pair(path, "its name is not text".to_owned()));
            };
            if name == AUTHORITY {
                continue;
            }
            let pair = Arc::new(read_pair(&path, provider)?);
            if listen.hsts.is_some() && is_for_development(&pair.cert) {
                return Err(TlsError::Development(path));
            }
            names.add(&name.to_ascii_lowercase(), pair);
        }
        let empty = names.exact.is_empty() && names.wildcard.is_empty() && names.default.is_none();
        if empty {
            return Err(TlsError::None(directory.to_owned()));
        }
        Ok(names)
    }

    pub(super) fn add(&mut self, name: &str, pair: Arc<CertifiedKey>) {
        let wildcard = name.strip_prefix("*.").or_else(|| name.strip_prefix("_."));
        if name == DEFAULT {
            self.default = Some(pair);
        } else if let Some(parent) = wildcard {
            self.wildcard.insert(parent.to_owned(), pair);
        } else {
            self.exact.insert(name.to_owned(), pair);
        }
    }

    pub(super) fn find(&self, name: Option<&str>) -> Option<&Arc<CertifiedKey>> {
        let name = name.map(str::to_ascii_lowercase);
        let named = name.as_deref().and_then(|name| {
            let wildcard = || self.wildcard.get(name.split_once('.')?.1);
            self.exact.get(name).or_else(wildcard)
        });
        named.or(self.default.as_ref())
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.find(hello.server_name()).cloned()
    }
}

pub(super) fn read_pair(path: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let wrong = |path: &Path, error: &dyn std::fmt::Display| {
        TlsError::Pair(path.to_owned(), error.to_string())
    };
    let chain = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(path, &error))?;
    let key_path = path.with_extension("key");
    let key = PrivateKeyDer::from_pem_file(&key_path).map_err(|error| wrong(&key_path, &error))?;
    warn_if_open(&key_path);
    let signer = provider
        .key_provider
        .load_private_key(key)
        .map_err(|error| wrong(&key_path, &error))?;
    let pair = CertifiedKey::new(chain, signer);
    pair.keys_match().map_err(|error| wrong(path, &error))?;
    Ok(pair)
}

fn warn_if_open(key: &Path) {
    let mode = std::fs::metadata(key).map(|metadata| metadata.permissions().mode());
    if mode.is_ok_and(|mode| mode & 0o077 != 0) {
        tracing::warn!(file = %key.display(), "others can read this key");
    }
}
