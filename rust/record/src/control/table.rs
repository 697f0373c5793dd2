//! The rules: which alert and which handshake message means what, after the handshake.
//!
//! Records (a record that breaks a rule is refused with the alert named):
//!
//! | content type | TLS 1.3 | TLS 1.0 to 1.2 |
//! | -- | -- | -- |
//! | application data | delivered; between the parts of a message unexpected_message, RFC 8446 §5.1 | delivered, RFC 5246 §6.2.1 |
//! | alert, handshake without content | unexpected_message, RFC 8446 §5.4 | the same, RFC 5246 §6.2.1 |
//! | alert of other than 2 bytes | decode_error: neither in parts nor several in a record, RFC 8446 §5.1 | decode_error, as OpenSSL, which takes no parts either |
//! | change_cipher_spec | unexpected_message: only until the peer's Finished, RFC 8446 §5 and §D.4 | unexpected_message, RFC 5246 §7.1 |
//! | any other | unexpected_message, RFC 8446 §5 | unexpected_message, RFC 5246 §6 |
//!
//! Alerts:
//!
//! | alert | TLS 1.3, whatever its level (RFC 8446 §6) | TLS 1.0 to 1.2 (RFC 5246 §7.2) |
//! | -- | -- | -- |
//! | close_notify | closes, §6.1 | a warning closes, §7.2.1; a fatal one is fatal |
//! | user_canceled | ignored and counted, §6.1 | by its level |
//! | any other | fatal, §6.2 | warning: ignored and counted, no_renegotiation too, for nobody asks for that here; fatal: fatal; other level: illegal_parameter |
//!
//! Handshake messages; those not named are unexpected_message:
//!
//! | message | version | to | then |
//! | -- | -- | -- | -- |
//! | KeyUpdate | 1.3 | both | the next read keys; an answer where it asks for one, RFC 8446 §4.6.3; other length decode_error, other value illegal_parameter, not the last of its record unexpected_message, §5.1 |
//! | NewSessionTicket | 1.3 | client | handed on or skipped, RFC 8446 §4.6.1 |
//! | CertificateRequest | 1.3 | client that offered it | handed on, RFC 8446 §4.6.2; else unexpected_message |
//! | Certificate, CertificateVerify, Finished | 1.3 | server that asked | handed on, in this order, RFC 8446 §4.6.2; else unexpected_message |
//! | HelloRequest | to 1.2 | client | warning no_renegotiation, RFC 5246 §7.4.1.1; with a body decode_error |
//! | ClientHello | to 1.2 | server | warning no_renegotiation, RFC 5246 §7.2.2; its body is skipped |

use super::{Refusal, Settings, Side};
use crate::alert;
use crate::suite::Version;

/// What to keep of a message until it is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// Header and body.
    Whole,
    /// Nothing.
    Nothing,
}

/// What an alert means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AlertRule {
    CloseNotify,
    Ignore,
    Fatal,
    UnknownLevel,
}

/// See the second table of the module.
pub(super) const fn alert_rule(version: Version, level: u8, description: u8) -> AlertRule {
    match (version, level, description) {
        (Version::Tls13, _, alert::CLOSE_NOTIFY) => AlertRule::CloseNotify,
        (Version::Tls13, _, alert::USER_CANCELED) => AlertRule::Ignore,
        (Version::Tls13, _, _) => AlertRule::Fatal,
        (_, alert::WARNING, alert::CLOSE_NOTIFY) => AlertRule::CloseNotify,
        (_, alert::WARNING, _) => AlertRule::Ignore,
        (_, alert::FATAL, _) => AlertRule::Fatal,
        (_, _, _) => AlertRule::UnknownLevel,
    }
}

/// What a handshake message means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MessageRule {
    KeyUpdate,
    Ticket,
    CertificateRequest,
    Certificate,
    CertificateVerify,
    Finished,
    Renegotiation,
    Unexpected,
}

/// See the third table of the module.
pub(super) const fn message_rule(settings: Settings, message_type: u8) -> MessageRule {
    let asked = settings.offered_post_handshake_auth;
    match (settings.version, settings.side, message_type) {
        (Version::Tls13, _, KEY_UPDATE) => MessageRule::KeyUpdate,
        (Version::Tls13, Side::Client, NEW_SESSION_TICKET) => MessageRule::Ticket,
        (Version::Tls13, Side::Client, CERTIFICATE_REQUEST) if asked => {
            MessageRule::CertificateRequest
        }
        (Version::Tls13, Side::Server, CERTIFICATE) => MessageRule::Certificate,
        (Version::Tls13, Side::Server, CERTIFICATE_VERIFY) => MessageRule::CertificateVerify,
        (Version::Tls13, Side::Server, FINISHED) => MessageRule::Finished,
        (Version::Tls13, _, _) => MessageRule::Unexpected,
        (_, Side::Client, HELLO_REQUEST) => MessageRule::Renegotiation,
        (_, Side::Server, CLIENT_HELLO) => MessageRule::Renegotiation,
        (_, _, _) => MessageRule::Unexpected,
    }
}

impl MessageRule {
    /// Whether the body of a message that has just begun is kept, by its length.
    pub(super) fn admit(self, settings: Settings, len: usize) -> Result<(Self, Keep), Refusal> {
        let (lens, refusal, keep) = match self {
            Self::KeyUpdate => (1..=1, MESSAGE_LEN, Keep::Whole),
            Self::Ticket if settings.keeps_tickets => (0..=MAX_TICKET_LEN, TOO_LONG, Keep::Whole),
            Self::Ticket => (0..=MAX_TICKET_LEN, TOO_LONG, Keep::Nothing),
            Self::CertificateRequest | Self::Certificate => {
                (0..=MAX_CERTIFICATES_LEN, TOO_LONG, Keep::Whole)
            }
            Self::CertificateVerify => (0..=MAX_SIGNATURE_LEN, TOO_LONG, Keep::Whole),
            Self::Finished => (0..=MAX_FINISHED_LEN, TOO_LONG, Keep::Whole),
            Self::Renegotiation => match settings.side {
                Side::Client => (0..=0, MESSAGE_LEN, Keep::Nothing),
                Side::Server => (0..=MAX_CLIENT_HELLO_LEN, TOO_LONG, Keep::Nothing),
            },
            Self::Unexpected => return Err(MESSAGE_TYPE),
        };
        if lens.contains(&len) {
            Ok((self, keep))
        } else {
            Err(refusal)
        }
    }
}

/// Handshake message types (RFC 8446 §4, RFC 5246 §7.4).
const HELLO_REQUEST: u8 = 0;
const CLIENT_HELLO: u8 = 1;
const NEW_SESSION_TICKET: u8 = 4;
const CERTIFICATE: u8 = 11;
const CERTIFICATE_REQUEST: u8 = 13;
const CERTIFICATE_VERIFY: u8 = 15;
const FINISHED: u8 = 20;
const KEY_UPDATE: u8 = 24;

/// The most bytes of each body, as OpenSSL 3 has them in `ssl/statem/statem_local.h`: SESSION_TICKET_MAX_LENGTH_TLS13.
const MAX_TICKET_LEN: usize = 131_338;
/// SSL_MAX_CERT_LIST_DEFAULT, the default of SSL_CTX_set_max_cert_list.
const MAX_CERTIFICATES_LEN: usize = 102_400;
/// CERTIFICATE_VERIFY_MAX_LENGTH.
const MAX_SIGNATURE_LEN: usize = 65_539;
/// FINISHED_MAX_LENGTH.
const MAX_FINISHED_LEN: usize = 64;
/// CLIENT_HELLO_MAX_LENGTH.
const MAX_CLIENT_HELLO_LEN: usize = 131_396;

pub(super) const MESSAGE_TYPE: Refusal = Refusal {
    alert: alert::UNEXPECTED_MESSAGE,
    reason: "the peer sent a handshake message that has no place after the handshake",
};
const MESSAGE_LEN: Refusal = Refusal {
    alert: alert::DECODE_ERROR,
    reason: "the peer sent a handshake message whose length is not that of its type",
};
/// OpenSSL's SSL_R_EXCESSIVE_MESSAGE_SIZE.
const TOO_LONG: Refusal = Refusal {
    alert: alert::ILLEGAL_PARAMETER,
    reason: "the peer sent a handshake message that is too long",
};
