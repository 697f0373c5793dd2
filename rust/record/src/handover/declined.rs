//! Why OpenSSL keeps a connection, in a sentence that a user can act on.

/// Why a connection is not taken over. Nothing has happened yet: OpenSSL and the wire still agree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Declined {
    /// The tap did not understand what it saw.
    #[error("the handshake could not be followed: {reason}")]
    NotFollowed {
        /// What it saw.
        reason: String,
    },
    /// TLS compression was agreed on.
    #[error("TLS compression is in use: set ssl.OP_NO_COMPRESSION on the context")]
    Compression,
    /// The cipher suite is not in the table, or OpenSSL and the ServerHello name different ones.
    #[error(
        "the cipher suite {name} ({number:#06x}) stays with OpenSSL: it is none of the suites that this library \
         knows; choose one with AES-GCM or ChaCha20-Poly1305"
    )]
    UnknownSuite {
        /// OpenSSL's name of it.
        name: String,
        /// Its number in the ServerHello.
        number: u16,
    },
    /// The cipher suite does not exist in the version agreed on.
    #[error(
        "the cipher suite {name} ({number:#06x}) stays with OpenSSL: not in TLS version 3.{tls_vminor}; choose one \
         with AES-GCM or ChaCha20-Poly1305"
    )]
    SuiteVersion {
        /// OpenSSL's name of it.
        name: String,
        /// Its number in the ServerHello.
        number: u16,
        /// The second byte of the version.
        tls_vminor: u8,
    },
    /// OpenSSL logged nothing.
    #[error(
        "no secret was logged for this connection: its context was not prepared (an SNI callback may have put \
         another one in place), or its key log was changed"
    )]
    NoSecret,
    /// The logged secrets belong to other connections.
    #[error("none of the secrets logged for this connection opens its own records")]
    OwnRecords,
    /// The logged secrets open our records and not the peer's.
    #[error("none of the secrets logged for this connection opens the peer's records")]
    PeerRecords,
}
