//! How long sealing a unit took, and how long a connection waited for its turn at a worker, for each provider: what an
//! operator plots. Counted for a unit or a turn, never for a record, and read by nobody here.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets, in nanoseconds; the last one has none.
const BOUNDS_NS: [u64; 14] = [
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    100_000_000,
    1_000_000_000,
];

/// Durations, by how long they are.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    counts: [AtomicU64; BOUNDS_NS.len() + 1],
    total_ns: AtomicU64,
}

impl Histogram {
    pub(crate) fn add(&self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let index = BOUNDS_NS.partition_point(|&bound| bound < ns);
        self.counts[index].fetch_add(1, Ordering::Relaxed);
        self.total_ns.fetch_add(ns, Ordering::Relaxed);
    }

    fn read(&self, what: &'static str, provider: &'static str) -> Times {
        let bounds = BOUNDS_NS
            .iter()
            .copied()
            .map(Duration::from_nanos)
            .map(Some);
        Times {
            what,
            provider,
            counts: bounds
                .chain([None])
                .zip(
                    self.counts
                        .iter()
                        .map(|count| count.load(Ordering::Relaxed)),
                )
                .collect(),
            total: Duration::from_nanos(self.total_ns.load(Ordering::Relaxed)),
        }
    }
}

/// What is measured of one provider; it lives as long as the process.
#[derive(Debug)]
pub(crate) struct ProviderTimes {
    name: String,
    /// Sealing one unit.
    pub(crate) seal: Histogram,
    /// From being queued to the turn.
    pub(crate) wait: Histogram,
}

impl ProviderTimes {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            seal: Histogram::default(),
            wait: Histogram::default(),
        }
    }
}

/// One histogram as it stands.
#[derive(Clone, Debug)]
pub struct Times {
    /// `seal` or `wait`.
    pub what: &'static str,
    /// Who seals.
    pub provider: &'static str,
    /// How many took at most so long, and longer than the bound before; the last has no bound.
    pub counts: Vec<(Option<Duration>, u64)>,
    /// All of them together.
    pub total: Duration,
}

impl Times {
    fn join(&mut self, other: &Self) {
        for ((_, count), (_, more)) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
    }
}

/// A place for one provider. Without a lock: a child of a process that was forked in the middle passes it over.
struct Place {
    is_taken: AtomicBool,
    times: OnceLock<ProviderTimes>,
}

static PROVIDERS: [Place; 32] = [const {
    Place {
        is_taken: AtomicBool::new(false),
        times: OnceLock::new(),
    }
}; 32];

/// Of the providers beyond those.
static OTHERS: OnceLock<ProviderTimes> = OnceLock::new();

/// Those of the provider of this name, which are made when it is first asked for.
pub(crate) fn of_provider(name: &str) -> &'static ProviderTimes {
    for place in &PROVIDERS {
        if let Some(times) = place.times.get() {
            if times.name == name {
                return times;
            }
        } else if !place.is_taken.swap(true, Ordering::AcqRel) {
            return place.times.get_or_init(|| ProviderTimes::new(name));
        }
    }
    OTHERS.get_or_init(|| ProviderTimes::new("others"))
}

/// Every histogram as it stands now.
#[must_use]
pub fn snapshot() -> Vec<Times> {
    let mut all: Vec<Times> = Vec::new();
    let places = PROVIDERS.iter().map(|place| &place.times);
    for times in places.chain([&OTHERS]).filter_map(OnceLock::get) {
        for read in [
            times.seal.read("seal", &times.name),
            times.wait.read("wait", &times.name),
        ] {
            // Two threads that asked for the same one at once have made two.
            let same =
                |other: &&mut Times| (other.what, other.provider) == (read.what, read.provider);
            match all.iter_mut().find(same) {
                Some(other) => other.join(&read),
                None => all.push(read),
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Histogram;

    #[test]
    fn a_bound_belongs_to_what_it_bounds() {
        let histogram = Histogram::default();
        for us in [1, 5, 6, 5_000_000] {
            histogram.add(Duration::from_micros(us));
        }
        let read = histogram.read("seal", "test");
        let filled: Vec<_> = read.counts.iter().filter(|(_, count)| *count > 0).collect();
        let micros = |us| Some(Duration::from_micros(us));
        assert_eq!(
            filled,
            [
                &(Some(Duration::from_nanos(2500)), 1),
                &(micros(5), 1),
                &(micros(10), 1),
                &(None, 1)
            ]
        );
        assert_eq!(read.total, Duration::from_micros(5_000_012));
    }
}
