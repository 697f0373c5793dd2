"""A thousand idle connections and a few busy ones: who gets what, how long, and at what memory.

    python benches/fairness.py --seconds 10 --runs 3

Stock clients in a process of their own take everything.  Each busy connection has a thread that
writes without end; one more writes a little to idle connections, one after another, and measures
until TCP has it.  Jain's fairness index is that of the bytes of the busy connections.
"""

import argparse
import gc
import json
import os
import select
import socket
import ssl
import statistics
import subprocess
import sys
import threading
import time
from multiprocessing.connection import Connection
from typing import NamedTuple

import trustme

import ktls
from harness.machine import require_release
from harness.processes import Child, end, raise_descriptor_limit
from ktls import _core

WARM_UP = 20
CHUNK = bytes(1 << 20)
LITTLE = bytes(100)
PAUSE_S = 0.002


class Result(NamedTuple):
    """One run."""

    jain: float
    rate_gbs: float
    idle_kib: float
    median_ms: float
    p99_ms: float
    worst_ms: float
    writes: int


def take(pipe: Connection, authority: bytes, port: int, count: int) -> None:
    """The clients: handshakes by ``ssl``, and from then on the kernel discards what comes."""
    raise_descriptor_limit()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=authority.decode())
    poll = select.epoll()
    socks = {}
    for _ in range(count):
        plain = socket.create_connection(("127.0.0.1", port), timeout=60)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
        sock = context.wrap_socket(plain, server_hostname="localhost")
        bare = socket.socket(fileno=sock.detach())
        bare.setblocking(False)
        socks[bare.fileno()] = bare
        poll.register(bare, select.EPOLLIN)
    pipe.send("connected")
    scrap = bytearray(1 << 20)
    while socks:
        for fd, _ in poll.poll():
            try:
                if socks[fd].recv_into(scrap, 0, socket.MSG_TRUNC):
                    continue
            except OSError:
                pass
            poll.unregister(fd)
            socks.pop(fd).close()


def anonymous_bytes() -> int:
    """Memory of this process that no file backs."""
    with open("/proc/self/smaps_rollup") as rollup:
        for line in rollup:
            if line.startswith("Anonymous:"):
                return int(line.split()[1]) * 1024
    raise RuntimeError("the kernel does not say what memory is anonymous")


def jain(shares: list[int]) -> float:
    """1 when all have the same, 1/n when one has everything."""
    return sum(shares) ** 2 / (len(shares) * sum(share * share for share in shares))


def measure(idle: int, busy: int, seconds: float) -> Result:
    """One run with connections of its own."""
    authority = trustme.CA()
    context = ktls.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
        count = WARM_UP + idle + busy
        port = listener.getsockname()[1]
        child = Child("clients", take, authority.cert_pem.bytes(), port, count)
        try:

            def accept() -> ktls.TLSSocket:
                sock, _ = listener.accept()
                made = context.wrap_socket(sock, server_side=True)
                assert made.mode is ktls.Mode.SW, made.why
                return made

            senders = [accept() for _ in range(busy + WARM_UP)][:busy]
            gc.collect()
            before = anonymous_bytes()
            quiet = [accept() for _ in range(idle)]
            gc.collect()
            idle_kib = (anonymous_bytes() - before) / max(1, idle) / 1024
            child.pipe.recv()
            return _load(quiet, senders, seconds, idle_kib)
        finally:
            end([child])


def _load(
    quiet: list[ktls.TLSSocket], senders: list[ktls.TLSSocket], seconds: float, idle_kib: float
) -> Result:
    sent = [0] * len(senders)
    stop = threading.Event()

    def send(index: int) -> None:
        while not stop.is_set():
            senders[index].sendall(CHUNK)
            sent[index] += len(CHUNK)

    threads = [threading.Thread(target=send, args=(index,)) for index in range(len(senders))]
    for thread in threads:
        thread.start()
    took = []
    begin = time.monotonic()
    turn = 0
    while time.monotonic() < begin + seconds:
        sock = quiet[turn % len(quiet)]
        turn += 1
        start = time.perf_counter_ns()
        sock.sendall(LITTLE)
        sock.flush()
        took.append(time.perf_counter_ns() - start)
        time.sleep(PAUSE_S)
    shares, elapsed = list(sent), time.monotonic() - begin
    stop.set()
    for thread in threads:
        thread.join()
    for sock in (*quiet, *senders):
        sock.close()
    took.sort()
    return Result(
        jain(shares),
        sum(shares) / elapsed / 1e9,
        idle_kib,
        statistics.median(took) / 1e6,
        took[len(took) * 99 // 100] / 1e6,
        took[-1] / 1e6,
        len(took),
    )


def main() -> None:
    """Run, and print a line for each run and the median of all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--idle", type=int, default=1000)
    parser.add_argument("--busy", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--one", action="store_true", help="a single run, as JSON")
    options = parser.parse_args()
    require_release(_core.BUILD_PROFILE)
    if options.one:
        raise_descriptor_limit()
        json.dump(measure(options.idle, options.busy, options.seconds), sys.stdout)
        return
    out = sys.stdout
    load = " ".join(f"{each:.1f}" for each in os.getloadavg())
    out.write(
        f"{options.idle} idle, {options.busy} busy, {options.seconds:g} s,"
        f" {len(os.sched_getaffinity(0))} CPUs, load before {load}\n"
        "  Jain  GB/s  KiB/idle  small write: median    p99   worst ms  writes\n"
    )
    results = []
    for _ in range(options.runs):
        # A process of its own: what an earlier run has given back would hide what this one takes.
        one = [sys.executable, __file__, "--one", *sys.argv[1:]]
        done = subprocess.run(one, stdout=subprocess.PIPE, check=True)
        result = Result(*json.loads(done.stdout))
        results.append(result)
        _line(result)
    out.write("median of each:\n")
    _line(Result(*(statistics.median(each) for each in zip(*results, strict=True))))


def _line(result: Result) -> None:
    sys.stdout.write(
        f"{result.jain:6.3f} {result.rate_gbs:5.2f} {result.idle_kib:9.1f}"
        f" {result.median_ms:19.3f} {result.p99_ms:6.3f} {result.worst_ms:10.3f}"
        f" {result.writes:7.0f}\n"
    )
    sys.stdout.flush()


if __name__ == "__main__":
    main()
