//! What the tests of the engine share: a transport in memory, keys, records opened again, and ways to wait.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

pub(crate) mod link;
pub(crate) mod seal;
pub(crate) mod wire;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ktls_engine::{Data, Deadline, NewWriteState, Pool, SendStream, Unsent, WriteFlags};
use ktls_record::{Algorithm, Keys, Seal, Suite, Version, provider};

use self::wire::Wire;

/// Longer than anything takes that is to come at all.
pub(crate) const LONG: Duration = Duration::from_secs(10);
/// The header and the tag of a record of [`suite`], and its inner content type (RFC 8446 §5.2).
pub(crate) const OVERHEAD: usize = 5 + 16 + 1;
/// Payload bytes of a full record.
pub(crate) const FULL: usize = 16384;

pub(crate) fn suite() -> Suite {
    Suite::new(Version::Tls13, Algorithm::Aes128Gcm).unwrap()
}

/// The keys that `name` stands for.
pub(crate) fn keys(name: u8) -> Keys {
    Keys::new(suite(), &[name; 16], &[5; 12]).unwrap()
}

pub(crate) fn sealer(keys: &Keys) -> Box<dyn Seal> {
    provider::sealer("ring", keys, 0).unwrap()
}

/// A write state from record 0 with these keys.
pub(crate) fn write_state(keys: &Keys) -> NewWriteState {
    NewWriteState::new(keys, sealer(keys), 0, FULL)
}

/// A stream over this wire, in a pool of its own, with the keys that 3 stands for.
pub(crate) fn stream(wire: &Wire) -> Arc<SendStream> {
    stream_in(wire, &Arc::new(Pool::new()))
}

pub(crate) fn stream_in(wire: &Wire, pool: &Arc<Pool>) -> Arc<SendStream> {
    stream_with(wire, pool, write_state(&keys(3)))
}

pub(crate) fn stream_with(wire: &Wire, pool: &Arc<Pool>, new: NewWriteState) -> Arc<SendStream> {
    let stream = SendStream::new(wire.transport(), Arc::clone(pool));
    stream.install(new).unwrap();
    stream
}

pub(crate) fn patiently<T>(call: impl FnOnce(&mut Deadline<'_>) -> T) -> T {
    within(LONG, call)
}

pub(crate) fn within<T>(timeout: Duration, call: impl FnOnce(&mut Deadline<'_>) -> T) -> T {
    let mut no_signals = || false;
    call(&mut Deadline::within(Some(timeout), &mut no_signals))
}

pub(crate) fn at_once<T>(call: impl FnOnce(&mut Deadline<'_>) -> T) -> T {
    let mut no_signals = || false;
    call(&mut Deadline::nonblocking(&mut no_signals))
}

/// Drains a pool for at most `timeout`, and ends its threads.
pub(crate) fn stop(pool: &Arc<Pool>, timeout: Duration) -> Unsent {
    let deadline = Instant::now().checked_add(timeout);
    let mut no_signals = || false;
    // Too late is what the count says.
    let _ = pool.drain(&mut Deadline::until(deadline, &mut no_signals));
    pool.end(timeout, deadline)
}

/// The same as [`patiently`] with a signal handler, which is run whenever the call has slept for a moment.
pub(crate) fn with_handler<T>(
    mut handler: impl FnMut() -> bool,
    call: impl FnOnce(&mut Deadline<'_>) -> T,
) -> T {
    call(&mut Deadline::within(Some(LONG), &mut handler))
}

/// A handler that does this the first time it is run, and then says this.
pub(crate) fn once(act: impl FnOnce() -> bool) -> impl FnMut() -> bool {
    let mut act = Some(act);
    move || act.take().is_some_and(|act| act())
}

pub(crate) fn eventually(what: &str, happened: impl Fn() -> bool) {
    let deadline = Instant::now() + LONG;
    while !happened() {
        assert!(Instant::now() < deadline, "it never came: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) fn typed(content_type: u8) -> WriteFlags {
    WriteFlags {
        content_type,
        ..WriteFlags::DATA
    }
}

pub(crate) fn whole(content_type: u8) -> WriteFlags {
    WriteFlags {
        atomic: true,
        ..typed(content_type)
    }
}

pub(crate) fn shared(bytes: &[u8]) -> Data<'static> {
    Data::Shared(Arc::new(bytes.to_vec()))
}

pub(crate) fn payload(len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| u8::try_from((i * 7 + i / 251) % 256).unwrap())
        .collect()
}

/// Content type and payload of a record.
pub(crate) type Record = (u8, Vec<u8>);

/// Opens every record with consecutive numbers from `sequence`.
pub(crate) fn open_from(wire: &[u8], sequence: u64) -> Vec<Record> {
    open_with(wire, &[(keys(3), sequence, u64::MAX)])
}

pub(crate) fn open(wire: &[u8]) -> Vec<Record> {
    open_from(wire, 0)
}

/// The same where the keys change: each with its first number and how many records it sealed.
pub(crate) fn open_with(wire: &[u8], epochs: &[(Keys, u64, u64)]) -> Vec<Record> {
    let mut wire = wire.to_vec();
    let mut rest = &mut wire[..];
    let mut records = Vec::new();
    for (keys, first, count) in epochs {
        let opener = provider::opener("ring", keys).unwrap();
        for index in 0..*count {
            if rest.is_empty() {
                break;
            }
            let size = 5 + usize::from(u16::from_be_bytes([rest[3], rest[4]]));
            let (record, after) = rest.split_at_mut(size);
            let opened = opener.open_in_place(first + index, record).unwrap();
            records.push((opened.content_type, opened.payload.to_vec()));
            rest = after;
        }
    }
    assert!(rest.is_empty(), "more records than were told of");
    records
}

pub(crate) fn join(records: &[Record]) -> Vec<u8> {
    records
        .iter()
        .flat_map(|(_, payload)| payload.clone())
        .collect()
}

/// Bytes on the wire of so many payload bytes in full records and a rest.
pub(crate) fn wire_size(len: usize) -> usize {
    len + len.div_ceil(FULL) * OVERHEAD
}
