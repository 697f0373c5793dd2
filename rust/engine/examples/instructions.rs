//! One operation of the send path, for a count of its instructions under callgrind.
//!
//! ```sh
//! cargo build --release -p ktls-engine --example instructions
//! valgrind --tool=callgrind --toggle-collect=instructions::counted target/release/examples/instructions seal ring
//! ```
//! The operation is made twice: once to warm up, then inside [`counted`], the only function that callgrind collects.
//! One thread, no socket, no clock that steers anything: the same build gives the same count.

use std::error::Error;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ktls_engine::{Data, Deadline, NewWriteState, Pool, SendStream, Transport, WriteFlags};
use ktls_record::{Algorithm, Frame, Keys, MAX_FRAME_LEN, Suite, Version, provider};
use rustix::event::EventfdFlags;
use rustix::io::Errno;

/// Payload bytes of the records of the script: the edges of a block, a packet, a page, and the full record.
const SCRIPT: [usize; 10] = [0, 1, 15, 16, 64, 256, 1024, 1350, 4096, MAX_FRAME_LEN];

type Anything = Box<dyn Error>;

fn main() -> Result<(), Anything> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["seal", provider] => seal_script(provider),
        ["send", provider, len] => send_once(provider, len.parse()?),
        _ => Err("usage: instructions seal PROVIDER | send PROVIDER LEN".into()),
    }
}

/// The only part that is counted.
#[inline(never)]
fn counted(operation: &mut dyn FnMut() -> Result<(), Anything>) -> Result<(), Anything> {
    operation()
}

fn twice(operation: &mut dyn FnMut() -> Result<(), Anything>) -> Result<(), Anything> {
    operation()?;
    counted(operation)
}

fn keys() -> Result<Keys, ktls_record::Error> {
    let suite = Suite::new(Version::Tls13, Algorithm::Aes256Gcm)?;
    Keys::new(suite, &[7; 32], &[9; 12])
}

/// Seals every record of the script, half of them in place.
fn seal_script(name: &str) -> Result<(), Anything> {
    let keys = keys()?;
    let sealer = provider::sealer(name, &keys, 0)?;
    let payload = vec![0x5a; MAX_FRAME_LEN];
    let mut record = vec![0; keys.suite().record_size(MAX_FRAME_LEN)];
    let mut sequence = 0;
    twice(&mut || {
        for payload_len in SCRIPT {
            let record = &mut record[..keys.suite().record_size(payload_len)];
            for in_place in [false, true] {
                let frame = Frame {
                    content_type: 23,
                    sequence,
                    payload_len,
                    padding_len: 0,
                };
                if in_place {
                    sealer.seal_in_place(frame, record)?;
                } else {
                    sealer.seal_from(frame, &payload[..payload_len], record)?;
                }
                sequence += 1;
            }
        }
        Ok(())
    })
}

/// One write of `len` bytes, from the call until the transport has taken it.
fn send_once(name: &str, len: usize) -> Result<(), Anything> {
    let swallowed = Arc::new(AtomicUsize::new(0));
    let output = Void {
        swallowed: Arc::clone(&swallowed),
        never: rustix::event::eventfd(0, EventfdFlags::CLOEXEC)?,
    };
    let stream = SendStream::new(Box::new(output), Arc::new(Pool::new()));
    let keys = keys()?;
    let seal = provider::sealer(name, &keys, 0)?;
    stream.install(NewWriteState::new(&keys, seal, 0, MAX_FRAME_LEN))?;
    let payload: Arc<Vec<u8>> = Arc::new(vec![0x5a; len]);
    let mut no_signals = || false;
    let mut deadline = Deadline::within(None, &mut no_signals);
    twice(&mut || {
        let data = Data::Shared(Arc::clone(&payload) as _);
        let accepted = stream.send(&data, WriteFlags::DATA, &mut deadline)?;
        if accepted != len || stream.pending() != 0 {
            return Err(format!("{accepted} of {len} bytes were accepted and sent").into());
        }
        Ok(())
    })?;
    if swallowed.load(Ordering::Relaxed) < 2 * len {
        return Err("the transport saw less than was written".into());
    }
    Ok(())
}

/// A transport that takes everything at once and counts it.
struct Void {
    swallowed: Arc<AtomicUsize>,
    never: OwnedFd,
}

impl Transport for Void {
    fn send(&self, data: &[u8], _more: bool) -> Result<usize, Errno> {
        self.swallowed.fetch_add(data.len(), Ordering::Relaxed);
        Ok(data.len())
    }

    fn poll_fd(&self) -> BorrowedFd<'_> {
        self.never.as_fd()
    }

    fn shutdown_write(&self) -> Result<(), Errno> {
        Ok(())
    }

    fn abort(&self) {}

    fn endpoints(&self) -> String {
        "nowhere".into()
    }
}
