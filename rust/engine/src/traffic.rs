//! What one direction of a connection has carried under its keys: numbers for whoever looks, which steer nothing.
//!
//! They are made of what the halves keep anyway (numbers of records, positions on the wire) and of sums that a write or
//! a read adds to once, so no record costs anything for them.

use crate::counters::{self, Counter};

/// See the head of this file. Everything before the first key, such as a handshake, is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Sent: framed. Received: taken as a whole, those that did not open included.
    pub records: u64,
    /// Payload of these records, of whatever type, without padding.
    pub payload_bytes: u64,
    /// Bytes of these records on the wire; sent: as far as TCP has taken them.
    pub wire_bytes: u64,
    /// Sent: 1 when the connection has failed. Received: records that did not open, or were none.
    pub errors: u64,
    /// Keys installed after the first.
    pub key_changes: u64,
    /// Sent: payload accepted and not yet taken by TCP. Received: what is kept between two calls.
    pub queued_bytes: u64,
    /// Number of the next record; None without a key.
    pub sequence: Option<u64>,
}

/// The sums of the connections of one direction that are gone.
pub(crate) struct Gone {
    pub(crate) records: &'static Counter,
    pub(crate) payload_bytes: &'static Counter,
    pub(crate) wire_bytes: &'static Counter,
    pub(crate) errors: &'static Counter,
    pub(crate) key_changes: &'static Counter,
}

/// Of send halves.
pub(crate) static SENT: Gone = Gone {
    records: &counters::GONE_TX_RECORDS,
    payload_bytes: &counters::GONE_TX_PAYLOAD,
    wire_bytes: &counters::GONE_TX_WIRE,
    errors: &counters::GONE_TX_ERRORS,
    key_changes: &counters::GONE_TX_KEY_CHANGES,
};

/// Of receive halves.
pub(crate) static RECEIVED: Gone = Gone {
    records: &counters::GONE_RX_RECORDS,
    payload_bytes: &counters::GONE_RX_PAYLOAD,
    wire_bytes: &counters::GONE_RX_WIRE,
    errors: &counters::GONE_RX_ERRORS,
    key_changes: &counters::GONE_RX_KEY_CHANGES,
};

impl Gone {
    /// Adds a connection that goes now.
    pub(crate) fn add(&self, traffic: &Traffic) {
        self.records.add(traffic.records);
        self.payload_bytes.add(traffic.payload_bytes);
        self.wire_bytes.add(traffic.wire_bytes);
        self.errors.add(traffic.errors);
        self.key_changes.add(traffic.key_changes);
    }
}
