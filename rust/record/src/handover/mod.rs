//! The hand-over of both directions of a connection whose handshake a stock OpenSSL makes.
//!
//! A [`HandshakeTap`] follows the handshake on the wire. At its end [`find`] opens the encrypted records of both sides
//! with the logged secrets, so that the keys and the numbers of the next records are proven; whatever is missing then
//! means only that OpenSSL keeps the connection ([`Declined`]). At last the caller lets OpenSSL write one zero byte
//! that never reaches the wire, the probe: [`Candidates::verify_probe`] opens it. From there on OpenSSL is one record
//! ahead of the wire and a failure is final; what OpenSSL says later is translated by [`OpensslWriteState`].
//!
//! A client random proves nothing: anybody who saw it can have other secrets logged under it.
//!
//! No I/O: records come in one at a time, and reading the key log is for the caller.

mod agreed;
mod candidates;
mod declined;
mod message;
mod opener;
mod openssl;
mod openssl_read;
mod suites;
mod tap;

use core::fmt;

use zeroize::Zeroizing;

pub use self::candidates::{Candidates, ProbeFailed, Verified, find, read_keys_of};
pub use self::declined::Declined;
pub use self::openssl::{Message, OpensslWriteState, TranslateError};
pub use self::openssl_read::OpensslReadState;
pub use self::tap::HandshakeTap;
use crate::keys::Keys;

/// A side of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The side that sent the ClientHello.
    Client,
    /// The side that sent the ServerHello.
    Server,
}

impl Role {
    /// The other side.
    #[must_use]
    pub const fn peer(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// One direction of the connection, at its next record.
///
/// `Debug` shows no secret.
#[derive(Clone)]
pub struct DirectionKeys {
    /// The keys; in TLS 1.0 AES-CBC with the IV of the next record.
    pub keys: Keys,
    /// The number of the next record.
    pub sequence: u64,
    /// The explicit nonce of the next record where OpenSSL counts one up (TLS 1.2 AES-GCM, RFC 5288 §3), modulo 2^64.
    /// It is for writing, and minus `sequence` it is the base that [`provider::sealer`](crate::provider::sealer) takes;
    /// a record that is read brings its own.
    pub explicit_nonce: Option<u64>,
    /// The traffic secret, from which a KeyUpdate derives the next (TLS 1.3, RFC 8446 §7.2).
    pub secret: Option<Zeroizing<Vec<u8>>>,
}

impl fmt::Debug for DirectionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectionKeys")
            .field("keys", &self.keys)
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

/// Content types (RFC 8446 §5.1).
mod content_type {
    pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
    pub(super) const ALERT: u8 = 21;
    pub(super) const HANDSHAKE: u8 = 22;
    pub(super) const APPLICATION_DATA: u8 = 23;
}
