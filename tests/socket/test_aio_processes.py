"""``aio_write`` and the process: its one thread, fork, the end of the interpreter."""

import concurrent.futures
import errno
import os
import random
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from pathlib import Path

import pytest

import ktls
from full_link import PENDING, Reading, keep, until
from keyed_link import Link, connected, parameters
from record_reader import SUITES, RecordReader, Secrets, read_data

MakeLink = Callable[..., Link]
NAME = "KTLS-aio"


def in_child(work: Callable[[], None]) -> None:
    """Run `work` in a forked child; fails with it."""
    child = os.fork()
    if not child:
        code = 1
        try:
            signal.alarm(20)
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def names() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("KTLS")]


@pytest.fixture
def tight(make_link: MakeLink) -> Link:
    """A connection that holds little."""
    keep(65536)
    return make_link(small=True)


# -- the thread ------------------------------------------------------------------------------------


def test_one_thread_ends_all_futures(make_link: MakeLink) -> None:
    keep(65536)
    links = [make_link(small=True) for _ in range(5)]
    threads: list[str] = []
    futures: list[Future[int]] = []
    for link in links:
        for _ in range(20):
            futures.append(link.sock.aio_write(bytes(30_000)))
            if not futures[-1].done():
                futures[-1].add_done_callback(
                    lambda _: threads.append(threading.current_thread().name)
                )
    until(lambda: names() == [NAME])
    readings = [Reading(link) for link in links]
    concurrent.futures.wait(futures, 30)
    for reading in readings:
        assert reading.data() == bytes(600_000)
    assert len(threads) > 50
    assert names() == [NAME]
    # A callback that was added when the future had just ended runs where it was added.
    assert threads.count(NAME) >= len(threads) - 5


def test_many_threads_begin_aio_writes_at_once(make_link: MakeLink) -> None:
    """In a process that has none yet."""
    links = [make_link() for _ in range(8)]

    def work() -> None:
        own = []
        for _ in links:
            near, far = connected()
            sock = ktls.Socket(near)
            sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(Secrets(SUITES[3])))
            own.append((sock, far))
        assert names() == []
        start = threading.Barrier(8)

        def write(sock: ktls.Socket) -> None:
            start.wait(10)
            assert sock.aio_write(b"data").result(10) == 4

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(write, [sock for sock, _ in own]))
        assert names() == [NAME]

    in_child(work)


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_no_thread_before_the_first_write() -> None:
    done = run(
        """
        import socket, threading, time, ktls
        near, far = socket.socketpair()
        with socket.create_server(("127.0.0.1", 0)) as server:
            sock = ktls.Socket(socket.create_connection(server.getsockname()))
            before = [thread.name for thread in threading.enumerate()]
            sock.send(b"x")
            sock.sendall(b"x")
            assert [thread.name for thread in threading.enumerate()] == before
            assert sock.aio_write(b"x").result(20) == 1
            while len(after := {thread.name for thread in threading.enumerate()}) == len(before):
                time.sleep(0.01)
            print(sorted(after - set(before)))
            sock.close()
        near.close()
        far.close()
        """
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"['{NAME}']\n"


# -- fork ------------------------------------------------------------------------------------------


def test_a_child_has_none_of_its_parents_writes(tight: Link) -> None:
    """They end in the parent alone; who asks in the child is told at once."""
    ended = tight.sock.aio_write(b"ended")
    assert ended.result(20) == 5
    futures = [tight.sock.aio_write(bytes([number]) * 10_000) for number in range(50)]
    assert futures[49].cancel()

    def work() -> None:
        assert ended.result() == 5
        for future in (futures[48], futures[30]):
            for ask in (future.result, future.exception):
                for timeout in (None, 5):
                    with pytest.raises(OSError, match="belongs to process") as caught:
                        ask(timeout)
                    assert caught.value.errno == errno.EPERM
            assert not future.cancel()
        with pytest.raises(OSError, match="belongs to process"):
            tight.sock.aio_write(b"from the child")
        tight.sock.close()

    in_child(work)
    reading = Reading(tight)
    assert [future.result(20) for future in futures[:49]] == [10_000] * 49
    assert tight.sock.aio_write(b"after").result(20) == 5
    expected = b"".join(bytes([number]) * 10_000 for number in range(49))
    assert reading.data() == b"ended" + expected + b"after"


def test_a_child_knows_what_was_cancelled(tight: Link) -> None:
    """That is an end like any other."""
    futures = [tight.sock.aio_write(bytes(10_000)) for _ in range(50)]
    assert futures[49].cancel()

    def work() -> None:
        assert futures[49].cancelled()
        with pytest.raises(CancelledError):
            futures[49].result(5)

    in_child(work)
    assert Reading(tight).data() == bytes(490_000)


def test_child_has_its_own_thread_for_futures(tight: Link) -> None:
    tight.sock.aio_write(bytes(500_000))

    def work() -> None:
        near, far = connected()
        secrets = Secrets(SUITES[3])
        assert names() == []
        before = ktls.sysctl[PENDING]
        with ktls.Socket(near) as sock, far:
            sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(secrets))
            data = [random.randbytes(1000) for _ in range(100)]
            told: list[str] = []
            future = sock.aio_write(bytes(20_000_000))
            future.add_done_callback(lambda _: told.append(threading.current_thread().name))
            futures = [sock.aio_write(piece) for piece in data]
            assert names() == [NAME]
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                read = pool.submit(read_data, far, RecordReader(secrets))
                assert future.result(15) == 20_000_000
                assert [one.result(15) for one in futures] == [1000] * 100
                sock.close()
                assert read.result(15) == bytes(20_000_000) + b"".join(data)
            assert told == [NAME]
            until(lambda: ktls.sysctl[PENDING] == before)

    in_child(work)
    assert Reading(tight).data() == bytes(500_000)


def test_forks_while_futures_end(make_link: MakeLink) -> None:
    """Neither side hangs, whatever the thread was doing."""
    keep(65536)
    link = make_link()
    reading = Reading(link)
    end = threading.Event()
    sent = 0

    def write() -> None:
        nonlocal sent
        while not end.is_set():
            for future in [link.sock.aio_write(bytes(5000)) for _ in range(20)]:
                assert future.result(20) == 5000
                sent += 5000

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(20):
            in_child(lambda: None)
    finally:
        end.set()
        writer.join()
    assert reading.data() == bytes(sent)


# -- the end of the interpreter --------------------------------------------------------------------


PROGRAM = """
    import socket, sys, threading
    sys.path[:0] = [{tests!r}]
    import ktls
    from keyed_link import parameters
    from record_reader import SUITES, Secrets

    secrets = Secrets(SUITES[3])
    secrets.key, secrets.iv, secrets.sequence = bytes(16), bytes(12), 0
    ktls.enable()
    ktls.sysctl["kern.ipc.tls.sendspace"] = 65536
    sock = ktls.Socket(socket.create_connection(("127.0.0.1", {port})))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(secrets))
    futures = [sock.aio_write(bytes([number]) * 100_000) for number in range(100)]
    assert not futures[-1].done()
"""


@pytest.mark.parametrize(
    "last",
    [
        "",
        "sock.close()",
        "sys.exit(0)",
        "del sock, futures",
        "sock.shutdown(socket.SHUT_WR)",
        "futures[-1].add_done_callback(lambda _: print('called'))",
        "threading.Thread(target=futures[-1].result).start()",
        "threading.Thread(target=futures[-1].result, daemon=True).start()",
    ],
)
def test_aio_writes_at_the_end_of_the_interpreter(last: str) -> None:
    """All is sent, and nothing is said about it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        tests = str(Path(__file__).parent.parent)
        program = PROGRAM.format(tests=tests, port=server.getsockname()[1])
        with subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(program) + last],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            peer, _ = server.accept()
            peer.settimeout(30)
            with peer:
                secrets = Secrets(SUITES[3])
                secrets.key, secrets.iv, secrets.sequence = bytes(16), bytes(12), 0
                data = read_data(peer, RecordReader(secrets))
            output, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
    assert data == b"".join(bytes([number]) * 100_000 for number in range(100))
    assert output == ("called\n" if "called" in last else "")
