//! Whether writes come so close together that a worker which stays awake serves them better than their caller.
//!
//! A request and its answer lie a round trip apart: the caller sends by itself, at once. A burst of writes has no such
//! gaps: sealing on one core while another sends is worth waking a worker once. What is a gap depends on the write before
//! it: one that took milliseconds, because its caller waited for space or for the interpreter, is followed by a caller
//! whose code has left the caches. Where client and server share a processor, the next request is there when the write
//! returns, and there is no gap at all: so a write after something was received belongs to no burst, however soon it
//! comes.

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

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct BurstDetector {
    last_begin_ns: AtomicU64,
    /// A write that begins until then belongs to the burst of the last one.
    burst_until_ns: AtomicU64,
    burst_len: AtomicU32,
}

impl BurstDetector {
    /// A write begins.
    pub(super) fn begin(&self) {
        let now = now_ns();
        self.last_begin_ns.store(now, Ordering::Relaxed);
        let before = self.burst_len.load(Ordering::Relaxed);
        let after = if now <= self.burst_until_ns.load(Ordering::Relaxed) {
            (before + 1).min(MOST)
        } else {
            // One pause, such as a wait for the interpreter, does not end a burst.
            before / 2
        };
        self.burst_len.store(after, Ordering::Relaxed);
    }

    /// A write has ended, and its caller runs again.
    pub(super) fn end(&self) {
        let now = now_ns();
        let taken = now.saturating_sub(self.last_begin_ns.load(Ordering::Relaxed));
        let gap = 1000 * tunables::stream_gap_us::get() as u64;
        let share = taken / tunables::stream_gap_share::get() as u64;
        let until = now.saturating_add(gap.max(share));
        self.burst_until_ns.store(until, Ordering::Relaxed);
    }

    /// Something was received: what is written next answers it.
    pub(super) fn note_received(&self) {
        self.burst_until_ns.store(0, Ordering::Relaxed);
    }

    /// Whether the last writes were a burst.
    pub(super) fn in_burst(&self) -> bool {
        self.burst_len.load(Ordering::Relaxed) as usize >= tunables::stream_run::get()
    }
}

#[cfg(test)]
mod tests {
    use super::{BurstDetector, tunables};

    fn write(detector: &BurstDetector) {
        detector.begin();
        detector.end();
    }

    #[test]
    fn writes_without_gaps_are_a_burst_and_answers_are_none() {
        tunables::set("stream_gap_us", 1_000_000).expect("in range");
        let detector = BurstDetector::default();
        for _ in 0..100 {
            detector.note_received();
            write(&detector);
            assert!(!detector.in_burst());
        }
        for _ in 0..4 {
            write(&detector);
        }
        assert!(detector.in_burst());
        detector.note_received();
        write(&detector);
        assert!(!detector.in_burst());
    }

    #[test]
    fn something_received_now_and_then_does_not_end_a_long_burst() {
        tunables::set("stream_gap_us", 1_000_000).expect("in range");
        let detector = BurstDetector::default();
        for _ in 0..100 {
            write(&detector);
        }
        detector.note_received();
        write(&detector);
        assert!(detector.in_burst());
    }
}
