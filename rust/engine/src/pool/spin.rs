//! Looking again for a moment before going to sleep: a wake-up costs more than the moment.

use std::time::{Duration, Instant};

use crate::tunables;

/// Looks for `kern.ipc.tls.spin_us`, true when it happened. Where one processor is all there is, looking would keep the
/// other thread away.
pub(super) fn spin_until(is_multi_cpu: bool, happened: impl Fn() -> bool) -> bool {
    if happened() {
        return true;
    }
    let limit = Duration::from_micros(tunables::spin_us::get() as u64);
    if !is_multi_cpu || limit.is_zero() {
        return false;
    }
    let start = Instant::now();
    loop {
        for _ in 0..32 {
            if happened() {
                return true;
            }
            std::hint::spin_loop();
        }
        if start.elapsed() >= limit {
            return false;
        }
    }
}
