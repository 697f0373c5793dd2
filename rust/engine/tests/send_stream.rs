//! Streams over transports that are slow, tight or broken: what comes out is what went in, in order.

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

mod common;

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use common::wire::{Act, Gate, Wire};
use common::{FULL, at_once, join, keys, open_from, patiently, payload, sealer, shared, typed};
use common::{whole, wire_size, within};
use ktls_engine::{Data, Deadline, Error, NewWriteState, Pool, SendStream, Transport, WriteFlags};
use rustix::event::EventfdFlags;
use rustix::io::Errno;

/// Takes a few bytes at a time, says EAGAIN in between, and remembers.
struct Tight {
    taken: Mutex<Vec<u8>>,
    calls: Mutex<u64>,
    most: usize,
    fail_after: usize,
    finished: Mutex<bool>,
    aborted: Mutex<bool>,
    writable: OwnedFd,
    before_sending: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Tight {
    fn new(most: usize, fail_after: usize) -> Arc<Self> {
        Arc::new(Self {
            taken: Mutex::default(),
            calls: Mutex::new(1),
            most,
            fail_after,
            finished: Mutex::new(false),
            aborted: Mutex::new(false),
            writable: rustix::event::eventfd(0, EventfdFlags::CLOEXEC).unwrap(),
            before_sending: Mutex::new(None),
        })
    }
}

struct Shared(Arc<Tight>);

impl Transport for Shared {
    fn send(&self, data: &[u8], _more: bool) -> Result<usize, Errno> {
        if let Some(first) = self.0.before_sending.lock().unwrap().take() {
            first();
        }
        let mut calls = self.0.calls.lock().unwrap();
        *calls = calls
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let roll = usize::try_from(*calls >> 33).unwrap();
        if roll % 4 == 0 {
            return Err(Errno::AGAIN);
        }
        let mut taken = self.0.taken.lock().unwrap();
        if taken.len() >= self.0.fail_after {
            return Err(Errno::CONNRESET);
        }
        let count = data.len().min(1 + roll % self.0.most);
        taken.extend_from_slice(&data[..count]);
        Ok(count)
    }

    fn poll_fd(&self) -> BorrowedFd<'_> {
        self.0.writable.as_fd()
    }

    fn shutdown_write(&self) -> Result<(), Errno> {
        *self.0.finished.lock().unwrap() = true;
        Ok(())
    }

    fn abort(&self) {
        *self.0.aborted.lock().unwrap() = true;
    }

    fn endpoints(&self) -> String {
        "nowhere".into()
    }
}

fn stream(tight: &Arc<Tight>, sequence: u64) -> Arc<SendStream> {
    let stream = SendStream::new(Box::new(Shared(Arc::clone(tight))), Arc::new(Pool::new()));
    let keys = keys(3);
    stream
        .install(NewWriteState::new(&keys, sealer(&keys), sequence, FULL))
        .unwrap();
    stream
}

#[test]
fn writes_of_every_size_arrive_in_order() {
    let tight = Tight::new(9000, usize::MAX);
    let stream = stream(&tight, 1 << 40);
    let data = payload(3_000_000);
    let mut from = 0;
    for (index, len) in [
        1, 64, 1000, 16384, 16385, 40_000, 70_000, 1_500_000, 5, 300_000,
    ]
    .into_iter()
    .enumerate()
    {
        let piece = &data[from..from + len];
        let data = if index % 2 == 0 {
            Data::Borrowed(piece)
        } else {
            shared(piece)
        };
        assert_eq!(
            patiently(|p| stream.send(&data, WriteFlags::DATA, p)).unwrap(),
            len
        );
        from += len;
    }
    patiently(|p| stream.flush(p)).unwrap();
    let records = open_from(&tight.taken.lock().unwrap(), 1 << 40);
    assert_eq!(join(&records), data[..from]);
    assert!(records.iter().all(|(content_type, _)| *content_type == 23));
    assert_eq!(stream.sequence(), Some((1 << 40) + records.len() as u64));
    assert_eq!(stream.pending(), 0);
}

#[test]
fn files_are_framed_like_anything_else() {
    let data = payload(2_000_003);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&data).unwrap();
    let tight = Tight::new(100_000, usize::MAX);
    let stream = stream(&tight, 0);
    patiently(|p| stream.send(&Data::Borrowed(b"head"), WriteFlags::DATA, p)).unwrap();
    let file = OwnedFd::from(file);
    let sent = patiently(|p| stream.send_file(file.try_clone().unwrap(), 3, u64::MAX, p)).unwrap();
    assert_eq!(sent, 2_000_000);
    assert_eq!(
        patiently(|p| stream.send_file(file, 3_000_000, 10, p)).unwrap(),
        0
    );
    patiently(|p| stream.send(&Data::Borrowed(b"tail"), WriteFlags::DATA, p)).unwrap();
    patiently(|p| stream.flush(p)).unwrap();
    let wire = join(&open_from(&tight.taken.lock().unwrap(), 0));
    assert_eq!(&wire[..4], b"head");
    assert_eq!(wire[4..2_000_004], data[3..]);
    assert_eq!(&wire[2_000_004..], b"tail");
}

#[test]
fn a_file_that_shrinks_is_an_error_and_the_connection_ends() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(8 << 20).unwrap();
    let tight = Tight::new(30_000, usize::MAX);
    let stream = stream(&tight, 0);
    let shrinking = file.try_clone().unwrap();
    *tight.before_sending.lock().unwrap() = Some(Box::new(move || shrinking.set_len(100).unwrap()));
    let error = patiently(|p| stream.send_file(OwnedFd::from(file), 0, u64::MAX, p)).unwrap_err();
    assert_eq!(error.errno(), Errno::IO.raw_os_error());
    assert!(error.to_string().contains("it shrank"), "{error}");
    assert!(*tight.aborted.lock().unwrap());
    let error = patiently(|p| stream.send(&Data::Borrowed(b"x"), WriteFlags::DATA, p)).unwrap_err();
    assert_eq!(error.errno(), Errno::PIPE.raw_os_error());
}

#[test]
fn an_error_found_later_is_raised_once() {
    let tight = Tight::new(1000, 20_000);
    let stream = stream(&tight, 0);
    let mut errors = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(30);
    while errors.len() < 2 && Instant::now() < deadline {
        if let Err(error) = at_once(|p| stream.send(&shared(&payload(5000)), WriteFlags::DATA, p))
            && !error.is_would_block()
        {
            errors.push(error.errno());
        }
    }
    assert_eq!(
        errors,
        [Errno::CONNRESET.raw_os_error(), Errno::PIPE.raw_os_error()]
    );
    assert_eq!(stream.pending(), 0);
}

#[test]
fn accepted_bytes_drain_after_close() {
    let tight = Tight::new(4000, usize::MAX);
    let data = payload(700_000);
    let stream = stream(&tight, 0);
    let accepted = at_once(|p| stream.send(&shared(&data), WriteFlags::DATA, p)).unwrap();
    stream.close();
    assert_eq!(
        at_once(|p| stream.send(&shared(&data), WriteFlags::DATA, p))
            .unwrap_err()
            .errno(),
        Errno::BADF.raw_os_error()
    );
    drop(stream);
    let deadline = Instant::now() + Duration::from_secs(30);
    while !*tight.finished.lock().unwrap() {
        assert!(Instant::now() < deadline, "the stream did not drain");
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(
        join(&open_from(&tight.taken.lock().unwrap(), 0)),
        data[..accepted]
    );
}

#[test]
fn records_of_several_threads_do_not_mix() {
    let tight = Tight::new(60_000, usize::MAX);
    let stream = stream(&tight, 0);
    let writers: Vec<_> = (1..=6u8)
        .map(|name| {
            let stream = Arc::clone(&stream);
            thread::spawn(move || {
                for round in 0..40usize {
                    let len = 1 + (round * 7919 * usize::from(name)) % 50_000;
                    let sent =
                        patiently(|p| stream.send(&shared(&vec![name; len]), typed(name), p));
                    assert_eq!(sent.unwrap(), len);
                }
            })
        })
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
    patiently(|p| stream.flush(p)).unwrap();
    let records = open_from(&tight.taken.lock().unwrap(), 0);
    for (content_type, payload) in &records {
        assert!(payload.iter().all(|byte| byte == content_type));
    }
    for name in 1..=6u8 {
        let sent: usize = records
            .iter()
            .filter(|(t, _)| *t == name)
            .map(|(_, payload)| payload.len())
            .sum();
        let expected: usize = (0..40)
            .map(|round| 1 + (round * 7919 * usize::from(name)) % 50_000)
            .sum();
        assert_eq!(sent, expected);
    }
}

#[test]
fn a_write_that_must_be_whole_is_all_or_nothing() {
    let tight = Tight::new(2000, usize::MAX);
    let stream = stream(&tight, 0);
    let too_long = shared(&payload(2 << 20));
    let error = patiently(|p| stream.send(&too_long, whole(21), p)).unwrap_err();
    assert_eq!(error.errno(), Errno::MSGSIZE.raw_os_error());
    let half = shared(&payload(600_000));
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..50 {
        match at_once(|p| stream.send(&half, whole(23), p)) {
            Ok(count) => {
                assert_eq!(count, 600_000);
                accepted += 1;
            }
            Err(error) if error.is_would_block() => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(
        accepted > 0 && refused > 0,
        "{accepted} accepted, {refused} refused"
    );
    patiently(|p| stream.flush(p)).unwrap();
    assert_eq!(
        join(&open_from(&tight.taken.lock().unwrap(), 0)).len(),
        accepted * 600_000
    );
}

#[test]
fn the_last_sequence_number_is_not_used() {
    let tight = Tight::new(100_000, usize::MAX);
    let stream = stream(&tight, u64::MAX - 1);
    assert_eq!(
        patiently(|p| stream.send(&Data::Borrowed(b"one"), WriteFlags::DATA, p)).unwrap(),
        3
    );
    let error: Error =
        patiently(|p| stream.send(&Data::Borrowed(b"two"), WriteFlags::DATA, p)).unwrap_err();
    assert_eq!(error.errno(), Errno::BADMSG.raw_os_error());
}

#[test]
fn bytes_before_the_key_go_out_as_they_are_and_in_order() {
    let tight = Tight::new(500, usize::MAX);
    let stream = SendStream::new(Box::new(Shared(Arc::clone(&tight))), Arc::new(Pool::new()));
    patiently(|p| stream.send(&shared(&payload(100_000)), WriteFlags::DATA, p)).unwrap();
    stream
        .install(NewWriteState::new(&keys(3), sealer(&keys(3)), 9, FULL))
        .unwrap();
    patiently(|p| stream.send(&shared(&payload(100_000)), WriteFlags::DATA, p)).unwrap();
    patiently(|p| stream.flush(p)).unwrap();
    let taken = tight.taken.lock().unwrap();
    assert_eq!(taken[..100_000], payload(100_000));
    assert_eq!(join(&open_from(&taken[100_000..], 9)), payload(100_000));
}

#[test]
fn a_wait_ends_when_a_signal_handler_says_so_or_time_is_over() {
    let wire = Wire::full();
    let full = SendStream::new(wire.transport(), Arc::new(Pool::new()));
    let moment = Duration::from_millis(30);
    let error = within(moment, |p| {
        full.send(&shared(&payload(3 << 20)), whole(23), p)
    })
    .unwrap_err();
    assert_eq!(error.errno(), Errno::MSGSIZE.raw_os_error());
    let accepted = within(moment, |p| {
        full.send(&shared(&payload(3 << 20)), WriteFlags::DATA, p)
    });
    assert!(accepted.unwrap() <= 1 << 20);
    assert!(
        within(moment, |p| full.flush(p))
            .unwrap_err()
            .is_timed_out()
    );
    let mut raises = || true;
    let error = full
        .flush(&mut Deadline::within(None, &mut raises))
        .unwrap_err();
    assert!(matches!(error, Error::Interrupted));
    full.abort();
}

#[test]
fn a_flush_waits_for_bytes_that_another_thread_is_sending() {
    let (wire, gate) = (Wire::open(), Gate::default());
    let stream = common::stream(&wire);
    wire.script([Act::Take(wire_size(1) - 1), Act::Hold(gate.clone())]);
    let writer = {
        let stream = Arc::clone(&stream);
        thread::spawn(move || {
            patiently(|p| stream.send(&Data::Borrowed(b"x"), WriteFlags::DATA, p))
        })
    };
    gate.wait_for_arrival();
    // One byte of the record is on its way, which rounds to no byte of the payload.
    let early = within(Duration::from_millis(50), |p| stream.flush(p));
    gate.open();
    assert!(early.is_err_and(|error| error.is_timed_out()));
    assert_eq!(writer.join().unwrap().unwrap(), 1);
    patiently(|p| stream.flush(p)).unwrap();
}
