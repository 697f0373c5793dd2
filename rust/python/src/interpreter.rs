//! Whether a large read is made with the interpreter held.
//!
//! Letting it go lets others run meanwhile. But a thread of pure Python gives it back after the switch interval alone
//! (`sys.setswitchinterval`, 5 ms), so that beside one each such read takes 5 ms, whatever lies ready. A reader that
//! keeps the interpreter while data lies ready is asked for it after the same interval: both get half of the time.
//!
//! | what is seen | large reads |
//! |---|---|
//! | the interpreter came back at once | let it go |
//! | it came back late, and no large read held it meanwhile | the next ones keep it, then one tries again |

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Up to this size, one record, a read of what lies ready keeps the interpreter.
const SMALL: usize = 16384;

/// Large reads that keep it, until one tries again.
const READS: u32 = 256;

/// A wait for it that only a thread that does not let go explains, and that is less than its switch interval.
const LATE: Duration = Duration::from_millis(3);

/// Large reads that may keep it.
static LEFT: AtomicU32 = AtomicU32::new(0);
/// Large reads that kept it. Readers do not take each other for threads that never let go.
static KEPT: AtomicU32 = AtomicU32::new(0);

/// Whether a read of so many bytes keeps the interpreter, where they lie ready.
pub(crate) fn is_kept(size: usize) -> bool {
    if size <= SMALL {
        return true;
    }
    let left = LEFT.load(Ordering::Relaxed);
    if left == 0 {
        return false;
    }
    // Two threads may count as one: it is a guess anyway.
    LEFT.store(left - 1, Ordering::Relaxed);
    KEPT.fetch_add(1, Ordering::Relaxed);
    true
}

/// The moment in which a thread wants the interpreter back.
pub(crate) struct Wanted {
    since: Instant,
    kept: u32,
}

impl Wanted {
    pub(crate) fn now() -> Self {
        Self {
            since: Instant::now(),
            kept: KEPT.load(Ordering::Relaxed),
        }
    }

    /// It is back.
    pub(crate) fn got(&self) {
        if self.since.elapsed() > LATE && self.kept == KEPT.load(Ordering::Relaxed) {
            LEFT.store(READS, Ordering::Relaxed);
        }
    }
}
