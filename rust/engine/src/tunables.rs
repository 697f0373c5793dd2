//! The numbers that policy sets. Mechanism reads them; it never chooses one.
//!
//! Each is a node of `kern.ipc.tls`; the table below is where its name, default and range are. Why the default is what it
//! is stands in `docs/tuning.md`.

use std::sync::atomic::{AtomicUsize, Ordering};

macro_rules! tunables {
    ($($(#[$doc:meta])* $ident:ident = $name:literal, $default:expr, $range:expr;)*) => {
        $(
            pub(crate) mod $ident {
                use super::{AtomicUsize, Ordering};
                static VALUE: AtomicUsize = AtomicUsize::new($default);
                $(#[$doc])*
                #[inline]
                pub(crate) fn get() -> usize {
                    VALUE.load(Ordering::Relaxed)
                }
                pub(super) fn set(value: usize) {
                    VALUE.store(value, Ordering::Relaxed);
                }
            }
        )*

        /// Every tunable.
        #[must_use]
        pub fn all() -> Vec<Tunable> {
            vec![$({
                let range = $range;
                Tunable { name: $name, default: $default, low: *range.start(), high: *range.end() }
            }),*]
        }

        /// Sets a tunable by its name below `kern.ipc.tls`.
        ///
        /// # Errors
        /// [`SetError::Unknown`] for a name that is not there, [`SetError::Range`] outside its range.
        pub fn set(name: &str, value: usize) -> Result<(), SetError> {
            match name {
                $($name => {
                    let range = $range;
                    if !range.contains(&value) {
                        return Err(SetError::Range { value, low: *range.start(), high: *range.end() });
                    }
                    $ident::set(value);
                    Ok(())
                })*
                _ => Err(SetError::Unknown),
            }
        }
    };
}

/// What is known of a tunable, whatever its value is now.
#[derive(Clone, Copy, Debug)]
pub struct Tunable {
    /// Below `kern.ipc.tls`.
    pub name: &'static str,
    /// What it is until somebody sets it.
    pub default: usize,
    /// Least value taken.
    pub low: usize,
    /// Greatest value taken.
    pub high: usize,
}

/// Why a tunable was not set.
#[derive(Debug, thiserror::Error)]
pub enum SetError {
    /// There is no tunable of that name.
    #[error("no such tunable")]
    Unknown,
    /// The value lies outside the range.
    #[error("{value} is outside {low}..={high}")]
    Range {
        /// What was asked for.
        value: usize,
        /// Least value taken.
        low: usize,
        /// Greatest value taken.
        high: usize,
    },
}

tunables! {
    /// Plaintext bytes sealed and sent as one unit.
    flush_unit = "flush_unit", 256 << 10, 16 << 10..=1 << 20;
    /// Plaintext bytes a connection may hold accepted and not yet taken by TCP.
    sendspace = "sendspace", 1 << 20, 1 << 10..=1 << 30;
    /// What the space of a connection may grow to while its buffer keeps running dry.
    sendspace_max = "sendspace_max", 16 << 20, 1 << 10..=1 << 30;
    /// Bytes of a file that a blocking call lays ready at once.
    file_window = "file_window", 16 << 20, 16 << 10..=1 << 40;
    /// A waiting writer goes on when less than this is held.
    sendlowat = "sendlowat", 512 << 10, 0..=1 << 30;
    /// A non-blocking caller seals and sends by itself while no more than this is held.
    inline_max = "inline_max", 64 << 10, 0..=1 << 30;
    /// Writes up to this length are sealed at once into the unit being gathered.
    gather_max = "gather_max", 32 << 10, 0..=256 << 10;
    /// Units sealed or being sealed at once for one connection.
    pipeline_depth = "pipeline_depth", 3, 1..=64;
    /// Bytes left in a blocking call that pay for waking a worker.
    handoff_min = "handoff_min", 512 << 10, 0..=isize::MAX as usize;
    /// Microseconds that a thread looks again before it sleeps.
    spin_us = "spin_us", 50, 0..=10_000;
    /// Microseconds between two writes that still make them one stream.
    stream_gap_us = "stream_gap_us", 5, 0..=1_000_000;
    /// A gap of such a part of the write before it is none.
    stream_gap_share = "stream_gap_share", 4, 1..=1_000_000;
    /// Writes that close together after which a worker stays awake for them.
    stream_run = "stream_run", 4, 1..=64;
    /// Bytes a worker sends for one connection before the next has its turn.
    quantum = "quantum", 1 << 20, 16 << 10..=1 << 30;
    /// Threads that read files which are not in memory.
    io_threads = "io_threads", 1, 1..=64;
    /// Seconds without progress after which a closed connection is reset.
    linger_timeout = "linger_timeout", 60, 1..=86_400;
    /// Bytes that all connections of the process may hold, accepted and not yet taken by TCP.
    max_buffered = "max_buffered", 1 << 30, 1 << 20..=1 << 50;
    /// Whether seal buffers are kept for the next unit (upstream's cache of output buffers).
    sw_buffer_cache = "sw_buffer_cache", 1, 0..=1;
    /// Longest random delay before a unit is sealed, in microseconds: for tests of order.
    debug_seal_delay_us = "debug.seal_delay_us", 0, 0..=1_000_000;
}
