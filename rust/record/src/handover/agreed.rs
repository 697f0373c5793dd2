//! What the two hellos agreed on, as far as records go: suite, hash, and the largest payload.

use super::suites::NamedSuite;
use super::{Declined, HandshakeTap, Role};
use crate::frame::MAX_FRAME_LEN;
use crate::handshake::{ClientHello, ServerHello};
use crate::schedule::Hash;
use crate::suite::{MacOrder, Suite, Version};

/// The smallest `record_size_limit` that may be sent (RFC 8449 §4).
const MIN_RECORD_SIZE_LIMIT: u16 = 64;

/// What the two hellos agreed on.
#[derive(Clone, Copy)]
pub(super) struct Agreed<'t> {
    pub(super) client_hello: &'t ClientHello,
    pub(super) server_hello: &'t ServerHello,
    pub(super) suite: Suite,
    pub(super) hash: Hash,
}

impl<'t> Agreed<'t> {
    /// Check that the hand-over knows what was agreed on.
    pub(super) fn of(tap: &'t HandshakeTap, cipher_name: Option<&str>) -> Result<Self, Declined> {
        let not_followed = |reason: &str| Declined::NotFollowed {
            reason: reason.to_owned(),
        };
        if let Some(reason) = &tap.refusal {
            return Err(not_followed(reason));
        }
        let (Some(client_hello), Some(server_hello)) = (&tap.client_hello, &tap.server_hello)
        else {
            return Err(not_followed("no hello was seen"));
        };
        if server_hello.compression_method != 0 {
            return Err(Declined::Compression);
        }
        let number = server_hello.cipher_suite;
        let name = || cipher_name.unwrap_or("unknown").to_owned();
        let named = NamedSuite::find(number)
            .filter(|suite| Some(suite.name) == cipher_name)
            .ok_or_else(|| Declined::UnknownSuite {
                name: name(),
                number,
            })?;
        let order = if server_hello.encrypt_then_mac {
            MacOrder::EncryptThenMac
        } else {
            MacOrder::MacThenEncrypt
        };
        let suite = Version::from_minor(server_hello.tls_vminor)
            .and_then(|version| named.in_version(version, order))
            .ok_or_else(|| Declined::SuiteVersion {
                name: name(),
                number,
                tls_vminor: server_hello.tls_vminor,
            })?;
        Ok(Self {
            client_hello,
            server_hello,
            suite,
            hash: named.hash,
        })
    }

    /// The most payload bytes of a record of ours.
    ///
    /// In TLS 1.3 the answer to `max_fragment_length` is encrypted, so the client's offer is obeyed, which is always
    /// legal. OpenSSL does not negotiate `record_size_limit`; a server obeys the client's limit as a courtesy.
    pub(super) fn max_frame_len(self, role: Role) -> usize {
        let tls13 = self.suite.version() == Version::Tls13;
        let fragment_len = if tls13 {
            self.client_hello.max_fragment_len
        } else {
            self.server_hello.max_fragment_len
        };
        let size_limit = self.client_hello.record_size_limit;
        let size_limit = size_limit
            .filter(|limit| role == Role::Server && *limit >= MIN_RECORD_SIZE_LIMIT)
            // In TLS 1.3 the inner content type counts (RFC 8449 §4).
            .map(|limit| limit - u16::from(tls13));
        let limits = [fragment_len, size_limit].into_iter().flatten();
        limits.map(usize::from).fold(MAX_FRAME_LEN, usize::min)
    }
}
