//! What a peer says about the connection, acted upon: the next read keys, answers, the end, and messages that only the
//! library of the handshake understands. What it means is decided by [`ktls_record::control`].
//!
//! Without it a stream is as FreeBSD's: whatever is no data is the program's, and so are the keys after a KeyUpdate.

use std::collections::VecDeque;

use ktls_record::control::{Action, Control, Delivery, Refusal, Settings};
use ktls_record::{Error as RecordError, alert, provider, schedule};
use zeroize::Zeroizing;

use super::kept::{Kept, KeptQueue};
use super::read_keys::ReadKeys;
use crate::error::Error;
use crate::replies::Replies;

/// The type of a NewSessionTicket message (RFC 8446 §4.6.1).
const NEW_SESSION_TICKET: u8 = 4;

/// Tickets that wait for the program to read for another reason.
const TICKETS_WAITING_MAX: usize = 8;

/// See the head of this file.
pub struct PeerControl {
    machine: Control,
    /// The traffic secret of the read keys (TLS 1.3).
    secret: Option<Zeroizing<Vec<u8>>>,
    provider: String,
    due: Vec<Reply>,
    messages: VecDeque<Vec<u8>>,
}

/// An answer that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    KeyUpdate,
    Alert {
        level: u8,
        description: u8,
    },
    /// Nothing more: the peer has ended the connection with this alert.
    EndOfData(u8),
}

impl Reply {
    pub(super) fn send(self, replies: &dyn Replies) {
        match self {
            Self::KeyUpdate => replies.update_key(),
            Self::Alert { level, description } => replies.send_alert(level, description),
            Self::EndOfData(description) => replies.end_data(description),
        }
    }
}

/// What became of a record that is no data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Reading goes on.
    Nothing,
    /// A message waits.
    Message,
    /// The peer said close_notify: what follows on the socket is somebody else's.
    Close,
    /// The connection is over; the error is kept.
    Failure,
}

impl PeerControl {
    /// For keys of this provider; `secret` is the one that they were made of (TLS 1.3).
    #[must_use]
    pub fn new(settings: Settings, secret: Option<Zeroizing<Vec<u8>>>, provider: &str) -> Self {
        Self {
            machine: Control::new(settings),
            secret,
            provider: provider.to_owned(),
            due: Vec::new(),
            messages: VecDeque::new(),
        }
    }

    /// Whether a message waits.
    pub(super) fn has_messages(&self) -> bool {
        !self.messages.is_empty()
    }

    /// Whether a message waits for which the program is to be woken: the peer expects an answer, or there are many.
    pub(super) fn has_urgent_messages(&self) -> bool {
        let is_ticket = |message: &Vec<u8>| message.first() == Some(&NEW_SESSION_TICKET);
        self.messages.len() > TICKETS_WAITING_MAX || !self.messages.iter().all(is_ticket)
    }

    pub(super) fn take_messages(&mut self) -> Vec<Vec<u8>> {
        core::mem::take(&mut self.messages).into()
    }

    pub(super) fn key_update_requested(&mut self) {
        self.machine.key_update_requested();
    }

    pub(super) fn certificate_requested(&mut self) {
        self.machine.certificate_requested();
    }

    /// The answers that are due; they count as given, because nothing comes between.
    pub(super) fn take_replies(&mut self) -> Vec<Reply> {
        if self.due.contains(&Reply::KeyUpdate) {
            self.machine.key_update_sent();
        }
        core::mem::take(&mut self.due)
    }

    /// A record of data came. An error: it may not have come; the connection is over.
    pub(super) fn hear_data(&mut self, len: usize) -> Result<(), Refusal> {
        self.machine.application_data(len).map(|delivery| {
            debug_assert_eq!(delivery, Delivery::Deliver, "nothing is read after the end");
        })
    }

    /// A record of another type came.
    pub(super) fn hear(
        &mut self,
        keys: &mut ReadKeys,
        content_type: u8,
        payload: &[u8],
        kept: &mut KeptQueue,
    ) -> Heard {
        let mut actions = Vec::new();
        let judged = self.machine.record(content_type, payload, &mut actions);
        let mut heard = Heard::Nothing;
        for action in actions {
            match action {
                Action::Deliver => {}
                Action::Message(message) => {
                    self.messages.push_back(message);
                    heard = Heard::Message;
                }
                Action::NextReadKeys => {
                    if let Err(cause) = self.next_keys(keys) {
                        kept.push(Kept::Error(Error::NoNextKey(cause.to_string().into())));
                        return Heard::Failure;
                    }
                }
                Action::SendKeyUpdate => self.due.push(Reply::KeyUpdate),
                Action::SendAlert { level, description } => {
                    self.due.push(Reply::Alert { level, description });
                }
                Action::CloseNotify => heard = Heard::Close,
                Action::FatalAlert { description } => {
                    self.due.push(Reply::EndOfData(description));
                    kept.push(Kept::Error(Error::PeerAlert(description)));
                    heard = Heard::Failure;
                }
            }
        }
        match judged {
            Ok(()) => heard,
            Err(refusal) => {
                self.refuse(refusal.alert, refusal.reason.into(), kept);
                Heard::Failure
            }
        }
    }

    /// The connection is over, because the peer sent what it must not send: it is told so.
    pub(super) fn refuse(&mut self, description: u8, reason: Box<str>, kept: &mut KeptQueue) {
        self.due.push(Reply::Alert {
            level: alert::FATAL,
            description,
        });
        kept.push(Kept::Error(Error::Refused {
            alert: description,
            reason,
        }));
    }

    /// The same for a record that cannot be opened.
    pub(super) fn refuse_record(&mut self, cause: &RecordError, kept: &mut KeptQueue) {
        let description = cause.alert().unwrap_or(alert::INTERNAL_ERROR);
        self.refuse(description, cause.to_string().into(), kept);
    }

    /// The same for what cannot be a record.
    pub(super) fn refuse_framing(&mut self, error: &Error, kept: &mut KeptQueue) {
        if let Error::RecordLost { cause, .. } | Error::NotARecord { cause, .. } = error {
            self.refuse_record(cause, kept);
        }
    }

    fn next_keys(&mut self, keys: &mut ReadKeys) -> Result<(), RecordError> {
        let secret = self.secret.as_ref().ok_or(RecordError::BadRecord)?;
        let next = schedule::next_traffic_secret(secret)?;
        let derived = schedule::traffic_keys(keys.suite, &next)?;
        keys.go_on(provider::opener(&self.provider, &derived)?, 0);
        self.secret = Some(next);
        Ok(())
    }
}
