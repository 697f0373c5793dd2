//! What a receive half has its send half say. The two know this trait, and not each other.

/// How the answers to what a peer says about the connection are sent. No method waits, and none is called under a lock
/// of the receive half. A send half that has ended says nothing.
pub trait Replies: Send + Sync {
    /// A KeyUpdate that asks for none (RFC 8446 §4.6.3), and the next write keys. One that was not sent yet answers this
    /// request, too, so that a peer that asks and does not read is owed one answer.
    fn update_key(&self);

    /// An alert; no data follows a fatal one.
    fn send_alert(&self, level: u8, description: u8);

    /// No data follows: the peer has ended the connection with this alert (RFC 8446 §6.2).
    fn end_data(&self, description: u8);
}
