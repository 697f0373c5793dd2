//! What a peer may send after the handshake, sealed under its keys or not, in any pieces: a receive half returns its
//! data once and in order, ends as the model says, and leaves on the socket what follows a close_notify.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use ktls_engine::{
    Backend, Deadline, Error, NewReadKeys, PeerControl, RecvFlags, RecvStream, Replies,
    TcpTransport,
};
use ktls_record::control::{Settings, Side};
use ktls_record::{
    Algorithm, Frame, Keys, Suite, Version, alert, content_type, provider, schedule,
};

/// The traffic secret of the peer.
const SECRET: [u8; 32] = [7; 32];
const PROVIDER: &str = "ring";
/// Longer than any machine holds up a local connection.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Arbitrary, Debug)]
struct Script {
    is_tls13: bool,
    is_client: bool,
    items: Vec<Item>,
    pieces: Vec<u16>,
    rooms: Vec<u16>,
}

#[derive(Arbitrary, Debug)]
enum Item {
    Data(u16),
    KeyUpdate {
        asks: bool,
    },
    CloseNotify,
    Alert {
        level: u8,
        description: u8,
    },
    /// Whatever this means, sealed.
    Record {
        content_type: u8,
        payload: Vec<u8>,
    },
    /// A record with a byte changed.
    Forged(u16),
    /// No record at all, perhaps.
    Raw(Vec<u8>),
}

/// How a connection ends.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Fin,
    Close,
    Alert(u8),
    /// The model does not say.
    Any,
}

/// The peer: what it writes, and what that means.
struct Peer {
    version: Version,
    keys: Keys,
    secret: Vec<u8>,
    sequence: u64,
    wire: Vec<u8>,
    data: Vec<u8>,
    requests: usize,
    warnings: usize,
    end: End,
    /// Bytes on the wire up to the end of a close_notify.
    closed_at: usize,
}

impl Peer {
    fn new(version: Version) -> Self {
        let suite = Suite::new(version, Algorithm::Aes128Gcm).expect("it exists in both");
        let keys = match version {
            Version::Tls13 => schedule::traffic_keys(suite, &SECRET).expect("a secret's length"),
            _ => Keys::new(suite, &[3; 16], &[5; 4]).expect("the lengths are the suite's"),
        };
        Self {
            version,
            keys,
            secret: SECRET.to_vec(),
            sequence: 0,
            wire: Vec::new(),
            data: Vec::new(),
            requests: 0,
            warnings: 0,
            end: End::Fin,
            closed_at: 0,
        }
    }

    fn seal(&mut self, content_type: u8, payload: &[u8]) -> Vec<u8> {
        let frame = Frame {
            content_type,
            sequence: self.sequence,
            payload_len: payload.len(),
            padding_len: 0,
        };
        let mut record = vec![0; frame.record_size(self.keys.suite())];
        let sealer = provider::sealer(PROVIDER, &self.keys, 0).expect("the key fits");
        sealer
            .seal_from(frame, payload, &mut record)
            .expect("a frame within its limits");
        self.sequence += 1;
        record
    }

    fn say(&mut self, content_type: u8, payload: &[u8]) {
        let record = self.seal(content_type, payload);
        self.wire.extend(record);
    }

    fn write(&mut self, item: &Item) {
        match item {
            Item::Data(len) => {
                let len = usize::from(*len) % 16384;
                let begin = self.data.len();
                let data: Vec<u8> = (begin..begin + len).map(|n| n.to_le_bytes()[0]).collect();
                self.say(content_type::APPLICATION_DATA, &data);
                if self.end == End::Fin {
                    self.data.extend(data);
                    self.warnings = if len > 0 { 0 } else { self.warnings };
                }
            }
            Item::KeyUpdate { asks } if self.version == Version::Tls13 => {
                self.say(content_type::HANDSHAKE, &[24, 0, 0, 1, u8::from(*asks)]);
                let next = schedule::next_traffic_secret(&self.secret).expect("a secret's length");
                self.keys =
                    schedule::traffic_keys(self.keys.suite(), &next).expect("a secret's length");
                self.secret = next.to_vec();
                self.sequence = 0;
                self.requests += usize::from(*asks && self.end == End::Fin);
            }
            Item::KeyUpdate { .. } => {
                self.say(content_type::HANDSHAKE, &[24, 0, 0, 1, 0]);
                self.ends(End::Any);
            }
            Item::CloseNotify => {
                self.say(content_type::ALERT, &[alert::WARNING, alert::CLOSE_NOTIFY]);
                self.ends(End::Close);
            }
            Item::Alert { level, description } => {
                self.say(content_type::ALERT, &[*level, *description]);
                self.alert(*level, *description);
            }
            Item::Record {
                content_type,
                payload,
            } => {
                // There is no type 0 (RFC 8446 §5.4).
                self.say((*content_type).max(1), &payload[..payload.len().min(1000)]);
                self.ends(End::Any);
            }
            Item::Forged(at) => {
                let mut record = self.seal(content_type::APPLICATION_DATA, b"forged");
                let at = 5 + usize::from(*at) % (record.len() - 5);
                record[at] ^= 1;
                self.wire.extend(record);
                self.ends(End::Any);
            }
            Item::Raw(bytes) => {
                self.wire.extend(&bytes[..bytes.len().min(1000)]);
                if !bytes.is_empty() {
                    self.ends(End::Any);
                }
            }
        }
    }

    /// RFC 8446 §6, RFC 5246 §7.2.
    fn alert(&mut self, level: u8, description: u8) {
        let is_ignored = match self.version {
            Version::Tls13 => description == alert::USER_CANCELED,
            _ => level == alert::WARNING && description != alert::CLOSE_NOTIFY,
        };
        let is_close = description == alert::CLOSE_NOTIFY
            && (self.version == Version::Tls13 || level == alert::WARNING);
        if is_close {
            self.ends(End::Close);
        } else if is_ignored {
            self.warnings += 1;
            if self.warnings > 4 {
                self.ends(End::Any);
            }
        } else if self.version == Version::Tls13 || level == alert::FATAL {
            self.ends(End::Alert(description));
        } else {
            self.ends(End::Any);
        }
    }

    fn ends(&mut self, end: End) {
        if self.end == End::Fin {
            self.closed_at = self.wire.len();
            self.end = end;
        }
    }
}

#[derive(Clone, Default)]
struct Answers(Arc<AtomicUsize>);

impl Replies for Answers {
    fn update_key(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn send_alert(&self, _level: u8, _description: u8) {}

    fn end_data(&self, _description: u8) {}
}

/// The structure is a `Script`.
///
/// # Panics
/// When the receive half and the model differ.
pub fn peer(data: &[u8]) {
    let Ok(script) = Script::arbitrary(&mut Unstructured::new(data)) else {
        return;
    };
    let version = if script.is_tls13 {
        Version::Tls13
    } else {
        Version::Tls12
    };
    let mut peer = Peer::new(version);
    let read_keys = NewReadKeys::new(
        &peer.keys,
        0,
        &Backend::compiled_in(PROVIDER).expect("it is compiled in"),
    )
    .expect("the key fits");
    for item in script.items.iter().take(24) {
        // Less than what a local connection holds.
        if peer.wire.len() < 64 << 10 {
            peer.write(item);
        }
    }

    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let mut far = TcpStream::connect(listener.local_addr().expect("its own")).expect("it listens");
    let (mut near, _) = listener.accept().expect("a connection was made");
    let socket = OwnedFd::from(near.try_clone().expect("a descriptor is free"));
    let stream = RecvStream::new(TcpTransport::new(socket).expect("a TCP socket"));
    let settings = Settings {
        version,
        side: if script.is_client {
            Side::Client
        } else {
            Side::Server
        },
        keeps_tickets: false,
        offered_post_handshake_auth: false,
    };
    let secret = script.is_tls13.then(|| SECRET.to_vec().into());
    let answers = Answers::default();
    stream
        .take_over(
            read_keys,
            PeerControl::new(settings, secret),
            Box::new(answers.clone()),
            Vec::new(),
        )
        .expect("there are no keys yet");

    let mut received = Vec::new();
    let mut rooms = script
        .rooms
        .iter()
        .map(|room| usize::from(*room) % 20_000 + 1)
        .cycle();
    let mut rest = &peer.wire[..];
    for piece in &script.pieces {
        let (now, later) = rest.split_at(rest.len().min(usize::from(*piece)));
        rest = later;
        far.write_all(now).expect("it fits");
        let room = rooms.next().unwrap_or(1);
        let got = stream.recv(
            room,
            RecvFlags::default(),
            &mut Deadline::nonblocking(&mut || false),
        );
        match got {
            Ok(bytes) => received.extend(bytes),
            Err(error) if error.is_would_block() => {}
            // The call that comes next gets the end.
            Err(error) => return check(&peer, &received, Some(&error), &answers),
        }
    }
    far.write_all(rest).expect("it fits");
    far.shutdown(std::net::Shutdown::Write).expect("it is open");
    let error = loop {
        let room = rooms.next().unwrap_or(16384);
        let mut never = || false;
        let mut deadline = Deadline::within(Some(PATIENCE), &mut never);
        match stream.recv(room, RecvFlags::default(), &mut deadline) {
            Ok(bytes) if bytes.is_empty() => break None,
            Ok(bytes) => received.extend(bytes),
            Err(error) => break Some(error),
        }
    };
    check(&peer, &received, error.as_ref(), &answers);
    let again = stream.recv(
        1,
        RecvFlags::default(),
        &mut Deadline::nonblocking(&mut || false),
    );
    assert!(
        again.is_ok_and(|bytes| bytes.is_empty()),
        "nothing follows the end"
    );
    if peer.end == End::Close {
        let mut left = Vec::new();
        near.set_nonblocking(false).expect("it is open");
        near.read_to_end(&mut left).expect("it ends");
        assert_eq!(
            left,
            &peer.wire[peer.closed_at..],
            "what follows is somebody else's"
        );
    }
}

fn check(peer: &Peer, received: &[u8], error: Option<&Error>, answers: &Answers) {
    match (&peer.end, error) {
        (End::Any, _) => {
            let common = received.len().min(peer.data.len());
            assert_eq!(received[..common], peer.data[..common]);
            return;
        }
        (End::Fin, Some(Error::NoCloseNotify)) | (End::Close, None) => {}
        (End::Alert(expected), Some(Error::PeerAlert(description))) => {
            assert_eq!(description, expected);
        }
        (end, other) => panic!("{end:?} was expected, not {other:?}"),
    }
    assert_eq!(received, peer.data);
    let answered = answers.0.load(Ordering::Relaxed);
    assert!(answered <= peer.requests && (answered > 0) == (peer.requests > 0));
}
