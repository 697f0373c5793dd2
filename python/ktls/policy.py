"""What a new session is given: thresholds and choices of the tree, as the code asks for them.

The numbers are nodes of ``ktls.sysctl``; the engine is told of its own and never chooses one.
"""

import errno
import os
from typing import Final

from ktls import backends
from ktls.constants import CRYPTO_AES_NIST_GCM_16, TLS_MINOR_VER_THREE, RecordSplit
from ktls.sysctl import PREFIX, Node, sysctl

AES_GCM_RECORDS: Final = 1 << 24
"""The limit is 2^24.5 full records (RFC 8446 5.5); the rest is room for what the handshake sealed
and for alerts."""

# Its choices are the registry's, which stands above the tree.
sysctl.add(
    Node(
        name=PREFIX + "backend",
        type="string",
        flags="RW",
        default="",
        choices=lambda: ("", *(backend.name for backend in backends.registered())),
        help="Name of the backend that new sessions use; empty: the first that takes the suite",
    )
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
