//! Proves that hostmatch's own headers of a message are its own: an HMAC over them and the body. Without it any
//! publisher could set them, and for example make one dead letter of several messages.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::config::Secret;
use crate::queue::message::{header, is_own_header};
use crate::runtime::throttle::Throttle;

/// The use of the key that is derived from the broker's password. It must never change.
const DERIVATION: &[u8] = b"hostmatch message headers 1";

/// The version of the proof, and its prefix.
const VERSION: &str = "v1=";

/// The keys of the proofs. There is no `Debug`, because they are secret.
pub(super) struct HeaderKeys {
    /// The first one signs, all of them verify.
    keys: Vec<Hmac<Sha256>>,
    /// Throttles the log of proofs that are wrong.
    failures: Throttle,
}

impl HeaderKeys {
    /// Takes the configured keys; without any, derives one from the broker's password.
    pub(super) fn new(configured: &[Secret], password: &str) -> Self {
        let configured = configured.iter().filter_map(|key| hmac(key.expose().trim().as_bytes()));
        let mut keys: Vec<_> = configured.collect();
        if keys.is_empty()
            && let Some(mac) = hmac(password.as_bytes())
        {
            let derived = mac.chain_update(DERIVATION).finalize().into_bytes();
            keys.extend(hmac(&derived));
        }
        Self { keys, failures: Throttle::default() }
    }

    /// Returns the proof of our own headers among these, for a message with this body; `None` if there are none.
    pub(super) fn sign(&self, headers: &BTreeMap<String, String>, body: &[u8]) -> Option<String> {
        // An earlier version stores a proof among the headers of a dead letter, and so in its replay.
        let own = headers.iter().filter(|(name, _)| is_own_header(name) && *name != header::MAC);
        let digest = update(self.keys.first()?.clone(), own, body)?.finalize().into_bytes();
        Some(format!("{VERSION}{}", hex::encode(digest)))
    }

    /// Returns whether this proof was made for exactly these headers and this body.
    pub(super) fn verify(&self, proof: &str, own: &BTreeMap<String, String>, body: &[u8]) -> bool {
        let mut digest = [0; 32];
        let is_digest = |text| hex::decode_to_slice(text, &mut digest).is_ok();
        let is_proof = proof.strip_prefix(VERSION).is_some_and(is_digest);
        let verifies = |key: &Hmac<Sha256>| {
            let mac = update(key.clone(), own.iter(), body);
            mac.is_some_and(|mac| mac.verify_slice(&digest).is_ok())
        };
        let is_valid = is_proof && self.keys.iter().any(verifies);
        if !is_valid && let Some(suppressed) = self.failures.admit() {
            tracing::warn!(
                suppressed,
                "ignored hostmatch's own headers of a message: another key, or another program, has set them"
            );
        }
        is_valid
    }
}

fn hmac(key: &[u8]) -> Option<Hmac<Sha256>> {
    Hmac::new_from_slice(key).ok()
}

/// Adds the headers, each part with its length before it, and the body; `None` without headers.
fn update<'h>(
    mut mac: Hmac<Sha256>,
    own: impl Iterator<Item = (&'h String, &'h String)>,
    body: &[u8],
) -> Option<Hmac<Sha256>> {
    let mut count = 0_u64;
    for (name, value) in own {
        for part in [name, value] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        count += 1;
    }
    mac.update(body);
    mac.update(&count.to_be_bytes());
    (count > 0).then_some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(configured: &[&str], password: &str) -> HeaderKeys {
        let configured: Vec<Secret> = configured.iter().map(|key| Secret::new(*key)).collect();
        HeaderKeys::new(&configured, password)
    }

    fn headers(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_proof_holds_for_exactly_these_headers_and_this_body() {
        let keys = keys(&[], "password");
        let own = headers(&[("x-hostmatch-attempt", "1"), ("x-hostmatch-type", "t")]);
        let mut all = own.clone();
        all.insert("x-note".into(), "not covered".into());
        let proof = keys.sign(&all, b"body").unwrap();
        assert!(keys.verify(&proof, &own, b"body"));
        all.insert(header::MAC.into(), "v1=of an earlier copy".into());
        assert_eq!(keys.sign(&all, b"body").unwrap(), proof);
        for (other, body) in [
            (headers(&[("x-hostmatch-attempt", "2"), ("x-hostmatch-type", "t")]), &b"body"[..]),
            (headers(&[("x-hostmatch-attempt", "1")]), b"body"),
            (headers(&[("x-hostmatch-attempt", "1x-hostmatch-typet")]), b"body"),
            (own.clone(), b"bodY"),
            (own.clone(), b""),
            (BTreeMap::new(), b"body"),
        ] {
            assert!(!keys.verify(&proof, &other, body), "{other:?}");
        }
        for wrong in ["", "v1=", "v1=00", &proof[3..], &proof[..proof.len() - 2], "v2=00"] {
            assert!(!keys.verify(wrong, &own, b"body"), "{wrong}");
        }
        assert_eq!(keys.sign(&headers(&[("x-note", "n")]), b"body"), None);
    }

    #[test]
    fn the_first_key_signs_and_all_keys_verify() {
        let own = headers(&[("x-hostmatch-attempt", "1")]);
        let proof = |keys: &HeaderKeys| keys.sign(&own, b"body").unwrap();
        let (old, new) = (keys(&["the old key"], "p"), keys(&["the new key"], "p"));
        let both = keys(&["the new key", "the old key"], "p");
        assert_eq!(proof(&both), proof(&new));
        assert!(both.verify(&proof(&old), &own, b"body") && new.verify(&proof(&both), &own, b"body"));
        assert!(!old.verify(&proof(&both), &own, b"body"));
        // A configured key replaces the one that is derived from the password.
        let derived = keys(&[], "p");
        assert!(!old.verify(&proof(&derived), &own, b"body"));
        assert!(!keys(&[], "q").verify(&proof(&derived), &own, b"body"));
        assert!(keys(&[], "p").verify(&proof(&derived), &own, b"body"));
    }
}
