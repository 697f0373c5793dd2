//! What the peer says about the connection after the handshake, as a state machine without I/O.
//!
//! Opened records go in, what to do about them comes out. `table` has the rules, type by message, with their sources;
//! `messages` puts handshake messages together; `certificates` follows a client's answer to a request; `floods` counts
//! what a peer could send for ever. The machine knows the read side only, and what is to be written because of it: it
//! holds no keys, opens nothing and sends nothing.
//!
//! | state | application data | control record |
//! | -- | -- | -- |
//! | open | [`Action::Deliver`] | what `table` says |
//! | closed: close_notify came | discarded | discarded, as OpenSSL does after SSL_RECEIVED_SHUTDOWN |
//! | failed: a fatal alert came, or a record was refused | discarded | discarded |

mod certificates;
mod floods;
mod messages;
mod table;

use self::certificates::CertificateRequests;
use self::floods::Floods;
use self::messages::{Admitted, Partial};
use self::table::{AlertRule, MessageRule, alert_rule, message_rule};
use crate::suite::Version;
use crate::{alert, content_type};

/// Which side of the handshake reads here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The peer is a server.
    Client,
    /// The peer is a client.
    Server,
}

/// What the handshake agreed on, as far as messages after it depend on that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The protocol version.
    pub version: Version,
    /// The side that reads.
    pub side: Side,
    /// Whether somebody keeps the tickets that come to a client; else they are skipped.
    pub keeps_tickets: bool,
    /// Whether the ClientHello of this client had `post_handshake_auth` (RFC 8446 §4.2.6).
    pub offered_post_handshake_auth: bool,
}

/// What to do about a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Hand the record's payload to the application.
    Deliver,
    /// Hand a whole handshake message, header included, to the library that made the handshake.
    Message(Vec<u8>),
    /// Open later records with the next traffic keys of the peer, from number 0 (RFC 8446 §7.2).
    NextReadKeys,
    /// Write a KeyUpdate that asks for nothing before the next application data, then
    /// [`key_update_sent`](Control::key_update_sent).
    SendKeyUpdate,
    /// Write this alert; the connection goes on.
    SendAlert {
        /// [`alert::WARNING`].
        level: u8,
        /// What is refused.
        description: u8,
    },
    /// The peer will write no more.
    CloseNotify,
    /// The peer has ended the connection.
    FatalAlert {
        /// Its reason.
        description: u8,
    },
}

/// A record that a peer must not send. The connection is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    /// The fatal alert to answer with.
    pub alert: u8,
    /// What the peer did, in words.
    pub reason: &'static str,
}

/// What becomes of application data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// It goes to the application.
    Deliver,
    /// Nobody gets it: the peer had closed, or the connection had failed.
    Discard,
}

/// The state of what the peer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The peer may send.
    Open,
    /// It has said close_notify.
    Closed,
    /// It has sent a fatal alert, or a record that was refused.
    Failed,
}

/// The machine. See the module.
#[derive(Debug)]
pub struct Control {
    settings: Settings,
    state: State,
    floods: Floods,
    partial: Partial,
    /// A KeyUpdate that was asked for has not been written yet.
    answer_due: bool,
    requests: CertificateRequests,
    /// KeyUpdates that this side has asked for and that have not come.
    key_updates_asked: u32,
}

impl Control {
    /// Of a connection whose handshake has ended.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            state: State::Open,
            floods: Floods::default(),
            partial: Partial::default(),
            answer_due: false,
            requests: CertificateRequests::default(),
            key_updates_asked: 0,
        }
    }

    /// The state of what the peer says.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// A record of application data came, with a payload of `len` bytes.
    ///
    /// # Errors
    /// [`Refusal`] when it cuts a message in two, or too many without payload came.
    pub fn application_data(&mut self, len: usize) -> Result<Delivery, Refusal> {
        if self.state != State::Open {
            return Ok(Delivery::Discard);
        }
        let checked = self.may_interrupt().and_then(|()| self.floods.data(len));
        self.fail_on_error(checked)?;
        Ok(Delivery::Deliver)
    }

    /// A record came. What is to be done is appended to `actions` in the order to do it.
    ///
    /// # Errors
    /// [`Refusal`]; the actions before it hold.
    pub fn record(
        &mut self,
        content_type: u8,
        payload: &[u8],
        actions: &mut Vec<Action>,
    ) -> Result<(), Refusal> {
        if content_type == content_type::APPLICATION_DATA {
            if self.application_data(payload.len())? == Delivery::Deliver {
                actions.push(Action::Deliver);
            }
            return Ok(());
        }
        if self.state != State::Open {
            return Ok(());
        }
        let taken = match content_type {
            content_type::HANDSHAKE => self.handshake(payload, actions),
            content_type::ALERT => self.alert(payload, actions),
            content_type::CHANGE_CIPHER_SPEC => Err(CHANGE_CIPHER_SPEC),
            _ => Err(CONTENT_TYPE),
        };
        self.fail_on_error(taken)
    }

    /// The KeyUpdate of [`Action::SendKeyUpdate`] has its place in the stream. Requests that come from now on want
    /// another; those that came before share this one (RFC 8446 §4.6.3).
    pub fn key_update_sent(&mut self) {
        self.answer_due = false;
    }

    /// This side has asked for a KeyUpdate (RFC 8446 §4.6.3). The answer is no flood: a peer that only receives sends
    /// nothing else.
    pub fn key_update_requested(&mut self) {
        self.key_updates_asked = self.key_updates_asked.saturating_add(1);
    }

    /// This server has asked for a certificate (RFC 8446 §4.6.2) and expects one answer more.
    pub fn certificate_requested(&mut self) {
        self.requests.add();
    }

    fn fail_on_error<T>(&mut self, result: Result<T, Refusal>) -> Result<T, Refusal> {
        if result.is_err() {
            self.end(State::Failed);
        }
        result
    }

    fn end(&mut self, state: State) {
        self.state = state;
        self.partial = Partial::default();
    }

    /// In TLS 1.3 nothing stands between the parts of a handshake message (RFC 8446 §5.1). Before that content types
    /// may be interleaved (RFC 5246 §6.2.1).
    fn may_interrupt(&self) -> Result<(), Refusal> {
        if self.settings.version == Version::Tls13 && self.partial.is_begun() {
            return Err(INTERRUPTED);
        }
        Ok(())
    }

    fn alert(&mut self, payload: &[u8], actions: &mut Vec<Action>) -> Result<(), Refusal> {
        self.may_interrupt()?;
        let (level, description) = match *payload {
            [level, description] => (level, description),
            [] => return Err(EMPTY_FRAGMENT),
            _ => return Err(ALERT_LEN),
        };
        match alert_rule(self.settings.version, level, description) {
            AlertRule::CloseNotify => {
                self.end(State::Closed);
                actions.push(Action::CloseNotify);
            }
            AlertRule::Fatal => {
                self.end(State::Failed);
                actions.push(Action::FatalAlert { description });
            }
            AlertRule::Ignore => self.floods.warning()?,
            AlertRule::UnknownLevel => return Err(ALERT_LEVEL),
        }
        Ok(())
    }

    fn handshake(&mut self, mut bytes: &[u8], actions: &mut Vec<Action>) -> Result<(), Refusal> {
        if bytes.is_empty() {
            return Err(EMPTY_FRAGMENT);
        }
        while !bytes.is_empty() {
            let (settings, requests) = (self.settings, &mut self.requests);
            let message = self.partial.take(&mut bytes, |message_type, len| {
                let rule = message_rule(settings, message_type);
                requests.follow(rule)?;
                rule.admit(settings, len)
            })?;
            if let Some(message) = message {
                self.message(message, bytes.is_empty(), actions)?;
            }
        }
        Ok(())
    }

    fn message(
        &mut self,
        Admitted { rule, bytes }: Admitted,
        ends_record: bool,
        actions: &mut Vec<Action>,
    ) -> Result<(), Refusal> {
        match rule {
            MessageRule::KeyUpdate => self.key_update(&bytes, ends_record, actions)?,
            MessageRule::Renegotiation => {
                self.floods.renegotiation()?;
                actions.push(Action::SendAlert {
                    level: alert::WARNING,
                    description: alert::NO_RENEGOTIATION,
                });
            }
            MessageRule::Ticket if !self.settings.keeps_tickets => {}
            MessageRule::Ticket
            | MessageRule::CertificateRequest
            | MessageRule::Certificate
            | MessageRule::CertificateVerify
            | MessageRule::Finished => actions.push(Action::Message(bytes)),
            MessageRule::Unexpected => return Err(table::MESSAGE_TYPE),
        }
        Ok(())
    }

    fn key_update(
        &mut self,
        message: &[u8],
        ends_record: bool,
        actions: &mut Vec<Action>,
    ) -> Result<(), Refusal> {
        let asks = match message.last() {
            Some(0) => false,
            Some(1) => true,
            _ => return Err(KEY_UPDATE_VALUE),
        };
        if !asks && self.key_updates_asked > 0 {
            self.key_updates_asked -= 1;
        } else {
            self.floods.key_update()?;
        }
        if !ends_record {
            return Err(KEY_CHANGE);
        }
        actions.push(Action::NextReadKeys);
        if asks && !self.answer_due {
            self.answer_due = true;
            actions.push(Action::SendKeyUpdate);
        }
        Ok(())
    }
}

const CHANGE_CIPHER_SPEC: Refusal = Refusal {
    alert: alert::UNEXPECTED_MESSAGE,
    reason: "the peer sent a change_cipher_spec after the handshake",
};
const CONTENT_TYPE: Refusal = Refusal {
    alert: alert::UNEXPECTED_MESSAGE,
    reason: "the peer sent a record of an unknown content type",
};
const INTERRUPTED: Refusal = Refusal {
    alert: alert::UNEXPECTED_MESSAGE,
    reason: "the peer sent another record between the parts of a handshake message",
};
const EMPTY_FRAGMENT: Refusal = Refusal {
    alert: alert::UNEXPECTED_MESSAGE,
    reason: "the peer sent an empty record of a type that must not be empty",
};
const ALERT_LEN: Refusal = Refusal {
    alert: alert::DECODE_ERROR,
    reason: "the peer sent an alert that is not two bytes long",
};
const ALERT_LEVEL: Refusal = Refusal {
    alert: alert::ILLEGAL_PARAMETER,
    reason: "the peer sent an alert of an unknown level",
};
const KEY_UPDATE_VALUE: Refusal = Refusal {
    alert: alert::ILLEGAL_PARAMETER,
    reason: "the peer sent a KeyUpdate whose request is neither 0 nor 1",
};
const KEY_CHANGE: Refusal = Refusal {
    alert: alert::UNEXPECTED_MESSAGE,
    reason: "the peer sent a message behind a KeyUpdate in the same record",
};
