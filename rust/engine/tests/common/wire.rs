//! A transport in memory: takes what the test gives it room for, or does what a script says, and remembers.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ktls_engine::Transport;
use rustix::event::EventfdFlags;
use rustix::io::Errno;

/// What one call of `send` does, in place of taking what there is room for.
pub(crate) enum Act {
    /// Takes at most so many bytes, room or not; 0: EAGAIN, though the descriptor is writable.
    Take(usize),
    Fail(Errno),
    Panic,
    /// Waits at the gate, then goes on as usual.
    Hold(Gate),
}

/// Holds a thread until the test lets it go.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<(bool, bool)>, Condvar)>);

impl Gate {
    /// For the thread that is to be held.
    pub(crate) fn pass(&self) {
        self.set(|(arrived, _)| *arrived = true);
        self.wait_until(|(_, open)| *open);
    }

    /// Waits until a thread is there.
    pub(crate) fn wait_for_arrival(&self) {
        self.wait_until(|(arrived, _)| *arrived);
    }

    pub(crate) fn open(&self) {
        self.set(|(_, open)| *open = true);
    }

    fn set(&self, change: impl FnOnce(&mut (bool, bool))) {
        change(&mut self.0.0.lock().expect("no test panics here"));
        self.0.1.notify_all();
    }

    fn wait_until(&self, holds: impl Fn(&(bool, bool)) -> bool) {
        let state = self.0.0.lock().expect("no test panics here");
        let waited = self
            .0
            .1
            .wait_timeout_while(state, 2 * super::LONG, |state| !holds(state));
        let (state, result) = waited.expect("no test panics here");
        drop(state);
        assert!(!result.timed_out(), "nobody came to the gate");
    }
}

#[derive(Default)]
struct Inner {
    taken: Vec<u8>,
    room: usize,
    script: VecDeque<Act>,
    senders: Vec<String>,
    fins: usize,
    resets: usize,
}

struct Shared {
    inner: Mutex<Inner>,
    /// An eventfd that is full is not writable.
    writable: OwnedFd,
    linger: Option<Duration>,
}

/// The far end of a transport, in the test's hands.
#[derive(Clone)]
pub(crate) struct Wire(Arc<Shared>);

impl Wire {
    /// Takes everything.
    pub(crate) fn open() -> Self {
        let wire = Self::full();
        wire.give_room(usize::MAX);
        wire
    }

    /// Takes nothing until it is given room.
    pub(crate) fn full() -> Self {
        Self::with_linger(None)
    }

    pub(crate) fn with_linger(linger: Option<Duration>) -> Self {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let wire = Self(Arc::new(Shared {
            inner: Mutex::default(),
            writable: rustix::event::eventfd(0, flags).expect("a descriptor is free"),
            linger,
        }));
        wire.set_writable(false);
        wire
    }

    pub(crate) fn transport(&self) -> Box<dyn Transport> {
        Box::new(self.clone())
    }

    /// Takes so many bytes more.
    pub(crate) fn give_room(&self, bytes: usize) {
        let mut inner = self.lock();
        inner.room = inner.room.saturating_add(bytes);
        self.set_writable(true);
    }

    /// The next calls do this, one each.
    pub(crate) fn script(&self, acts: impl IntoIterator<Item = Act>) {
        self.lock().script.extend(acts);
        self.set_writable(true);
    }

    pub(crate) fn taken(&self) -> Vec<u8> {
        self.lock().taken.clone()
    }

    pub(crate) fn taken_len(&self) -> usize {
        self.lock().taken.len()
    }

    /// The name of the thread of each call.
    pub(crate) fn senders(&self) -> Vec<String> {
        self.lock().senders.clone()
    }

    /// How often FIN was sent.
    pub(crate) fn fins(&self) -> usize {
        self.lock().fins
    }

    /// How often the connection was reset.
    pub(crate) fn resets(&self) -> usize {
        self.lock().resets
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_writable(&self, writable: bool) {
        // Fails where nothing is to be changed.
        if writable {
            let _ = rustix::io::read(&self.0.writable, &mut [0; 8]);
        } else {
            let _ = rustix::io::write(&self.0.writable, &(u64::MAX - 1).to_ne_bytes());
        }
    }
}

impl Transport for Wire {
    fn send(&self, data: &[u8], _more: bool) -> Result<usize, Errno> {
        let act = {
            let mut inner = self.lock();
            let name = std::thread::current().name().unwrap_or_default().to_owned();
            inner.senders.push(name);
            inner.script.pop_front()
        };
        let mut most = usize::MAX;
        match act {
            Some(Act::Take(bytes)) => {
                most = bytes;
                let mut inner = self.lock();
                inner.room = inner.room.saturating_add(bytes);
            }
            Some(Act::Fail(errno)) => return Err(errno),
            Some(Act::Panic) => panic!("a panic of the transport"),
            Some(Act::Hold(gate)) => gate.pass(),
            None => {}
        }
        let mut inner = self.lock();
        assert_eq!(inner.fins, 0, "sent after FIN");
        let count = data.len().min(inner.room).min(most);
        if inner.room != usize::MAX {
            inner.room -= count;
        }
        if inner.room == 0 && inner.script.is_empty() {
            self.set_writable(false);
        }
        if count == 0 {
            return Err(Errno::AGAIN);
        }
        inner.taken.extend_from_slice(&data[..count]);
        Ok(count)
    }

    fn poll_fd(&self) -> BorrowedFd<'_> {
        self.0.writable.as_fd()
    }

    fn shutdown_write(&self) -> Result<(), Errno> {
        self.lock().fins += 1;
        Ok(())
    }

    fn abort(&self) {
        self.lock().resets += 1;
        self.set_writable(true);
    }

    fn linger(&self) -> Option<Duration> {
        self.0.linger
    }

    fn endpoints(&self) -> String {
        "nowhere".into()
    }
}
