"""A signal handler raises out of a blocking call; the peer checks what arrives.

Usage: raising_handler.py KIND CALL.
"""

import signal
import sys
import tempfile

from support.ends import Call, connect

FIRST = b"".join(b"%07d\n" % number for number in range(400_000))
SECOND = b"second\n" * 50_000


class InterruptedByTest(Exception):
    pass


def handler(*_: object) -> None:
    raise InterruptedByTest


def main(kind: str, call: str) -> None:
    ends = connect(kind, small=True)
    with tempfile.TemporaryFile() as file:
        file.write(FIRST)
        file.seek(0)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        try:
            if call == "sendfile":
                ends.own.sendfile(file)
            elif call == "sendmsg":
                ends.own.sendmsg([FIRST[:1000], FIRST[1000:]])
            else:
                getattr(ends.own, call)(FIRST)
            if call not in ("send", "sendmsg"):
                raise AssertionError("it was not interrupted")
            # A TLSSocket that OpenSSL writes for takes a part, as ssl does.
            signal.setitimer(signal.ITIMER_REAL, 0)
        except InterruptedByTest:
            pass
        accepted = file.tell()
    reading = Call(ends.receive_all)
    ends.own.settimeout(20)
    ends.own.sendall(SECOND)
    ends.own.close()
    received = reading.result()
    first, second = received[: -len(SECOND)], received[-len(SECOND) :]
    assert second == SECOND, received[-100:]
    assert FIRST.startswith(first), f"{len(first)} bytes are not the beginning of the first write"
    assert first
    if call == "sendfile":
        assert accepted == len(first), f"the file stands at {accepted}, {len(first)} arrived"
    print("a part of the first once, then all of the second")


main(*sys.argv[1:])
