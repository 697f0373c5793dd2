//! A descriptor that selectors can wait on in place of the socket, since the socket itself would take clear text.
//!
//! The near end of a local pair is given out, the far end is kept. Whoever writes to the near end gets EPIPE, because
//! the far end has stopped receiving. A datagram that was sent before counts against the near end's send buffer for
//! ever: one as large as that makes it unwritable, a larger one writable. It is readable while a datagram lies in it,
//! and hangs up and fails with the connection.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, Weak};

use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::pool::lock;
use crate::sys;

/// Who knows whether a socket that is readable has something for the program: a part of a record is nothing.
///
/// `tell` is called, at most once, with whether the program's descriptor is readable, while what that depends on cannot
/// change. The result: whether the socket is to be watched, because nothing is readable yet.
pub trait ReadReadiness: Send + Sync {
    /// The socket has become readable: looks at what came.
    fn look(&self, tell: &mut dyn FnMut(bool)) -> bool;

    /// The program has read: says whether something is left in memory.
    fn tell_rest(&self, tell: &mut dyn FnMut(bool)) -> bool;
}

pub(crate) struct PollFd {
    /// The near end's number, which stays.
    number: RawFd,
    pair: Mutex<Pair>,
    /// None: whatever the socket has is for the program.
    readiness: Option<Weak<dyn ReadReadiness>>,
}

struct Pair {
    near: OwnedFd,
    far: OwnedFd,
    /// The socket has a peer. Before that nothing can be sent.
    is_connected: bool,
    has_room: bool,
    /// As it is now.
    is_writable: bool,
    has_failed: bool,
    /// It has hung up: nothing takes that back.
    is_over: bool,
}

/// Keeps the number of a poll descriptor while somebody waits for it.
pub struct KeptPollFd {
    _kept: Arc<PollFd>,
}

impl KeptPollFd {
    pub(crate) fn new(kept: Arc<PollFd>) -> Self {
        Self { _kept: kept }
    }
}

impl PollFd {
    /// `is_connected`: the socket has a peer.
    pub(crate) fn new(
        readiness: Option<Weak<dyn ReadReadiness>>,
        is_connected: bool,
    ) -> Result<Self> {
        let mut pair = Pair::new()?;
        pair.is_connected = is_connected;
        pair.show_writable();
        Ok(Self {
            number: pair.near.as_raw_fd(),
            pair: Mutex::new(pair),
            readiness,
        })
    }

    pub(crate) fn raw_fd(&self) -> RawFd {
        self.number
    }

    pub(crate) fn set_readable(&self, readable: bool) {
        let pair = lock(&self.pair);
        if !readable {
            sys::drain(&pair.near);
        } else if sys::put_byte(&pair.far) == Err(Errno::AGAIN) {
            // It is readable already, and a poller that is told of changes is to be told again.
            sys::take_datagram(&pair.near);
            let _ = sys::put_byte(&pair.far);
        }
    }

    /// The socket is readable. Whether to watch it further.
    pub(crate) fn on_readable(&self) -> bool {
        let Some(readiness) = &self.readiness else {
            self.set_readable(true);
            return false;
        };
        match readiness.upgrade() {
            Some(readiness) => readiness.look(&mut |readable| {
                if readable {
                    self.set_readable(true);
                }
            }),
            None => false,
        }
    }

    /// The program has read. Whether to watch the socket.
    pub(crate) fn on_read(&self) -> bool {
        match self.readiness.as_ref().map(Weak::upgrade) {
            Some(Some(readiness)) => {
                readiness.tell_rest(&mut |readable| self.set_readable(readable))
            }
            Some(None) => false,
            None => {
                self.set_readable(false);
                true
            }
        }
    }

    /// Whether there is room for what the program sends.
    pub(crate) fn set_writable(&self, has_room: bool) {
        let mut pair = lock(&self.pair);
        pair.has_room = has_room;
        pair.show_writable();
    }

    /// Whether the socket has no peer yet.
    pub(crate) fn is_connecting(&self) -> bool {
        !lock(&self.pair).is_connected
    }

    /// The socket has a peer now.
    pub(crate) fn note_connected(&self) {
        let mut pair = lock(&self.pair);
        pair.is_connected = true;
        pair.show_writable();
    }

    /// The peer has ended its side: POLLRDHUP; `both` sides have: POLLHUP.
    pub(crate) fn hang_up(&self, both: bool) {
        lock(&self.pair).hang_up(both);
    }

    /// The connection has failed: POLLERR, beside everything else.
    pub(crate) fn fail(&self) {
        let mut pair = lock(&self.pair);
        if !core::mem::replace(&mut pair.has_failed, true) {
            pair.refuse_writes();
            sys::fail_pair(&pair.far);
            pair.hang_up(true);
        }
    }

    /// The socket is being connected once more: a descriptor that has hung up begins anew under its number.
    pub(crate) fn renew(&self) -> Result<()> {
        let mut pair = lock(&self.pair);
        if pair.is_over {
            let Pair { near, far, .. } = Pair::new()?;
            sys::replace(&near, &mut pair.near).map_err(no_pair)?;
            pair.far = far;
            pair.is_connected = false;
            pair.has_room = true;
            pair.is_writable = false;
            pair.has_failed = false;
            pair.is_over = false;
        }
        Ok(())
    }
}

impl Pair {
    /// Neither readable nor writable.
    fn new() -> Result<Self> {
        let (near, far) = sys::poll_pair().map_err(no_pair)?;
        Ok(Self {
            near,
            far,
            is_connected: false,
            has_room: true,
            is_writable: false,
            has_failed: false,
            is_over: false,
        })
    }

    fn show_writable(&mut self) {
        let writable = self.is_connected && self.has_room;
        if core::mem::replace(&mut self.is_writable, writable) != writable {
            sys::set_pair_writable(&self.near, writable);
        }
    }

    fn hang_up(&mut self, both: bool) {
        if both {
            self.refuse_writes();
            self.is_over = true;
        }
        sys::hang_up(&self.near, both);
    }

    /// What the program sends is an error, and no socket is unwritable then.
    fn refuse_writes(&mut self) {
        self.is_connected = true;
        self.has_room = true;
        self.show_writable();
    }
}

fn no_pair(errno: Errno) -> Error {
    Error::Resource {
        errno,
        wanted: "a poll descriptor (two sockets of a local pair)",
    }
}
