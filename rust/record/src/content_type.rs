//! Content types of records (RFC 8446 §5.1).

/// The end of the clear text in a handshake; never after it.
pub const CHANGE_CIPHER_SPEC: u8 = 20;
/// Two bytes: level and description.
pub const ALERT: u8 = 21;
/// Handshake messages, those after the handshake among them.
pub const HANDSHAKE: u8 = 22;
/// Bytes of the application.
pub const APPLICATION_DATA: u8 = 23;
