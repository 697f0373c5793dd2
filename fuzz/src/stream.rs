//! The engine's send path over a transport that takes what a script says: any writes in any order, with any keys put
//! in between, come out as a plain list of writes would have them, and every asynchronous one ends.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use arbitrary::{Arbitrary, Unstructured};
use ktls_engine::{Data, Manner, NewKey, Output, Patience, Pool, Renewal, Stream};
use ktls_record::{Keys, provider, schedule};
use rustix::event::EventfdFlags;
use rustix::io::Errno;
use zeroize::Zeroizing;

use crate::suites;

/// Longer than anything here takes, so that a wait that never ends is found.
const PATIENCE: Duration = Duration::from_secs(20);

/// Application data that shares no record with another write.
const ALONE: Manner = Manner {
    whole: true,
    ..Manner::DATA
};

static NEXT_ID: AtomicU64 = AtomicU64::new(1);
static ENDED: LazyLock<Mutex<HashSet<u64>>> = LazyLock::new(Mutex::default);

/// KeyUpdate, `update_not_requested` (RFC 8446 §4.6.3).
const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];

#[derive(Arbitrary, Debug)]
enum Call {
    Send {
        len: u32,
        content_type: u8,
        shared: bool,
        whole: bool,
        more: bool,
        wait: bool,
    },
    Aio {
        len: u32,
        lead: Option<u8>,
        cancel: bool,
    },
    Cork,
    Uncork,
    File {
        offset: u16,
        count: u32,
        wait: bool,
    },
    Install {
        suite: u8,
        sequence: u64,
        max_frame_len: u16,
        pad_to: u16,
        limit: u16,
    },
    Limit {
        max_frame_len: u16,
    },
    Rekey {
        suite: u8,
        limit: u16,
        silent: bool,
    },
    Flush,
}

#[derive(Arbitrary, Debug)]
struct Script {
    /// What the transport does, call by call: 0 is EAGAIN, otherwise a number of bytes; then it takes everything.
    takes: Vec<u16>,
    fail_after: Option<u32>,
    calls: Vec<Call>,
}

/// Runs a script and opens what came out.
pub fn stream(data: &[u8]) {
    let Ok(script) = Script::arbitrary(&mut Unstructured::new(data)) else {
        return;
    };
    let wire = Arc::new(Mutex::new(Wire::new(&script)));
    let stream = Stream::new(Box::new(Scripted::new(&wire)), Arc::clone(pool()));
    let mut model = Model::default();
    for (number, call) in script.calls.iter().take(24).enumerate() {
        carry_out(&stream, call, number, &mut model);
    }
    let flushed = stream.flush(&mut patience(true));
    model.wait_for_ends();
    let _ = stream.shutdown_write();
    let wire = lock(&wire);
    match flushed {
        Ok(()) => {
            assert_eq!(stream.pending(), 0);
            assert!(wire.finished && !wire.aborted);
            model.check(&wire.taken, false);
        }
        Err(error) => {
            assert!(!error.is_timed_out(), "nobody went on with the stream");
            assert!(wire.aborted, "{error}");
            model.check(&wire.taken, true);
        }
    }
}

fn carry_out(stream: &Arc<Stream>, call: &Call, number: usize, model: &mut Model) {
    match *call {
        Call::Send {
            len,
            content_type,
            shared,
            whole,
            more,
            wait,
        } => {
            let bytes = pattern(number, usize::try_from(len % 150_000).unwrap_or(0));
            let data = if shared {
                Data::Shared(Arc::new(bytes.clone()))
            } else {
                Data::Borrowed(&bytes)
            };
            // Type 0 does not exist in TLS 1.3; the Python side refuses it.
            let content_type = content_type.max(1);
            let manner = Manner {
                content_type,
                whole,
                more,
            };
            if let Ok(count) = stream.send(&data, manner, &mut patience(wait)) {
                assert!(count <= bytes.len());
                assert!(!(whole || wait) || count == bytes.len() || model.is_limited);
                model.accepted(manner, &bytes[..count]);
            }
        }
        Call::Aio { len, lead, cancel } => {
            // How much an expired key would leave of a write cannot be known here.
            if model.is_limited {
                return;
            }
            let bytes = pattern(number, usize::try_from(len % 400_000).unwrap_or(0));
            let lead = lead.map(|lead| usize::from(lead).min(bytes.len()));
            let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
            let Ok(ended) = stream.aio_write(id, &Data::Borrowed(&bytes), lead) else {
                return;
            };
            if cancel && stream.cancel_aio(id) {
                assert!(!ended);
                return;
            }
            if !ended {
                model.unended.push(id);
            }
            let own = lead.map(|lead| &bytes[..lead]);
            if let Some(own) = own {
                model.accepted(ALONE, own);
            }
            let rest = &bytes[lead.unwrap_or(0)..];
            if !rest.is_empty() {
                model.accepted(Manner::DATA, rest);
            }
        }
        Call::Cork => model.corked += usize::from(stream.cork().is_ok()),
        Call::Uncork => {
            stream.uncork();
            model.corked = model.corked.saturating_sub(1);
        }
        Call::File {
            offset,
            count,
            wait,
        } => {
            let (offset, count) = (u64::from(offset), u64::from(count % 200_000));
            let file = file().try_clone().expect("a descriptor is free");
            if let Ok(accepted) = stream.send_file(file, offset, count, &mut patience(wait)) {
                let start = usize::from(u16::try_from(offset).unwrap_or(u16::MAX)).min(FILE_LEN);
                let end = start + usize::try_from(accepted).unwrap_or(usize::MAX);
                if accepted > 0 {
                    model.accepted(ALONE, &pattern(FILE_PATTERN, FILE_LEN)[start..end]);
                }
            }
        }
        Call::Install {
            suite,
            sequence,
            max_frame_len,
            pad_to,
            limit,
        } => {
            // What waits is framed with the keys of that time.
            let _ = stream.flush(&mut patience(true));
            let keys = suites::keys(suites::suite(suite), u8::try_from(number).unwrap_or(0));
            let name = provider::names()[number % provider::names().len()];
            let sealer = provider::sealer(name, &keys, sequence).expect("the key fits");
            let sequence = sequence >> 1;
            let max_frame_len = usize::from(max_frame_len % 16384) + 1;
            let new = NewKey::new(sealer, sequence, max_frame_len)
                .known_as(&keys)
                .padded_to(usize::from(pad_to));
            if stream.install(limited(new, limit)).is_ok() {
                let secret = None;
                let session = Session {
                    keys,
                    sequence,
                    secret,
                };
                model.install(session, limit > 0);
            }
        }
        Call::Rekey {
            suite,
            limit,
            silent,
        } => {
            let _ = stream.flush(&mut patience(true));
            let suite = suites::suite(suite);
            let secret = Zeroizing::new(vec![u8::try_from(number).unwrap_or(0); 32]);
            let Ok(keys) = schedule::traffic_keys(suite, &secret) else {
                return;
            };
            let name = provider::names()[number % provider::names().len()];
            let sealer = provider::sealer(name, &keys, 0).expect("the key fits");
            let message: &[u8] = if silent { &[] } else { &KEY_UPDATE };
            let new = NewKey::new(sealer, 0, 16384)
                .known_as(&keys)
                .renewed_by(Renewal::new(suite, secret.clone(), name));
            if stream.rekey(message, limited(new, limit)).is_ok() {
                if !silent {
                    let manner = Manner {
                        content_type: 22,
                        ..ALONE
                    };
                    model.accepted(manner, &KEY_UPDATE);
                }
                let session = Session {
                    keys,
                    sequence: 0,
                    secret: Some(secret),
                };
                model.install(session, false);
            }
        }
        Call::Limit { max_frame_len } => {
            let _ = stream.set_max_frame_len(usize::from(max_frame_len % 16384) + 1);
        }
        Call::Flush => {
            let _ = stream.flush(&mut patience(true));
        }
    }
}

fn limited(new: NewKey, limit: u16) -> NewKey {
    if limit == 0 {
        new
    } else {
        new.limited_to(u64::from(limit % 50))
    }
}

/// Writes in order, and what they were sealed with.
#[derive(Default)]
struct Model {
    sessions: Vec<Session>,
    writes: Vec<Write>,
    /// A write may be cut short by what the key may seal.
    is_limited: bool,
    corked: usize,
    /// Asynchronous writes that the calls did not say the end of.
    unended: Vec<u64>,
}

/// Keys from a number on, and the secret that they came from.
#[derive(Clone)]
struct Session {
    keys: Keys,
    sequence: u64,
    secret: Option<Zeroizing<Vec<u8>>>,
}

impl Session {
    /// The keys after a KeyUpdate that the stream sent by itself.
    fn renewed(&self) -> Self {
        let secret = self.secret.as_ref().expect("a secret was given");
        let secret = schedule::next_traffic_secret(secret).expect("it has a hash's length");
        Self {
            keys: schedule::traffic_keys(self.keys.suite(), &secret).expect("a suite of 1.3"),
            sequence: 0,
            secret: Some(secret),
        }
    }
}

struct Write {
    /// How many sessions there were.
    session: usize,
    content_type: u8,
    bytes: Vec<u8>,
    /// The next write of data may join its last record.
    is_open: bool,
}

impl Model {
    fn install(&mut self, session: Session, is_limited: bool) {
        self.sessions.push(session);
        self.is_limited = is_limited;
    }

    fn accepted(&mut self, manner: Manner, bytes: &[u8]) {
        let session = self.sessions.len();
        let may_join = manner.content_type == 23 && !manner.whole && !bytes.is_empty();
        let is_open = may_join && (manner.more || self.corked > 0);
        if let Some(last) = self.writes.last_mut()
            && may_join
            && last.is_open
            && last.session == session
        {
            last.bytes.extend_from_slice(bytes);
            last.is_open = is_open;
            return;
        }
        self.writes.push(Write {
            session,
            content_type: manner.content_type,
            bytes: bytes.to_vec(),
            is_open,
        });
    }

    /// Whether every asynchronous write has ended.
    fn wait_for_ends(&self) {
        let deadline = Instant::now() + PATIENCE;
        for id in &self.unended {
            while !lock(&ENDED).contains(id) {
                assert!(Instant::now() < deadline, "write {id} does not end");
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// The wire holds the writes, none joined with another; `broken`: as far as it got.
    fn check(&self, wire: &[u8], broken: bool) {
        let mut wire = wire.to_vec();
        let mut rest = &mut wire[..];
        let mut number = 0;
        let mut session: Option<Session> = None;
        for write in &self.writes {
            if write.session != number {
                number = write.session;
                session = self.sessions.get(number - 1).cloned();
            }
            let Some(session) = &mut session else {
                let count = rest.len().min(write.bytes.len());
                assert!(broken || count == write.bytes.len());
                let (plain, after) = rest.split_at_mut(count);
                assert!(*plain == write.bytes[..count], "clear text differs");
                rest = after;
                continue;
            };
            let mut left = &write.bytes[..];
            loop {
                let size = rest
                    .get(3..5)
                    .map(|len| 5 + usize::from(len[0]) * 256 + usize::from(len[1]));
                let Some(size) = size.filter(|&size| size <= rest.len()) else {
                    assert!(broken, "the wire ends early");
                    return;
                };
                let (record, after) = rest.split_at_mut(size);
                let opener = provider::opener("ring", &session.keys).expect("the key fits");
                let opened = opener
                    .open_in_place(session.sequence, record)
                    .expect("the next record");
                session.sequence += 1;
                rest = after;
                if opened.content_type == 22 && *opened.payload == KEY_UPDATE && *left != KEY_UPDATE
                {
                    *session = session.renewed();
                    continue;
                }
                assert_eq!(opened.content_type, write.content_type);
                let (expected, more) = left
                    .split_at_checked(opened.payload.len())
                    .expect("writes were joined");
                assert!(*opened.payload == *expected, "the payload differs");
                left = more;
                if left.is_empty() {
                    break;
                }
            }
        }
        assert!(rest.is_empty(), "{} bytes that nobody wrote", rest.len());
    }
}

/// What the transport did and will do.
struct Wire {
    taken: Vec<u8>,
    takes: std::vec::IntoIter<u16>,
    fail_after: usize,
    finished: bool,
    aborted: bool,
}

impl Wire {
    fn new(script: &Script) -> Self {
        Self {
            taken: Vec::new(),
            takes: script.takes.clone().into_iter(),
            fail_after: script
                .fail_after
                .map_or(usize::MAX, |at| usize::try_from(at).unwrap_or(0)),
            finished: false,
            aborted: false,
        }
    }
}

struct Scripted {
    wire: Arc<Mutex<Wire>>,
    writable: OwnedFd,
}

impl Scripted {
    fn new(wire: &Arc<Mutex<Wire>>) -> Self {
        let writable =
            rustix::event::eventfd(0, EventfdFlags::CLOEXEC).expect("a descriptor is free");
        Self {
            wire: Arc::clone(wire),
            writable,
        }
    }
}

impl Output for Scripted {
    fn send(&self, data: &[u8], _more: bool) -> Result<usize, Errno> {
        let mut wire = lock(&self.wire);
        assert!(!wire.finished && !wire.aborted, "sent after the end");
        if wire.taken.len() >= wire.fail_after {
            return Err(Errno::CONNRESET);
        }
        let count = match wire.takes.next() {
            Some(0) => return Err(Errno::AGAIN),
            Some(most) => data.len().min(usize::from(most)),
            None => data.len(),
        };
        wire.taken.extend_from_slice(&data[..count]);
        Ok(count)
    }

    fn ready(&self) -> BorrowedFd<'_> {
        self.writable.as_fd()
    }

    fn finish(&self) -> Result<(), Errno> {
        lock(&self.wire).finished = true;
        Ok(())
    }

    fn abort(&self) {
        lock(&self.wire).aborted = true;
    }

    fn route(&self) -> String {
        "nowhere".into()
    }
}

fn patience(may_wait: bool) -> Patience<'static> {
    Patience {
        may_wait,
        deadline: Some(Instant::now() + PATIENCE),
        interrupted: Box::leak(Box::new(|| false)),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pool() -> &'static Arc<Pool> {
    static POOL: OnceLock<Arc<Pool>> = OnceLock::new();
    POOL.get_or_init(|| {
        let pool = Arc::new(Pool::new());
        pool.start(1, false).expect("a thread is free");
        let ends = Arc::clone(&pool);
        std::thread::spawn(move || {
            loop {
                let ended = ends.completions();
                lock(&ENDED).extend(ended.into_iter().map(|write| write.id));
            }
        });
        pool
    })
}

const FILE_LEN: usize = 100_000;
const FILE_PATTERN: usize = 99;

fn file() -> &'static OwnedFd {
    static FILE: OnceLock<OwnedFd> = OnceLock::new();
    FILE.get_or_init(|| {
        let file = rustix::fs::memfd_create("fuzz", rustix::fs::MemfdFlags::CLOEXEC)
            .expect("a memory file");
        let content = pattern(FILE_PATTERN, FILE_LEN);
        let written = rustix::io::pwrite(&file, &content, 0).expect("memory is free");
        assert_eq!(written, FILE_LEN);
        file
    })
}

/// Bytes that differ from write to write.
fn pattern(number: usize, len: usize) -> Vec<u8> {
    let byte = |at: usize| u8::try_from((at * 7 + at / 251 + number * 29) % 256).unwrap_or(0);
    (0..len).map(byte).collect()
}
