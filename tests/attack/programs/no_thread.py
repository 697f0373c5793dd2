"""The thread that ends futures cannot be started at first, as at a limit of threads.

Usage: no_thread.py KIND.
"""

import sys
import threading

import ktls
from full_link import until
from support.ends import Call, connect


def main(kind: str) -> None:
    ends = connect(kind, small=True)
    threading.stack_size(1 << 45)
    try:
        first = ends.own.aio_write(b"1" * 200_000)
    except (RuntimeError, OSError):
        first = None
    threading.stack_size(0)
    later = [ends.own.aio_write(b"2" * 200_000) for _ in range(10)]
    # An error that was raised means that nothing was accepted.
    length = 2_000_000 + (200_000 if first is not None else 0)
    reading = Call(ends.receive_exactly, length)
    assert [future.result(10) for future in later] == [200_000] * 10
    if first is not None:
        assert first.result(10) == 200_000
    assert reading.result().endswith(b"2" * 2_000_000)
    until(lambda: ktls.sysctl["kern.ipc.tls.stats.aio_pending"] == 0)
    ends.close()
    print("the first raised, ten later ones ended")


main(*sys.argv[1:])
