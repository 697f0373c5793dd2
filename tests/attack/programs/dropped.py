"""A connection is dropped without close, with the garbage collector off; the peer sees its end.

Usage: dropped.py KIND HOW: what was done with it before.
"""

import gc
import os
import ssl
import sys
import weakref
from contextlib import suppress
from typing import Any

import ktls
from full_link import until
from keyed_link import connected
from support.ends import Ends, connect, wrap

ACTIVE = "kern.ipc.tls.stats.active"


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def use(ends: Ends, how: str) -> tuple[Any, bytes]:
    """Do something with it; what is kept of that, and what the peer has still to get."""
    own = ends.own
    own.sendall(b"hi")
    assert ends.receive_exactly(2) == b"hi"
    match how:
        case "read":
            ends.say(b"answer")
            assert own.recv(6) == b"answer"
        case "unread":
            own.setblocking(False)
            with suppress(BlockingIOError, ssl.SSLWantReadError):
                own.recv(10)
        case "makefile":
            with own.makefile("rwb") as file:
                file.write(b"line\n")
            return None, b"line\n"
        case "fileno":
            own.fileno()
        case "cork":
            with own.cork():
                own.send(b"corked")
            return None, b"corked"
        case "futures":
            futures = [own.aio_write(b"0123456789") for _ in range(50)]
            for future in futures:
                assert future.result(20) == 10
            return futures, b"0123456789" * 50
        case "pending":
            futures = [own.aio_write(bytes(100_000)) for _ in range(10)]
            return futures, bytes(1_000_000)
        case "accepted":
            return None, b"f" * ends.fill()
        case "error":
            try:
                own.sendmsg(["not bytes"])
            except TypeError as error:
                # Without the frames, which are the caller's own reference.
                return error.with_traceback(None), b""
    return None, b""


def main(kind: str, how: str) -> None:
    with connect(kind) as ends:
        # What poll descriptors share stays open.
        ends.own.fileno()
    if how == "handshake":
        # Preparing the context of a client opens the key log for good.
        near, far = connected()
        wrap(kind, near, False, do_handshake_on_connect=False).close()
        far.close()
    until(lambda: ktls.sysctl[ACTIVE] == 0)
    gc.collect()
    gc.disable()
    before = descriptors()
    if how == "handshake":
        near, far = connected()
        own = wrap(kind, near, False, do_handshake_on_connect=False)
        own.setblocking(False)
        with suppress(ssl.SSLWantReadError):
            own.do_handshake()
        dead = weakref.ref(own)
        del own, near
        far.settimeout(20)
        while far.recv(65536):
            pass
        far.close()
    else:
        ends = connect(kind, small=how in ("pending", "accepted"))
        kept, expected = use(ends, how)
        dead = weakref.ref(ends.own)
        ends.own = None
        assert ends.receive_all() == expected
        ends.peer.close()
        assert kept is None or kept
    assert dead() is None, "the object lives on in a reference cycle"
    until(lambda: ktls.sysctl[ACTIVE] == 0)
    until(lambda: descriptors() == before)
    print("the peer saw the end, nothing lives on")


main(*sys.argv[1:])
