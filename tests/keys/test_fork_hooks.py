"""A fork whose other hooks take their time, while threads send: nobody waits for ever."""

import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]

PROGRAM = """
import os, socket, sys, threading, time
# Hooks run in reverse order, so this one runs between ktls's own and the fork, and lets others run.
os.register_at_fork(before=lambda: time.sleep(0.05), after_in_parent=lambda: time.sleep(0.05))
import ktls
sys.path.insert(0, sys.argv[1])
from keyed_link import connected, parameters
from record_reader import SUITES, Secrets

ktls.enable()
stop = threading.Event()

def discard(peer):
    while peer.recv(1 << 20):
        pass

def send(sock):
    while not stop.is_set():
        sock.sendall(b"x" * 100)
        sock.send(bytearray(100_000))

def look(sock):
    while not stop.is_set():
        sock.fileno()
        other, far = connected()
        with ktls.Socket(other) as brief, far:
            secrets = Secrets(SUITES[3])
            brief.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(secrets))
            brief.shutdown(socket.SHUT_WR)

near, far = connected()
with ktls.Socket(near) as sock:
    sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(Secrets(SUITES[3])))
    threads = [threading.Thread(target=discard, args=(far,))]
    threads += [threading.Thread(target=work, args=(sock,)) for work in (send, send, look)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        if not (pid := os.fork()):
            os._exit(0)
        os.waitpid(pid, 0)
    stop.set()
    for thread in threads[1:]:
        thread.join()
threads[0].join()
print("done")
"""


def test_threads_that_send_while_another_forks() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(TESTS)], capture_output=True, text=True, timeout=30
    )
    assert (done.stdout, done.returncode) == ("done\n", 0), done.stderr
