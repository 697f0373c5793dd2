//! Cuts what OpenSSL wrote into records, and puts handshake messages together again (RFC 8446 §5.1).
//!
//! No keys, and no opinion on what a message says.

use crate::frame::HEADER_LEN;

/// Cut `bytes` into whole records; None when they do not end with one.
pub(super) fn split_records(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut records = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let &[_, _, _, high, low] = rest.first_chunk::<HEADER_LEN>()?;
        let size = HEADER_LEN + usize::from(u16::from_be_bytes([high, low]));
        let (record, after) = rest.split_at_checked(size)?;
        records.push(record);
        rest = after;
    }
    Some(records)
}

/// Handshake messages out of the payloads of handshake records.
#[derive(Default)]
pub(super) struct MessageAssembler {
    buffer: Vec<u8>,
}

impl MessageAssembler {
    /// Add the payload of the next handshake record.
    pub(super) fn push(&mut self, payload: &[u8]) {
        self.buffer.extend_from_slice(payload);
    }

    /// The next whole message with its 4-byte header, so it is never empty.
    pub(super) fn next_message(&mut self) -> Option<Vec<u8>> {
        let &[_, high, mid, low] = self.buffer.first_chunk()?;
        let [high, mid, low] = [high, mid, low].map(usize::from);
        let size = MESSAGE_HEADER_LEN + (high << 16 | mid << 8 | low);
        if self.buffer.len() < size {
            return None;
        }
        let rest = self.buffer.split_off(size);
        Some(core::mem::replace(&mut self.buffer, rest))
    }

    /// Bytes of a message that is begun and not ended.
    pub(super) fn buffered_len(&self) -> usize {
        self.buffer.len()
    }
}

const MESSAGE_HEADER_LEN: usize = 4;
