"""The sending process of one contender: it accepts the connections of a run, and is measured.

The clock is CLOCK_MONOTONIC, which all processes share: a run begins here and ends where the
receiver sees the end of the last stream.  CPU time is that of all threads of this process.
"""

import gc
import os
import time
import traceback
from multiprocessing.connection import Connection
from socket import IPPROTO_TCP, TCP_CONGESTION, TCP_NODELAY, create_server, socket
from threading import Barrier, Thread
from typing import Any

from harness import files, receiving, sealing
from harness.contenders import Contender, Endpoint, endpoint, server_context
from harness.moment import Moment, hog
from harness.processes import raise_descriptor_limit
from harness.work import (
    Echo,
    Failure,
    Idle,
    Receives,
    Relays,
    Sealing,
    SendFile,
    Sends,
    Work,
    connection_count,
)

_LOOK_EVERY = 65536
"""Bytes between two looks at the clock, so that looking costs small writes nothing."""


def main(
    pipe: Connection, contender: Contender, certificate: bytes, congestion: str, crate: str
) -> None:
    """Serve works from `pipe` until None comes: ("port", n) where there is one, then the answer."""
    raise_descriptor_limit()
    try:
        context = server_context(contender, certificate)
    except Exception as error:
        context = Failure(str(error))
    while (work := pipe.recv()) is not None:
        try:
            if isinstance(context, Failure):
                answer: Any = context
            elif isinstance(work, Sealing):
                answer = sealing.sample(contender, work, crate)
            else:
                answer = _connected(pipe, contender, context, work, congestion)
        except Exception as error:
            traceback.print_exc()
            answer = Failure(f"{type(error).__name__}: {error}")
        pipe.send(answer)


def _connected(
    pipe: Connection, contender: Contender, context: Any, work: Work, congestion: str
) -> dict[str, float]:
    with create_server(("127.0.0.1", 0), backlog=128) as server:
        server.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        _set_congestion(server, congestion)
        pipe.send(("port", server.getsockname()[1]))

        def accept() -> Endpoint:
            return endpoint(contender, server.accept()[0], context)

        if isinstance(work, Idle):
            return _memory(accept, work)
        ends = [accept() for _ in range(connection_count(work))]
        try:
            match work:
                case Sends():
                    return _sends(ends, work)
                case SendFile():
                    return _sendfile(ends[0], work)
                case Receives():
                    return receiving.receives(ends[0], work)
                case Relays():
                    return receiving.relays(*ends, work)
                case Echo():
                    return _echo(ends[0], work)
                case _:
                    raise ValueError(f"{work} needs no connection")
        finally:
            for end in ends:
                end.close()


def _set_congestion(server: socket, name: str) -> None:
    try:
        server.setsockopt(IPPROTO_TCP, TCP_CONGESTION, name.encode())
    except OSError as error:
        raise RuntimeError(
            f"TCP_CONGESTION {name!r} was refused ({error});"
            " net.ipv4.tcp_available_congestion_control lists what this kernel has"
        ) from None


def _sends(ends: list[Endpoint], work: Sends) -> dict[str, float]:
    data = bytes(range(256)) * (work.size // 256 + 1)
    data = data[: work.size]
    batch = range(max(1, _LOOK_EVERY // work.size))
    totals = [0] * len(ends)
    errors: list[BaseException] = []
    began: list[Moment] = []

    with hog(work.hog) as hogging:
        # Starting a thousand threads takes longer than the run: the clock waits for the last one.
        gate = Barrier(len(ends), lambda: began.append(Moment.now(hogging)))

        def write(end: Endpoint) -> int:
            sent = 0
            gate.wait()
            deadline = began[0].ns / 1e9 + work.seconds
            # Two loops rather than a test inside one: what is measured is the call.  Once at least:
            # a busy machine may let the time pass before the first call.
            if work.call == "send":
                send = end.send
                while True:
                    for _ in batch:
                        sent += send(data)
                    if time.monotonic() >= deadline:
                        break
            else:
                sendall = end.sendall
                while True:
                    for _ in batch:
                        sendall(data)
                    sent += len(batch) * work.size
                    if time.monotonic() >= deadline:
                        break
            end.finish()
            return sent

        def guarded(index: int, end: Endpoint) -> None:
            try:
                totals[index] = write(end)
            except BaseException as error:
                errors.append(error)
                gate.abort()

        if len(ends) == 1:
            totals[0] = write(ends[0])
        else:
            threads = [Thread(target=guarded, args=each) for each in enumerate(ends)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        ended = Moment.now(hogging)
    if errors:
        raise errors[0]
    start = began[0]
    return {"started_ns": start.ns, "bytes": sum(totals), "cpu_ns": ended.cpu_ns - start.cpu_ns}


def _sendfile(end: Endpoint, work: SendFile) -> dict[str, float]:
    if work.cold:
        files.drop(work.path)
    with open(work.path, "rb") as file:
        start = Moment.now()
        end.sendfile(file, work.count)
        end.finish()
        used = Moment.now().cpu_ns - start.cpu_ns
    return {"started_ns": start.ns, "bytes": work.count, "cpu_ns": used}


def _echo(end: Endpoint, work: Echo) -> dict[str, float]:
    recv, send = end.recv, end.send
    start = Moment.now()
    for index in range(work.warm_up + work.requests):
        if index == work.warm_up:
            start = Moment.now()
        data = recv(work.size)
        while len(data) < work.size:
            part = recv(work.size - len(data))
            if not part:
                raise RuntimeError("the client left before its last request")
            data += part
        send(data)
    used = Moment.now().cpu_ns - start.cpu_ns
    end.finish()
    return {"cpu_ns": used}


def _memory(accept: Any, work: Idle) -> dict[str, float]:
    ends = [accept() for _ in range(work.warm_up)]
    gc.collect()
    before, open_before = _anonymous_bytes(), _descriptors()
    ends += [accept() for _ in range(work.connections)]
    gc.collect()
    grown, opened = _anonymous_bytes() - before, _descriptors() - open_before
    for end in ends:
        end.close()
    return {
        "connection_bytes": grown / work.connections,
        "connection_fds": opened / work.connections,
    }


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def _anonymous_bytes() -> int:
    """Memory of this process that is no file's (proc(5), RssAnon)."""
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no RssAnon")
