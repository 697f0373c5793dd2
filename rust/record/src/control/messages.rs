//! Handshake messages out of records, which cut them anywhere and hold several (RFC 8446 §5.1).
//!
//! What is kept of a message is decided when its header is whole, so that nobody makes this side keep bytes that it
//! will refuse. Between messages nothing is allocated.

use super::Refusal;
use super::table::{Keep, MessageRule};

/// A whole message.
#[derive(Debug)]
pub(super) struct Admitted {
    /// What it means.
    pub(super) rule: MessageRule,
    /// Header and body, or nothing where nothing was kept.
    pub(super) bytes: Vec<u8>,
}

/// A message of which a part has come.
#[derive(Debug, Default)]
pub(super) struct Partial {
    header: [u8; HEADER_LEN],
    header_len: usize,
    body: Option<Body>,
}

#[derive(Debug)]
struct Body {
    rule: MessageRule,
    keep: Keep,
    missing: usize,
    bytes: Vec<u8>,
}

impl Partial {
    /// Whether a part has come, and the rest has not.
    pub(super) const fn is_begun(&self) -> bool {
        self.header_len > 0
    }

    /// Take from the front of `bytes` what belongs to one message; returns it when it is whole. `admit` decides about a
    /// message type and body length.
    pub(super) fn take(
        &mut self,
        bytes: &mut &[u8],
        admit: impl FnOnce(u8, usize) -> Result<(MessageRule, Keep), Refusal>,
    ) -> Result<Option<Admitted>, Refusal> {
        let body = match &mut self.body {
            Some(body) => body,
            None => {
                let head = split(bytes, HEADER_LEN - self.header_len);
                self.header[self.header_len..][..head.len()].copy_from_slice(head);
                self.header_len += head.len();
                if self.header_len < HEADER_LEN {
                    return Ok(None);
                }
                let [message_type, high, middle, low] = self.header;
                let len = u32::from_be_bytes([0, high, middle, low]) as usize;
                let (rule, keep) = admit(message_type, len)?;
                self.body.insert(Body {
                    rule,
                    keep,
                    missing: len,
                    bytes: match keep {
                        Keep::Whole => self.header.to_vec(),
                        Keep::Nothing => Vec::new(),
                    },
                })
            }
        };
        let part = split(bytes, body.missing);
        body.missing -= part.len();
        if body.keep == Keep::Whole {
            body.bytes.extend_from_slice(part);
        }
        if body.missing > 0 {
            return Ok(None);
        }
        let whole = core::mem::take(self).body;
        Ok(whole.map(|Body { rule, bytes, .. }| Admitted { rule, bytes }))
    }
}

/// Bytes of a handshake message's header: its type and the length of its body (RFC 8446 §4).
const HEADER_LEN: usize = 4;

/// At most `most` bytes off the front.
fn split<'b>(bytes: &mut &'b [u8], most: usize) -> &'b [u8] {
    let (front, rest) = bytes.split_at(most.min(bytes.len()));
    *bytes = rest;
    front
}
