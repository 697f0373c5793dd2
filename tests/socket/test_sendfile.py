"""Files of every kind through ``Socket.sendfile``."""

import errno
import io
import os
import random
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import ktls
from keyed_link import Link
from record_reader import SUITES, Suite, read_data, read_records

MakeLink = Callable[..., Link]
# The same in every process: names of tests are made of it.
CONTENT = random.Random(200_000).randbytes(200_000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "content"
    path.write_bytes(CONTENT)
    return path


@pytest.mark.parametrize("suite", SUITES, ids=str)
def test_sendfile_of_a_whole_file(make_link: MakeLink, path: Path, suite: Suite) -> None:
    link = make_link(suite)
    with path.open("rb") as file:
        assert link.sock.sendfile(file) == len(CONTENT)
        assert file.tell() == len(CONTENT)
    link.sock.close()
    assert read_data(link.peer, link.reader) == CONTENT


@pytest.mark.parametrize(
    ("offset", "count", "expected"),
    [
        (0, None, CONTENT),
        (1, None, CONTENT[1:]),
        (4095, 4098, CONTENT[4095:8193]),
        (16384, 16384, CONTENT[16384:32768]),
        (199_999, None, CONTENT[-1:]),
        (200_000, None, b""),
        (200_001, None, b""),
        (10**12, 5, b""),
        (0, 1, CONTENT[:1]),
        (150_000, 100_000, CONTENT[150_000:]),
        (0, 2**40, CONTENT),
    ],
)
@pytest.mark.parametrize("kind", ["buffered", "raw", "memory"])
def test_sendfile_of_ranges(
    link: Link, path: Path, offset: int, count: int | None, expected: bytes, kind: str
) -> None:
    files: dict[str, Callable[[], io.IOBase]] = {
        "buffered": lambda: path.open("rb"),
        "raw": lambda: path.open("rb", buffering=0),
        "memory": lambda: io.BytesIO(CONTENT),
    }
    with files[kind]() as file:
        file.seek(77)
        assert link.sock.sendfile(file, offset, count) == len(expected)  # type: ignore[arg-type]
        if expected:
            assert file.tell() == offset + len(expected)
    link.sock.close()
    assert read_data(link.peer, link.reader) == expected


@pytest.mark.parametrize(
    ("size", "extra"), [(4096, 1), (16384, 0), (16384, 300), (1, 4096), (100, 15360)]
)
def test_sendfile_between_other_writes(link: Link, path: Path, size: int, extra: int) -> None:
    with path.open("rb") as file:
        link.sock.send(b"<" * extra)
        assert link.sock.sendfile(file, 0, size) == size
        link.sock.send(b">" * extra)
        assert link.sock.sendfile(file, size, extra or None) == (extra or len(CONTENT) - size)
    link.sock.close()
    expected = b"<" * extra + CONTENT[:size] + b">" * extra
    expected += CONTENT[size : size + extra] if extra else CONTENT[size:]
    assert read_data(link.peer, link.reader) == expected


def test_sendfile_fills_its_records(link: Link, path: Path) -> None:
    with path.open("rb") as file:
        link.sock.sendfile(file, 100, 50_000)
    link.sock.close()
    sizes = [len(data) for _, data in read_records(link.peer, link.reader)]
    assert sizes == [16384, 16384, 16384, 50_000 - 3 * 16384]


def test_the_file_may_be_closed_and_removed(make_link: MakeLink, path: Path) -> None:
    ktls.sysctl["kern.ipc.tls.debug.seal_delay_us"] = 2000
    link = make_link()
    with path.open("rb") as file:
        link.sock.sendfile(file)
    path.unlink()
    link.sock.close()
    assert read_data(link.peer, link.reader) == CONTENT


def test_a_file_changed_after_a_blocking_call(make_link: MakeLink, path: Path) -> None:
    link = make_link()
    with path.open("r+b") as file:
        link.sock.sendfile(file)
        file.seek(0)
        file.write(bytes(len(CONTENT)))
        file.flush()
        os.truncate(path, 10)
    link.sock.close()
    assert read_data(link.peer, link.reader) == CONTENT


def test_sendfile_of_an_empty_file(link: Link, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    with empty.open("rb") as file:
        assert link.sock.sendfile(file) == 0
        assert link.sock.sendfile(file, 5, 10) == 0
    link.sock.close()
    assert read_records(link.peer, link.reader) == []


def test_sendfile_of_a_file_of_proc(link: Link) -> None:
    """It says that it has no length, and has content."""
    with Path("/proc/version").open("rb") as file:
        assert link.sock.sendfile(file) == len(Path("/proc/version").read_bytes())
    link.sock.close()
    assert read_data(link.peer, link.reader) == Path("/proc/version").read_bytes()


def test_sendfile_of_this_executable(link: Link) -> None:
    executable = Path("/proc/self/exe")
    content = executable.read_bytes()
    received: list[bytes] = []
    thread = threading.Thread(
        target=lambda: received.append(read_data(link.peer, link.reader)), daemon=True
    )
    thread.start()
    with executable.open("rb") as file:
        assert link.sock.sendfile(file) == len(content)
    link.sock.close()
    thread.join()
    assert received == [content]


# -- what cannot be read by the engine -------------------------------------------------------------


@pytest.fixture
def pipe() -> Iterator[io.BufferedReader]:
    """A pipe that somebody writes CONTENT to, in pieces."""
    read_end, write_end = os.pipe()

    def write() -> None:
        with open(write_end, "wb", buffering=0) as file:
            for start in range(0, len(CONTENT), 7000):
                try:
                    file.write(CONTENT[start : start + 7000])
                except BrokenPipeError:
                    return

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    with open(read_end, "rb") as file:
        yield file
    thread.join()


def test_sendfile_of_a_pipe(link: Link, pipe: io.BufferedReader) -> None:
    assert link.sock.sendfile(pipe, 0, 50_000) == 50_000
    assert link.sock.sendfile(pipe) == len(CONTENT) - 50_000
    link.sock.close()
    assert read_data(link.peer, link.reader) == CONTENT


def test_sendfile_of_a_pipe_has_no_offset(link: Link, pipe: io.BufferedReader) -> None:
    with pytest.raises(ValueError, match="cannot seek"):
        link.sock.sendfile(pipe, 5)


def test_a_pipe_into_a_nonblocking_socket(link: Link, pipe: io.BufferedReader) -> None:
    link.sock.setblocking(False)
    with pytest.raises(ValueError, match="non-blocking sockets are not supported"):
        link.sock.sendfile(pipe)
    assert pipe.read() == CONTENT


class Source:
    """The least that can be sent: something to read from."""

    def __init__(self, pieces: list[bytes | None]) -> None:
        self._pieces = pieces

    def read(self, size: int) -> bytes | None:
        return self._pieces.pop(0) if self._pieces else b""


def test_sendfile_of_anything_with_read(link: Link) -> None:
    assert link.sock.sendfile(Source([b"abc", b"d", bytes(70_000)])) == 70_004
    link.sock.close()
    assert read_data(link.peer, link.reader) == b"abcd" + bytes(70_000)


def test_a_source_that_has_nothing_now(link: Link) -> None:
    assert link.sock.sendfile(Source([b"abc", None])) == 3
    with pytest.raises(BlockingIOError, match="nothing to read now"):
        link.sock.sendfile(Source([None]))


# -- mistakes --------------------------------------------------------------------------------------


def test_sendfile_refuses_text_files(link: Link, path: Path) -> None:
    with path.open("r", encoding="latin-1") as file:
        assert_text_refused(link, file)
    assert_text_refused(link, io.StringIO("text"))


@pytest.mark.parametrize("wrong", ["name", 5])
def test_sendfile_refuses_what_is_no_file(link: Link, wrong: object) -> None:
    with pytest.raises(TypeError, match=f"{wrong!r} is no file; open it with open") as caught:
        link.sock.sendfile(wrong)  # type: ignore[arg-type]
    assert "'rb'" in str(caught.value)


def assert_text_refused(link: Link, file: io.TextIOBase) -> None:
    with pytest.raises(ValueError, match="binary mode"):
        link.sock.sendfile(file)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("offset", "count", "error", "words"),
    [
        (0, 0, ValueError, r"count must be a positive integer \(got 0\)"),
        (0, -1, ValueError, r"got -1"),
        (0, 1.5, TypeError, r"got 1\.5"),
        (0, "1", TypeError, r"got '1'"),
        (-1, None, ValueError, r"offset must not be negative \(got -1\)"),
        (0.0, None, TypeError, r"offset must be an int \(got 0.0\)"),
    ],
)
def test_sendfile_refuses_bad_ranges(
    link: Link, path: Path, offset: int, count: int, error: type[Exception], words: str
) -> None:
    with path.open("rb") as file, pytest.raises(error, match=words):
        link.sock.sendfile(file, offset, count)
    link.sock.close()
    assert read_records(link.peer, link.reader) == []


def test_sendfile_refuses_a_closed_file(link: Link, path: Path) -> None:
    file = path.open("rb")
    file.close()
    with pytest.raises(ValueError, match="closed"):
        link.sock.sendfile(file)


def test_a_directory_is_no_file(link: Link, tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(OSError, match=r"[Dd]irectory") as caught:
            link.sock.sendfile(Descriptor(descriptor))
        assert caught.value.errno == errno.EISDIR
    finally:
        os.close(descriptor)


class Descriptor:
    """A file by number."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        return self._descriptor

    def read(self, size: int) -> bytes:
        return os.read(self._descriptor, size)


# -- sockets that do not take it all ---------------------------------------------------------------


@pytest.mark.parametrize("kind", ["file", "memory"])
def test_nonblocking_sendfile_accepts_what_fits(make_link: MakeLink, path: Path, kind: str) -> None:
    ktls.sysctl["kern.ipc.tls.sendspace"] = 50_000
    link = make_link(small=True)
    link.sock.setblocking(False)
    with path.open("rb") if kind == "file" else io.BytesIO(CONTENT) as file:
        sent = link.sock.sendfile(file)
        assert 0 < sent < len(CONTENT)
        assert file.tell() == sent
        while True:
            try:
                sent += link.sock.sendfile(file, sent)
            except BlockingIOError:
                break
        assert file.tell() == sent
        link.sock.setblocking(True)
        expected = CONTENT[:sent]
        link.sock.close()
        assert read_data(link.peer, link.reader) == expected


def test_a_timeout_leaves_the_position_at_what_was_accepted(
    make_link: MakeLink, path: Path
) -> None:
    ktls.sysctl["kern.ipc.tls.sendspace"] = 50_000
    link = make_link(small=True)
    link.sock.settimeout(0.2)
    with path.open("rb") as file:
        with pytest.raises(TimeoutError):
            link.sock.sendfile(file)
        accepted = file.tell()
    assert 0 < accepted < len(CONTENT)
    link.sock.close()
    assert read_data(link.peer, link.reader) == CONTENT[:accepted]


def test_sendfile_to_a_slow_reader_is_no_timeout(make_link: MakeLink, path: Path) -> None:
    """The time-out is for progress, not for the whole file."""
    size = 20 << 20
    os.truncate(path, size)
    link = make_link()
    link.sock.settimeout(1)
    received: list[int] = []
    go_on = threading.Event()

    def read_slowly() -> None:
        try:
            while part := link.peer.recv(100_000):
                received.append(len(part))
                go_on.wait(0.01)
        except OSError:
            return

    thread = threading.Thread(target=read_slowly, daemon=True)
    thread.start()
    try:
        with path.open("rb") as file:
            assert link.sock.sendfile(file) == size
    finally:
        go_on.set()
        link.sock.close()
        thread.join(20)
    assert sum(received) > size


def test_a_file_truncated_meanwhile(make_link: MakeLink, tmp_path: Path) -> None:
    """What was promised cannot be sent: the connection ends with an error, never with zeros."""
    size = 8 << 20
    path = tmp_path / "shrinking"
    path.write_bytes(b"s" * size)
    ktls.sysctl["kern.ipc.tls.sendspace"] = size
    link = make_link(small=True)
    link.sock.setblocking(False)
    with path.open("rb") as file:
        accepted = link.sock.sendfile(file)
    assert accepted > 1 << 20
    os.truncate(path, 1000)
    received = 0
    with pytest.raises(ConnectionResetError):  # noqa: PT012
        while record := link.peer.recv(1 << 20):
            received += len(record)
    assert received < accepted
    link.sock.setblocking(True)
    with pytest.raises(OSError, match=r"(?i)file") as caught:
        link.sock.send(b"x")
    assert caught.value.errno == errno.EIO
    with pytest.raises(BrokenPipeError):
        link.sock.send(b"x")


def test_sendfile_to_a_peer_that_goes_away(make_link: MakeLink, tmp_path: Path) -> None:
    path = tmp_path / "big"
    path.write_bytes(bytes(16 << 20))
    link = make_link()
    link.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    link.peer.close()
    with (  # noqa: PT012
        path.open("rb") as file,
        pytest.raises((ConnectionResetError, BrokenPipeError)),
    ):
        for _ in range(10):
            link.sock.sendfile(file)


@pytest.mark.parametrize("sendspace", [50_000, 1 << 20])
def test_a_timeout_asks_for_no_byte_twice(make_link: MakeLink, path: Path, sendspace: int) -> None:
    """Whatever a call that timed out accepted arrives, and its position says how much that is."""
    os.truncate(path, 800_000)
    content = path.read_bytes()
    ktls.sysctl["kern.ipc.tls.sendspace"] = sendspace
    ktls.sysctl["kern.ipc.tls.flush_unit"] = 16384
    link = make_link(small=True)
    link.sock.settimeout(0.2)
    with path.open("rb") as file:
        try:
            assert link.sock.sendfile(file) == len(content)
        except TimeoutError:
            accepted = file.tell()
        else:
            accepted = len(content)
    assert accepted > 0
    link.sock.close()
    assert read_data(link.peer, link.reader) == content[:accepted]
