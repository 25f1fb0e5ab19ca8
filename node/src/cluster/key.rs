//! The cluster's shared secret, and the keys that follow from it.
//!
//! Whoever has the secret is a member; there is no other identity. From it follow, by HKDF-SHA-256,
//! keys that say nothing of one another: one seals the gossip, one is every node's TLS identity, one is
//! the cookie of the links. HKDF does not slow down guessing: a secret is made by a machine
//! (`openssl rand -hex 32`), not thought up.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;

use ring::hkdf;

/// The environment variable that holds the secret.
pub const SECRET_VARIABLE: &str = "FTS_CLUSTER_SECRET";
/// Fewer bytes are not accepted as a secret.
const SECRET_BYTES_MIN: usize = 16;
/// What stands in for a secret among processes of one machine. Anybody knows it.
const DEVELOPMENT_SECRET: &str = "fts-node development, loopback only";
/// Keeps these keys apart from those of any other program with the same secret.
const SALT: &[u8] = b"fts-node cluster v1";

/// A cluster's secret. Never printed.
#[derive(Clone)]
pub struct Secret {
    key: hkdf::Prk,
    is_development: bool,
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(…)")
    }
}

/// Why there is no secret to use.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It is too short to be one.
    #[error(
        "the cluster's secret has {0} bytes: use at least {SECRET_BYTES_MIN} random ones, such as \
         `openssl rand -hex 32` makes"
    )]
    Short(usize),
    /// Its file can't be read.
    #[error("cannot read `cluster.secret_file` {0}: {1}")]
    File(String, std::io::Error),
    /// There is none, and the address can be reached from elsewhere.
    #[error(
        "{0} can be reached from other machines, and the cluster has no secret: set \
         {SECRET_VARIABLE} or `cluster.secret_file`, the same on every node, or use a loopback address"
    )]
    Missing(SocketAddr),
}

impl Secret {
    /// The secret of this text; white space around it does not count.
    ///
    /// # Errors
    /// Where it is too short.
    pub fn new(text: &str) -> Result<Self, SecretError> {
        let text = text.trim();
        if text.len() < SECRET_BYTES_MIN {
            return Err(SecretError::Short(text.len()));
        }
        Ok(Self::of(text, false))
    }

    /// The secret of the environment's `variable`, else of `file`, else, if all of `addresses` are of
    /// this machine alone, one that anybody knows.
    ///
    /// # Errors
    /// Where there is none, and an address can be reached from elsewhere; where it can't be read or is
    /// too short.
    pub fn find(
        variable: Option<&str>,
        file: Option<&Path>,
        addresses: &[SocketAddr],
    ) -> Result<Self, SecretError> {
        if let Some(text) = variable.filter(|text| !text.is_empty()) {
            return Self::new(text);
        }
        if let Some(path) = file {
            let text = std::fs::read_to_string(path)
                .map_err(|error| SecretError::File(path.display().to_string(), error))?;
            return Self::new(&text);
        }
        match addresses.iter().find(|address| !address.ip().is_loopback()) {
            Some(address) => Err(SecretError::Missing(*address)),
            None => Ok(Self::of(DEVELOPMENT_SECRET, true)),
        }
    }

    /// Whether anybody knows it.
    pub fn is_development(&self) -> bool {
        self.is_development
    }

    fn of(text: &str, is_development: bool) -> Self {
        let key = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(text.as_bytes());
        Self { key, is_development }
    }

    /// The key that follows for `purpose` and `detail`.
    pub(super) fn derive(&self, purpose: &str, detail: &[u8]) -> [u8; 32] {
        let mut key = [0; 32];
        let info = [purpose.as_bytes(), b"\0", detail];
        self.key
            .expand(&info, hkdf::HKDF_SHA256)
            .and_then(|it| it.fill(&mut key))
            .expect("32 bytes are what SHA-256 expands to");
        key
    }

    /// What both ends of a link show each other, beside TLS.
    pub(super) fn cookie(&self) -> String {
        self.derive("cookie", &[]).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_secret_is_never_printed() {
        let secret = Secret::new("correct horse battery staple").unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }

    #[test]
    fn keys_follow_from_the_secret_and_the_purpose_and_nothing_else() {
        let key = |text: &str, purpose| Secret::new(text).unwrap().derive(purpose, &[]);
        let one = "0123456789abcdef0123456789abcdef";
        assert_eq!(key(one, "gossip"), key(&format!(" {one}\n"), "gossip"));
        assert_ne!(key(one, "gossip"), key(one, "tls"));
        assert_ne!(key(one, "gossip"), key("0123456789abcdef0123456789abcdeF", "gossip"));
    }

    #[test]
    fn without_a_secret_only_loopback_will_do() {
        let ours = [address("127.0.0.1:7401"), address("[::1]:7401")];
        assert!(Secret::find(None, None, &ours).unwrap().is_development());
        let open = [ours[0], address("10.0.0.7:7401")];
        let error = Secret::find(None, None, &open).unwrap_err().to_string();
        assert!(error.contains("10.0.0.7:7401") && error.contains(SECRET_VARIABLE), "{error}");
        let error = Secret::find(None, None, &[address("0.0.0.0:7401")]).unwrap_err();
        assert!(matches!(error, SecretError::Missing(_)));
        let secret = Secret::find(Some("0123456789abcdef"), None, &open).unwrap();
        assert!(!secret.is_development());
    }

    #[test]
    fn a_secret_that_is_there_but_can_not_be_one_is_refused() {
        assert!(matches!(Secret::find(Some("short"), None, &[]), Err(SecretError::Short(5))));
        let nowhere = Path::new("/nowhere/secret");
        assert!(matches!(Secret::find(None, Some(nowhere), &[]), Err(SecretError::File(..))));
    }
}
