"""The flags and the control message of a send, checked; the control message of a received record.

The record type by control message is upstream's, with one difference: the level of the message
counts.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING, Final

from ktls import constants as c
from ktls.byte_view import byte_view

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from ktls.session import Session

# Not as an IntFlag, whose complement has known flags alone.
_FLAGS: Final = int(socket.MSG_MORE | socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


_GET_RECORD: Final = struct.Struct(">BBBxH")
"""``struct tls_get_record``: type, version, a byte of padding, length of the plaintext."""

_GET_RECORD_SPACE: Final = socket.CMSG_LEN(_GET_RECORD.size)


def received(
    record: tuple[int, int, int, int] | None, ancbufsize: int, *, is_end: bool
) -> tuple[list[tuple[int, int, bytes]], int]:
    """The control messages and the flags of a ``recvmsg``.

    `record` is type, version and length of the record that begins with what was received.
    """
    flags = socket.MSG_EOR if is_end else 0
    if record is None or not ancbufsize:
        return [], flags
    if ancbufsize < _GET_RECORD_SPACE:
        return [], flags | socket.MSG_CTRUNC
    return [(c.IPPROTO_TCP, c.TLS_GET_RECORD, _GET_RECORD.pack(*record))], flags


def checked_flags(flags: int) -> int:
    """`flags` as the engine takes them.

    Raises OSError: EINVAL for MSG_EOR, EOPNOTSUPP for what is not supported.
    """
    if flags & socket.MSG_EOR:
        raise OSError(errno.EINVAL, "MSG_EOR has no meaning on a stream socket; leave it out")
    unknown = flags & ~_FLAGS
    if unknown:
        raise OSError(
            errno.EOPNOTSUPP,
            f"send flags {unknown:#x} are not supported; MSG_MORE, MSG_DONTWAIT and MSG_NOSIGNAL"
            " are",
        )
    # The engine never raises SIGPIPE.
    return flags & ~socket.MSG_NOSIGNAL


def record_type(
    controls: list[tuple[int, int, ReadableBuffer]], flags: int, session: Session | None
) -> int:
    """The content type that the one control message asks for.  Raises OSError EINVAL."""
    if len(controls) != 1:
        raise OSError(
            errno.EINVAL, f"{len(controls)} control messages; pass one, TLS_SET_RECORD_TYPE"
        )
    level, kind, data = controls[0]
    if (level, kind) != (c.IPPROTO_TCP, c.TLS_SET_RECORD_TYPE):
        raise OSError(
            errno.EINVAL,
            f"control message of level {level} and type {kind}; only level {c.IPPROTO_TCP}"
            f" (IPPROTO_TCP) and type {c.TLS_SET_RECORD_TYPE} (TLS_SET_RECORD_TYPE) is taken",
        )
    value = byte_view(data).tobytes()
    if len(value) != 1:
        raise OSError(
            errno.EINVAL, f"the record type has {len(value)} bytes; it is one, bytes([n])"
        )
    if session is None:
        raise OSError(errno.EINVAL, "a record type needs a session; set TCP_TXTLS_ENABLE before")
    if value[0] == 0 and session.tls_vminor == c.TLS_MINOR_VER_THREE:
        # RFC 8446 §5.4: a zero inner type is padding; the end of the data could not be found.
        raise OSError(errno.EINVAL, "record type 0 does not exist in TLS 1.3; use 1 to 255")
    if flags & socket.MSG_MORE:
        raise OSError(
            errno.EINVAL,
            f"MSG_MORE with record type {value[0]}: only application data joins a record; leave it"
            " out",
        )
    return value[0]
