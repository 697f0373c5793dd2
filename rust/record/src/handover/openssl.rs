//! OpenSSL's write state after the hand-over (RFC 5246 §6.1): opens what it writes, so that another sealer can say it.
//!
//! Alerts, answers to a KeyUpdate, tickets and post-handshake authentication come out of OpenSSL sealed under a state
//! that the peer does not share any more. Such a record must never reach the wire: its nonce may have been used.

use core::fmt;

use zeroize::Zeroizing;

use super::content_type::{ALERT, CHANGE_CIPHER_SPEC, HANDSHAKE};
use super::message::{MessageAssembler, split_records};
use super::opener::CountingOpener;
use crate::error::Error;
use crate::schedule;
use crate::suite::{Suite, Version};

const KEY_UPDATE: u8 = 24;
const FATAL: u8 = 2;
const CLOSE_NOTIFY: u8 = 0;
const USER_CANCELED: u8 = 90;

/// Something that OpenSSL said, to be sealed anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The content type: alert or, in TLS 1.3, handshake.
    pub content_type: u8,
    /// The payload, that of one record.
    pub payload: Vec<u8>,
    /// Whether it ends in a KeyUpdate: what comes after it is sealed with the next keys (RFC 8446 §4.6.3).
    pub ends_in_key_update: bool,
    /// Whether no data may follow: a close_notify, or an error alert (RFC 8446 §6, RFC 5246 §7.2).
    pub ends_data: bool,
}

/// OpenSSL wrote something that cannot be said: the connection cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TranslateError {
    /// Not whole records, or not under the keys that OpenSSL should have.
    #[error("OpenSSL wrote a record that does not open: the connection was closed")]
    BadRecord,
    /// A handshake message before TLS 1.3.
    #[error("OpenSSL began a renegotiation: the connection was closed")]
    Renegotiation,
    /// Neither an alert nor a handshake message.
    #[error(
        "OpenSSL wrote a record of type {content_type} after the hand-over: the connection was closed"
    )]
    ContentType {
        /// The content type.
        content_type: u8,
    },
    /// A KeyUpdate that is not at the end of a record (RFC 8446 §5.1).
    #[error("OpenSSL wrote on after a KeyUpdate: the connection was closed")]
    AfterKeyUpdate,
}

impl From<Error> for TranslateError {
    fn from(_: Error) -> Self {
        Self::BadRecord
    }
}

/// The keys and the record number with which OpenSSL believes that it writes.
pub struct OpensslWriteState {
    opener: CountingOpener,
    suite: Suite,
    secret: Option<Zeroizing<Vec<u8>>>,
    messages: MessageAssembler,
}

impl OpensslWriteState {
    /// `opener` has opened every record that OpenSSL wrote so far under its keys.
    pub(super) fn new(
        opener: CountingOpener,
        suite: Suite,
        secret: Option<Zeroizing<Vec<u8>>>,
    ) -> Self {
        Self {
            opener,
            suite,
            secret,
            messages: MessageAssembler::default(),
        }
    }

    /// What OpenSSL said in these whole records, in order.
    ///
    /// # Errors
    /// [`TranslateError`]: the connection cannot go on.
    pub fn translate(&mut self, records: &[u8]) -> Result<Vec<Message>, TranslateError> {
        let records = split_records(records).ok_or(TranslateError::BadRecord)?;
        let mut said = Vec::new();
        for record in records {
            said.extend(self.translate_record(record)?);
        }
        Ok(said)
    }

    /// The number that OpenSSL will give its next record.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.opener.sequence()
    }

    fn translate_record(&mut self, record: &[u8]) -> Result<Option<Message>, TranslateError> {
        let tls13 = self.suite.version() == Version::Tls13;
        if tls13 && record.first() == Some(&CHANGE_CIPHER_SPEC) {
            // Only for middleboxes, in the clear and without a number (RFC 8446 §D.4).
            return Ok(None);
        }
        let (content_type, payload) = self.opener.open(record)?;
        let ends_in_key_update = match content_type {
            ALERT => false,
            HANDSHAKE if tls13 => self.follow_key_update(&payload)?,
            HANDSHAKE => return Err(TranslateError::Renegotiation),
            _ => return Err(TranslateError::ContentType { content_type }),
        };
        Ok(Some(Message {
            content_type,
            ends_in_key_update,
            ends_data: content_type == ALERT && self.alert_ends_data(&payload),
            payload,
        }))
    }

    /// The level counts before TLS 1.3 only.
    fn alert_ends_data(&self, alert: &[u8]) -> bool {
        match *alert {
            [_, CLOSE_NOTIFY] => true,
            [_, description] if self.suite.version() == Version::Tls13 => {
                description != USER_CANCELED
            }
            [level, _] => level == FATAL,
            _ => false,
        }
    }

    /// Whether the messages in `payload` end in a KeyUpdate; the keys are OpenSSL's next ones then.
    fn follow_key_update(&mut self, payload: &[u8]) -> Result<bool, TranslateError> {
        self.messages.push(payload);
        let mut found = false;
        while let Some(message) = self.messages.next_message() {
            if found {
                return Err(TranslateError::AfterKeyUpdate);
            }
            found = message[0] == KEY_UPDATE;
        }
        if !found {
            return Ok(false);
        }
        if self.messages.buffered_len() != 0 {
            return Err(TranslateError::AfterKeyUpdate);
        }
        let secret = self.secret.as_ref().ok_or(TranslateError::BadRecord)?;
        let next = schedule::next_traffic_secret(secret)?;
        self.opener = CountingOpener::new(schedule::traffic_keys(self.suite, &next)?, 0)?;
        self.secret = Some(next);
        Ok(true)
    }
}

impl fmt::Debug for OpensslWriteState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpensslWriteState")
            .field("suite", &self.suite)
            .field("sequence", &self.sequence())
            .finish_non_exhaustive()
    }
}
