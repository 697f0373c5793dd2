"""Every buffer that ``socket.send`` takes is taken by every call; others are refused alike."""

import array
import ctypes
import mmap
import pickle
import ssl
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

import ktls
from faces import Face, handshaken, keyed
from record_reader import CBC_SUITES

MakeFace = Callable[[str], AbstractContextManager[Face]]


class Pair(ctypes.Structure):
    _fields_ = (("first", ctypes.c_int), ("second", ctypes.c_double))


class Either(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("bytes", ctypes.c_char * 7))


class Text(bytes):
    """A subclass."""


def mapping() -> mmap.mmap:
    mapped = mmap.mmap(-1, 4096)
    mapped[:5] = b"hello"
    return mapped


BUFFERS: dict[str, Callable[[], Any]] = {
    "bytes": lambda: b"hello",
    "no bytes": lambda: b"",
    "subclass of bytes": lambda: Text(b"hello"),
    "bytearray": lambda: bytearray(b"hello"),
    "long bytearray": lambda: bytearray(range(256)) * 100,
    "memoryview": lambda: memoryview(b"hello")[1:3],
    "items of four bytes": lambda: memoryview(bytes(range(24))).cast("I"),
    "three dimensions": lambda: memoryview(bytes(range(24))).cast("B", [2, 3, 4]),
    "no dimension": lambda: memoryview(bytes(4)).cast("I", []),
    "a dimension of 0": lambda: memoryview((ctypes.c_int * 0 * 5)()),
    "read-only view": lambda: memoryview(bytearray(b"hello")).toreadonly(),
    "array of int": lambda: array.array("i", range(100)),
    "array of double": lambda: array.array("d", [1.5, -2.5]),
    "array of characters": lambda: array.array("u", "text"),
    "empty array": lambda: array.array("i"),
    "mmap": mapping,
    "PickleBuffer": lambda: pickle.PickleBuffer(b"hello"),
    "ctypes string": lambda: ctypes.create_string_buffer(b"hello"),
    "ctypes wide string": lambda: ctypes.create_unicode_buffer("hello"),
    "ctypes array": lambda: (ctypes.c_uint8 * 5)(*range(5)),
    "long ctypes array": lambda: (ctypes.c_uint16 * 30_000)(*range(30_000)),
    "ctypes array of arrays": lambda: (ctypes.c_int * 3 * 2)((1, 2, 3), (4, 5, 6)),
    "empty ctypes array": lambda: (ctypes.c_int * 0)(),
    "ctypes number": lambda: ctypes.c_int(7),
    "ctypes structure": lambda: Pair(1, 2.5),
    "ctypes array of structures": lambda: (Pair * 3)(Pair(1, 2), Pair(3, 4)),
    "ctypes union": lambda: Either(number=77),
    "view of a ctypes array": lambda: memoryview((ctypes.c_uint16 * 5)(*range(5))),
    "view of a ctypes structure": lambda: memoryview(Pair(1, 2.5)),
}
REFUSED: dict[str, Callable[[], Any]] = {
    "every other byte": lambda: memoryview(bytes(10))[::2],
    "backwards": lambda: memoryview(bytes(10))[::-1],
    "every other item of ctypes": lambda: memoryview((ctypes.c_int * 6)())[::2],
    "text": lambda: "hello",
    "a number": lambda: 5,
    "nothing": lambda: None,
    "a list": lambda: [1, 2],
    "a type": lambda: bytes,
}
CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "send": lambda sock, data: sock.send(data),
    "sendall": lambda sock, data: sock.sendall(data),
    "sendmsg": lambda sock, data: sock.sendmsg([data]),
    "sendmsg of two": lambda sock, data: sock.sendmsg([b"", data]),
    "aio_write": lambda sock, data: sock.aio_write(data).result(20),
}
KINDS = ["Socket", "TLSSocket", "pass-through", "tls10"]


@pytest.fixture
def make_face(
    enabled: None, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> MakeFace:
    def make(kind: str) -> AbstractContextManager[Face]:
        if kind in ("Socket", "tls10"):
            return keyed(CBC_SUITES[0]) if kind == "tls10" else keyed()
        if kind == "ssl":
            return handshaken(server_context.wrap_socket, client_context)
        ktls.prepare(server_context)
        ktls.sysctl["kern.ipc.tls.enable"] = kind == "TLSSocket"
        return handshaken(
            lambda sock, **how: ktls.wrap_socket(sock, server_context, **how), client_context
        )

    return make


def sent(face: Face, call: Callable[[Any, Any], Any], data: Any) -> tuple[Any, bytes]:
    """What the call returned, or the type of its error; what arrived."""
    try:
        result = call(face.sock, data)
    except Exception as error:
        result = type(error)
    face.sock.close()
    return result, face.arrived()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("call", CALLS)
def test_buffers_are_taken_as_by_ssl(make_face: MakeFace, call: str, kind: str) -> None:
    """All of them on one connection, with ``ssl``'s ``send`` as the reference."""
    with make_face("ssl") as face:
        counts = [face.sock.send(make()) for make in BUFFERS.values()]
        # It sends a record at a time.
        for name in ("long bytearray", "long ctypes array"):
            data = memoryview(BUFFERS[name]()).tobytes()
            counts[list(BUFFERS).index(name)] = len(data)
        face.sock.close()
        face.arrived()
    expected = [memoryview(make()).tobytes() for make in BUFFERS.values()]
    assert [len(data) for data in expected] == counts
    with make_face(kind) as face:
        results = [send_whole(face, CALLS[call], make()) for make in BUFFERS.values()]
        face.sock.close()
        assert face.arrived() == b"".join(expected)
    if call != "sendall":
        assert results == counts


def send_whole(face: Face, call: Callable[[Any, Any], Any], data: Any) -> int:
    """The call, and again with the rest where OpenSSL takes a record at a time."""
    size = len(memoryview(data).tobytes())
    result = call(face.sock, data)
    count = size if result is None else result
    while count < size:
        count += call(face.sock, memoryview(data).tobytes()[count:])
    return int(count)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", REFUSED)
def test_buffers_are_refused_as_by_ssl(
    make_face: MakeFace, name: str, call: str, kind: str
) -> None:
    with make_face("ssl") as face:
        theirs = sent(face, CALLS["send"], REFUSED[name]())
    assert isinstance(theirs[0], type)
    with make_face(kind) as face:
        assert sent(face, CALLS[call], REFUSED[name]()) == theirs


# -- to receive into -------------------------------------------------------------------------------

WRITABLE = [
    "bytearray",
    "array of int",
    "mmap",
    "ctypes string",
    "ctypes array",
    "long ctypes array",
    "ctypes array of arrays",
    "ctypes structure",
    "ctypes union",
    "view of a ctypes array",
    "view of a ctypes structure",
]


@pytest.mark.parametrize("kind", ["ssl", "TLSSocket", "pass-through"])
@pytest.mark.parametrize("name", WRITABLE)
def test_writable_buffers_are_received_into(make_face: MakeFace, name: str, kind: str) -> None:
    buffer = BUFFERS[name]()
    size = memoryview(buffer).nbytes
    data = bytes(range(1, 1 + min(size, 200)))
    with make_face(kind) as face:
        face.peer.sendall(data)
        assert face.sock.recv_into(buffer) == len(data)
    assert memoryview(buffer).tobytes()[: len(data)] == data


@pytest.mark.parametrize("kind", ["ssl", "TLSSocket", "pass-through"])
@pytest.mark.parametrize("name", ["bytes", "read-only view"])
def test_other_buffers_are_not_received_into(make_face: MakeFace, name: str, kind: str) -> None:
    with make_face(kind) as face:
        face.peer.sendall(b"12345")
        with pytest.raises((TypeError, BufferError)):
            face.sock.recv_into(BUFFERS[name]())
        assert face.sock.recv(5) == b"12345"
