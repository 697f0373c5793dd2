"""What precedes the data of a write in TLS 1.0 with AES-CBC, and writes of nothing."""

import errno
import io
import itertools
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import ktls
from keyed_link import Link, records_of
from record_reader import ALL_SUITES, CBC_SUITES, Suite, read_records

MakeLink = Callable[..., Link]
POLICY = "kern.ipc.tls.tls10_fragment"
CHAINED = CBC_SUITES[0]
SPACE = 65536
PING = [(ktls.IPPROTO_TCP, ktls.TLS_SET_RECORD_TYPE, bytes([33]))]


def keep_little() -> None:
    """Streams made from now on hold no more than this."""
    for name in ("sendlowat", "sendspace", "sendspace_max"):
        ktls.sysctl[f"kern.ipc.tls.{name}"] = SPACE // 2 if name == "sendlowat" else SPACE


def payloads(link: Link) -> list[bytes]:
    records = records_of(link)
    assert {content_type for content_type, _ in records} == {23}
    return [payload for _, payload in records]


@pytest.mark.parametrize("suite", ALL_SUITES, ids=str)
@pytest.mark.parametrize("choice", ["auto", "none"])
def test_nothing_precedes_a_write_by_default(
    make_link: MakeLink, suite: Suite, choice: str
) -> None:
    ktls.sysctl[POLICY] = choice
    link = make_link(suite)
    link.sock.send(b"one")
    link.sock.sendmsg([b"tw", b"o"])
    assert payloads(link) == [b"one", b"two"]


@pytest.mark.parametrize("suite", ALL_SUITES[:-10] + CBC_SUITES[1:5], ids=str)
@pytest.mark.parametrize("choice", ["empty", "split"])
def test_nothing_precedes_a_write_in_later_versions(
    make_link: MakeLink, suite: Suite, choice: str
) -> None:
    ktls.sysctl[POLICY] = choice
    link = make_link(suite)
    link.sock.send(b"one")
    assert payloads(link) == [b"one"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"in a file")
    return path


def write_in_every_way(sock: ktls.Socket, path: Path) -> None:
    assert sock.send(b"send") == 4
    assert sock.send(bytearray(b"copied")) == 6
    sock.sendall(b"sendall")
    assert sock.sendmsg([b"send", b"msg"]) == 7
    with path.open("rb") as file:
        assert sock.sendfile(file) == 9
        assert sock.sendfile(file, 8) == 1
    assert sock.sendfile(io.BytesIO(b"read")) == 4
    assert sock.send(b"x") == 1
    sock.sendall(b"y")
    assert sock.sendmsg([b"a message"], PING) == 9
    sock.sendall(bytes(20_000))


DATA = [b"send", b"copied", b"sendall", b"sendmsg", b"in a file", b"e", b"read", b"x", b"y"]


@pytest.mark.rule("RFC 7457 2.3")
def test_first_byte_precedes_a_write_when_split(make_link: MakeLink, path: Path) -> None:
    ktls.sysctl[POLICY] = "split"
    link = make_link(CHAINED)
    ktls.sysctl[POLICY] = "none"
    write_in_every_way(link.sock, path)
    expected = [(23, part) for data in DATA for part in (data[:1], data[1:]) if part]
    expected += [(33, b"a message"), (23, bytes(1)), (23, bytes(16384)), (23, bytes(3615))]
    assert records_of(link) == expected


@pytest.mark.rule("RFC 7457 2.3")
def test_empty_record_precedes_a_write_when_asked_for(make_link: MakeLink, path: Path) -> None:
    ktls.sysctl[POLICY] = "empty"
    link = make_link(CHAINED)
    write_in_every_way(link.sock, path)
    expected = [(23, part) for data in DATA for part in (b"", data)]
    expected += [(33, b"a message"), (23, b""), (23, bytes(16384)), (23, bytes(3616))]
    assert records_of(link) == expected


@pytest.mark.parametrize("choice", ["none", "empty", "split"])
def test_a_write_of_nothing_is_a_record(make_link: MakeLink, choice: str) -> None:
    ktls.sysctl[POLICY] = choice
    link = make_link(CHAINED)
    assert link.sock.send(b"") == 0
    assert link.sock.send(bytearray(), 0) == 0
    assert link.sock.sendmsg([]) == 0
    assert link.sock.sendmsg([b"", b""]) == 0
    assert link.sock.sendmsg([], PING) == 0
    link.sock.sendall(b"")
    assert records_of(link) == [(23, b"")] * 4 + [(33, b"")]


@pytest.mark.parametrize("suite", [s for s in ALL_SUITES if s.tls_vminor > 1], ids=str)
def test_a_write_of_nothing_is_nothing_in_later_versions(make_link: MakeLink, suite: Suite) -> None:
    link = make_link(suite)
    assert link.sock.send(b"") == 0
    assert link.sock.sendmsg([]) == 0
    with pytest.raises(OSError, match="needs data") as caught:
        link.sock.sendmsg([], PING)
    assert caught.value.errno == errno.EINVAL
    assert records_of(link) == []


@pytest.mark.parametrize("choice", ["empty", "split"])
def test_without_blocking_nothing_is_lost_and_nothing_piles_up(
    make_link: MakeLink, choice: str
) -> None:
    ktls.sysctl[POLICY] = choice
    keep_little()
    link = make_link(CHAINED, small=True)
    link.sock.setblocking(False)
    data = os.urandom(300_000)
    sent = refused = 0
    while refused < 50:
        try:
            sent += link.sock.send(data[sent : sent + 50_000])
        except BlockingIOError:
            refused += 1
    received: list[tuple[int, bytes]] = []
    reader = threading.Thread(target=lambda: received.extend(read_records(link.peer, link.reader)))
    reader.start()
    link.sock.setblocking(True)
    link.sock.sendall(data[sent:])
    link.sock.close()
    reader.join()
    assert b"".join(payload for _, payload in received) == data
    # Peers give up after 32 in a row (OpenSSL).
    empty = [not payload for _, payload in received]
    assert not any(first and second for first, second in itertools.pairwise(empty))


@pytest.mark.parametrize("choice", ["empty", "split"])
def test_preceded_writes_of_threads_do_not_mix(make_link: MakeLink, choice: str) -> None:
    ktls.sysctl[POLICY] = choice
    link = make_link(CHAINED)
    writers, turns = 4, 100
    threads = [
        threading.Thread(
            target=lambda mark=mark: [
                link.sock.sendall(bytes([mark, turn, 1]) * 20) for turn in range(turns)
            ]
        )
        for mark in range(writers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stream = b"".join(payloads(link))
    pieces = [stream[at : at + 60] for at in range(0, len(stream), 60)]
    assert len(pieces) == writers * turns
    assert all(piece == piece[:3] * 20 for piece in pieces)
    for mark in range(writers):
        assert [piece[1] for piece in pieces if piece[0] == mark] == list(range(turns))


@pytest.mark.parametrize("choice", ["empty", "split"])
def test_writer_waits_for_another_in_tls_10(make_link: MakeLink, choice: str) -> None:
    """One blocks on a peer that does not read; the others have their own time-outs."""
    ktls.sysctl[POLICY] = choice
    keep_little()
    link = make_link(CHAINED, small=True)
    data = os.urandom(300_000)
    writer = threading.Thread(target=link.sock.sendall, args=(data,))
    writer.start()
    while link.sock.pending < 30_000:
        time.sleep(0.01)
    with pytest.raises(BlockingIOError):
        link.sock.send(b"at once", socket.MSG_DONTWAIT)
    reader = threading.Thread(target=lambda: payload.extend(read_records(link.peer, link.reader)))
    payload: list[tuple[int, bytes]] = []
    reader.start()
    writer.join()
    link.sock.sendall(b"the end")
    link.sock.close()
    reader.join()
    assert b"".join(part for _, part in payload) == data + b"the end"
