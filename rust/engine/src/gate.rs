//! Keeps `fork` out of the middle of things.
//!
//! Whoever touches a send buffer, a pool or a socket holds the gate shared; a forking thread holds it alone
//! from before the fork until after it. So the child inherits no lock that a vanished thread was holding.
//! Sessions do not survive in the child: a (key, sequence number) pair must seal once (DESIGN: safety).

use std::cell::RefCell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};

static GATE: RwLock<()> = RwLock::new(());
static GENERATION: AtomicU32 = AtomicU32::new(0);

thread_local! {
    static FORKING: RefCell<Option<RwLockWriteGuard<'static, ()>>> = const { RefCell::new(None) };
}

pub(crate) type Pass = RwLockReadGuard<'static, ()>;

/// Comes in; to be held while shared state is touched, never while waiting for anything.
pub(crate) fn enter() -> Pass {
    GATE.read().unwrap_or_else(PoisonError::into_inner)
}

/// Comes in unless that takes waiting: for callers who hold what a forking thread may need before it lets anybody in.
pub(crate) fn try_enter() -> Option<Pass> {
    match GATE.try_read() {
        Ok(pass) => Some(pass),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// How many forks lie between this process and the first.
pub(crate) fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

/// Waits until every thread of the engine is at rest, and keeps it there.
pub fn before_fork() {
    let guard = GATE.write().unwrap_or_else(PoisonError::into_inner);
    FORKING.with_borrow_mut(|slot| *slot = Some(guard));
}

/// Lets the threads go on.
pub fn after_fork_in_parent() {
    FORKING.with_borrow_mut(Option::take);
}

/// Makes everything inherited stale.
pub fn after_fork_in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    FORKING.with_borrow_mut(Option::take);
}
