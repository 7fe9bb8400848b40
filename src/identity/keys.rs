//! What the session secret becomes: for each kind of token one key that signs, and one that digests the
//! credential by which its bearer proved his name.
//!
//! Invariant: the first secret signs, all are read; a token of one kind is never one of another.

use crate::config;
use crate::secret::{Key, Secret};

/// The keys for one kind of token.
#[derive(Debug)]
pub(super) struct Keys(Vec<Pair>);

#[derive(Debug)]
struct Pair {
    signature: Key,
    credential: Key,
}

/// What a signature has proved.
pub(super) struct Signed<'a> {
    pub(super) content: &'a [u8],
    /// Which of the keys has signed it; 0 is the one that signs now.
    pub(super) key: usize,
}

impl Keys {
    pub(super) fn new(settings: &config::Session, kind: &str) -> Self {
        let pair = |secret: &Secret| Pair {
            signature: secret.derive(&format!("{kind} signature")),
            credential: secret.derive(&format!("{kind} credential")),
        };
        let secrets = [Some(&settings.secret), settings.previous.as_ref()];
        Self(secrets.into_iter().flatten().map(pair).collect())
    }

    /// The content with its signature at the end.
    pub(super) fn sign(&self, mut content: Vec<u8>) -> Vec<u8> {
        if let Some(pair) = self.0.first() {
            let signature = pair.signature.sign(&[&content]);
            content.extend(signature);
        }
        content
    }

    /// The content, if the signature at its end is ours.
    pub(super) fn open<'a>(&self, bytes: &'a [u8]) -> Option<Signed<'a>> {
        let (content, signature) = bytes.split_last_chunk::<32>()?;
        let signed = |pair: &Pair| pair.signature.verify(&[content], signature);
        let key = self.0.iter().position(signed)?;
        Some(Signed { content, key })
    }

    /// The digest of a credential by one of the keys.
    pub(super) fn digest(&self, key: usize, credential: &[u8]) -> [u8; 16] {
        let mut digest = [0; 16];
        let signed = self
            .0
            .get(key)
            .map(|pair| pair.credential.sign(&[credential]));
        for (to, from) in digest.iter_mut().zip(signed.into_iter().flatten()) {
            *to = from;
        }
        digest
    }

    /// Is this the digest of the credential? In constant time.
    pub(super) fn is_of(&self, key: usize, credential: &[u8], digest: &[u8; 16]) -> bool {
        Secret::new(self.digest(key, credential)).matches(digest)
    }
}
