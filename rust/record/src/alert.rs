//! Alert levels and descriptions (RFC 8446 §6, RFC 5246 §7.2), those that this crate takes or gives.

/// The level of an alert after which a connection may go on; TLS 1.3 ignores levels.
pub const WARNING: u8 = 1;
/// The level of an alert that ends a connection.
pub const FATAL: u8 = 2;

/// The sender will write no more.
pub const CLOSE_NOTIFY: u8 = 0;
/// A message came where it does not belong.
pub const UNEXPECTED_MESSAGE: u8 = 10;
/// A record does not authenticate.
pub const BAD_RECORD_MAC: u8 = 20;
/// A record is longer than allowed.
pub const RECORD_OVERFLOW: u8 = 22;
/// A field has a value that it must not have.
pub const ILLEGAL_PARAMETER: u8 = 47;
/// A message cannot be parsed, or has the wrong length.
pub const DECODE_ERROR: u8 = 50;
/// The version is not the one agreed on.
pub const PROTOCOL_VERSION: u8 = 70;
/// The sender has a fault of its own.
pub const INTERNAL_ERROR: u8 = 80;
/// The sender gives up a handshake; in TLS 1.3 a close_notify follows.
pub const USER_CANCELED: u8 = 90;
/// The sender will not renegotiate (TLS 1.0 to 1.2).
pub const NO_RENEGOTIATION: u8 = 100;
