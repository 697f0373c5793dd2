"""Linux's cases of both directions at once, between two of our sockets, and of their end."""

import os
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import ktls
from conformance.linux import every_receiving_variant, two_receiving_variants
from keyed_link import connected, parameters
from keyed_receiver import ReceivingLink, enable_receiving
from record_reader import RecordReader, Secrets, Suite, read_records
from record_writer import RecordWriter

VOLUME = 6 << 20
PIECE = 4096


@contextmanager
def both_ways(suite: Suite, *, small: bool = False) -> Iterator[tuple[ktls.Socket, ktls.Socket]]:
    """Two ends, each of which seals and opens."""
    near, far = connected(small=small)
    with ktls.Socket(near) as one, ktls.Socket(far) as other:
        for sender, receiver in ((one, other), (other, one)):
            secrets = Secrets(suite)
            sender.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(secrets))
            enable_receiving(receiver, secrets)
            sender.settimeout(20)
        yield one, other


@every_receiving_variant
def test_bidir(suite: Suite) -> None:
    """Each direction has its own keys, and goes its own way."""
    with both_ways(suite) as (one, other):
        for turn in range(10):
            for sender, receiver in ((one, other), (other, one)):
                data = os.urandom(3000 * turn + 1)
                sender.sendall(data)
                assert receiver.recv(len(data), socket.MSG_WAITALL) == data
        for sock in (one, other):
            for option in (ktls.TCP_TXTLS_MODE, ktls.TCP_RXTLS_MODE):
                assert sock.getsockopt(ktls.IPPROTO_TCP, option) == ktls.Mode.SW


@every_receiving_variant
def test_blocking(suite: Suite) -> None:
    """100 000 bytes each way; the peer reads them all before it answers."""
    data = os.urandom(100_000)
    with both_ways(suite) as (one, other):

        def answer() -> None:
            got = other.recv(len(data), socket.MSG_WAITALL)
            other.sendall(got[::-1])

        peer = threading.Thread(target=answer, daemon=True)
        peer.start()
        one.sendall(data)
        assert one.recv(len(data), socket.MSG_WAITALL) == data[::-1]
        peer.join(20)


@every_receiving_variant
def test_nonblocking(suite: Suite) -> None:
    """The smallest buffers: both ends are refused now and then, and all arrives."""
    for name in ("sendspace", "sendspace_max"):
        ktls.sysctl[f"kern.ipc.tls.{name}"] = 16384
    data = os.urandom(200_000)
    received = bytearray()
    with both_ways(suite, small=True) as (one, other):
        one.setblocking(False)
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.recv(30_000)
        sent = 0
        with pytest.raises(BlockingIOError):  # noqa: PT012
            while sent < len(data):
                sent += one.send(data[sent : sent + 20_000])
        assert sent
        while len(received) < len(data):
            with suppress(BlockingIOError):
                received += other.recv(30_000)
            with suppress(BlockingIOError):
                sent += one.send(data[sent : sent + 20_000]) if sent < len(data) else 0
            if len(received) < len(data):
                assert any(select.select([other], [one] if sent < len(data) else [], [], 20))
        with pytest.raises(BlockingIOError):
            other.recv(30_000)
    assert received == data


@two_receiving_variants
@pytest.mark.parametrize("files", [False, True], ids=["send", "sendpage"])
@pytest.mark.parametrize(
    ("readers", "writers"),
    [
        pytest.param(6, 6, id="mutliproc_even"),
        pytest.param(12, 4, id="mutliproc_readers"),
        pytest.param(2, 10, id="mutliproc_writers"),
    ],
)
def test_mutliproc(suite: Suite, tmp_path: Path, readers: int, writers: int, files: bool) -> None:
    """Many threads write on one end and many read on the other: each byte is read once."""
    turns = VOLUME // PIECE // writers
    path = tmp_path / "file"
    pieces = [bytes([mark]) * PIECE for mark in range(writers)]
    path.write_bytes(b"".join(pieces))
    counts = [[0] * writers for _ in range(readers)]
    failures: list[BaseException] = []

    def guarded(work) -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    with both_ways(suite) as (one, other):

        def write(mark: int) -> None:
            with path.open("rb") as file:
                for _ in range(turns):
                    if files:
                        assert one.sendfile(file, mark * PIECE, PIECE) == PIECE
                    else:
                        one.sendall(pieces[mark])

        def read(index: int) -> None:
            while part := other.recv(PIECE):
                for mark in set(part):
                    counts[index][mark] += part.count(mark)

        works = [lambda mark=mark: write(mark) for mark in range(writers)]
        reads = [lambda index=index: read(index) for index in range(readers)]
        threads = [
            [threading.Thread(target=guarded, args=(work,), daemon=True) for work in group]
            for group in (works, reads)
        ]
        for group in threads:
            for thread in group:
                thread.start()
        for thread in threads[0]:
            thread.join(40)
        one.shutdown(socket.SHUT_WR)
        for thread in threads[1]:
            thread.join(40)
    assert failures == []
    assert [sum(column) for column in zip(*counts, strict=True)] == [turns * PIECE] * writers


@two_receiving_variants
def test_read_beside_write(suite: Suite) -> None:
    """One thread reads and another writes on each end, at the same time."""
    data = os.urandom(4 << 20)
    received: dict[str, bytes] = {}
    with both_ways(suite) as (one, other):

        def read(name: str, sock: ktls.Socket) -> None:
            received[name] = sock.recv(len(data), socket.MSG_WAITALL)

        threads = [
            threading.Thread(target=read, args=("one", one), daemon=True),
            threading.Thread(target=read, args=("other", other), daemon=True),
            threading.Thread(target=one.sendall, args=(data,), daemon=True),
            threading.Thread(target=other.sendall, args=(data[::-1],), daemon=True),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert received == {"one": data[::-1], "other": data}


# -- the end ---------------------------------------------------------------------------------------


@every_receiving_variant
def test_shutdown(receiving_link: ReceivingLink) -> None:
    """The peer's end comes behind what it has sent, and stays."""
    receiving_link.send(b"test_read")
    receiving_link.peer.shutdown(socket.SHUT_WR)
    assert receiving_link.sock.recv(100, socket.MSG_WAITALL) == b"test_read"
    for _ in range(3):
        assert receiving_link.sock.recv(100) == b""
        assert receiving_link.sock.recvmsg(100)[:3] == (b"", [], 0)


@every_receiving_variant
def test_half_close(receiving_link: ReceivingLink) -> None:
    """The end of one direction is not that of the other, whichever is first."""
    sock, peer = receiving_link.sock, receiving_link.peer
    secrets = Secrets(receiving_link.writer.suite)
    sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(secrets))
    sock.sendall(b"question")
    sock.shutdown(socket.SHUT_WR)
    assert read_records(peer, RecordReader(secrets)) == [(23, b"question")]
    receiving_link.send(b"answer")
    assert sock.recv(100) == b"answer"
    peer.shutdown(socket.SHUT_WR)
    assert sock.recv(100) == b""


@every_receiving_variant
def test_the_peer_ends_first(receiving_link: ReceivingLink) -> None:
    sock, peer = receiving_link.sock, receiving_link.peer
    secrets = Secrets(receiving_link.writer.suite)
    sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(secrets))
    receiving_link.send(b"question")
    peer.shutdown(socket.SHUT_WR)
    assert sock.recv(100, socket.MSG_WAITALL) == b"question"
    assert sock.recv(100) == b""
    sock.sendall(b"answer")
    sock.close()
    assert read_records(peer, RecordReader(secrets)) == [(23, b"answer")]


@two_receiving_variants
def test_shutdown_wakes_a_reader(receiving_link: ReceivingLink) -> None:
    sock = receiving_link.sock
    sock.settimeout(None)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(sock.recv(100)), daemon=True)
    reader.start()
    sock.shutdown(socket.SHUT_RDWR)
    reader.join(20)
    assert received == [b""]


@every_receiving_variant
def test_the_last_bytes_before_a_reset(suite: Suite) -> None:
    """What was read before a reset stays read; then the error, once."""
    near, far = connected()
    secrets = Secrets(suite)
    with ktls.Socket(near) as sock:
        sock.settimeout(20)
        enable_receiving(sock, secrets)
        far.sendall(RecordWriter(secrets).seal(b"the last"))
        assert sock.recv(100) == b"the last"
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        far.close()
        with pytest.raises(ConnectionResetError):
            sock.recv(100)
        assert sock.recv(100) == b""
