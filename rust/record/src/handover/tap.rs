//! Follows a handshake that OpenSSL makes, record by record in both directions, without changing it.
//!
//! Keeps what the hand-over needs: the two hellos, and the encrypted records of both sides. It never fails on what the
//! peer sent, since OpenSSL judges that; what it cannot follow only means that OpenSSL keeps the connection.

use super::Role;
use super::content_type::{APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE};
use super::message::MessageAssembler;
use crate::frame::HEADER_LEN;
use crate::handshake::{ClientHello, ServerHello};

/// The most bytes kept of one side, above what OpenSSL takes by default (100 KiB of certificates).
const KEPT_MAX: usize = 1 << 20;

const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
/// The bit that an SSLv2 record has set in its first byte (RFC 5246 §E.2).
const SSLV2_BIT: u8 = 0x80;
const TLS13_MINOR: u8 = 4;

/// What a handshake shows on the wire.
pub struct HandshakeTap {
    pub(super) role: Role,
    pub(super) client_hello: Option<ClientHello>,
    pub(super) server_hello: Option<ServerHello>,
    pub(super) refusal: Option<String>,
    client: Sender,
    server: Sender,
}

/// What one side sent.
#[derive(Default)]
struct Sender {
    messages: MessageAssembler,
    changed_cipher_spec: bool,
    protected: Vec<Box<[u8]>>,
    protected_size: usize,
}

impl HandshakeTap {
    /// A tap for a connection on which this side is `role`.
    #[must_use]
    pub fn new(role: Role) -> Self {
        Self {
            role,
            client_hello: None,
            server_hello: None,
            refusal: None,
            client: Sender::default(),
            server: Sender::default(),
        }
    }

    /// Look at one record that OpenSSL wrote, before OpenSSL is fed anything more.
    pub fn own_record(&mut self, record: &[u8]) {
        self.record(self.role, record);
    }

    /// Look at one record of the peer, before OpenSSL is fed it.
    pub fn peer_record(&mut self, record: &[u8]) {
        if self.client_hello.is_none() && record.first().is_some_and(|byte| byte & SSLV2_BIT != 0) {
            self.refuse("the peer began with an SSLv2 hello".to_owned());
        }
        self.record(self.role.peer(), record);
    }

    /// The random under which OpenSSL logs secrets, known before OpenSSL can log one.
    ///
    /// To be asked after every record: a second ClientHello, after a HelloRetryRequest, could bring another one.
    #[must_use]
    pub fn client_random(&self) -> Option<[u8; 32]> {
        self.client_hello.as_ref().map(|hello| hello.random)
    }

    /// The encrypted records of one side, oldest first.
    pub(super) fn protected(&self, sender: Role) -> &[Box<[u8]>] {
        match sender {
            Role::Client => &self.client.protected,
            Role::Server => &self.server.protected,
        }
    }

    fn record(&mut self, sender: Role, record: &[u8]) {
        if self.refusal.is_some() {
            return;
        }
        let Some((&[content_type, ..], payload)) = record.split_first_chunk::<HEADER_LEN>() else {
            return self.refuse("something was sent that is no record".to_owned());
        };
        let Some(hello) = &self.server_hello else {
            if content_type == HANDSHAKE {
                self.hello_payload(sender, payload);
            }
            return;
        };
        let tls13 = hello.tls_vminor == TLS13_MINOR;
        let sender = self.sender(sender);
        let protected = if tls13 {
            // A ChangeCipherSpec is only for middleboxes here (RFC 8446 §D.4) and has no number.
            content_type == APPLICATION_DATA
        } else {
            sender.changed_cipher_spec
        };
        if protected {
            sender.protected_size += record.len();
            sender.protected.push(record.into());
            if sender.protected_size > KEPT_MAX {
                self.refuse(format!("more than {KEPT_MAX} bytes were encrypted"));
            }
        } else if content_type == CHANGE_CIPHER_SPEC {
            sender.changed_cipher_spec = true;
        }
    }

    /// Payload of a record before the ServerHello.
    fn hello_payload(&mut self, sender: Role, payload: &[u8]) {
        self.sender(sender).messages.push(payload);
        while let Some(message) = self.sender(sender).messages.next_message() {
            let read = match (sender, message[0]) {
                (Role::Client, CLIENT_HELLO) => ClientHello::parse(&message).map(|hello| {
                    self.client_hello = Some(hello);
                }),
                (Role::Server, SERVER_HELLO) => ServerHello::parse(&message).map(|hello| {
                    if !hello.is_hello_retry_request {
                        self.server_hello = Some(hello);
                    }
                }),
                _ => Ok(()),
            };
            if let Err(error) = read {
                return self.refuse(format!("a hello could not be read: {error}"));
            }
            if self.server_hello.is_some() {
                return;
            }
        }
        if self.sender(sender).messages.buffered_len() > KEPT_MAX {
            self.refuse(format!("a hello has more than {KEPT_MAX} bytes"));
        }
    }

    fn sender(&mut self, sender: Role) -> &mut Sender {
        match sender {
            Role::Client => &mut self.client,
            Role::Server => &mut self.server,
        }
    }

    /// Keep the reason and nothing else.
    fn refuse(&mut self, reason: String) {
        self.refusal.get_or_insert(reason);
        self.client = Sender::default();
        self.server = Sender::default();
    }
}

impl core::fmt::Debug for HandshakeTap {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("HandshakeTap")
            .field("role", &self.role)
            .field("refusal", &self.refusal)
            .finish_non_exhaustive()
    }
}
