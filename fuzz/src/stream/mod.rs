//! The engine's send path over a transport that takes what a script says: any writes in any order, with any keys put
//! in between, come out as a plain list of writes would have them (`model.rs`), and every asynchronous one ends.

mod model;
mod transport;

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use arbitrary::{Arbitrary, Unstructured};
use ktls_engine::{
    Backend, Data, Deadline, KeyUpdate, NewWriteState, Pool, RecordSplit, SendStream, UpdateSecret,
    WriteFlags,
};
use ktls_record::{provider, schedule};
use zeroize::Zeroizing;

use self::model::{Model, Session};
use self::transport::{Scripted, Wire};
use crate::suites;

/// Longer than anything here takes, so that a wait that never ends is found.
const PATIENCE: Duration = Duration::from_secs(20);

/// Application data that shares no record with another write.
const ALONE: WriteFlags = WriteFlags {
    atomic: true,
    ..WriteFlags::DATA
};

static NEXT_ID: AtomicU64 = AtomicU64::new(1);
static ENDED: LazyLock<Mutex<HashSet<u64>>> = LazyLock::new(Mutex::default);

/// KeyUpdate, `update_not_requested` and `update_requested` (RFC 8446 §4.6.3).
const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];
const KEY_UPDATE_REQUEST: [u8; 5] = [24, 0, 0, 1, 1];

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
    Async {
        len: u32,
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
        split: u8,
    },
    Limit {
        max_frame_len: u16,
    },
    Rekey {
        suite: u8,
        limit: u16,
        silent: bool,
    },
    UpdateKey {
        request: bool,
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
    let wire = Arc::new(Mutex::new(Wire::new(&script.takes, script.fail_after)));
    let stream = SendStream::new(Box::new(Scripted::new(&wire)), Arc::clone(pool()));
    let mut model = Model::default();
    for (number, call) in script.calls.iter().take(24).enumerate() {
        carry_out(&stream, call, number, &mut model);
    }
    let flushed = waiting(true, |deadline| stream.flush(deadline));
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
            assert!(wire.aborted || wire.has_failed, "{error}");
            model.check(&wire.taken, true);
        }
    }
}

fn carry_out(stream: &Arc<SendStream>, call: &Call, number: usize, model: &mut Model) {
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
            let flags = WriteFlags {
                content_type,
                atomic: whole,
                more,
            };
            if let Ok(count) = waiting(wait, |deadline| stream.send(&data, flags, deadline)) {
                assert!(count <= bytes.len());
                assert!(!(whole || wait) || count == bytes.len() || model.is_limited);
                model.accepted(flags, &bytes[..count]);
            }
        }
        Call::Async { len, cancel } => {
            // How much an expired key would leave of a write cannot be known here.
            if model.is_limited {
                return;
            }
            let bytes = pattern(number, usize::try_from(len % 400_000).unwrap_or(0));
            let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
            let Ok(ended) = stream.async_write(id, &Data::Borrowed(&bytes)) else {
                return;
            };
            if cancel && stream.cancel_async_write(id) {
                assert!(!ended);
                return;
            }
            if !ended {
                model.unended.push(id);
            }
            // Nothing at all is framed for no bytes.
            if !bytes.is_empty() {
                model.accepted(WriteFlags::DATA, &bytes);
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
            let sent = waiting(wait, |deadline| {
                stream.send_file(file, offset, count, deadline)
            });
            if let Ok(accepted) = sent {
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
            split,
        } => {
            let keys = suites::keys(suites::suite(suite), u8::try_from(number).unwrap_or(0));
            let name = provider::names()[number % provider::names().len()];
            let sealer = provider::sealer(name, &keys, sequence).expect("the key fits");
            let sequence = sequence >> 1;
            let max_frame_len = usize::from(max_frame_len % 16384) + 1;
            let split = [RecordSplit::None, RecordSplit::Empty, RecordSplit::OneByte]
                [usize::from(split % 3)];
            let new = NewWriteState::new(&keys, sealer, sequence, max_frame_len)
                .with_padding(usize::from(pad_to))
                .with_record_split(split);
            if stream.install(limited(new, limit)).is_ok() {
                let secret = None;
                let session = Session {
                    keys,
                    sequence,
                    secret,
                    split,
                };
                model.install(session, limit > 0);
            }
        }
        Call::Rekey {
            suite,
            limit,
            silent,
        } => {
            let suite = suites::suite(suite);
            let secret = Zeroizing::new(vec![u8::try_from(number).unwrap_or(0); 32]);
            let Ok(keys) = schedule::traffic_keys(suite, &secret) else {
                return;
            };
            let name = provider::names()[number % provider::names().len()];
            let sealer = provider::sealer(name, &keys, 0).expect("the key fits");
            let announced = if silent {
                KeyUpdate::Silent
            } else {
                KeyUpdate::NotRequested
            };
            let new =
                NewWriteState::new(&keys, sealer, 0, 16384).with_update_secret(UpdateSecret::new(
                    suite,
                    secret.clone(),
                    &Backend::compiled_in(name).expect("it is compiled in"),
                ));
            if stream.rekey(announced, limited(new, limit)).is_ok() {
                if !silent {
                    model.announced(&KEY_UPDATE, false);
                }
                let session = Session {
                    keys,
                    sequence: 0,
                    secret: Some(secret),
                    split: RecordSplit::None,
                };
                model.install(session, false);
            }
        }
        Call::Limit { max_frame_len } => {
            let _ = stream.set_max_frame_len(usize::from(max_frame_len % 16384) + 1);
        }
        Call::UpdateKey { request } => {
            let (announced, message) = if request {
                (KeyUpdate::Requested, &KEY_UPDATE_REQUEST)
            } else {
                (KeyUpdate::NotRequested, &KEY_UPDATE)
            };
            if stream.update_key(announced).is_ok() {
                model.announced(message, true);
            }
        }
        Call::Flush => {
            let _ = waiting(true, |deadline| stream.flush(deadline));
        }
    }
}

fn limited(new: NewWriteState, limit: u16) -> NewWriteState {
    if limit == 0 {
        new
    } else {
        new.with_record_limit(u64::from(limit % 50))
    }
}

/// A call that no signal interrupts.
fn waiting<R>(may_wait: bool, call: impl FnOnce(&mut Deadline<'_>) -> R) -> R {
    let mut no_signal = || false;
    let mut deadline = if may_wait {
        Deadline::until(Some(Instant::now() + PATIENCE), &mut no_signal)
    } else {
        Deadline::nonblocking(&mut no_signal)
    };
    call(&mut deadline)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pool() -> &'static Arc<Pool> {
    static POOL: OnceLock<Arc<Pool>> = OnceLock::new();
    POOL.get_or_init(|| {
        let pool = Arc::new(Pool::new());
        pool.start(1, ktls_engine::Binding::None).expect("a thread is free");
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
