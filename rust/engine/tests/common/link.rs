//! A receive half over a local TCP connection, and the plain socket that sends it what the test seals.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ktls_engine::{
    Backend, Deadline, Error, NewReadKeys, PeerControl, RecvFlags, RecvStream, Replies,
    TcpTransport,
};
use ktls_record::control::{Settings, Side};
use ktls_record::schedule;
use ktls_record::{Algorithm, Frame, Keys, Mac, MacOrder, Seal, Suite, Version, provider};

pub(crate) const DATA: u8 = 23;
pub(crate) const NOW: RecvFlags = RecvFlags {
    peek: false,
    wait_all: false,
    raw: 0,
};
pub(crate) const PEEK: RecvFlags = RecvFlags { peek: true, ..NOW };
pub(crate) const ALL: RecvFlags = RecvFlags {
    wait_all: true,
    ..NOW
};

pub(crate) fn gcm() -> Keys {
    Keys::new(super::suite(), &[3; 16], &[5; 12]).unwrap()
}

pub(crate) fn gcm12() -> Keys {
    let suite = Suite::new(Version::Tls12, Algorithm::Aes128Gcm).unwrap();
    Keys::new(suite, &[3; 16], &[5; 4]).unwrap()
}

/// The keys of a secret after so many KeyUpdates.
pub(crate) fn keys_after(secret: &[u8], updates: usize) -> Keys {
    let mut secret = secret.to_vec();
    for _ in 0..updates {
        secret = schedule::next_traffic_secret(&secret).unwrap().to_vec();
    }
    schedule::traffic_keys(super::suite(), &secret).unwrap()
}

pub(crate) fn cbc() -> Keys {
    let suite = Suite::cbc(
        Version::Tls12,
        Algorithm::Aes128Cbc,
        Mac::HmacSha256,
        MacOrder::MacThenEncrypt,
    );
    Keys::with_mac(suite.unwrap(), &[3; 16], &[], &[7; 32]).unwrap()
}

/// A server of this version that expects nothing, as most do.
pub(crate) fn server(version: Version) -> Settings {
    Settings {
        version,
        side: Side::Server,
        keeps_tickets: false,
        offered_post_handshake_auth: false,
    }
}

/// A client to which tickets matter.
pub(crate) fn ticket_client() -> Settings {
    Settings {
        side: Side::Client,
        keeps_tickets: true,
        ..server(Version::Tls13)
    }
}

/// What a send half was told to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    KeyUpdate,
    Alert(u8, u8),
    EndOfData,
}

#[derive(Clone, Default)]
pub(crate) struct Answers(Arc<Mutex<Vec<Said>>>);

impl Answers {
    pub(crate) fn said(&self) -> Vec<Said> {
        self.0.lock().unwrap().clone()
    }
}

impl Replies for Answers {
    fn update_key(&self) {
        self.0.lock().unwrap().push(Said::KeyUpdate);
    }

    fn send_alert(&self, level: u8, description: u8) {
        self.0.lock().unwrap().push(Said::Alert(level, description));
    }

    fn end_data(&self, _description: u8) {
        self.0.lock().unwrap().push(Said::EndOfData);
    }
}

/// Two ends: a stream that opens, and a plain socket that sends what `seal` makes.
pub(crate) struct Link {
    pub(crate) stream: Arc<RecvStream>,
    pub(crate) transport: TcpTransport,
    pub(crate) peer: TcpStream,
    pub(crate) answers: Answers,
    pub(crate) sequence: u64,
    seal: Box<dyn Seal>,
}

impl Link {
    pub(crate) fn new(keys: &Keys) -> Self {
        let link = Self::without_keys(keys);
        let opener = NewReadKeys::new(keys, 0, &Backend::compiled_in("ring").unwrap()).unwrap();
        link.stream.install(opener).unwrap();
        link
    }

    /// What the peer says about the connection is acted upon; keys of TLS 1.3 are those of `secret`.
    pub(crate) fn controlled(keys: &Keys, settings: Settings) -> Self {
        let link = Self::without_keys(keys);
        let answers = Box::new(link.answers.clone());
        link.take_over(keys, settings, None, answers);
        link
    }

    /// The same for keys that were made of a secret, as KeyUpdates want it.
    pub(crate) fn of_secret(secret: &[u8], settings: Settings) -> Self {
        let keys = keys_after(secret, 0);
        let link = Self::without_keys(&keys);
        let answers = Box::new(link.answers.clone());
        link.take_over(&keys, settings, Some(secret), answers);
        link
    }

    pub(crate) fn without_keys(keys: &Keys) -> Self {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = TcpStream::connect(server.local_addr().unwrap()).unwrap();
        peer.set_nodelay(true).unwrap();
        peer.set_read_timeout(Some(super::LONG)).unwrap();
        let (near, _) = server.accept().unwrap();
        let transport = TcpTransport::new(OwnedFd::from(near)).unwrap();
        Self {
            stream: Arc::new(RecvStream::new(transport.clone())),
            transport,
            peer,
            answers: Answers::default(),
            sequence: 0,
            seal: provider::sealer("ring", keys, 0).unwrap(),
        }
    }

    pub(crate) fn take_over(
        &self,
        keys: &Keys,
        settings: Settings,
        secret: Option<&[u8]>,
        replies: Box<dyn Replies>,
    ) {
        let opener = NewReadKeys::new(keys, 0, &Backend::compiled_in("ring").unwrap()).unwrap();
        let secret = secret.map(|secret| secret.to_vec().into());
        let control = PeerControl::new(settings, secret);
        self.stream
            .take_over(opener, control, replies, Vec::new())
            .unwrap();
    }

    /// The peer seals with other keys from number 0 on.
    pub(crate) fn change_key(&mut self, keys: &Keys) {
        self.seal = provider::sealer("ring", keys, 0).unwrap();
        self.sequence = 0;
    }

    pub(crate) fn seal(&mut self, content_type: u8, payload: &[u8]) -> Vec<u8> {
        let frame = Frame {
            content_type,
            sequence: self.sequence,
            payload_len: payload.len(),
            padding_len: 0,
        };
        self.sequence += 1;
        let mut record = vec![0; frame.record_size(self.seal.suite())];
        self.seal.seal_from(frame, payload, &mut record).unwrap();
        record
    }

    pub(crate) fn send(&mut self, content_type: u8, payload: &[u8]) {
        let record = self.seal(content_type, payload);
        self.write(&record);
    }

    /// In one segment, if it is short.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.peer.write_all(bytes).unwrap();
    }

    /// The peer ends the connection without a word, and has another socket that nobody listens to.
    pub(crate) fn reset(&mut self) {
        let linger = Some(Duration::ZERO);
        rustix::net::sockopt::set_socket_linger(&self.peer, linger).unwrap();
        self.peer = Self::without_keys(&gcm()).peer;
    }

    /// Waits until so many bytes lie unread in the socket.
    pub(crate) fn arrived(&self, count: usize) {
        let unread = || rustix::io::ioctl_fionread(self.transport.socket()).unwrap();
        super::eventually("bytes", || unread() >= count as u64);
    }

    /// What lies in the socket and was not taken off it.
    pub(crate) fn left(&self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        let mut filled = 0;
        while filled < count {
            let socket = self.transport.socket();
            let got = rustix::io::read(socket, &mut bytes[filled..]).unwrap();
            assert!(got > 0, "the stream ended after {filled} bytes");
            filled += got;
        }
        bytes
    }

    pub(crate) fn recv(&self, max: usize, flags: RecvFlags) -> Result<Vec<u8>, Error> {
        let mut patience = || false;
        let mut deadline = Deadline::within(Some(Duration::from_secs(20)), &mut patience);
        self.stream.recv(max, flags, &mut deadline)
    }

    pub(crate) fn recv_into(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        let mut patience = || false;
        let mut deadline = Deadline::within(Some(Duration::from_secs(20)), &mut patience);
        self.stream.recv_into(buffer, NOW, &mut deadline)
    }

    pub(crate) fn try_recv(&self) -> Result<Vec<u8>, Error> {
        let mut never = || false;
        let mut deadline = Deadline::nonblocking(&mut never);
        self.stream.recv(100, NOW, &mut deadline)
    }

    /// Takes everything that was sent, which holds no data.
    pub(crate) fn try_recv_all(&self) -> Result<(), Error> {
        self.arrived(1);
        match self.try_recv() {
            Err(Error::NothingReceived) => Ok(()),
            other => other.map(drop),
        }
    }

    pub(crate) fn is_dry(&self) -> bool {
        matches!(self.try_recv(), Err(Error::NothingReceived))
    }

    pub(crate) fn await_close(&self) -> Result<(), Error> {
        super::patiently(|deadline| self.stream.await_close(deadline))
    }
}
