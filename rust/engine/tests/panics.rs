//! A panic in what the engine calls: that connection fails, everybody who waits for it is told, and nobody else notices.

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

mod common;

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use common::seal::asking;
use common::wire::{Act, Gate, Wire};
use common::{
    LONG, at_once, eventually, join, open, patiently, payload, shared, stop, with_handler,
};
use ktls_engine::{Completion, Data, Error, Outcome, Pool, SendStream, Unsent, WriteFlags};

/// The stream that a panic hits, and one beside it.
struct Pair {
    pool: Arc<Pool>,
    wire: Wire,
    hit: Arc<SendStream>,
    other_wire: Wire,
    other: Arc<SendStream>,
}

impl Pair {
    /// `new` seals for the first; its wire is `wire`.
    fn new(wire: Wire, new: ktls_engine::NewWriteState) -> Self {
        let pool = Arc::new(Pool::new());
        // One worker serves both.
        pool.start(1, ktls_engine::Binding::None).unwrap();
        let other_wire = Wire::open();
        Self {
            hit: common::stream_with(&wire, &pool, new),
            other: common::stream_in(&other_wire, &pool),
            pool,
            wire,
            other_wire,
        }
    }

    /// The first has failed, which it says once more or for the first time; the other works, the pool ends.
    fn check(self) {
        eventually("the reset of the connection", || self.wire.resets() == 1);
        let next = at_once(|d| self.hit.send(&Data::Borrowed(b"x"), WriteFlags::DATA, d));
        assert!(is_panic(&next.unwrap_err()));
        assert_eq!(self.hit.pending(), 0);
        let data = payload(300_000);
        let sent = at_once(|d| self.other.send(&shared(&data), WriteFlags::DATA, d));
        assert_eq!(sent.unwrap(), data.len());
        patiently(|d| self.other.flush(d)).unwrap();
        assert_eq!(join(&open(&self.other_wire.taken())), data);
        assert_eq!(stop(&self.pool, LONG), Unsent::default());
    }
}

fn is_panic(error: &Error) -> bool {
    match error {
        Error::Internal(_) => true,
        Error::Failed(cause) => is_panic(cause),
        _ => false,
    }
}

/// Runs what panics in this thread.
fn caught<T>(call: impl FnOnce() -> T) {
    assert!(catch_unwind(AssertUnwindSafe(call)).is_err(), "no panic");
}

fn file(len: usize) -> OwnedFd {
    let mut file: File = tempfile::tempfile().unwrap();
    file.write_all(&payload(len)).unwrap();
    file.into()
}

/// Seals until it is told to panic, by a record of this number or a later one.
fn panics_from(number: u64) -> ktls_engine::NewWriteState {
    asking(move |frame| assert!(frame.sequence < number, "a panic of the seal"))
}

#[test]
fn in_a_seal_of_a_short_write() {
    let pair = Pair::new(Wire::open(), panics_from(0));
    caught(|| at_once(|d| pair.hit.send(&Data::Borrowed(b"x"), WriteFlags::DATA, d)));
    pair.check();
}

#[test]
fn in_a_seal_of_a_long_write() {
    let pair = Pair::new(Wire::open(), panics_from(9));
    let data = shared(&payload(300_000));
    caught(|| patiently(|d| pair.hit.send(&data, WriteFlags::DATA, d)));
    pair.check();
}

#[test]
fn in_a_seal_of_a_file() {
    let pair = Pair::new(Wire::open(), panics_from(9));
    caught(|| patiently(|d| pair.hit.send_file(file(300_000), 0, 300_000, d)));
    pair.check();
}

#[test]
fn in_a_seal_in_a_worker() {
    let pair = Pair::new(Wire::open(), panics_from(9));
    let data = shared(&payload(300_000));
    let sent = at_once(|d| pair.hit.send(&data, WriteFlags::DATA, d));
    assert_eq!(sent.unwrap(), 300_000);
    pair.check();
}

#[test]
fn in_a_seal_of_a_file_in_a_worker() {
    let pair = Pair::new(Wire::open(), panics_from(9));
    let sent = at_once(|d| pair.hit.send_file(file(300_000), 0, 300_000, d));
    assert_eq!(sent.unwrap(), 300_000);
    pair.check();
}

/// Where the file system lets a file leave memory, and says so, a thread that may wait for the disk seals.
#[test]
fn in_a_seal_of_a_file_that_is_not_in_memory() {
    let mut file = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    file.write_all(&payload(4 << 20)).unwrap();
    file.sync_all().unwrap();
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    let pair = Pair::new(Wire::open(), panics_from(9));
    let sent = at_once(|d| pair.hit.send_file(file.into(), 0, 1 << 20, d));
    assert!(sent.unwrap() > 0);
    pair.check();
}

#[test]
fn in_a_send() {
    let pair = Pair::new(Wire::open(), panics_from(u64::MAX));
    pair.wire.script([Act::Panic]);
    caught(|| at_once(|d| pair.hit.send(&Data::Borrowed(b"x"), WriteFlags::DATA, d)));
    pair.check();
}

#[test]
fn in_a_send_in_a_worker() {
    let pair = Pair::new(Wire::open(), panics_from(u64::MAX));
    pair.wire.script([Act::Panic]);
    let data = shared(&payload(300_000));
    at_once(|d| pair.hit.send(&data, WriteFlags::DATA, d)).unwrap();
    pair.check();
}

/// Bytes that cannot be looked at from a moment on.
struct Perishable {
    bytes: Vec<u8>,
    gone: Arc<AtomicBool>,
}

impl AsRef<[u8]> for Perishable {
    fn as_ref(&self) -> &[u8] {
        assert!(!self.gone.load(Ordering::SeqCst), "a panic of the owner");
        &self.bytes
    }
}

fn perishable(len: usize) -> (Data<'static>, Arc<AtomicBool>) {
    let gone = Arc::new(AtomicBool::new(false));
    let bytes = payload(len);
    let owner = Perishable {
        bytes,
        gone: Arc::clone(&gone),
    };
    (Data::Shared(Arc::new(owner)), gone)
}

#[test]
fn in_an_owner_of_bytes_before_anything_was_accepted() {
    let pair = Pair::new(Wire::open(), panics_from(u64::MAX));
    let (data, gone) = perishable(300_000);
    gone.store(true, Ordering::SeqCst);
    caught(|| at_once(|d| pair.hit.send(&data, WriteFlags::DATA, d)));
    let sent = at_once(|d| pair.hit.send(&Data::Borrowed(b"x"), WriteFlags::DATA, d));
    assert_eq!(sent.unwrap(), 1, "the connection has not met it");
    assert_eq!(join(&open(&pair.wire.taken())), b"x");
}

#[test]
fn in_an_owner_of_bytes_in_a_worker() {
    let pair = Pair::new(Wire::full(), panics_from(u64::MAX));
    let (data, gone) = perishable(900_000);
    let sent = at_once(|d| pair.hit.send(&data, WriteFlags::DATA, d));
    assert_eq!(sent.unwrap(), 900_000);
    gone.store(true, Ordering::SeqCst);
    pair.wire.give_room(usize::MAX);
    pair.check();
}

#[test]
fn in_an_owner_of_bytes_that_wait_to_be_framed() {
    let pair = Pair::new(Wire::full(), panics_from(u64::MAX));
    let (data, gone) = perishable(3 << 20);
    assert!(!pair.hit.async_write(4, &data).unwrap());
    gone.store(true, Ordering::SeqCst);
    pair.wire.give_room(usize::MAX);
    eventually("the reset of the connection", || pair.wire.resets() == 1);
    told_of_panic(&pair.pool.completions(), 4);
    pair.check();
}

#[test]
fn in_a_signal_handler() {
    let pair = Pair::new(Wire::full(), panics_from(u64::MAX));
    caught(|| {
        let data = shared(&payload(3 << 20));
        with_handler(
            || panic!("a panic of the handler"),
            |d| pair.hit.send(&data, WriteFlags::DATA, d),
        )
    });
    pair.check();
}

fn told_of_panic(completions: &[Completion], id: u64) {
    let [completion] = completions else {
        panic!("{completions:?}");
    };
    assert_eq!(completion.id, id);
    assert!(matches!(&completion.outcome, Outcome::Ended(Err(error)) if is_panic(error)));
}

/// Has three wait for a seal that panics once all of them are there: a flush, a write and an asynchronous write.
fn everybody_is_told(panicking: impl FnOnce(&Pair) + Send) {
    let gate = Gate::default();
    let seal = {
        let gate = gate.clone();
        asking(move |frame| {
            if frame.sequence > 0 {
                return;
            }
            gate.pass();
            panic!("a panic of the seal");
        })
    };
    let pair = Pair::new(Wire::full(), seal);
    let (flushing, writing) = (AtomicBool::new(false), AtomicBool::new(false));
    let waits = |flag: &AtomicBool| {
        flag.store(true, Ordering::SeqCst);
        false
    };
    thread::scope(|scope| {
        let first = scope.spawn(|| panicking(&pair));
        gate.wait_for_arrival();
        assert!(!pair.hit.async_write(8, &shared(&payload(3 << 20))).unwrap());
        let flush = scope.spawn(|| with_handler(|| waits(&flushing), |d| pair.hit.flush(d)));
        let write = scope.spawn(|| {
            let data = shared(&payload(100_000));
            with_handler(
                || waits(&writing),
                |d| pair.hit.send(&data, WriteFlags::DATA, d),
            )
        });
        eventually("both wait", || {
            flushing.load(Ordering::SeqCst) && writing.load(Ordering::SeqCst)
        });
        gate.open();
        assert!(matches!(flush.join().unwrap(), Err(Error::Internal(_))));
        assert!(matches!(write.join().unwrap(), Err(Error::Internal(_))));
        first.join().unwrap();
    });
    told_of_panic(&pair.pool.completions(), 8);
    pair.check();
}

#[test]
fn everybody_is_told_of_one_in_a_caller() {
    everybody_is_told(|pair| {
        let data = shared(&payload(100_000));
        caught(|| patiently(|d| pair.hit.send(&data, WriteFlags::DATA, d)));
    });
}

#[test]
fn everybody_is_told_of_one_in_a_worker() {
    everybody_is_told(|pair| {
        let data = shared(&payload(100_000));
        let sent = at_once(|d| pair.hit.send(&data, WriteFlags::DATA, d));
        assert_eq!(sent.unwrap(), 100_000);
    });
}
