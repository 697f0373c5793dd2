"""Every node: its name below ``kern.ipc.tls``, its access, and its help in one sentence.

Upstream's nodes have upstream's words.  Name, default and range of a number that the engine reads
are in ``tunables!`` and ``counters!`` of the engine, and nowhere else; numbers that only Python
reads are here.  Why a default is what it is stands in ``docs/tuning.md``.
"""

from collections.abc import Iterator
from typing import Final

from ktls import _core
from ktls.constants import RecordSplit
from ktls.sysctl.node import PREFIX, Access, Node, Type

SWITCHES: Final[tuple[tuple[str, Access, bool, str], ...]] = (
    ("enable", "RWTUN", False, "Enable support for kernel TLS offload"),
    ("rx_enable", "RWTUN", True, "Enable support for kernel TLS receive offload"),
    ("cbc_enable", "RWTUN", True, "Enable support of AES-CBC crypto for kernel TLS"),
)

# Name, type, access, default, range, help.
NUMBERS: Final[tuple[tuple[str, Type, Access, int, tuple[int, int], str], ...]] = (
    ("maxlen", "uint", "RWTUN", 16384, (512, 16384), "Maximum TLS record size"),
    (
        *("bind_threads", "int", "RDTUN", 0, (0, 2)),
        "Bind crypto threads to cores (1) or domains (2) at boot",
    ),
    ("workers", "uint", "RDTUN", 0, (0, 1024), "Worker threads; 0: one for each usable CPU"),
    (
        *("records_per_key", "uint", "RW", 0, (0, 2**63 - 1)),
        "Records of application data that one key may seal; 0: as many as its cipher allows",
    ),
    (
        *("pad_to", "uint", "RW", 0, (0, 16384)),
        "Zeros bring the payload of a TLS 1.3 record to a multiple of so many bytes; 0: none",
    ),
    (
        *("close_timeout", "uint", "RW", 10, (0, 86400)),
        "Seconds that the end of the interpreter waits for accepted data to be sent",
    ),
)

TUNABLES: Final[tuple[tuple[str, Access, str], ...]] = (
    ("flush_unit", "RW", "Bytes sealed and sent as one unit"),
    ("sendspace", "RW", "Bytes that a connection may hold, accepted and not taken by TCP"),
    ("sendspace_max", "RW", "What that space may grow to while writers find the buffer empty"),
    ("max_buffered", "RW", "Bytes that all connections of the process may hold, in all"),
    ("file_window", "RW", "Bytes of a file that a sendfile without time-out lays ready at once"),
    ("sendlowat", "RW", "Bytes held below which a waiting writer goes on"),
    ("inline_max", "RW", "Bytes held up to which a non-blocking caller seals and sends by itself"),
    ("gather_max", "RW", "Longest write that is sealed at once into the unit being gathered"),
    ("pipeline_depth", "RW", "Units of one connection sealed or being sealed at once"),
    ("handoff_min", "RW", "Bytes left in a blocking call that pay for waking a worker"),
    ("spin_us", "RW", "Microseconds that a thread looks for more work before it sleeps"),
    ("stream_gap_us", "RW", "Microseconds between two writes that still make them a stream"),
    ("stream_gap_share", "RW", "So does one part in this many of what the first write took"),
    ("stream_run", "RW", "Writes that close together after which a worker stays awake"),
    ("quantum", "RW", "Bytes that a worker sends for one connection before the next has its turn"),
    ("io_threads", "RDTUN", "Threads that read file ranges which are not in memory"),
    ("linger_timeout", "RW", "Seconds after which a closed connection without progress is reset"),
    ("sw_buffer_cache", "RDTUN", "Enable caching of output buffers for SW encryption"),
    ("debug.seal_delay_us", "RW", "Longest random delay before a unit is sealed, for tests"),
)

_SESSIONS: Final = "Active number of software TLS sessions using "

# Those that the engine counts.
COUNTERS: Final[tuple[tuple[str, Type, str], ...]] = (
    ("stats.threads", "int", "Number of TLS threads in thread-pool"),
    ("stats.sw_tx_inqueue", "gauge", "Number of TLS records in queue to tasks for SW encryption"),
    ("stats.sw_rx_inqueue", "gauge", "Number of TLS sockets in queue to tasks for SW decryption"),
    (
        *("stats.sw_tx_pending", "gauge"),
        "Number of TLS 1.0 records waiting for earlier TLS records",
    ),
    ("stats.active", "gauge", "Total Active TLS sessions"),
    ("stats.buffered", "gauge", "Bytes that all connections hold, in steps of a record"),
    ("stats.failed_crypto", "counter", "Total TLS crypto failures"),
    ("stats.corrupted_records", "counter", "Total corrupted TLS records received"),
    ("stats.records", "counter", "TLS records sealed"),
    ("stats.bytes", "counter", "Plaintext bytes sealed"),
    ("stats.rx_records", "counter", "TLS records opened"),
    ("stats.units_inline", "counter", "Flush units sealed and sent by the thread that called"),
    ("stats.units_pool", "counter", "Flush units sealed and sent by worker threads"),
    ("stats.linger_resets", "counter", "Closed connections reset for want of progress"),
    ("stats.rekeys", "counter", "Keys of live connections exchanged for the next ones"),
    ("stats.cold_reads", "counter", "File reads that were not in memory and went to an I/O thread"),
    ("stats.aio_writes", "counter", "Asynchronous writes accepted"),
    ("stats.aio_pending", "gauge", "Asynchronous writes that have not ended"),
    ("sw.cbc", "gauge", _SESSIONS + "AES-CBC"),
    ("sw.gcm", "gauge", _SESSIONS + "AES-GCM"),
    ("sw.chacha20", "gauge", _SESSIONS + "Chacha20-Poly1305"),
)

# Those of sessions, which come and go in Python.
SESSION_COUNTERS: Final = (
    ("stats.enable_calls", "Total number of TLS enable calls made"),
    ("stats.offload_total", "Total successful TLS setups (parameters set)"),
    ("stats.switch_to_ifnet", "TLS sessions switched from SW to ifnet"),
    ("stats.switch_to_sw", "TLS sessions switched from ifnet to SW"),
    ("stats.switch_failed", "TLS sessions unable to switch between SW and ifnet"),
)


def all_nodes() -> Iterator[Node]:
    """The tables as nodes.  KeyError for a tunable that the engine does not have."""
    yield Node(
        name="kern.ipc.mb_use_ext_pgs",
        type="bool",
        flags="RWTUN",
        default=False,
        help="Use unmapped mbufs for sendfile(2) and TLS offload",
    )
    for name, flags, on, text in SWITCHES:
        yield Node(name=PREFIX + name, type="bool", flags=flags, default=on, help=text)
    for name, kind, flags, default, (low, high), text in NUMBERS:
        yield Node(
            name=PREFIX + name,
            type=kind,
            flags=flags,
            default=default,
            low=low,
            high=high,
            help=text,
        )
    yield Node(
        name=PREFIX + "tls10_fragment",
        type="string",
        flags="RW",
        default="auto",
        choices=("auto", *RecordSplit),
        help="What precedes the data of a write in TLS 1.0 with AES-CBC",
    )
    yield from _engine_nodes()
    for name, text in SESSION_COUNTERS:
        yield Node(name=PREFIX + name, type="counter", flags="RD", help=text)


def _engine_nodes() -> Iterator[Node]:
    numbers = _core.tunables()
    for name, flags, text in TUNABLES:
        default, low, high = numbers[name]
        yield Node(
            name=PREFIX + name,
            type="bool" if high == 1 else "uint",
            flags=flags,
            default=bool(default) if high == 1 else default,
            low=low,
            high=high,
            engine=name,
            help=text,
        )
    for name, kind, text in COUNTERS:
        yield Node(name=PREFIX + name, type=kind, flags="RD", counted=True, help=text)
