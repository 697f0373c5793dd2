"""The other end, in a process of its own: a stock client that takes everything, unseen.

After its handshake it reads the bare descriptor and lets the kernel discard what came (MSG_TRUNC),
woken once for 256 KiB (SO_RCVLOWAT): a receiver that is never what limits.  Only the echo client
stays with ``ssl``, or with the contender.  Where the contender receives, this end sends
(``source``).
"""

import select
import socket
import ssl
import time
from multiprocessing.connection import Connection
from threading import Thread

from harness import source
from harness.processes import raise_descriptor_limit
from harness.work import (
    Echo,
    Failure,
    Idle,
    Order,
    Receives,
    Relays,
    Sample,
    connection_count,
)

LOW_WATER = 262144
READ_LEN = 1 << 20
_TIMEOUT_S = 60


def main(pipe: Connection, authority: bytes, congestion: str) -> None:
    """Serve orders from `pipe` until None comes."""
    raise_descriptor_limit()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=authority.decode())
    ours = source.context(authority)
    while (order := pipe.recv()) is not None:
        try:
            answer: Sample | Failure = _carry_out(order, context, ours, congestion)
        except Exception as error:
            answer = Failure(f"receiver: {type(error).__name__}: {error}")
        pipe.send(answer)


def drain_one(pipe: Connection, port: int) -> None:
    """Empty one connection without TLS until it ends, and say how many bytes that were."""
    with pipe, _connect(port, "cubic") as sock:
        pipe.send(_drain(sock))


def _carry_out(
    order: Order, context: ssl.SSLContext, ours: ssl.SSLContext, congestion: str
) -> Sample:
    socks: list[socket.socket] = []

    def connect() -> socket.socket:
        sock = _connect(order.port, congestion)
        if order.tls:
            sock = context.wrap_socket(sock, server_hostname="localhost")
        return sock

    def connect_ours() -> source.Feeder:
        sock = _connect(order.port, congestion)
        return source.wrap(sock, ours) if order.tls else sock

    if isinstance(order.work, Receives):
        with connect_ours() as feeder:
            source.feed(feeder)
        return {}
    if isinstance(order.work, Relays):
        return _feed_and_drain(connect_ours(), connect(), order)
    if isinstance(order.work, Echo) and order.work.both and order.kind == "ktls":
        with connect_ours() as asker:
            return _ask(asker, order.work)
    try:
        socks.extend(connect() for _ in range(connection_count(order.work)))
        if isinstance(order.work, Echo):
            return _ask(socks[0], order.work)
        if order.tls:
            socks[:] = [_bare(sock) for sock in socks]
        if not isinstance(order.work, Idle):
            for sock in socks:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, LOW_WATER)
        received = _drain(socks[0]) if len(socks) == 1 else _drain_all(socks)
        return {"finished_ns": time.monotonic_ns(), "wire_bytes": received}
    finally:
        for sock in socks:
            sock.close()


def _connect(port: int, congestion: str) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, congestion.encode())
    sock.settimeout(None)
    return sock


def _bare(sock: socket.socket) -> socket.socket:
    return socket.socket(fileno=sock.detach())


def _drain(sock: socket.socket) -> int:
    scrap = bytearray(READ_LEN)
    received = 0
    while count := sock.recv_into(scrap, 0, socket.MSG_TRUNC):
        received += count
    return received


def _drain_all(socks: list[socket.socket]) -> int:
    scrap = bytearray(READ_LEN)
    received = 0
    open_ = {sock.fileno(): sock for sock in socks}
    with select.epoll() as poller:
        for fd in open_:
            poller.register(fd, select.EPOLLIN)
        while open_:
            for fd, _ in poller.poll():
                count = open_[fd].recv_into(scrap, 0, socket.MSG_TRUNC | socket.MSG_DONTWAIT)
                received += count
                if count == 0:
                    poller.unregister(fd)
                    del open_[fd]
    return received


def _feed_and_drain(feeder: source.Feeder, sink: socket.socket, order: Order) -> Sample:
    feeding = Thread(target=source.feed, args=(feeder,))
    feeding.start()
    bare = _bare(sink) if order.tls else sink
    with feeder, bare:
        bare.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, LOW_WATER)
        received = _drain(bare)
        finished = time.monotonic_ns()
        feeding.join()
    return {"finished_ns": finished, "wire_bytes": received}


def _ask(sock: source.Feeder, work: Echo) -> Sample:
    request = bytes(work.size)
    taken = []
    used = 0
    for index in range(work.warm_up + work.requests):
        if index == work.warm_up:
            used = -time.process_time_ns()
        start = time.perf_counter_ns()
        sock.sendall(request)
        left = work.size
        while left:
            count = len(sock.recv(left))
            if count == 0:
                raise RuntimeError("the server left before its last answer")
            left -= count
        taken.append(time.perf_counter_ns() - start)
    used += time.process_time_ns()
    taken = sorted(taken[work.warm_up :])
    return {
        "p50_us": taken[len(taken) // 2] / 1000,
        "p99_us": taken[len(taken) * 99 // 100] / 1000,
        "cpu_ns": used,
    }
