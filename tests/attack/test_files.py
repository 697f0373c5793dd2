"""sendfile of odd files: what `ssl` sends of them is sent, a refusal costs nothing."""

import bz2
import gzip
import lzma
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from support.ends import Call, Ends, connect, with_kinds


class Descriptor:
    """A file that is a number, as os.open gives it."""

    def __init__(self, number: int) -> None:
        self._number = number

    def fileno(self) -> int:
        return self._number

    def read(self, count: int = -1) -> bytes:
        return os.read(self._number, count if count >= 0 else 1 << 20)

    def seek(self, offset: int) -> int:
        return os.lseek(self._number, offset, os.SEEK_SET)

    def tell(self) -> int:
        return os.lseek(self._number, 0, os.SEEK_CUR)

    def close(self) -> None:
        os.close(self._number)


def plain(path: Path) -> BinaryIO:
    path.write_bytes(b"p" * 100_000)
    return path.open("rb")


def compressed(module: Any) -> Callable[[Path], BinaryIO]:
    def opened(path: Path) -> BinaryIO:
        with module.open(path, "wb") as file:
            file.write(b"c" * 100_000)
        return module.open(path, "rb")

    return opened


def unflushed(path: Path) -> BinaryIO:
    file = path.open("w+b")
    file.write(b"1" * 10_000)
    file.flush()
    file.write(b"2" * 1000)
    return file


def temporary(_: Path) -> Any:
    file = tempfile.TemporaryFile()  # noqa: SIM115
    for _ in range(3):
        file.write(b"t" * 5000)
    return file


def system(name: str) -> Callable[[Path], BinaryIO]:
    return lambda _: open(name, "rb")


def write_only(path: Path) -> BinaryIO:
    file = path.open("wb")
    file.write(b"w" * 5000)
    file.flush()
    return file


def by_path_only(path: Path) -> Any:
    plain(path).close()
    return Descriptor(os.open(path, os.O_PATH))


def directory(path: Path) -> Any:
    return Descriptor(os.open(path.parent, os.O_RDONLY))


def closed(path: Path) -> BinaryIO:
    file = plain(path)
    file.close()
    return file


SENT = {
    "plain": plain,
    "bz2": compressed(bz2),
    "lzma": compressed(lzma),
    "sysfs": system("/sys/devices/system/cpu/online"),
    "sysfs-2": system("/sys/kernel/mm/transparent_hugepage/enabled"),
    "proc": system("/proc/version"),
    "proc-2": system("/proc/cpuinfo"),
    "null": system("/dev/null"),
}
REFUSED = {
    "write-only": write_only,
    "path-only": by_path_only,
    "directory": directory,
    "closed": closed,
    "no-descriptor": lambda _: Descriptor(-1),
    "far-too-high": lambda _: Descriptor(1 << 20),
}
RANGES = {
    "all": (),
    "a-part": (10, 500),
    "past-the-end": (10**6,),
    "more-than-there-is": (0, 10**6),
    "nothing": (0, 0),
    "negative-count": (0, -1),
    "negative-offset": (-1,),
    "offset-2**63-1": (2**63 - 1, 10),
    "offset-2**63": (2**63, 10),
    "offset-2**64": (2**64, 10),
    "count-2**64": (0, 2**64),
    "count-2**70": (0, 2**70),
}


def sent_by(kind: str, file: Any, *arguments: int) -> tuple[bytes, int | type]:
    """What arrives of a file, and what the call returned or raised."""
    with connect(kind) as ends:
        answer: int | type
        try:
            answer = Call(ends.own.sendfile, file, *arguments).result()
        except Exception as error:
            answer = type(error)
        return rest(ends), answer


def rest(ends: Ends) -> bytes:
    """The connection lives; what arrived on it before."""
    reading = Call(ends.receive_all)
    ends.own.sendall(b"ALIVE")
    ends.own.close()
    received = reading.result()
    assert received.endswith(b"ALIVE"), "the connection is dead"
    return received[:-5]


@with_kinds
@pytest.mark.parametrize("file", SENT)
def test_what_ssl_sends_is_sent(kind: str, file: str, tmp_path: Path) -> None:
    results = []
    for each in (kind, "STOCK"):
        with SENT[file](tmp_path / f"{each}.file") as opened:
            results.append(sent_by(each, opened))
    assert results[0] == results[1]


@with_kinds
@pytest.mark.parametrize("file", REFUSED)
def test_what_cannot_be_read_costs_nothing(kind: str, file: str, tmp_path: Path) -> None:
    """An error before the first byte, and the connection lives."""
    opened = REFUSED[file](tmp_path / "file")
    try:
        data, answer = sent_by(kind, opened)
    finally:
        if file not in ("closed", "no-descriptor", "far-too-high"):
            opened.close()
    assert data == b""
    assert isinstance(answer, type)
    assert issubclass(answer, OSError | ValueError)


@with_kinds
@pytest.mark.parametrize("part", RANGES)
def test_ranges_are_those_of_ssl(kind: str, part: str, tmp_path: Path) -> None:
    """The same bytes; where `ssl` raises, nothing is sent."""
    results = []
    for each in (kind, "STOCK"):
        with plain(tmp_path / f"{each}.file") as opened:
            results.append(sent_by(each, opened, *RANGES[part]))
    (ours, answer), (theirs, expected) = results
    assert ours == theirs
    if isinstance(expected, type):
        assert isinstance(answer, type) or answer == 0
    else:
        assert answer == expected


@with_kinds
@pytest.mark.parametrize("file", [unflushed, temporary], ids=["named", "temporary"])
def test_what_is_not_flushed_yet_is_sent(kind: str, file: Callable[[Path], Any], tmp_path) -> None:
    """From the second byte on: for the first one `ssl` does not move the file."""
    results = []
    for each in (kind, "STOCK"):
        with file(tmp_path / f"{each}.file") as opened:
            results.append(sent_by(each, opened, 1))
    assert results[0] == results[1]


@with_kinds
def test_gzip_is_never_sent_compressed(kind: str, tmp_path: Path) -> None:
    """`ssl` fails over its odd mode."""
    with compressed(gzip)(tmp_path / "file.gz") as opened:
        data, answer = sent_by(kind, opened)
    assert (data, answer) == (b"c" * 100_000, 100_000) or (
        data == b"" and answer in (TypeError, ValueError)
    )


@with_kinds
def test_a_file_that_shrinks_meanwhile_is_an_error(kind: str, tmp_path: Path) -> None:
    """Its length was announced, so nothing may be made up."""
    path = tmp_path / "file"
    path.write_bytes(b"s" * 20_000_000)
    with connect(kind, small=True) as ends, path.open("rb") as file:
        sending = Call(ends.own.sendfile, file)
        sending.join(0.1)
        os.truncate(path, 1_000_000)
        reading = Call(ends.receive_all)
        try:
            count = sending.result()
        except OSError:
            count = None
        ends.own.close()
        try:
            received = reading.result()
        except OSError:
            received = b""
        assert set(received) <= {ord("s")}
        if count is not None:
            assert len(received) == count
