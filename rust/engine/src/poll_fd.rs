//! A descriptor that selectors can wait on in place of the socket, since the socket itself would take clear text.
//!
//! A local socket, near, is given out; those that it is connected to, which many share, make it writable or not
//! (`poll_peers`). It is readable while a datagram lies in it, and hangs up and fails with the connection.
//!
//! Where there are no such peers it is the near end of a local pair, and the far end is kept. Whoever writes to the
//! near end gets EPIPE, because the far end has stopped receiving. A datagram that was sent before counts against the
//! near end's send buffer for ever: one as large as that makes it unwritable, a larger one writable.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, Weak};

use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::poll_peers::{self, Joined};
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
    shown: Mutex<Shown>,
    /// None: whatever the socket has is for the program.
    readiness: Option<Weak<dyn ReadReadiness>>,
}

/// What makes the near end what it is.
enum Other {
    Shared(Joined),
    /// The far end of a pair.
    Far(OwnedFd),
}

struct Shown {
    near: OwnedFd,
    other: Other,
    /// The socket has a peer. Before that nothing can be sent.
    is_connected: bool,
    has_room: bool,
    /// As it is now.
    is_writable: bool,
    /// A byte was put into it.
    is_readable: bool,
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
        let mut shown = Shown::new()?;
        shown.is_connected = is_connected;
        shown.show_writable();
        Ok(Self {
            number: shown.near.as_raw_fd(),
            shown: Mutex::new(shown),
            readiness,
        })
    }

    pub(crate) fn raw_fd(&self) -> RawFd {
        self.number
    }

    pub(crate) fn set_readable(&self, readable: bool) {
        lock(&self.shown).show_readable(readable);
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
        let mut shown = lock(&self.shown);
        shown.has_room = has_room;
        shown.show_writable();
    }

    /// Whether the socket has no peer yet.
    pub(crate) fn is_connecting(&self) -> bool {
        !lock(&self.shown).is_connected
    }

    /// The socket has a peer now.
    pub(crate) fn note_connected(&self) {
        let mut shown = lock(&self.shown);
        shown.is_connected = true;
        shown.show_writable();
    }

    /// The peer has ended its side: POLLRDHUP; `both` sides have: POLLHUP.
    pub(crate) fn hang_up(&self, both: bool) {
        lock(&self.shown).hang_up(both);
    }

    /// The connection has failed: POLLERR, beside everything else.
    pub(crate) fn fail(&self) {
        let mut shown = lock(&self.shown);
        if !core::mem::replace(&mut shown.has_failed, true) {
            shown.refuse_writes();
            shown.is_over = true;
            shown.show_failed();
        }
    }

    /// The socket is being connected once more: a descriptor that has hung up begins anew under its number.
    pub(crate) fn renew(&self) -> Result<()> {
        let mut shown = lock(&self.shown);
        if shown.is_over {
            let mut anew = Shown::new()?;
            shown.show_readable(false);
            sys::replace(&anew.near, &mut shown.near).map_err(no_descriptor)?;
            core::mem::swap(&mut shown.near, &mut anew.near);
            *shown = anew;
        }
        Ok(())
    }
}

impl Shown {
    /// Neither readable nor writable.
    fn new() -> Result<Self> {
        let (near, other) = match poll_peers::join() {
            Some((near, joined)) => (near, Other::Shared(joined)),
            None => {
                let (near, far) = sys::poll_pair().map_err(no_descriptor)?;
                (near, Other::Far(far))
            }
        };
        Ok(Self {
            near,
            other,
            is_connected: false,
            has_room: true,
            is_writable: false,
            is_readable: false,
            has_failed: false,
            is_over: false,
        })
    }

    /// At most one byte lies in it.
    fn show_readable(&mut self, readable: bool) {
        // If it is readable already, a poller that is told of changes is to be told again.
        if self.is_readable {
            sys::take_datagram(&self.near);
        }
        if readable {
            let _ = match &self.other {
                Other::Shared(joined) => joined.put_byte(&self.near, self.is_writable),
                Other::Far(far) => sys::put_byte(far),
            };
        }
        self.is_readable = readable;
    }

    fn show_writable(&mut self) {
        let writable = self.is_connected && self.has_room;
        if core::mem::replace(&mut self.is_writable, writable) == writable {
            return;
        }
        match &self.other {
            Other::Shared(joined) => {
                joined.show_writable(&self.near, writable);
                if core::mem::take(&mut self.is_readable) {
                    self.show_readable(true);
                }
            }
            Other::Far(_) => sys::set_pair_writable(&self.near, writable),
        }
    }

    /// And hung up.
    fn show_failed(&mut self) {
        match &self.other {
            Other::Shared(joined) => joined.fail(&self.near),
            Other::Far(far) => {
                sys::hang_up(&self.near, true);
                sys::fail_pair(far);
            }
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

impl Drop for Shown {
    fn drop(&mut self) {
        // Others may hold the near end for longer, a child of the process for one, and the byte counts for the peer.
        // In a child it is the parent's.
        if let Other::Shared(joined) = &self.other
            && self.is_readable
            && joined.is_own()
        {
            sys::take_datagram(&self.near);
        }
    }
}

fn no_descriptor(errno: Errno) -> Error {
    Error::Resource {
        errno,
        wanted: "a poll descriptor (a local socket)",
    }
}
