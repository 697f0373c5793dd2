"""A signal handler forks while sendall waits for a peer that does not read yet.

Usage: fork_in_handler.py KIND FORK.  Prints how the call ended in the child and in the parent.
"""

import os
import signal
import sys
import threading

from support.ends import Call, connect
from support.forks import FORKS, outcome

LENGTH = 6_000_000


def main(kind: str, fork: str) -> None:
    parent = os.getpid()
    forked = threading.Event()
    children: list[int] = []

    def handler(*_: object) -> None:
        child = FORKS[fork]()
        if child:
            children.append(child)
            forked.set()
        else:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(10)

    ends = connect(kind, small=True)
    data = os.urandom(LENGTH)

    def read() -> int:
        assert forked.wait(20)
        os.waitpid(children[0], 0)
        return int(ends.receive_exactly(LENGTH) == data) * LENGTH

    reading = Call(read)
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    answer = outcome(lambda: ends.own.sendall(data))
    if os.getpid() != parent:
        os.write(1, f"child {answer}\n".encode())
        os._exit(0)
    print(f"parent sent {LENGTH}" if answer == "returned None" else answer)
    print(f"peer got {reading.result(30)}", flush=True)
    ends.close()


main(*sys.argv[1:])
