"""Every buffer that `socket.send` takes is taken, and sent as it is in memory."""

import array
import ctypes
import mmap
from collections.abc import Callable
from typing import Any

import pytest

from support.ends import connect, with_kinds


class Pair(ctypes.Structure):
    _fields_ = (("first", ctypes.c_uint16), ("second", ctypes.c_uint32))


def mapped() -> mmap.mmap:
    memory = mmap.mmap(-1, 4096)
    memory[:5] = b"hello"
    return memory


BUFFERS: dict[str, Callable[[], Any]] = {
    "bytes": lambda: b"hello",
    "bytearray": lambda: bytearray(b"hello"),
    "string-buffer": lambda: ctypes.create_string_buffer(b"hello"),
    "chars": lambda: (ctypes.c_char * 5)(*b"hello"),
    "chars-view": lambda: memoryview((ctypes.c_char * 5)(*b"hello")),
    "numbers": lambda: (ctypes.c_uint8 * 5)(1, 2, 3),
    "numbers-view": lambda: memoryview((ctypes.c_uint8 * 5)(1, 2, 3)),
    "cast-view": lambda: memoryview((ctypes.c_uint8 * 5)(1, 2, 3)).cast("B"),
    "big-endian": lambda: (ctypes.c_uint32.__ctype_be__ * 3)(1, 2, 3),
    "structure": lambda: Pair(1, 2),
    "structures": lambda: (Pair * 4)(),
    "number": lambda: ctypes.c_uint64(7),
    "array": lambda: array.array("I", [1, 2, 3]),
    "doubles": lambda: array.array("d", [1.5, 2.5]),
    "two-dimensions": lambda: memoryview(bytes(range(12))).cast("B", (3, 4)),
    "read-only": lambda: memoryview(b"hello").toreadonly(),
    "part": lambda: memoryview(b"0123456789")[2:7],
    "mapped": mapped,
    "bool-view": lambda: memoryview(bytes([1, 0, 1])).cast("?"),
    "empty": lambda: (ctypes.c_char * 0)(),
}


@with_kinds
@pytest.mark.parametrize("call", ["send", "sendall", "sendmsg", "aio_write"])
@pytest.mark.parametrize("buffer", BUFFERS)
def test_a_buffer_is_sent_as_it_is(kind: str, call: str, buffer: str) -> None:
    data = BUFFERS[buffer]()
    expected = bytes(memoryview(data))
    with connect(kind) as ends:
        count = getattr(ends.own, call)([data] if call == "sendmsg" else data)
        if call == "aio_write":
            count = count.result(20)
        assert count == (None if call == "sendall" else len(expected))
        ends.own.sendall(b"end")
        assert ends.receive_exactly(len(expected) + 3) == expected + b"end"


@with_kinds
@pytest.mark.parametrize("call", ["send", "sendall", "aio_write"])
def test_what_no_socket_takes_is_refused(kind: str, call: str) -> None:
    """Strings, numbers, and memory with gaps: as `socket.send`, and nothing is sent."""
    with connect(kind) as ends:
        for wrong in ("text", 5, None, [1, 2], memoryview(b"0123456789")[::2]):
            with pytest.raises((TypeError, BufferError, ValueError)):
                getattr(ends.own, call)(wrong)
        ends.own.sendall(b"end")
        assert ends.receive_exactly(3) == b"end"
