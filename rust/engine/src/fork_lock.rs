//! Holds `fork` off while any thread is inside the engine, and tells every connection that its process was forked.
//!
//! Every thread that touches shared state of the engine holds the lock shared; a forking thread holds it alone, from
//! `pthread_atfork`'s first handler to its last. So a child inherits no lock that a vanished thread was holding. Nobody
//! waits for the interpreter, a disk or a peer while holding it. A fork that runs no handler (a bare system call) is
//! seen all the same: a page that the kernel wipes in every child says so. Connections do not survive in a child: a
//! (key, sequence number) pair seals once (RFC 8446 §5.3).

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{
    Once, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError,
};

use crate::error::{Error, Result};
use crate::sys;

/// One for each of the last forks between this process and its first: a lock that was inherited from a fork without
/// handlers may be held for ever, and is never touched again.
static LOCKS: [RwLock<()>; 32] = [const { RwLock::new(()) }; 32];
static FORK_COUNT: AtomicU32 = AtomicU32::new(0);
/// 1 in the process that set it, 0 in every fork of it.
static UNFORKED: OnceLock<&'static AtomicU32> = OnceLock::new();
static REGISTERED: Once = Once::new();

thread_local! {
    static INSIDE: Cell<u32> = const { Cell::new(0) };
    static FORKING: RefCell<Option<RwLockWriteGuard<'static, ()>>> = const { RefCell::new(None) };
}

/// Keeps forks out until it is dropped.
pub(crate) struct ForkGuard {
    /// None inside another guard of the same thread.
    _shared: Option<RwLockReadGuard<'static, ()>>,
    fork_count: u32,
}

impl ForkGuard {
    #[inline]
    fn new(shared: Option<RwLockReadGuard<'static, ()>>, fork_count: u32) -> Self {
        INSIDE.set(INSIDE.get() + 1);
        Self {
            _shared: shared,
            fork_count,
        }
    }
}

impl Drop for ForkGuard {
    fn drop(&mut self) {
        INSIDE.set(INSIDE.get() - 1);
    }
}

/// Enters the engine; waits while another thread forks.
#[inline]
pub(crate) fn shared() -> ForkGuard {
    let fork_count = fork_count();
    if INSIDE.get() > 0 {
        return ForkGuard::new(None, fork_count);
    }
    let guard = lock(fork_count)
        .read()
        .unwrap_or_else(PoisonError::into_inner);
    ForkGuard::new(Some(guard), fork_count)
}

/// Enters the engine unless another thread forks: for a caller that holds what the forking thread may wait for.
pub(crate) fn try_shared() -> Option<ForkGuard> {
    let fork_count = fork_count();
    if INSIDE.get() > 0 {
        return Some(ForkGuard::new(None, fork_count));
    }
    let guard = match lock(fork_count).try_read() {
        Ok(guard) => guard,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return None,
    };
    Some(ForkGuard::new(Some(guard), fork_count))
}

/// How many forks lie between this process and the one in which the engine was first used.
#[inline]
pub fn fork_count() -> u32 {
    if let Some(unforked) = UNFORKED.get()
        && unforked.load(Ordering::Relaxed) == 0
    {
        note_fork();
    }
    FORK_COUNT.load(Ordering::Relaxed)
}

/// The process that something belongs to.
#[derive(Clone, Copy, Debug)]
pub struct OwnerProcess {
    fork_count: u32,
    pid: u32,
}

impl OwnerProcess {
    /// This process.
    pub(crate) fn current() -> Self {
        watch_forks();
        Self {
            fork_count: fork_count(),
            pid: std::process::id(),
        }
    }

    /// Looks whether this is still that process.
    ///
    /// # Errors
    /// [`Error::Forked`] in a child of it.
    #[inline]
    pub fn check(self) -> Result<()> {
        self.check_count(fork_count())
    }

    /// The same for a thread that holds forks off.
    #[inline]
    pub(crate) fn check_inside(self, guard: &ForkGuard) -> Result<()> {
        self.check_count(guard.fork_count)
    }

    #[inline]
    fn check_count(self, fork_count: u32) -> Result<()> {
        if self.fork_count == fork_count {
            return Ok(());
        }
        Err(Error::Forked(self.pid))
    }
}

/// From now on forks are noticed. A second call does nothing.
pub fn watch_forks() {
    REGISTERED.call_once(|| {
        if let Some(word) = sys::word_wiped_on_fork() {
            word.store(1, Ordering::Relaxed);
            let _ = UNFORKED.set(word);
        }
        sys::at_fork(before_fork, after_fork_in_parent, after_fork_in_child);
    });
}

fn lock(fork_count: u32) -> &'static RwLock<()> {
    &LOCKS[fork_count as usize % LOCKS.len()]
}

#[cold]
fn note_fork() {
    // A page that cannot be wiped says nothing: then the handler is the only one to count.
    if UNFORKED
        .get()
        .is_none_or(|unforked| unforked.swap(1, Ordering::Relaxed) == 0)
    {
        FORK_COUNT.fetch_add(1, Ordering::Relaxed);
    }
}

extern "C" fn before_fork() {
    // A handler of a signal may fork in the middle of anything: waiting for this very thread would never end.
    if INSIDE.get() == 0 {
        let guard = lock(fork_count())
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        FORKING.with_borrow_mut(|slot| *slot = Some(guard));
    }
}

extern "C" fn after_fork_in_parent() {
    FORKING.with_borrow_mut(Option::take);
}

extern "C" fn after_fork_in_child() {
    note_fork();
    FORKING.with_borrow_mut(Option::take);
}
