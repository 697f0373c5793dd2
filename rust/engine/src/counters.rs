//! Counters and gauges of the engine, read by `ktls.sysctl`. They never steer anything.

use std::sync::atomic::{AtomicU64, Ordering};

/// One counter or gauge.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    pub(crate) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    pub(crate) fn sub(&self, amount: u64) {
        self.0.fetch_sub(amount, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($ident:ident = $name:literal;)*) => {
        $(pub(crate) static $ident: Counter = Counter::new();)*

        /// Every counter with its name below `kern.ipc.tls`, as it stands now.
        #[must_use]
        pub fn snapshot() -> Vec<(&'static str, u64)> {
            vec![$(($name, $ident.read())),*]
        }
    };
}

counters! {
    THREADS = "stats.threads";
    ACTIVE = "stats.active";
    FAILED_CRYPTO = "stats.failed_crypto";
    CORRUPTED_RECORDS = "stats.corrupted_records";
    TX_INQUEUE = "stats.sw_tx_inqueue";
    RX_INQUEUE = "stats.sw_rx_inqueue";
    TX_PENDING = "stats.sw_tx_pending";
    RECORDS = "stats.records";
    BYTES = "stats.bytes";
    RX_RECORDS = "stats.rx_records";
    UNITS_INLINE = "stats.units_inline";
    UNITS_POOL = "stats.units_pool";
    REKEYS = "stats.rekeys";
    COLD_READS = "stats.cold_reads";
    LINGER_RESETS = "stats.linger_resets";
    AIO_WRITES = "stats.aio_writes";
    AIO_PENDING = "stats.aio_pending";
    GONE_TX_RECORDS = "gone.tx.records";
    GONE_TX_PAYLOAD = "gone.tx.payload_bytes";
    GONE_TX_WIRE = "gone.tx.wire_bytes";
    GONE_TX_ERRORS = "gone.tx.errors";
    GONE_TX_KEY_CHANGES = "gone.tx.key_changes";
    GONE_RX_RECORDS = "gone.rx.records";
    GONE_RX_PAYLOAD = "gone.rx.payload_bytes";
    GONE_RX_WIRE = "gone.rx.wire_bytes";
    GONE_RX_ERRORS = "gone.rx.errors";
    GONE_RX_KEY_CHANGES = "gone.rx.key_changes";
    SW_CBC = "sw.cbc";
    SW_GCM = "sw.gcm";
    SW_CHACHA20 = "sw.chacha20";
}
