"""``aio_write`` between other calls: what is called first is sent first."""

import io
import os
import random
import select
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import ktls
from full_link import Reading, keep, until
from keyed_link import ALERT, Link
from record_reader import (
    CBC_SUITES,
    SUITES,
    Suite,
)

if TYPE_CHECKING:
    from concurrent.futures import Future

MakeLink = Callable[..., Link]
MORE = socket.MSG_MORE
CHAINED = CBC_SUITES[0]
every_kind = pytest.mark.parametrize("suite", [SUITES[0], SUITES[3], CHAINED], ids=str)


@pytest.fixture
def tight(make_link: MakeLink) -> Link:
    """A connection that holds little."""
    keep(65536)
    return make_link(small=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(200_000))
    return path


# -- with every other way to write -----------------------------------------------------------------


@every_kind
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("small", [False, True])
def test_any_mixture_of_writes_keeps_its_order(
    make_link: MakeLink, suite: Suite, path: Path, seed: int, small: bool
) -> None:
    keep(65536 if small else 1 << 20)
    link = make_link(suite, small=small)
    reading = Reading(link)
    chooser = random.Random(seed)
    content = path.read_bytes()
    expected: list[tuple[int, bytes]] = []
    futures: list[tuple[Future[int], int]] = []
    with path.open("rb") as file:
        for _ in range(150):
            size = chooser.choice([1, 100, 5000, 16384, 40_000])
            data = chooser.randbytes(size)
            kind = 23
            match chooser.randrange(9):
                case 0:
                    link.sock.sendall(data)
                case 1:
                    assert link.sock.send(bytearray(data)) == size
                case 2:
                    assert link.sock.sendmsg([data[:1], data[1:]]) == size
                case 3:
                    kind = 21
                    assert link.sock.sendmsg([data], ALERT) == size
                case 4:
                    start = chooser.randrange(100_000)
                    data = content[start : start + size]
                    assert link.sock.sendfile(file, start, size) == size
                case 5:
                    assert link.sock.sendfile(io.BytesIO(data)) == size
                case _:
                    futures.append((link.sock.aio_write(data), size))
            expected.append((kind, data))
    for future, size in futures:
        assert future.result(30) == size
    runs: list[tuple[int, bytes]] = []
    for records in (expected, reading.finished()):
        joined: list[tuple[int, bytearray]] = []
        for kind, data in records:
            if not joined or joined[-1][0] != kind:
                joined.append((kind, bytearray()))
            joined[-1][1].extend(data)
        if not runs:
            runs = [(kind, bytes(data)) for kind, data in joined]
        else:
            assert [(kind, bytes(data)) for kind, data in joined] == runs


@pytest.mark.parametrize("way", ["send", "sendall", "sendmsg", "typed", "sendfile", "memory"])
def test_blocking_call_waits_for_aio_writes_before_it(tight: Link, path: Path, way: str) -> None:
    """Until what was called before it is framed, not until it is sent."""
    first = [tight.sock.aio_write(bytes([number]) * 20_000) for number in range(20)]
    content = path.read_bytes()[:1000]

    def write() -> None:
        match way:
            case "send":
                assert tight.sock.send(content) == 1000
            case "sendall":
                tight.sock.sendall(content)
            case "sendmsg":
                assert tight.sock.sendmsg([content]) == 1000
            case "typed":
                assert tight.sock.sendmsg([content], ALERT) == 1000
            case "sendfile":
                with path.open("rb") as file:
                    assert tight.sock.sendfile(file, 0, 1000) == 1000
            case "memory":
                assert tight.sock.sendfile(io.BytesIO(content)) == 1000

    writer = threading.Thread(target=write)
    writer.start()
    writer.join(0.1)
    assert writer.is_alive()
    reading = Reading(tight)
    writer.join(20)
    last = tight.sock.aio_write(b"last")
    assert [future.result(20) for future in [*first, last]] == [20_000] * 20 + [4]
    records = reading.finished()
    before = b"".join(bytes([number]) * 20_000 for number in range(20))
    if way == "typed":
        assert records.pop(-2) == (21, content)
        content = b""
    # The space that it found may have been less than it needs: then it is two records.
    assert {content_type for content_type, _ in records} == {23}
    assert b"".join(payload for _, payload in records) == before + content + b"last"


@pytest.mark.parametrize("flags", [0, socket.MSG_DONTWAIT])
def test_a_call_that_may_not_wait_is_refused(tight: Link, path: Path, flags: int) -> None:
    """A byte of it would overtake; there is room again when the descriptor says so."""
    if not flags:
        tight.sock.setblocking(False)
    assert select.select([], [tight.sock], [], 0)[1]
    futures = [tight.sock.aio_write(bytes(20_000)) for _ in range(20)]
    calls = [
        lambda: tight.sock.send(b"x", flags),
        lambda: tight.sock.sendall(b"x", flags),
        lambda: tight.sock.send(b"x", flags | MORE),
        lambda: tight.sock.sendmsg([b"x"], [], flags),
        lambda: tight.sock.sendmsg([b"x"], ALERT, flags),
    ]
    with path.open("rb") as file:
        if not flags:
            calls += [
                lambda: tight.sock.sendfile(file),
                lambda: tight.sock.sendfile(io.BytesIO(b"x")),
            ]
        for call in calls:
            with pytest.raises(BlockingIOError):
                call()
            assert not select.select([], [tight.sock], [], 0)[1]
    reading = Reading(tight)
    assert select.select([], [tight.sock], [], 20)[1]
    assert tight.sock.send(b"in its turn") == 11
    assert [future.result(20) for future in futures] == [20_000] * 20
    assert reading.data() == bytes(400_000) + b"in its turn"


def test_a_call_with_a_time_out_waits_that_long(tight: Link) -> None:
    tight.sock.settimeout(0.1)
    futures = [tight.sock.aio_write(bytes(20_000)) for _ in range(20)]
    for call in (
        lambda: tight.sock.send(b"x"),
        lambda: tight.sock.sendall(b"x"),
        lambda: tight.sock.sendmsg([b"x"], ALERT),
    ):
        with pytest.raises(TimeoutError):
            call()
    reading = Reading(tight)
    assert [future.result(20) for future in futures] == [20_000] * 20
    assert reading.data() == bytes(400_000)


def test_aio_write_behind_all_that_a_socket_holds(tight: Link) -> None:
    """A call that does not wait has filled it; this one is not refused."""
    tight.sock.setblocking(False)
    sent = 0
    with pytest.raises(BlockingIOError):  # noqa: PT012
        while True:
            sent += tight.sock.send(b"1" * 10_000)
    future = tight.sock.aio_write(b"2" * 10_000)
    assert not future.done()
    assert Reading(tight).data() == b"1" * sent + b"2" * 10_000
    assert future.result(20) == 10_000


def test_aio_write_behind_a_writer_that_waits(tight: Link) -> None:
    """It never waits itself, and comes after all of the other write."""
    writer = threading.Thread(target=tight.sock.sendall, args=(b"1" * 500_000,))
    writer.start()
    until(lambda: tight.sock.pending > 30_000)
    future = tight.sock.aio_write(b"2" * 1000)
    assert writer.is_alive()
    assert not future.done()
    assert data_after(tight, writer) == b"1" * 500_000 + b"2" * 1000
    assert future.result(20) == 1000


def data_after(link: Link, writer: threading.Thread) -> bytes:
    """All data, once `writer` is through."""
    reading = Reading(link)
    writer.join(20)
    return reading.data()


@pytest.mark.parametrize("choice", ["none", "empty", "split"])
def test_aio_write_beside_a_writer_in_tls_10(make_link: MakeLink, choice: str) -> None:
    """It waits for nobody, whatever precedes a write."""
    ktls.sysctl["kern.ipc.tls.tls10_fragment"] = choice
    keep(65536)
    link = make_link(CHAINED, small=True)
    writer = threading.Thread(target=link.sock.sendall, args=(b"1" * 500_000,))
    writer.start()
    until(lambda: link.sock.pending > 30_000)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(link.sock.aio_write, b"2" * 1000)
        returned, _ = wait([call], 20)
        reading = Reading(link)
        writer.join(20)
        assert call.result(20).result(20) == 1000
    assert returned == {call}
    assert reading.data() == b"1" * 500_000 + b"2" * 1000


@every_kind
def test_aio_writes_of_several_threads(make_link: MakeLink, suite: Suite) -> None:
    """Each one's arrive in its order, and whole."""
    keep(65536)
    link = make_link(suite, small=True)
    reading = Reading(link)
    writers, turns, size = 4, 100, 2000

    def write(writer: int) -> None:
        futures = []
        for turn in range(turns):
            data = bytes([writer, turn]) * (size // 2)
            if turn % 5 == writer:
                link.sock.sendall(data)
            else:
                futures.append(link.sock.aio_write(data))
        assert [future.result(30) for future in futures] == [size] * len(futures)

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stream = reading.data()
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    assert len(pieces) == writers * turns
    assert all(piece == piece[:2] * (size // 2) for piece in pieces)
    for writer in range(writers):
        assert [piece[1] for piece in pieces if piece[0] == writer] == list(range(turns))
