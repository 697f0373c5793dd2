//! A worker's poller: tells tasks that wait for their socket, and descriptors that programs select on.
//!
//! A socket has one place in the poller, with both interests in it; each is told once and armed anew.

use std::collections::HashMap;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::lock;
use super::task::{Expiry, Task};
use crate::error::{Error, Result};
use crate::poll_fd::PollFd;
use crate::sys::{self, Event, Interest};
use crate::{fork_lock, tunables};

/// The key of the descriptor that wakes the poller; the others are tasks' ids.
const WAKE: u64 = 0;

#[derive(Default)]
struct Watch {
    /// Waits for its socket; the reference keeps a closed task alive until it has drained.
    blocked: Option<Arc<dyn Task>>,
    /// Is told when the socket is readable.
    poll_fd: Option<(Weak<dyn Task>, Arc<PollFd>)>,
    interest: Interest,
}

/// See the head of this file.
pub(super) struct Poller {
    epoll: OwnedFd,
    wake: OwnedFd,
    watches: Mutex<HashMap<u64, Watch>>,
    /// A closed task is among those that wait.
    lingering: AtomicBool,
}

impl Poller {
    pub(super) fn new() -> core::result::Result<Self, Errno> {
        let (epoll, wake) = (sys::epoll()?, sys::eventfd()?);
        sys::epoll_watch(&epoll, &wake, WAKE)?;
        Ok(Self {
            epoll,
            wake,
            watches: Mutex::default(),
            lingering: AtomicBool::new(false),
        })
    }

    /// Ends a wait that goes on, or the next one.
    pub(super) fn wake(&self) {
        sys::eventfd_signal(&self.wake);
    }

    /// Tells the task, once, when its socket is writable or has failed.
    pub(super) fn watch_writable(&self, task: &Arc<dyn Task>) -> Result<()> {
        let mut watches = lock(&self.watches);
        let watch = watches.entry(task.id()).or_default();
        watch.blocked = Some(Arc::clone(task));
        watch.interest.writable = true;
        self.arm(task.id(), task.poll_fd(), watch.interest)
    }

    /// Tells this descriptor whenever the socket is readable, beginning now, and once when it has a peer.
    pub(super) fn watch_readable(&self, task: &Arc<dyn Task>, poll_fd: &Arc<PollFd>) -> Result<()> {
        // The event may come at once, and it comes once: the watch must be there first.
        let mut watches = lock(&self.watches);
        let watch = watches.entry(task.id()).or_default();
        watch.poll_fd = Some((Arc::downgrade(task), Arc::clone(poll_fd)));
        watch.interest.readable = true;
        // A socket is writable once it has a peer.
        watch.interest.writable |= poll_fd.is_connecting();
        self.arm(task.id(), task.poll_fd(), watch.interest)
    }

    /// What was readable has been read: the descriptor is told again.
    pub(super) fn rearm_readable(&self, task: &dyn Task) {
        let mut watches = lock(&self.watches);
        if let Some(watch) = watches.get_mut(&task.id())
            && watch.poll_fd.is_some()
        {
            watch.interest.readable = true;
            // A socket that cannot be watched any more has been closed.
            let _ = self.arm(task.id(), task.poll_fd(), watch.interest);
        }
    }

    /// The descriptor is told of nothing more.
    pub(super) fn unwatch_readable(&self, id: u64) {
        let dropped = {
            let mut watches = lock(&self.watches);
            watches.get_mut(&id).and_then(|watch| {
                watch.interest.readable = false;
                watch.poll_fd.take()
            })
        };
        drop(dropped);
    }

    /// The task ends: its descriptor leaves the poller before it is closed.
    pub(super) fn forget(&self, id: u64, fd: BorrowedFd<'_>) {
        let watch = {
            let mut watches = lock(&self.watches);
            sys::epoll_forget(&self.epoll, fd);
            watches.remove(&id)
        };
        drop(watch);
    }

    /// A task was closed that may wait for its socket.
    pub(super) fn linger(&self) {
        if !self.lingering.swap(true, Ordering::AcqRel) {
            self.wake();
        }
    }

    /// Tells everybody what happened, after sleeping until something did, unless `sleep` is false. Returns the tasks
    /// that can go on.
    pub(super) fn poll(&self, events: &mut Vec<Event>, sleep: bool) -> Vec<Arc<dyn Task>> {
        let timeout = if !sleep {
            Some(Duration::ZERO)
        } else if self.lingering.load(Ordering::Acquire) {
            Some(linger_interval())
        } else {
            None
        };
        let mut ready = Vec::new();
        if sys::epoll_wait(&self.epoll, events, timeout).is_err() {
            return ready;
        }
        for event in events.drain(..) {
            if event.key == WAKE {
                sys::eventfd_clear(&self.wake);
            } else {
                ready.extend(self.tell(event));
            }
        }
        if sleep && self.lingering.load(Ordering::Acquire) {
            self.expire();
        }
        ready
    }

    fn tell(&self, event: Event) -> Option<Arc<dyn Task>> {
        let _fork = fork_lock::shared();
        let ended = event.hung_up || event.failed;
        let is_readable = event.readable || event.peer_ended;
        let mut owner = None;
        // Without the lock: whoever is asked may arm the socket itself. An end that is told below makes the descriptor
        // readable, and who looked would take the error from the program.
        let watches_on = is_readable && !ended && self.tell_readable(event.key);
        let blocked = {
            let mut watches = lock(&self.watches);
            let watch = watches.get_mut(&event.key)?;
            if let Some((task, poll_fd)) = &watch.poll_fd {
                if is_readable || ended {
                    // A peer that has ended its side is told of at once, and stays so.
                    let watches_on = watches_on && !event.peer_ended;
                    watch.interest.readable = watches_on || watch.interest.readable && !ended;
                }
                if event.failed {
                    poll_fd.fail();
                } else if event.peer_ended || event.hung_up {
                    poll_fd.hang_up(event.hung_up);
                }
                if event.writable {
                    poll_fd.note_connected();
                }
                owner = task.upgrade();
            }
            let blocked = if event.writable || ended {
                watch.interest.writable = false;
                watch.blocked.take()
            } else {
                owner = owner.or_else(|| watch.blocked.clone());
                None
            };
            if watch.interest != Interest::default()
                && let Some(task) = owner.as_ref().or(blocked.as_ref())
            {
                let _ = self.arm(event.key, task.poll_fd(), watch.interest);
            }
            blocked
        };
        // After the lock: a task that ends here leaves the poller.
        drop(owner);
        if let Some(task) = &blocked {
            task.on_writable();
        }
        blocked
    }

    /// Whether to watch the socket further: what came is nothing for the program yet.
    fn tell_readable(&self, id: u64) -> bool {
        let poll_fd = {
            let mut watches = lock(&self.watches);
            let Some(watch) = watches.get_mut(&id) else {
                return false;
            };
            watch.interest.readable = false;
            watch
                .poll_fd
                .as_ref()
                .map(|(_, poll_fd)| Arc::clone(poll_fd))
        };
        poll_fd.is_some_and(|poll_fd| poll_fd.on_readable())
    }

    fn expire(&self) {
        let now = Instant::now();
        let waiting: Vec<_> = lock(&self.watches)
            .values()
            .filter_map(|watch| watch.blocked.clone())
            .collect();
        self.lingering.store(false, Ordering::Release);
        for task in &waiting {
            match task.expire(now) {
                Expiry::Open => {}
                Expiry::Lingers { hears } => {
                    self.lingering.store(true, Ordering::Release);
                    if hears {
                        self.watch_unread(task.as_ref());
                    }
                }
                Expiry::Ended => {
                    let mut watches = lock(&self.watches);
                    let blocked = watches
                        .get_mut(&task.id())
                        .and_then(|watch| watch.blocked.take());
                    drop(watches);
                    drop(blocked);
                }
            }
        }
    }

    /// Looks at a closed task again when its peer says something.
    fn watch_unread(&self, task: &dyn Task) {
        let mut watches = lock(&self.watches);
        if let Some(watch) = watches.get_mut(&task.id())
            && watch.blocked.is_some()
        {
            watch.interest.readable = true;
            // Without it the task is looked at a little later.
            let _ = self.arm(task.id(), task.poll_fd(), watch.interest);
        }
    }

    fn arm(&self, id: u64, fd: BorrowedFd<'_>, interest: Interest) -> Result<()> {
        sys::epoll_arm(&self.epoll, fd, id, interest).map_err(|errno| Error::Resource {
            errno,
            wanted: "a place in the poller",
        })
    }
}

/// How often closed connections are looked at.
fn linger_interval() -> Duration {
    let whole = 1000 * tunables::linger_timeout::get();
    Duration::from_millis((whole / 4).clamp(10, 1000) as u64)
}
