//! Who is told of a failure, and how often: every call that waits, then one more call, then EPIPE.

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

mod common;

use std::sync::Arc;
use std::thread;
use std::time::Instant;

use common::wire::{Act, Wire};
use common::{LONG, at_once, once, patiently, payload, shared, stream, with_handler};
use ktls_engine::{Completion, Data, Error, Outcome, Pool, SendStream, WriteFlags, duplicate};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

fn is_reset(error: &Error) -> bool {
    matches!(error, Error::Connection { errno, .. } if *errno == Errno::CONNRESET)
}

fn is_said_before(error: &Error) -> bool {
    matches!(error, Error::Failed(cause) if is_reset(cause))
}

fn send_one(stream: &Arc<SendStream>) -> Error {
    at_once(|d| stream.send(&Data::Borrowed(b"x"), WriteFlags::DATA, d)).unwrap_err()
}

#[test]
fn a_failure_that_nobody_waited_for_is_raised_once() {
    let wire = Wire::full();
    let stream = stream(&wire);
    at_once(|d| stream.send(&shared(&payload(100_000)), WriteFlags::DATA, d)).unwrap();
    wire.script([Act::Fail(Errno::CONNRESET)]);
    common::eventually("the failure", || stream.pending() == 0);
    assert!(is_reset(&send_one(&stream)));
    assert!(is_said_before(&send_one(&stream)));
    assert!(is_said_before(&stream.shutdown_write().unwrap_err()));
    assert_eq!(wire.resets(), 0, "what the peer said can still be received");
}

#[test]
fn each_that_waits_is_told_the_cause() {
    let wire = Wire::full();
    let stream = stream(&wire);
    thread::scope(|scope| {
        let (came, wait) = std::sync::mpsc::channel();
        for _ in 0..3 {
            let (stream, came) = (&stream, came.clone());
            scope.spawn(move || {
                let handler = {
                    let came = came.clone();
                    once(move || {
                        came.send(None).unwrap();
                        false
                    })
                };
                let data = shared(&payload(3 << 20));
                let sent = with_handler(handler, |d| stream.send(&data, WriteFlags::DATA, d));
                came.send(Some(sent.unwrap_err())).unwrap();
            });
        }
        for _ in 0..3 {
            assert!(wait.recv().unwrap().is_none(), "all of them wait first");
        }
        wire.script([Act::Fail(Errno::CONNRESET)]);
        for _ in 0..3 {
            assert!(is_reset(&wait.recv().unwrap().unwrap()));
        }
    });
    assert!(is_said_before(&send_one(&stream)));
}

#[test]
fn a_transport_that_lives_is_reset() {
    let wire = Wire::full();
    let stream = stream(&wire);
    at_once(|d| stream.send(&shared(&payload(100_000)), WriteFlags::DATA, d)).unwrap();
    wire.script([Act::Fail(Errno::NOBUFS)]);
    common::eventually("the reset", || wire.resets() == 1);
}

#[test]
fn an_abort_is_known_to_the_program() {
    let wire = Wire::full();
    let stream = stream(&wire);
    stream.abort();
    assert!(matches!(send_one(&stream), Error::Failed(_)));
    stream.abort();
    assert_eq!(wire.resets(), 1);
}

fn ids(completions: &[Completion], told: impl Fn(&Outcome) -> bool) -> Vec<u64> {
    let mut ids: Vec<u64> = completions
        .iter()
        .inspect(|completion| assert!(told(&completion.outcome), "{completion:?}"))
        .map(|completion| completion.id)
        .collect();
    ids.sort_unstable();
    ids
}

#[test]
fn every_asynchronous_write_ends_once_with_the_failure() {
    let (wire, pool) = (Wire::full(), Arc::new(Pool::new()));
    let stream = common::stream_in(&wire, &pool);
    assert!(!stream.async_write(1, &Data::Borrowed(b"framed")).unwrap());
    assert!(!stream.async_write(2, &shared(&payload(3 << 20))).unwrap());
    assert!(!stream.async_write(3, &Data::Borrowed(b"waiting")).unwrap());
    wire.script([Act::Fail(Errno::CONNRESET)]);
    common::eventually("the failure", || stream.pending() == 0);
    pool.stop_completions();
    let told = |outcome: &Outcome| matches!(outcome, Outcome::Ended(Err(error)) if is_reset(error));
    assert_eq!(ids(&pool.completions(), told), [1, 2, 3]);
    assert!(pool.completions().is_empty());
    assert!(!stream.cancel_async_write(3), "it has ended");
}

#[test]
fn only_a_write_of_which_nothing_is_framed_is_taken_back() {
    let (wire, pool) = (Wire::full(), Arc::new(Pool::new()));
    let stream = common::stream_in(&wire, &pool);
    assert!(!stream.async_write(1, &shared(&payload(3 << 20))).unwrap());
    assert!(!stream.async_write(2, &Data::Borrowed(b"waiting")).unwrap());
    assert!(!stream.cancel_async_write(1), "a part is framed");
    assert!(stream.cancel_async_write(2));
    assert!(!stream.cancel_async_write(2), "once");
    let cancelled = |outcome: &Outcome| matches!(outcome, Outcome::Cancelled);
    assert_eq!(ids(&pool.completions(), cancelled), [2]);
    wire.give_room(usize::MAX);
    patiently(|d| stream.flush(d)).unwrap();
    let whole = |outcome: &Outcome| matches!(outcome, Outcome::Ended(Ok(len)) if *len == 3 << 20);
    assert_eq!(ids(&pool.completions(), whole), [1]);
    assert_eq!(common::join(&common::open(&wire.taken())), payload(3 << 20));
}

#[test]
fn a_failure_is_an_error_of_the_poll_descriptor() {
    let wire = Wire::full();
    let stream = stream(&wire);
    let descriptor = duplicate(stream.poll_descriptor().unwrap()).unwrap();
    at_once(|d| stream.send(&shared(&payload(3 << 20)), WriteFlags::DATA, d)).unwrap();
    wire.script([Act::Fail(Errno::CONNRESET)]);
    let mut fds = [PollFd::new(&descriptor, PollFlags::empty())];
    let timeout = Timespec::try_from(LONG).unwrap();
    assert_eq!(poll(&mut fds, Some(&timeout)).unwrap(), 1);
    // It hangs up first, and the error follows at once.
    let begun = Instant::now();
    while !fds[0].revents().contains(PollFlags::ERR) {
        assert!(begun.elapsed() < LONG);
        poll(&mut fds, Some(&timeout)).unwrap();
    }
    assert!(fds[0].revents().contains(PollFlags::HUP));
}
