//! Whether writes come so close together that a worker which stays awake serves them better than their caller.
//!
//! A request and its answer lie a round trip apart: the caller sends by itself, at once. A stream of writes has no such
//! gaps: sealing on one core while another sends is worth waking a worker once.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use crate::tunables;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

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
        if gap <= 1000 * tunables::stream_gap_us::get() as u64 {
            let before = self.close_together.load(Ordering::Relaxed);
            self.close_together
                .store(before.saturating_add(1), Ordering::Relaxed);
        } else {
            self.close_together.store(0, Ordering::Relaxed);
        }
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
