//! Post-handshake authentication as a server sees it (RFC 8446 §4.6.2): which messages of an answer may come when.
//!
//! An answer is Certificate, CertificateVerify unless the client has no certificate, and Finished, with no other message
//! between. Whether the certificate is any good is somebody else's business.

use super::Refusal;
use super::table::{MESSAGE_TYPE, MessageRule};

/// The requests of a server that are not answered yet, and where in an answer the client is.
#[derive(Debug, Default)]
pub(super) struct CertificateRequests {
    open: u32,
    answer: Answer,
}

/// The last message of an answer that has begun.
#[derive(Debug, Default, Clone, Copy)]
enum Answer {
    #[default]
    None,
    Certificate,
    CertificateVerify,
}

impl CertificateRequests {
    /// One more was asked for.
    pub(super) fn add(&mut self) {
        self.open = self.open.saturating_add(1);
    }

    /// The message that `rule` stands for has begun.
    pub(super) fn follow(&mut self, rule: MessageRule) -> Result<(), Refusal> {
        self.answer = match (self.answer, rule) {
            (Answer::None, MessageRule::Certificate) if self.open > 0 => Answer::Certificate,
            (Answer::Certificate, MessageRule::CertificateVerify) => Answer::CertificateVerify,
            (Answer::Certificate | Answer::CertificateVerify, MessageRule::Finished) => {
                self.open -= 1;
                Answer::None
            }
            (
                Answer::None,
                MessageRule::KeyUpdate
                | MessageRule::Renegotiation
                | MessageRule::Ticket
                | MessageRule::CertificateRequest,
            ) => Answer::None,
            _ => return Err(MESSAGE_TYPE),
        };
        Ok(())
    }
}
