"""A process with connections of its own, looked at and steered from outside while it lives.

    python live.py CONNECTIONS

Says what it has as one line of JSON, then obeys lines: ``exchange SIZE``, ``rekey``, ``spoil``,
``close``, ``fork``, ``count``, each of which is answered by a line. The end of its input ends it.
"""

import errno
import json
import os
import socket
import sys
import threading

import ktls
import ktls.control
from keyed_link import connected, parameters
from record_reader import SUITES, Secrets
from record_writer import RecordWriter
from traffic_secrets import TrafficSecret

SUITE = SUITES[3]


class Pair:
    """Two sockets of this process: one seals, the other opens."""

    def __init__(self) -> None:
        near, far = connected()
        self.secrets = Secrets(SUITE)
        self.writer = RecordWriter(self.secrets)
        self.secret = TrafficSecret(SUITE)
        self.sealing, self.opening = ktls.Socket(near), ktls.Socket(far)
        self.opening.settimeout(30)
        keys = parameters(self.secrets)
        self.sealing.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, keys)
        self.opening.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_RXTLS_ENABLE, keys)

    def ends(self) -> list[object]:
        return [*self.sealing.getsockname()[:2], *self.sealing.getpeername()[:2]]

    def exchange(self, size: int) -> None:
        data = os.urandom(size)
        sending = threading.Thread(target=self.sealing.sendall, args=(data,))
        sending.start()
        got = bytearray()
        while len(got) < size:
            got += self.opening.recv(size)
        sending.join()
        assert got == data

    def rekey(self) -> None:
        self.sealing.rekey(self.secret.value)
        message, _, _, _ = self.opening.recvmsg(100, socket.CMSG_SPACE(6))
        assert message[0] == 24
        self.opening.rekey_rx(self.secret.value)
        self.secret = self.secret.next()

    def close(self) -> None:
        self.sealing.close()
        assert self.opening.recv(1) == b""
        self.opening.close()


def spoiled() -> int:
    """Receive three records of a peer, one of which does not open; how many were counted lost."""
    near, far = connected()
    secrets = Secrets(SUITE)
    writer = RecordWriter(secrets)
    with ktls.Socket(near) as sock, far:
        sock.settimeout(30)
        sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_RXTLS_ENABLE, parameters(secrets))
        bad = bytearray(writer.seal(b"bad"))
        bad[-1] ^= 1
        far.sendall(bytes(bad) + writer.seal(b"good") + writer.seal(b"better"))
        lost = 0
        try:
            sock.recv(100)
        except OSError as error:
            lost += error.errno == errno.EBADMSG
        got = b""
        while got != b"goodbetter":
            got += sock.recv(100)
    return lost


def forked() -> str:
    """Whether the child has a control socket, before and after it asks for one."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        mine = f"{os.getpid()}.sock"
        own = ktls.control.serve()
        said = f"{own.path.name == mine} {own.path.exists()}"
        own.close()
        os.write(writing, f"{said} {own.path.exists()}".encode())
        os._exit(0)
    os.close(writing)
    with open(reading) as file:
        said = file.read()
    os.waitpid(pid, 0)
    return said


def main() -> None:
    ktls.enable()
    pairs = [Pair() for _ in range(int(sys.argv[1]))]
    server = ktls.control.serve()
    assert ktls.control.serve() is server
    told = {"pid": os.getpid(), "path": str(server.path), "ends": [pair.ends() for pair in pairs]}
    print(json.dumps(told), flush=True)
    for line in sys.stdin:
        said: object = "done"
        match line.split():
            case ["exchange", size]:
                for pair in pairs:
                    pair.exchange(int(size))
            case ["rekey"]:
                for pair in pairs:
                    pair.rekey()
            case ["close"]:
                pairs.pop().close()
            case ["spoil"]:
                said = spoiled()
            case ["fork"]:
                said = forked()
            case ["threads"]:
                said = sorted(thread.name for thread in threading.enumerate())
        print(json.dumps(said), flush=True)


main()
