//! Whose turn it is to wait for the socket. It is held across waits, and seen by the holder's own signal handlers, which
//! go in. Nothing that a handler could need is held with it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

use crate::deadline::Deadline;
use crate::error::Result;
use crate::pool::lock;
use crate::transport::TcpTransport;

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Turn {
    place: Mutex<Place>,
    given_back: Condvar,
}

#[derive(Debug, Default)]
struct Place {
    holder: Option<ThreadId>,
    /// Threads asleep until it is given back: telling nobody is a system call all the same.
    waiting: usize,
}

/// The right to wait; given back when it is dropped.
pub(super) struct Held<'a> {
    turn: &'a Turn,
    transport: &'a TcpTransport,
    /// A signal handler runs in the middle of the turn of its own thread.
    is_nested: bool,
}

impl Turn {
    /// Waits for the turn, unless it is this thread's already.
    ///
    /// # Errors
    /// [`crate::Error::DeadlinePassed`], EINTR, EBADF, EPERM.
    pub(super) fn take<'a>(
        &'a self,
        transport: &'a TcpTransport,
        deadline: &mut Deadline<'_>,
    ) -> Result<Held<'a>> {
        let this_thread = std::thread::current().id();
        loop {
            transport.check_open()?;
            let mut place = self.place();
            let is_nested = place.holder == Some(this_thread);
            if place.holder.is_none() || is_nested {
                place.holder = Some(this_thread);
                return Ok(Held {
                    turn: self,
                    transport,
                    is_nested,
                });
            }
            let nap = deadline.nap()?;
            place.waiting += 1;
            let (mut place, _) = self
                .given_back
                .wait_timeout(place, nap)
                .unwrap_or_else(PoisonError::into_inner);
            place.waiting -= 1;
            drop(place);
            deadline.check_signals()?;
        }
    }

    /// Whether somebody waits for the socket, and will see what comes.
    pub(super) fn is_taken(&self) -> bool {
        self.place().holder.is_some()
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        lock(&self.place)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // In a forked child the lock may be a vanished thread's.
        if !self.is_nested && self.transport.check_process().is_ok() {
            let mut place = self.turn.place();
            place.holder = None;
            let is_awaited = place.waiting > 0;
            drop(place);
            if is_awaited {
                self.turn.given_back.notify_one();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::OwnedFd;
    use std::thread;
    use std::time::Instant;

    use super::{TcpTransport, Turn};
    use crate::deadline::{Deadline, LOOK_AGAIN};

    fn transport() -> TcpTransport {
        let server = TcpListener::bind("127.0.0.1:0").expect("a port");
        let socket = TcpStream::connect(server.local_addr().expect("bound")).expect("listening");
        TcpTransport::new(OwnedFd::from(socket)).expect("TCP")
    }

    /// A busy machine may disturb a round; a turn that nobody is told of spoils each.
    #[test]
    fn who_waits_is_told() {
        let transport = transport();
        let turn = Turn::default();
        let take = || {
            let mut never = || false;
            turn.take(&transport, &mut Deadline::until(None, &mut never))
                .expect("open")
        };
        let round = || {
            let held = take();
            thread::scope(|scope| {
                let waiting = scope.spawn(|| {
                    let begin = Instant::now();
                    drop(take());
                    begin.elapsed()
                });
                while turn.place().waiting == 0 {
                    thread::yield_now();
                }
                drop(held);
                waiting.join().expect("no panic") < LOOK_AGAIN
            })
        };
        assert!((0..8).any(|_| round()));
        assert_eq!(turn.place().waiting, 0);
        assert!(!turn.is_taken());
    }

    #[test]
    fn a_handler_goes_into_the_turn_of_its_thread() {
        let transport = transport();
        let turn = Turn::default();
        let mut never = || false;
        let mut deadline = Deadline::nonblocking(&mut never);
        let held = turn.take(&transport, &mut deadline).expect("free");
        drop(turn.take(&transport, &mut deadline).expect("its own"));
        assert!(turn.is_taken(), "the handler gives nothing back");
        drop(held);
        assert!(!turn.is_taken());
    }
}
