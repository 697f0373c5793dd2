//! A child that a fork made has no connection: every call says so, and nothing of the parent's changes.
//!
//! One test, for a process with few threads: what a child does between fork and exit must need no lock of a thread that
//! it does not have.

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

mod common;

use std::sync::Arc;

use common::wire::Wire;
use common::{at_once, join, keys, open, patiently, payload, shared, stream, within, write_state};
use ktls_engine::{AfterMessage, Data, Error, KeyUpdate, Result, SendStream, WriteFlags};

/// Runs this in a child that the given fork makes; returns the child's exit status.
#[expect(
    unsafe_code,
    reason = "a fork, and the end of a child, have no safe form"
)]
fn in_child(fork: impl FnOnce() -> libc::pid_t, run: impl FnOnce() -> i32) -> i32 {
    let pid = fork();
    assert!(pid >= 0, "no child");
    if pid == 0 {
        let code = run();
        // SAFETY: ends this process at once; nothing of the parent's runs in it any more.
        unsafe { libc::_exit(code) };
    }
    let mut status = 0;
    // SAFETY: `pid` is a child of this process that nobody else waits for, and `status` lives.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!(waited, pid);
    assert!(libc::WIFEXITED(status), "the child was killed: {status}");
    libc::WEXITSTATUS(status)
}

#[expect(unsafe_code, reason = "a fork has no safe form")]
fn fork() -> libc::pid_t {
    // SAFETY: the child calls the engine, which has told its handlers to be run, and ends with _exit.
    unsafe { libc::fork() }
}

/// A fork that runs no handler.
#[expect(unsafe_code, reason = "a system call without a wrapper")]
fn bare_fork() -> libc::pid_t {
    // SAFETY: no pointer is passed; the child calls the engine and ends with _exit.
    let pid = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
    libc::pid_t::try_from(pid).unwrap()
}

fn is_forked<T>(result: Result<T>) -> bool {
    matches!(result, Err(Error::Forked(_)))
}

/// Every call that a child can make; the number of the first that did not refuse, 0: all did.
fn calls_in_child(stream: Arc<SendStream>, file: std::os::fd::OwnedFd) -> i32 {
    let data = Data::Borrowed(b"child");
    let refused = [
        is_forked(at_once(|d| stream.send(&data, WriteFlags::DATA, d))),
        is_forked(at_once(|d| stream.send_all(&data, WriteFlags::DATA, d))),
        is_forked(patiently(|d| {
            stream.send(&shared(&[1; 100_000]), WriteFlags::DATA, d)
        })),
        is_forked(at_once(|d| stream.send_file(file, 0, 10, d))),
        is_forked(stream.async_write(9, &data)),
        is_forked(patiently(|d| stream.flush(d))),
        is_forked(at_once(|d| stream.wait_for_any_space(d))),
        is_forked(stream.send_message(21, vec![1, 0], AfterMessage::Nothing)),
        is_forked(stream.install(write_state(&keys(9)))),
        is_forked(stream.rekey(KeyUpdate::Silent, write_state(&keys(9)))),
        is_forked(stream.cork()),
        is_forked(stream.poll_descriptor()),
        is_forked(stream.check_process()),
        is_forked(stream.shutdown_write()),
        is_forked(stream.release()),
        stream.try_send(&data, WriteFlags::DATA).is_none(),
        stream.sequence().is_none(),
        stream.pending() == 0,
        !stream.cancel_async_write(1),
    ];
    stream.uncork();
    stream.set_readable(true);
    stream.abort();
    stream.close();
    drop(stream);
    let first = refused.iter().position(|refused| !refused);
    first.map_or(0, |index| i32::try_from(index).unwrap() + 1)
}

#[test]
fn a_child_has_no_connection() {
    let wire = Wire::full();
    let stream = stream(&wire);
    let data = payload(100_000);
    let accepted = within(std::time::Duration::from_millis(20), |d| {
        stream.send(&shared(&data), WriteFlags::DATA, d)
    });
    assert_eq!(accepted.unwrap(), data.len());
    let file = || tempfile::tempfile().unwrap().into();
    for (fork, name) in [
        (fork as fn() -> libc::pid_t, "fork"),
        (bare_fork, "a bare system call"),
    ] {
        let inherited = Arc::clone(&stream);
        let file = file();
        let code = in_child(fork, || {
            let code = calls_in_child(inherited, file);
            // The wire's memory is the child's own copy: nothing may have come there either.
            let untouched = wire.taken_len() == 0 && wire.fins() == 0 && wire.resets() == 0;
            if untouched { code } else { 100 }
        });
        assert_eq!(code, 0, "a call of a child that {name} made");
        stream.check_process().unwrap();
    }
    assert_eq!(stream.pending(), data.len());
    // A child inherits what waits, not what was said: its own child is a fork as well.
    let inherited = Arc::clone(&stream);
    let grandchild = in_child(fork, || {
        in_child(fork, || i32::from(!is_forked(inherited.check_process())))
    });
    assert_eq!(grandchild, 0);
    let nested = within(std::time::Duration::from_millis(200), |d| {
        stream.send(&Data::Borrowed(b"parent"), WriteFlags::DATA, d)
    });
    assert_eq!(nested.unwrap(), 6);
    wire.give_room(usize::MAX);
    patiently(|d| stream.flush(d)).unwrap();
    assert_eq!(join(&open(&wire.taken())), [&data[..], b"parent"].concat());
}
