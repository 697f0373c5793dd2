//! What was accepted is sent after its connection was closed, and while the program ends; or it is told what was not.

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

mod common;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use common::wire::Wire;
use common::{LONG, at_once, eventually, join, open, patiently, payload, shared, stop, stream};
use ktls_engine::{Data, Error, Outcome, Pool, SendStream, Unsent, WriteFlags, counters};

fn write(stream: &Arc<SendStream>, len: usize) -> ktls_engine::Result<usize> {
    at_once(|d| stream.send(&shared(&payload(len)), WriteFlags::DATA, d))
}

fn linger_resets() -> u64 {
    let all = counters();
    let found = all.iter().find(|(name, _)| *name == "stats.linger_resets");
    found.unwrap().1
}

#[test]
fn a_closed_stream_drains_and_ends_with_fin() {
    let wire = Wire::full();
    let stream = stream(&wire);
    assert_eq!(write(&stream, 700_000).unwrap(), 700_000);
    stream.close();
    assert!(matches!(write(&stream, 1), Err(Error::Closed)));
    drop(stream);
    assert_eq!(wire.fins(), 0, "not before its end");
    wire.give_room(usize::MAX);
    eventually("FIN", || wire.fins() == 1);
    assert_eq!(join(&open(&wire.taken())), payload(700_000));
    assert_eq!(wire.resets(), 0);
}

#[test]
fn fin_follows_what_was_accepted_before_the_end_of_the_write_side() {
    let wire = Wire::full();
    let stream = stream(&wire);
    assert!(!stream.async_write(1, &shared(&payload(3 << 20))).unwrap());
    stream.shutdown_write().unwrap();
    assert!(matches!(write(&stream, 1), Err(Error::ShutDown)));
    wire.give_room(usize::MAX);
    patiently(|d| stream.flush(d)).unwrap();
    eventually("FIN", || wire.fins() == 1);
    stream.close();
    assert_eq!(wire.fins(), 1, "once");
    assert_eq!(join(&open(&wire.taken())), payload(3 << 20));
}

#[test]
fn a_linger_of_zero_resets() {
    let wire = Wire::with_linger(Some(Duration::ZERO));
    let stream = stream(&wire);
    write(&stream, 1000).unwrap();
    assert_eq!(stream.close(), None);
    assert_eq!((wire.resets(), wire.fins()), (1, 0));
}

#[test]
fn a_linger_ends_with_a_reset_when_its_time_is_over() {
    let wire = Wire::with_linger(Some(LONG));
    let stream = stream(&wire);
    write(&stream, 1000).unwrap();
    assert_eq!(stream.close(), Some(LONG));
    assert_eq!(wire.resets(), 0);
    common::within(Duration::from_millis(20), |d| stream.linger(d)).unwrap();
    assert_eq!((wire.resets(), wire.fins()), (1, 0));
}

#[test]
fn a_closed_stream_without_progress_is_reset_and_counted() {
    ktls_engine::set_tunable("linger_timeout", 1).unwrap();
    let (wire, pool) = (Wire::full(), Arc::new(Pool::new()));
    let before = linger_resets();
    let stream = common::stream_in(&wire, &pool);
    assert!(!stream.async_write(1, &shared(&payload(3 << 20))).unwrap());
    let (open_wire, held) = (Wire::full(), 700_000);
    let still_open = common::stream_in(&open_wire, &pool);
    write(&still_open, held).unwrap();
    stream.close();
    drop(stream);
    eventually("the reset", || wire.resets() == 1);
    assert_eq!(linger_resets(), before + 1);
    let completions = pool.completions();
    let passed = |outcome: &Outcome| matches!(outcome, Outcome::Ended(Err(Error::LingerPassed(1))));
    assert_eq!(completions.len(), 1);
    assert!(passed(&completions[0].outcome), "{completions:?}");
    assert_eq!(still_open.pending(), held, "its program has it");
    let unsent = Unsent {
        bytes: held,
        connections: 1,
    };
    assert_eq!(pool.unsent(), unsent);
}

#[test]
fn a_pool_that_stops_waits_for_what_was_accepted() {
    let (wire, pool) = (Wire::full(), Arc::new(Pool::new()));
    let stream = common::stream_in(&wire, &pool);
    assert!(!stream.async_write(1, &shared(&payload(3 << 20))).unwrap());
    thread::scope(|scope| {
        let stopping = scope.spawn(|| stop(&pool, LONG));
        assert!(!pool.is_stopped(), "it drains");
        assert!(!stream.async_write(2, &Data::Borrowed(b"x")).unwrap());
        wire.give_room(usize::MAX);
        assert_eq!(stopping.join().unwrap(), Unsent::default());
    });
    assert!(pool.is_stopped());
    assert_eq!(join(&open(&wire.taken())).len(), (3 << 20) + 1);
}

#[test]
fn a_call_of_a_stopped_pool_does_its_own_work() {
    let (wire, pool) = (Wire::open(), Arc::new(Pool::new()));
    pool.start(1, ktls_engine::Binding::None).unwrap();
    let stream = common::stream_in(&wire, &pool);
    assert_eq!(stop(&pool, LONG), Unsent::default());
    assert_eq!(write(&stream, 900_000).unwrap(), 900_000);
    assert_eq!(stream.pending(), 0);
    stream.async_write(1, &shared(&payload(3 << 20))).unwrap();
    assert_eq!(join(&open(&wire.taken())).len(), 900_000 + (3 << 20));
    let me = thread::current().name().unwrap().to_owned();
    assert!(wire.senders().iter().all(|name| *name == me));
    stream.close();
    assert_eq!(wire.fins(), 1);
}

#[test]
fn a_call_of_a_stopped_pool_raises_what_it_cannot_send() {
    let (wire, pool) = (Wire::full(), Arc::new(Pool::new()));
    let stream = common::stream_in(&wire, &pool);
    assert_eq!(stop(&pool, Duration::from_millis(30)), Unsent::default());
    let error = write(&stream, 900_000).unwrap_err();
    assert!(matches!(error, Error::ExitPassed(900_000)), "{error:?}");
    assert_eq!(wire.resets(), 1);
    assert!(matches!(write(&stream, 1), Err(Error::Failed(_))));
    let short = common::stream_in(&Wire::full(), &pool);
    assert!(matches!(write(&short, 1), Err(Error::ExitPassed(1))));
}

#[test]
fn what_could_not_be_sent_is_counted() {
    let pool = Arc::new(Pool::new());
    let wires = [Wire::full(), Wire::full(), Wire::open()];
    let streams = wires.each_ref().map(|wire| common::stream_in(wire, &pool));
    write(&streams[0], 700_000).unwrap();
    streams[1]
        .async_write(1, &shared(&payload(3 << 20)))
        .unwrap();
    write(&streams[2], 700_000).unwrap();
    patiently(|d| streams[2].flush(d)).unwrap();
    let unsent = Unsent {
        bytes: 700_000 + (3 << 20),
        connections: 2,
    };
    assert_eq!(stop(&pool, Duration::from_millis(30)), unsent);
    assert_eq!(stop(&pool, LONG), unsent, "counted again");
    streams[0].abort();
    assert_eq!(pool.unsent().connections, 1);
}

#[test]
fn a_stream_is_not_released_while_it_holds_anything() {
    let wire = Wire::full();
    let stream = stream(&wire);
    write(&stream, 1000).unwrap();
    assert!(matches!(stream.release(), Err(Error::Unsent(1000))));
    wire.give_room(usize::MAX);
    patiently(|d| stream.flush(d)).unwrap();
    stream.release().unwrap();
    assert!(matches!(write(&stream, 1), Err(Error::Closed)));
    drop(stream);
    assert_eq!((wire.fins(), wire.resets()), (0, 0), "it goes on");
}
