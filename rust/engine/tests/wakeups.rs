//! Whoever waits is told when what it waits for is so, by whatever thread; and a stream that holds bytes is never left
//! alone.

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

mod common;

use std::io::Write;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use common::seal::asking;
use common::wire::{Act, Gate, Wire};
use common::{at_once, eventually, once, patiently, payload, shared, stream, whole, wire_size};
use common::{with_handler, within};
use ktls_engine::{Data, Deadline, Error, Pool, SendStream, WriteFlags, duplicate};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

const LONG_WRITE: usize = 3 << 20;

/// A call that sleeps looks again every moment, and runs its handler then. One that is told of a change does not come
/// to that; a busy machine may disturb a round, a change that nobody tells of spoils each.
fn is_told(round: impl Fn() -> bool) -> bool {
    (0..8).any(|_| round())
}

fn is_writable(descriptor: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(descriptor, PollFlags::OUT)];
    let at_once = Timespec::try_from(Duration::ZERO).unwrap();
    poll(&mut fds, Some(&at_once)).unwrap();
    fds[0].revents().contains(PollFlags::OUT)
}

fn poll_descriptor(stream: &Arc<SendStream>) -> OwnedFd {
    duplicate(stream.poll_descriptor().unwrap()).unwrap()
}

#[test]
fn a_call_for_a_file_is_told_when_another_thread_has_read_it() {
    assert!(is_told(|| {
        let (mine, others) = (Gate::default(), Gate::default());
        let seal = {
            let (mine, others) = (mine.clone(), others.clone());
            asking(move |frame| match frame.sequence {
                0 => mine.pass(),
                16 => others.pass(),
                _ => {}
            })
        };
        let wire = Wire::open();
        let stream = common::stream_with(&wire, &Arc::new(Pool::new()), seal);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&payload(300_000)).unwrap();
        let looks = AtomicUsize::new(0);
        thread::scope(|scope| {
            // It seals the first unit, the flush the second.
            let reading = scope.spawn(|| {
                let handler = || {
                    looks.fetch_add(1, Ordering::SeqCst);
                    false
                };
                with_handler(handler, |d| stream.send_file(file.into(), 0, 300_000, d))
            });
            mine.wait_for_arrival();
            let flushing = scope.spawn(|| patiently(|d| stream.flush(d)));
            others.wait_for_arrival();
            mine.open();
            eventually("it sleeps", || looks.load(Ordering::SeqCst) > 0);
            let sending = Gate::default();
            wire.script([Act::Hold(sending.clone())]);
            let before = looks.load(Ordering::SeqCst);
            others.open();
            assert_eq!(reading.join().unwrap().unwrap(), 300_000);
            let after = looks.load(Ordering::SeqCst);
            sending.open();
            flushing.join().unwrap().unwrap();
            before == after
        })
    }));
}

/// Has a call sleep because another thread is in the middle of sending; returns how that ended, and whether it was told.
fn sleeper(
    stream: &Arc<SendStream>,
    wire: &Wire,
    change: impl FnOnce(&Gate) + Send,
) -> (ktls_engine::Result<()>, bool) {
    let gate = Gate::default();
    wire.script([Act::Hold(gate.clone())]);
    let looks = AtomicUsize::new(0);
    thread::scope(|scope| {
        let sending =
            scope.spawn(|| patiently(|d| stream.send(&Data::Borrowed(b"x"), WriteFlags::DATA, d)));
        gate.wait_for_arrival();
        let flushing = scope.spawn(|| {
            let handler = || {
                looks.fetch_add(1, Ordering::SeqCst);
                false
            };
            with_handler(handler, |d| stream.flush(d))
        });
        eventually("it sleeps", || looks.load(Ordering::SeqCst) > 0);
        let before = looks.load(Ordering::SeqCst);
        change(&gate);
        let flushed = flushing.join().unwrap();
        let after = looks.load(Ordering::SeqCst);
        gate.open();
        // What the end of the connection makes of it is not asked here.
        let _ = sending.join().unwrap();
        (flushed, before == after)
    })
}

#[test]
fn a_flush_is_told_that_another_thread_has_sent() {
    assert!(is_told(|| {
        let wire = Wire::open();
        let (flushed, told) = sleeper(&stream(&wire), &wire, Gate::open);
        flushed.unwrap();
        told
    }));
}

#[test]
fn a_flush_is_told_of_an_abort_and_of_a_close() {
    assert!(is_told(|| {
        let wire = Wire::open();
        let stream = stream(&wire);
        let (flushed, told) = sleeper(&stream, &wire, |_| stream.abort());
        assert!(matches!(flushed, Err(Error::Aborted)));
        told
    }));
    assert!(is_told(|| {
        let wire = Wire::open();
        let stream = stream(&wire);
        let (flushed, told) = sleeper(&stream, &wire, |_| {
            stream.close();
        });
        assert!(matches!(flushed, Err(Error::Closed)));
        told
    }));
}

#[test]
fn a_writer_without_space_is_told_of_every_end() {
    let waiting_write = |end: &dyn Fn(&Arc<SendStream>)| {
        let stream = stream(&Wire::full());
        let handler = once(|| {
            end(&stream);
            false
        });
        let data = shared(&payload(LONG_WRITE));
        with_handler(handler, |d| stream.send(&data, WriteFlags::DATA, d)).unwrap_err()
    };
    assert!(matches!(
        waiting_write(&|stream| stream.abort()),
        Error::Aborted
    ));
    assert!(matches!(
        waiting_write(&|stream| {
            stream.close();
        }),
        Error::Closed
    ));
    assert!(matches!(
        waiting_write(&|stream| stream.shutdown_write().unwrap()),
        Error::ShutDown
    ));
}

#[test]
fn a_flush_waits_for_nothing_that_comes_later() {
    let wire = Wire::full();
    let stream = stream(&wire);
    let write = || at_once(|d| stream.send(&shared(&payload(50_000)), WriteFlags::DATA, d));
    assert_eq!(write().unwrap(), 50_000);
    let handler = once(|| {
        assert_eq!(write().unwrap(), 50_000);
        wire.give_room(wire_size(50_000));
        false
    });
    with_handler(handler, |d| stream.flush(d)).unwrap();
    assert!(stream.pending() > 0);
}

#[test]
fn a_flush_waits_for_no_asynchronous_write_that_comes_later() {
    let wire = Wire::full();
    let stream = stream(&wire);
    let data = payload(LONG_WRITE);
    assert!(!stream.async_write(1, &shared(&data)).unwrap());
    let early = within(Duration::from_millis(60), |d| stream.flush(d));
    assert!(early.unwrap_err().is_timed_out(), "but for earlier ones");
    let handler = once(|| {
        assert!(!stream.async_write(2, &shared(&data)).unwrap());
        wire.give_room(wire_size(LONG_WRITE));
        false
    });
    with_handler(handler, |d| stream.flush(d)).unwrap();
    assert!(stream.pending() > 0);
}

/// A call that waits is the only one who looks at the socket; when it gives up, somebody else has to.
fn gives_up(ends: impl FnOnce(&Arc<SendStream>) -> bool, timeout: Duration) -> Error {
    let (wire, pool) = (Wire::full(), Arc::new(Pool::new()));
    let stream = common::stream_in(&wire, &pool);
    assert!(
        !stream
            .async_write(1, &shared(&payload(LONG_WRITE)))
            .unwrap()
    );
    let handler = &mut once(|| {
        // A worker that is told of this finds the socket full again, and leaves it to this call.
        wire.give_room(1000);
        thread::sleep(Duration::from_millis(20));
        ends(&stream)
    });
    let mut deadline = Deadline::within(Some(timeout), handler);
    let data = Data::Borrowed(b"x");
    let error = stream
        .send(&data, WriteFlags::DATA, &mut deadline)
        .unwrap_err();
    wire.give_room(usize::MAX);
    eventually("the rest of what was accepted", || {
        wire.taken_len() == wire_size(LONG_WRITE)
    });
    error
}

#[test]
fn a_call_that_gives_up_leaves_the_stream_to_somebody() {
    let error = gives_up(|_| true, common::LONG);
    assert!(matches!(error, Error::Interrupted));
    let error = gives_up(|_| false, Duration::from_millis(300));
    assert!(error.is_timed_out());
    let closes = |stream: &Arc<SendStream>| {
        stream.close();
        false
    };
    assert!(matches!(gives_up(closes, common::LONG), Error::Closed));
}

#[test]
fn every_refusal_is_followed_by_an_edge() {
    type Refused = fn(&Arc<SendStream>);
    let refusals: [(&str, Refused); 5] = [
        ("a part of a write", |stream| {
            let data = shared(&payload(LONG_WRITE));
            let sent = at_once(|d| stream.send(&data, WriteFlags::DATA, d)).unwrap();
            assert!(sent < LONG_WRITE);
        }),
        ("a message larger than the space", |stream| {
            at_once(|d| stream.send(&shared(&payload(600_000)), WriteFlags::DATA, d)).unwrap();
            let sent = at_once(|d| stream.send(&shared(&payload(600_000)), whole(21), d));
            assert!(sent.unwrap_err().is_would_block());
        }),
        ("a write behind asynchronous ones", |stream| {
            assert!(
                !stream
                    .async_write(1, &shared(&payload(LONG_WRITE)))
                    .unwrap()
            );
            let sent = at_once(|d| stream.send(&Data::Borrowed(b"x"), WriteFlags::DATA, d));
            assert!(sent.unwrap_err().is_would_block());
        }),
        ("a look for space", |stream| {
            assert!(
                !stream
                    .async_write(1, &shared(&payload(LONG_WRITE)))
                    .unwrap()
            );
            let looked = at_once(|d| stream.wait_for_any_space(d));
            assert!(looked.unwrap_err().is_would_block());
        }),
        ("a part of a file", |stream| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&payload(LONG_WRITE)).unwrap();
            let len = LONG_WRITE as u64;
            let sent = at_once(|d| stream.send_file(file.into(), 0, len, d)).unwrap();
            assert!(sent < len);
        }),
    ];
    for (what, refused) in refusals {
        let wire = Wire::full();
        let stream = stream(&wire);
        let descriptor = poll_descriptor(&stream);
        assert!(is_writable(&descriptor));
        refused(&stream);
        assert!(!is_writable(&descriptor), "{what}");
        wire.give_room(usize::MAX);
        eventually(what, || is_writable(&descriptor));
    }
}

#[test]
fn taking_a_write_back_makes_space() {
    let wire = Wire::full();
    let stream = stream(&wire);
    let descriptor = poll_descriptor(&stream);
    at_once(|d| stream.send(&shared(&payload(500_000)), WriteFlags::DATA, d)).unwrap();
    assert!(
        !stream
            .async_write(1, &shared(&payload(LONG_WRITE)))
            .unwrap()
    );
    assert!(!stream.async_write(2, &Data::Borrowed(b"x")).unwrap());
    let sent = at_once(|d| stream.send(&Data::Borrowed(b"y"), WriteFlags::DATA, d));
    assert!(sent.unwrap_err().is_would_block());
    assert!(!is_writable(&descriptor));
    assert!(stream.cancel_async_write(2));
    assert!(!is_writable(&descriptor), "the first one waits still");
    wire.give_room(usize::MAX);
    eventually("the edge", || is_writable(&descriptor));
}
