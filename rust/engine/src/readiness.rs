//! A descriptor that selectors can wait on in place of the socket, since the socket itself would take clear text.
//!
//! One end of a local pair is given out. It is readable while a byte lies in it, and writable while its way to the
//! other end is not stuffed; what a program writes to it by mistake is read here and thrown away.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;

use crate::sys;

#[derive(Debug)]
pub(crate) struct Readiness {
    near: OwnedFd,
    far: OwnedFd,
    writable: AtomicBool,
}

impl Readiness {
    pub(crate) fn new() -> Result<Self, Errno> {
        let (near, far) = sys::socket_pair()?;
        Ok(Self {
            near,
            far,
            writable: AtomicBool::new(true),
        })
    }

    pub(crate) fn raw_fd(&self) -> i32 {
        self.near.as_raw_fd()
    }

    pub(crate) fn set_readable(&self, readable: bool) {
        if readable {
            sys::put_byte(&self.far);
        } else {
            sys::drain(&self.near);
        }
    }

    pub(crate) fn set_writable(&self, writable: bool) {
        if self.writable.swap(writable, Ordering::AcqRel) != writable {
            if writable {
                sys::drain(&self.far);
            } else {
                sys::fill(&self.near);
            }
        }
    }
}
