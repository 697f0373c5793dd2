"""Linux's cases of MSG_MORE: data that waits for more, in one record with what follows."""

import errno
import itertools
import os
import socket
from pathlib import Path

import pytest

from conformance.catalogue import with_type
from conformance.linux import every_variant
from keyed_link import Link, nothing_has_arrived
from record_reader import Suite, read_record, read_records

TEXT = b"test_read\0"
MAX_LEN = 16384


@every_variant
def test_msg_more(link: Link) -> None:
    assert link.sock.send(TEXT, socket.MSG_MORE) == len(TEXT)
    nothing_has_arrived(link.peer)
    assert link.sock.send(TEXT) == len(TEXT)
    assert read_record(link.peer, link.reader) == (23, TEXT + TEXT)
    link.sock.close()
    assert read_records(link.peer, link.reader) == []


@every_variant
def test_cmsg_msg_more(link: Link) -> None:
    """Only application data may wait; nothing is sent, nor is what waits already."""
    with pytest.raises(OSError, match="MSG_MORE") as caught:
        link.sock.sendmsg([TEXT], with_type(100), socket.MSG_MORE)
    assert caught.value.errno == errno.EINVAL
    link.sock.send(b"before ", socket.MSG_MORE)
    with pytest.raises(OSError, match="MSG_MORE"):
        link.sock.sendmsg([TEXT], with_type(100), socket.MSG_MORE)
    nothing_has_arrived(link.peer)
    link.sock.send(b"and after")
    link.sock.close()
    assert read_records(link.peer, link.reader) == [(23, b"before and after")]


@every_variant
def test_msg_more_then_cmsg(link: Link) -> None:
    """What waits ends in a record of its own, before the one of another type."""
    assert link.sock.send(TEXT, socket.MSG_MORE) == len(TEXT)
    nothing_has_arrived(link.peer)
    assert link.sock.sendmsg([TEXT], with_type(100)) == len(TEXT)
    assert read_record(link.peer, link.reader) == (23, TEXT)
    assert read_record(link.peer, link.reader) == (100, TEXT)
    link.sock.close()
    assert read_records(link.peer, link.reader) == []


@every_variant
def test_msg_more_unsent(link: Link) -> None:
    assert link.sock.send(TEXT, socket.MSG_MORE) == len(TEXT)
    nothing_has_arrived(link.peer)


@every_variant
def test_msg_eor_behind_msg_more(link: Link) -> None:
    """Linux ends the record with it; here it is refused, and the record stays open."""
    link.sock.send(b"open, ", socket.MSG_MORE)
    for flags in (socket.MSG_EOR, socket.MSG_EOR | socket.MSG_MORE):
        for send in (
            lambda flags=flags: link.sock.send(TEXT, flags),
            lambda flags=flags: link.sock.sendall(TEXT, flags),
            lambda flags=flags: link.sock.sendmsg([TEXT], [], flags),
        ):
            with pytest.raises(OSError, match="MSG_EOR") as caught:
                send()
            assert caught.value.errno == errno.EINVAL
    nothing_has_arrived(link.peer)
    link.sock.send(b"closed")
    assert read_record(link.peer, link.reader) == (23, b"open, closed")


@every_variant
@pytest.mark.parametrize(
    "how",
    [pytest.param(socket.SHUT_WR, id="SHUT_WR"), pytest.param(socket.SHUT_RDWR, id="SHUT_RDWR")],
)
def test_shutdown_unsent(link: Link, how: int) -> None:
    """What waits was accepted: it is sent before the end."""
    assert link.sock.send(TEXT, socket.MSG_MORE) == len(TEXT)
    link.sock.shutdown(how)
    assert read_records(link.peer, link.reader) == [(23, TEXT)]
    link.sock.close()


@every_variant
def test_close_unsent(link: Link) -> None:
    assert link.sock.send(TEXT, socket.MSG_MORE) == len(TEXT)
    link.sock.close()
    assert read_records(link.peer, link.reader) == [(23, TEXT)]


# -- splice, with sendfile in its place ------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(3 * MAX_LEN))
    return path


@every_variant
@pytest.mark.parametrize("count", [1, MAX_LEN, MAX_LEN + 1], ids="{:d}".format)
def test_send_more_then_sendfile(link: Link, path: Path, count: int) -> None:
    """splice_more: a header that waits leaves with the file, and before it, in its own record."""
    content = path.read_bytes()[:count]
    assert link.sock.send(TEXT, socket.MSG_MORE) == len(TEXT)
    nothing_has_arrived(link.peer)
    with path.open("rb") as file:
        assert link.sock.sendfile(file, 0, count) == count
    link.sock.close()
    expected = [(23, content[at : at + MAX_LEN]) for at in range(0, count, MAX_LEN)]
    assert read_records(link.peer, link.reader) == [(23, TEXT), *expected]


@every_variant
@pytest.mark.parametrize("pieces", range(16, 45), ids=lambda pieces: f"{pieces}_frags")
def test_sendfile_onto_full_record(link: Link, path: Path, suite: Suite, pieces: int) -> None:
    """splice_onto_full_record: many small pieces fill a record to its last byte, then a file."""
    data = os.urandom(MAX_LEN)
    step = MAX_LEN // pieces
    cuts = [*range(0, step * pieces, step), MAX_LEN]
    for start, end in itertools.pairwise(cuts):
        assert link.sock.send(data[start:end], socket.MSG_MORE) == end - start
    # A full record waits for nothing.
    assert read_record(link.peer, link.reader) == (23, data)
    with path.open("rb") as file:
        assert link.sock.sendfile(file, 0, 1000) == 1000
    assert read_record(link.peer, link.reader) == (23, path.read_bytes()[:1000])
    link.sock.close()
    assert read_records(link.peer, link.reader) == []


@every_variant
def test_splice_from_pipe(link: Link) -> None:
    """What comes from a pipe is read and sent, alone and behind data."""
    data = os.urandom(MAX_LEN)
    link.sock.send(b"behind")
    for _ in range(2):
        reading, writing = os.pipe()
        with os.fdopen(reading, "rb") as source:
            with os.fdopen(writing, "wb") as sink:
                sink.write(data)
            assert link.sock.sendfile(source) == MAX_LEN
    link.sock.close()
    records = read_records(link.peer, link.reader)
    assert records[0] == (23, b"behind")
    assert b"".join(payload for _, payload in records[1:]) == data + data
