//! A descriptor that selectors can wait on in place of the socket, since the socket itself would take clear text.
//!
//! One end of a local pair is given out. It is readable while a byte lies in it, writable while the pair's send buffer
//! has space, and hangs up with the connection. What a program writes to it by mistake is dropped here.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

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
    near: OwnedFd,
    /// None: it was closed, which is how an error is told.
    far: Mutex<Option<OwnedFd>>,
    writable: AtomicBool,
    /// None: whatever the socket has is for the program.
    readiness: Option<Weak<dyn ReadReadiness>>,
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
    pub(crate) fn new(readiness: Option<Weak<dyn ReadReadiness>>) -> Result<Self> {
        let (near, far) = sys::socket_pair().map_err(|errno| Error::Resource {
            errno,
            wanted: "a poll descriptor (two sockets of a local pair)",
        })?;
        Ok(Self {
            near,
            far: Mutex::new(Some(far)),
            writable: AtomicBool::new(true),
            readiness,
        })
    }

    pub(crate) fn raw_fd(&self) -> i32 {
        self.near.as_raw_fd()
    }

    pub(crate) fn set_readable(&self, readable: bool) {
        if readable {
            if let Some(far) = &*lock(&self.far) {
                sys::put_byte(far);
            }
        } else {
            sys::drain(&self.near);
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

    pub(crate) fn set_writable(&self, writable: bool) {
        if self.writable.swap(writable, Ordering::AcqRel) != writable {
            let far = lock(&self.far);
            if writable {
                if let Some(far) = &*far {
                    sys::drain(far);
                }
            } else {
                sys::fill(&self.near);
            }
        }
    }

    /// The peer has ended its side: POLLRDHUP; `both` sides have: POLLHUP.
    pub(crate) fn hang_up(&self, both: bool) {
        if let Some(far) = &*lock(&self.far) {
            sys::end_pair(far, both);
        }
    }

    /// The connection has failed: POLLERR, beside everything else.
    pub(crate) fn fail(&self) {
        if let Some(far) = lock(&self.far).take() {
            // A local socket that is closed with something unread resets its peer.
            sys::put_byte(&self.near);
            drop(far);
        }
    }
}
