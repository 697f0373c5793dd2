//! One operation of the send path or the receive path, for a count of its instructions under callgrind.
//!
//! ```sh
//! cargo build --release -p ktls-engine --example instructions
//! valgrind --tool=callgrind --toggle-collect=instructions::counted target/release/examples/instructions seal ring
//! ```
//! The operation is made twice: once to warm up, then inside [`counted`], the only function that callgrind collects.
//! One thread, no clock that steers anything, and no socket but for one that has what is received: the same build gives the
//! same count.

use std::error::Error;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ktls_engine::{
    Backend, Data, Deadline, NewReadKeys, NewWriteState, Pool, RecvFlags, RecvStream, SendStream,
    TcpTransport, Transport, WriteFlags,
};
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
        ["recv", provider, len] => recv_once(provider, len.parse()?),
        _ => {
            Err("usage: instructions seal PROVIDER | send PROVIDER LEN | recv PROVIDER LEN".into())
        }
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

/// One record of `len` bytes, which lies in the socket, into a buffer of that length.
fn recv_once(name: &str, len: usize) -> Result<(), Anything> {
    let server = TcpListener::bind("127.0.0.1:0")?;
    let mut peer = TcpStream::connect(server.local_addr()?)?;
    let socket = OwnedFd::from(server.accept()?.0);
    let stream = RecvStream::new(TcpTransport::new(socket)?);
    let keys = keys()?;
    stream.install(NewReadKeys::new(&keys, 0, &Backend::compiled_in(name)?)?)?;
    let sealer = provider::sealer(name, &keys, 0)?;
    let mut record = vec![0; keys.suite().record_size(len)];
    let mut send = |sequence| -> Result<(), Anything> {
        let frame = Frame {
            content_type: 23,
            sequence,
            payload_len: len,
            padding_len: 0,
        };
        sealer.seal_in_place(frame, &mut record)?;
        Ok(peer.write_all(&record)?)
    };
    let mut buffer = vec![0; len];
    let mut no_signals = || false;
    let mut deadline = Deadline::within(None, &mut no_signals);
    let mut receive = || {
        let received = stream.recv_into(&mut buffer, RecvFlags::default(), &mut deadline)?;
        if received != len {
            return Err(format!("{received} of {len} bytes were received").into());
        }
        Ok(())
    };
    send(0)?;
    receive()?;
    send(1)?;
    counted(&mut receive)
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
