"""Every threshold of the send path: what it decides and why its default is what it is.

The numbers are nodes of ``ktls.sysctl``; the engine is told of them and never chooses one.  The
figures in the reasons were taken on two cores of a Zen 5 machine; ``docs/performance.md`` says
how.  The environment's ``KTLS_SYSCTL`` is applied here, when every node exists.
"""

import errno
import os
from typing import Final

from ktls import backends
from ktls.constants import CRYPTO_AES_NIST_GCM_16, TLS_MINOR_VER_THREE, RecordSplit
from ktls.sysctl import PREFIX, Node, sysctl

ENVIRONMENT: Final = "KTLS_SYSCTL"

AES_GCM_RECORDS: Final = 1 << 24
"""The limit is 2^24.5 full records (RFC 8446 5.5); the rest is room for what the handshake sealed
and for alerts."""


def _tunable(
    name: str, default: int, low: int, high: int, help_text: str, *, at_start: bool = False
) -> Node:
    return Node(
        name=PREFIX + name,
        type="uint",
        flags="RDTUN" if at_start else "RW",
        default=default,
        low=low,
        high=high,
        help=help_text,
        engine=name,
    )


sysctl.add(
    Node(
        name=PREFIX + "backend",
        type="string",
        flags="RW",
        default="",
        choices=lambda: ("", *(backend.name for backend in backends.registered())),
        help="Name of the backend that new sessions use, which must be registered; empty: the first"
        " of descending priority that takes the suite",
    ),
    Node(
        name=PREFIX + "tls10_fragment",
        type="string",
        flags="RW",
        default="auto",
        choices=("auto", *RecordSplit),
        help="What precedes the data of a write in TLS 1.0 with AES-CBC, for sessions set up from"
        " now on: none; empty, a record without data; split, a record of the first byte, which"
        " peers that trip over empty records take, too; auto, split after a hand-over, as browsers"
        " do, and none for TCP_TXTLS_ENABLE, as upstream does",
    ),
    Node(
        name=PREFIX + "records_per_key",
        type="uint",
        flags="RW",
        default=0,
        high=2**63 - 1,
        help="Records of application data that one key may seal, for sessions set up from now on;"
        " 0: as many as the cipher allows (AES-GCM 16777216, the others no limit). At the limit a"
        " TLS 1.3 connection whose traffic secret is known changes its key, any other one fails"
        " with EKEYEXPIRED. To be lowered, above all for tests",
    ),
    Node(
        name=PREFIX + "pad_to",
        type="uint",
        flags="RW",
        default=0,
        high=16384,
        help="Zeros bring the payload of a TLS 1.3 record to a multiple of this many bytes, or to"
        " its largest, for sessions set up from now on, so that the length says less of what is"
        " sent (RFC 8446 5.4); 0: none, as upstream. They cost what data of their length costs",
    ),
    Node(
        name=PREFIX + "workers",
        type="uint",
        flags="RDTUN",
        default=0,
        high=1024,
        help="Worker threads; 0: one for each CPU that this process may run on",
    ),
    Node(
        name=PREFIX + "close_timeout",
        type="uint",
        flags="RW",
        default=10,
        high=86400,
        help="Seconds that the end of the interpreter waits for accepted data to be sent. Long"
        " enough for a slow peer to take the send buffer, short enough for a service manager",
    ),
    Node(
        name=PREFIX + "linger_timeout",
        type="uint",
        flags="RW",
        default=60,
        low=1,
        high=86400,
        engine="linger_timeout",
        help="Seconds after which a closed connection that makes no progress is reset, and what it"
        " holds is dropped. A peer that reads, however slowly, makes progress; one that is gone or"
        " stuck would hold memory and a descriptor for as long as TCP has patience",
    ),
    _tunable(
        "flush_unit",
        262144,
        16384,
        1048576,
        "Bytes sealed and sent as one unit. A send costs about 4 us and 1.2 us for each 16 KiB, so"
        " 16 records share the fixed part; 1 MiB falls out of the core's cache and halves the rate"
        " where the congestion control paces",
    ),
    _tunable(
        "sendspace",
        1048576,
        1024,
        1073741824,
        "Bytes of plaintext that a connection made from now on may hold, accepted and not taken by"
        " TCP; more waits or is EWOULDBLOCK. Four flush units: the pipeline stays full, and a"
        " thousand readers that never read cost a gigabyte at most",
    ),
    _tunable(
        "sendspace_max",
        16777216,
        1024,
        1073741824,
        "What that space may grow to, doubling each time a writer that was refused comes back to an"
        " empty buffer: TCP grows its own in the same way. 16 MiB are some 2 ms at the best rate, a"
        " turn of a busy event loop",
    ),
    _tunable(
        "file_window",
        16777216,
        16384,
        2**40,
        "Bytes of a file that a sendfile without time-out lays ready at once, beyond sendspace: a"
        " reference holds no memory. With four units ready the worker ran dry and slept between"
        " any two of them, and did a fifth of the work",
    ),
    _tunable(
        "sendlowat",
        524288,
        0,
        1073741824,
        "A waiting writer goes on, and the socket is writable again, below so many bytes held. Half"
        " of sendspace: one wake-up for many sends, and the worker does not run dry meanwhile",
    ),
    _tunable(
        "inline_max",
        65536,
        0,
        1073741824,
        "A non-blocking caller seals and sends by itself up to this many held. Four records take"
        " about 15 us, less than waking a thread on another core (16 to 24 us)",
    ),
    _tunable(
        "gather_max",
        32768,
        0,
        262144,
        "Writes up to this length are sealed at once into the unit being gathered. Sealing two"
        " records costs less than keeping a reference to the data and coming back to it",
    ),
    _tunable(
        "pipeline_depth",
        3,
        1,
        64,
        "Units of one connection sealed or being sealed at once: one on its way to the socket, one"
        " ready, one in work. More only moves the hot buffers out of the cache",
    ),
    _tunable(
        "handoff_min",
        524288,
        0,
        2**63 - 1,
        "Bytes left in a blocking call that pay for waking a worker. A cold wake-up costs like"
        " sealing 22 to 33 records (360 to 540 KB)",
    ),
    _tunable(
        "spin_us",
        50,
        0,
        10000,
        "Microseconds that a thread looks for more work before it sleeps: about what sending one"
        " unit takes, so that a worker which seals ahead is still awake when it is sent. The"
        " wake-up that it saves costs 16 to 24. Never on a machine with one CPU",
    ),
    _tunable(
        "stream_gap_us",
        5,
        0,
        1000000,
        "Microseconds between the end of a write and the next that still make a stream of them."
        " More than what a loop in Python takes between two calls (0.2 to 2 us), less than a peer"
        " on the same machine takes to answer (15 us): answers must not wait for a worker",
    ),
    _tunable(
        "stream_gap_share",
        4,
        1,
        1000000,
        "Writes also make a stream when the time between them is at most one part in this many of"
        " what the first one took. After 5 ms of waiting for the interpreter a loop in Python takes"
        " 12 us to come back, since its code has left the caches; a peer takes longer than that to"
        " read what was written and answer",
    ),
    _tunable(
        "stream_run",
        4,
        1,
        64,
        "Writes that close together after which a worker stays awake for the connection. A request"
        " and its answer are fewer, and are sent by their caller at once",
    ),
    _tunable(
        "quantum",
        1048576,
        16384,
        1073741824,
        "Bytes that a worker sends for one connection before the next has its turn: 0.2 ms at the"
        " best rate, so a hundred busy connections wait 20 ms",
    ),
    _tunable(
        "io_threads",
        1,
        1,
        64,
        "Threads that read file ranges which are not in memory; one keeps a disk busy with 256 KiB"
        " reads, a network file system may want more",
        at_start=True,
    ),
    _tunable(
        "debug.seal_delay_us",
        0,
        0,
        1000000,
        "For tests of order: the longest random delay before a unit is sealed, in microseconds",
    ),
    *(
        Node(name=PREFIX + name, type="counter", flags="RD", counted=True, help=help_text)
        for name, help_text in (
            ("stats.records", "TLS records sealed"),
            ("stats.bytes", "Plaintext bytes sealed"),
            ("stats.units_inline", "Flush units sealed and sent by the thread that called"),
            ("stats.units_pool", "Flush units sealed and sent by worker threads"),
            ("stats.linger_resets", "Closed connections reset for want of progress"),
            ("stats.rekeys", "Keys of live connections exchanged for the next ones"),
            ("stats.cold_reads", "File reads that were not in memory and went to an I/O thread"),
            ("stats.aio_writes", "Asynchronous writes accepted"),
        )
    ),
)


def worker_count() -> int:
    """Threads that the pool starts with."""
    return sysctl.number(PREFIX + "workers") or len(os.sched_getaffinity(0))


def max_frame_len(limit: int) -> int:
    """Payload bytes of a record, where the peer allows at most `limit` (RFC 6066, RFC 8449)."""
    return min(limit, sysctl.number(PREFIX + "maxlen"))


def pad_to(tls_vminor: int) -> int:
    """What the payload of a record is padded to a multiple of; 0: not at all (RFC 8446 5.4)."""
    return sysctl.number(PREFIX + "pad_to") if tls_vminor == TLS_MINOR_VER_THREE else 0


def record_limit(cipher_algorithm: int) -> int | None:
    """Records of application data that one key seals; None: as many as there are numbers."""
    lowered = sysctl.number(PREFIX + "records_per_key")
    if lowered:
        return lowered
    return AES_GCM_RECORDS if cipher_algorithm == CRYPTO_AES_NIST_GCM_16 else None


def tls10_record_split(*, handed_over: bool) -> RecordSplit:
    """What precedes the data of a write of a TLS 1.0 AES-CBC session."""
    chosen = str(sysctl[PREFIX + "tls10_fragment"])
    if chosen == "auto":
        return RecordSplit.SPLIT if handed_over else RecordSplit.NONE
    return RecordSplit(chosen)


def admit(*, is_enabled: bool = False) -> None:
    """The general switch: OSError EOPNOTSUPP when off, otherwise counted as an enable call.

    `is_enabled`: it is on for this connection, whatever it is in general.
    """
    if not is_enabled and not sysctl[PREFIX + "enable"]:
        raise OSError(
            errno.EOPNOTSUPP,
            "kern.ipc.tls.enable is off; call ktls.enable() or set it to 1",
        )
    sysctl.count(PREFIX + "stats.enable_calls")


def require_ext_pgs() -> None:
    """The switch of unmapped buffers: OSError ENXIO when off."""
    if not sysctl["kern.ipc.mb_use_ext_pgs"]:
        raise OSError(
            errno.ENXIO,
            "kern.ipc.mb_use_ext_pgs is off; call ktls.enable() or set it to 1",
        )


def apply_environment(text: str) -> None:
    """Carry out ``name=value,name=value``.  Raises ValueError that quotes the item."""
    for item in filter(None, map(str.strip, text.split(","))):
        try:
            sysctl.assign(item)
        except ValueError as error:
            raise ValueError(f"{ENVIRONMENT}: {error}") from None


apply_environment(os.environ.get(ENVIRONMENT, ""))
