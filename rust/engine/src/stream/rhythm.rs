//! Whether writes come so close together that a worker which stays awake serves them better than their caller.
//!
//! A request and its answer lie a round trip apart: the caller sends by itself, at once. A stream of writes has no such
//! gaps: sealing on one core while another sends is worth waking a worker once.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use crate::tunables;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Further writes are not counted, so that a few pauses end what many writes began.
const MOST: u32 = 64;

fn now_ns() -> u64 {
    u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

#[derive(Debug, Default)]
pub(super) struct Rhythm {
    last_end_ns: AtomicU64,
    close_together: AtomicU32,
}

impl Rhythm {
    /// A write begins.
    pub(super) fn begin(&self) {
        let gap = now_ns().saturating_sub(self.last_end_ns.load(Ordering::Relaxed));
        let before = self.close_together.load(Ordering::Relaxed);
        let now = if gap <= 1000 * tunables::stream_gap_us::get() as u64 {
            (before + 1).min(MOST)
        } else {
            // One pause, such as a wait for the interpreter, does not make a stream something else.
            before / 2
        };
        self.close_together.store(now, Ordering::Relaxed);
    }

    /// A write has ended, and its caller runs again.
    pub(super) fn end(&self) {
        self.last_end_ns.store(now_ns(), Ordering::Relaxed);
    }

    /// Whether the last writes were a stream.
    pub(super) fn is_stream(&self) -> bool {
        self.close_together.load(Ordering::Relaxed) as usize >= tunables::stream_run::get()
    }
}
