"""A signal handler may raise between any two bytecodes: here something raises between each two.

A trace function stands for the handler, in the frames of this library alone: what Python's own
`socket.accept` loses is not counted.
"""

import gc
import socket
import ssl
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

import ktls
from support import descriptors

MOST = 3000
"""Bytecodes of one call, and more."""


class Raised(Exception):
    """What the handler raises."""


def raising_at(number: int, call: Callable[[], Any]) -> bool:
    """Whether `call` ended before its bytecode of this number, where it is interrupted."""
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        if "/ktls/" not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            count += 1
            if count == number:
                sys.settrace(None)
                raise Raised
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        made = call()
    except Raised:
        return False
    finally:
        sys.settrace(before)
    del made
    return True


def lazily(context: ssl.SSLContext, near: socket.socket) -> Any:
    return context.wrap_socket(near, server_side=True, do_handshake_on_connect=False)


def polled(context: ssl.SSLContext, near: socket.socket) -> Any:
    sock = lazily(context, near)
    sock.fileno()
    return sock


CALLS: dict[str, Callable[[ssl.SSLContext, socket.socket], Any]] = {
    "wrap": lazily,
    "fileno": polled,
    "Socket": lambda _, near: ktls.Socket(near),
    "prepare": lambda context, _: ktls.prepare(context),
}


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_no_descriptor_is_lost(
    call: Callable[[ssl.SSLContext, socket.socket], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The peer is told of the end, and nothing goes wrong on the way out."""
    unraisable: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    kept = ktls.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # What a process has once: workers, key log.
    polled(kept, connected()[0]).close()
    gc.collect()
    before = descriptors.settled()
    assert any(one_round(number, call) for number in range(1, MOST)), "more bytecodes than tried"
    gc.collect()
    assert descriptors.settled() == before
    assert not unraisable


def one_round(number: int, call: Callable[[ssl.SSLContext, socket.socket], Any]) -> bool:
    context = ktls.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    near, far = connected()
    with near, far:
        ended = raising_at(number, lambda: call(context, near))
        near.close()
        far.settimeout(20)
        assert far.recv(1) == b"", f"lost before bytecode {number}"
    return ended


def connected() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        return near, server.accept()[0]
