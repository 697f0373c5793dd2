"""Files of all kinds through our ``sendfile`` and ``ssl``'s: the same bytes, the same errors."""

import bz2
import io
import lzma
import os
import random
import ssl
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest

import ktls
from faces import Face, handshaken, keyed
from record_reader import CBC_SUITES

CONTENT = random.randbytes(70_000)
MARK = b"and the connection lives"

Opened = tuple[Any, int, int | None]
"""A file, and the offset and the count to send of it."""
Open = Callable[[Path], Opened]
Outcome = tuple[Any, bytes, int | None]
"""What the call returned or raised, what arrived, and the file's position afterwards."""


@pytest.fixture
def make_face(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> Callable[[str], AbstractContextManager[Face]]:
    def make(kind: str) -> AbstractContextManager[Face]:
        match kind:
            case "ssl":
                return handshaken(server_context.wrap_socket, client_context)
            case "TLSSocket":
                ktls.prepare(server_context)
            case "pass-through":
                ktls.prepare(server_context)
                ktls.sysctl["kern.ipc.tls.enable"] = False
            case "tls10":
                return keyed(CBC_SUITES[0])
            case _:
                return keyed()
        return handshaken(
            lambda sock, **how: ktls.wrap_socket(sock, server_context, **how), client_context
        )

    return make


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while _descriptors:
        os.close(_descriptors.pop())


_descriptors: list[int] = []


class Descriptor:
    """A file by number, as programs make them that know no file objects."""

    def __init__(self, path: Path | str, flags: int) -> None:
        self._number = os.open(path, flags)
        _descriptors.append(self._number)

    def fileno(self) -> int:
        return self._number

    def read(self, size: int) -> bytes:
        return os.read(self._number, size)


class Number:
    """A number that is no descriptor."""

    def __init__(self, number: int) -> None:
        self._number = number

    def fileno(self) -> int:
        return self._number

    def read(self, size: int) -> bytes:
        return os.read(self._number, size)


class Swapping(io.FileIO):
    """Reads something else than its descriptor has."""

    def read(self, size: int = -1, /) -> bytes:
        return super().read(size).swapcase()

    def readinto(self, buffer: Any, /) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class Shouting:
    """Wraps a file and keeps its descriptor, as a filter may."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self.fileno = self._file.fileno
        self.seek = self._file.seek
        self.tell = self._file.tell
        self.close = self._file.close

    def read(self, size: int) -> bytes:
        return self._file.read(size).upper()


def written(path: Path, content: bytes = CONTENT) -> Path:
    path.write_bytes(content)
    return path


def compressed(module: Any, path: Path) -> Any:
    path.write_bytes(module.compress(bytes(1000) + CONTENT))
    return module.open(path)


def zip_member(path: Path) -> Any:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("member", CONTENT)
    return zipfile.ZipFile(path).open("member")


def unflushed(file: Any) -> Any:
    file.write(CONTENT)
    file.flush()
    file.write(b"not on the disk yet")
    return file


def truncated(path: Path) -> Any:
    """A file with holes alone."""
    path.touch()
    os.truncate(path, 50_000)
    return path.open("rb")


def write_only(path: Path) -> Any:
    return open(os.open(written(path), os.O_WRONLY), "rb", closefd=True)


def closed(path: Path) -> Any:
    file = written(path).open("rb")
    file.close()
    return file


def opened(path: str, **how: Any) -> Any:
    return open(path, "rb", **how)


FILES: dict[str, Open] = {
    "buffered": lambda path: (written(path).open("rb"), 0, None),
    "raw": lambda path: (written(path).open("rb", buffering=0), 5, 20_000),
    "read and write": lambda path: (written(path).open("r+b"), 5, None),
    "unflushed": lambda path: (unflushed(path.open("w+b")), 1, None),
    "unflushed tail": lambda path: (unflushed(path.open("w+b")), len(CONTENT) - 3, None),
    "unflushed raw": lambda path: (unflushed(path.open("w+b", buffering=0)), 1, None),
    "temporary": lambda path: (unflushed(tempfile.TemporaryFile()), 1, None),  # noqa: SIM115
    "named temporary": lambda path: (unflushed(tempfile.NamedTemporaryFile()), 1, None),  # noqa: SIM115
    "spooled": lambda path: (unflushed(tempfile.SpooledTemporaryFile()), 1, None),  # noqa: SIM115
    "spooled on disk": lambda path: (unflushed(tempfile.SpooledTemporaryFile(1000)), 1, None),  # noqa: SIM115
    "memory": lambda path: (io.BytesIO(CONTENT), 5, None),
    "holes": lambda path: (truncated(path), 0, None),
    "xz": lambda path: (compressed(lzma, path), 0, None),
    "xz, a part": lambda path: (compressed(lzma, path), 990, 5000),
    "bz2": lambda path: (compressed(bz2, path), 0, None),
    "bz2, a part": lambda path: (compressed(bz2, path), 990, 5000),
    "member of a zip": lambda path: (zip_member(path), 0, None),
    "buffer over another reader": lambda path: (
        io.BufferedReader(Swapping(written(path))),
        0,
        None,
    ),
    "subclass that reads otherwise": lambda path: (Swapping(written(path)), 0, None),
    "wrapper that reads otherwise": lambda path: (Shouting(written(path)), 5, None),
    "descriptor": lambda path: (Descriptor(written(path), os.O_RDONLY), 0, None),
    "of /proc": lambda path: (opened("/proc/version"), 0, None),
    "of /proc, a part": lambda path: (opened("/proc/version"), 3, 7),
    "of /proc, raw": lambda path: (opened("/proc/version", buffering=0), 0, None),
    "of /sys": lambda path: (opened("/sys/devices/system/cpu/online"), 0, None),
    "of /sys, more than there is": lambda path: (
        opened("/sys/devices/system/cpu/online"),
        0,
        4096,
    ),
    "of /sys, behind its end": lambda path: (
        opened("/sys/devices/system/cpu/online"),
        2000,
        None,
    ),
    "device": lambda path: (opened("/dev/zero"), 0, 50_000),
    "empty": lambda path: (written(path, b"").open("rb"), 0, None),
    "behind the end": lambda path: (written(path).open("rb"), 10**6, None),
    "count beyond the end": lambda path: (written(path).open("rb"), 0, 2**70),
    "last offset": lambda path: (written(path).open("rb"), 2**63 - 1, 10),
    "impossible offset": lambda path: (written(path).open("rb"), 2**64, 10),
    "write only": lambda path: (written(path).open("ab"), 0, None),
    "write only, said to be readable": lambda path: (write_only(path), 0, None),
    "write only, by number": lambda path: (Descriptor(written(path), os.O_WRONLY), 0, None),
    "O_PATH": lambda path: (Descriptor(written(path), os.O_PATH), 0, None),
    "directory": lambda path: (Descriptor(path.parent, os.O_RDONLY), 0, None),
    "no descriptor": lambda path: (Number(-1), 0, None),
    "no number of a descriptor": lambda path: (Number(2**40), 0, None),
    "closed": lambda path: (closed(path), 0, None),
}


def outcome(face: Face, opened: Opened) -> Outcome:
    """Send the file, and something after it: an error must leave the connection as it was."""
    file, offset, count = opened
    with ExitStack() as stack:
        if hasattr(file, "close"):
            stack.callback(file.close)
        result: Any
        try:
            result = face.sock.sendfile(file, offset, count)
        except Exception as error:
            # Of the same kind: a message may say more than ssl's.
            result = (type(error), getattr(error, "errno", None))
        face.sock.sendall(MARK)
        face.sock.close()
        arrived = face.arrived()
        assert arrived.endswith(MARK)
        readable = isinstance(result, int) and result and hasattr(file, "tell")
        return result, arrived.removesuffix(MARK), file.tell() if readable else None


@pytest.mark.parametrize("kind", ["Socket", "TLSSocket", "pass-through", "tls10"])
@pytest.mark.parametrize("name", FILES)
def test_sendfile_does_the_same_as_ssl(
    make_face: Callable[[str], AbstractContextManager[Face]],
    enabled: None,
    tmp_path: Path,
    name: str,
    kind: str,
) -> None:
    outcomes = []
    for number, each in enumerate(["ssl", kind]):
        directory = tmp_path / str(number)
        directory.mkdir()
        with make_face(each) as face:
            outcomes.append(outcome(face, FILES[name](directory / "file")))
    theirs, ours = outcomes
    assert ours == theirs


@pytest.mark.parametrize("kind", ["Socket", "TLSSocket"])
def test_sendfile_of_descriptors_without_read(
    make_face: Callable[[str], AbstractContextManager[Face]],
    enabled: None,
    tmp_path: Path,
    kind: str,
) -> None:
    """As ``socket.sendfile`` takes them; nothing is sent of one that cannot be read."""

    class Bare:
        def __init__(self, flags: int) -> None:
            _descriptors.append(os.open(written(tmp_path / "file"), flags))
            self.fileno = lambda number=_descriptors[-1]: number

    with make_face(kind) as face:
        assert face.sock.sendfile(Bare(os.O_RDONLY), 100) == len(CONTENT) - 100
        for flags in (os.O_WRONLY, os.O_PATH):
            with pytest.raises(AttributeError, match="read"):
                face.sock.sendfile(Bare(flags))
        face.sock.sendall(MARK)
        face.sock.close()
        assert face.arrived() == CONTENT[100:] + MARK
