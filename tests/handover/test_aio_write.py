"""``TLSSocket.aio_write``, whoever seals: this library, or OpenSSL."""

import asyncio
import errno
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

import pytest

import ktls
from handover.openssl import OpenSSLClient
from handover.pairs import TIMEOUT, Pair, assert_ours, end, exchange, pair, receive
from ktls import Mode

PENDING = "kern.ipc.tls.stats.aio_pending"


@pytest.fixture(params=[Mode.SW, Mode.NONE], ids=lambda mode: mode.name)
def mode(request: pytest.FixtureRequest) -> Mode:
    """Who seals."""
    ktls.sysctl["kern.ipc.tls.enable"] = request.param is Mode.SW
    return request.param


@pytest.fixture
def both(contexts, mode: Mode, server_side: bool) -> Iterator[Pair]:
    """Our end, sealed by either, and a stock peer."""
    ours, theirs = contexts
    with pair(ours, theirs, server_side=server_side) as (own, other):
        assert own.mode is mode
        yield own, other


@pytest.fixture
def tight(contexts, mode: Mode, server_side: bool) -> Iterator[Pair]:
    """The same, holding little."""
    for name in ("sendspace", "sendspace_max"):
        ktls.sysctl[f"kern.ipc.tls.{name}"] = 65536
    ktls.sysctl["kern.ipc.tls.sendlowat"] = 32768
    ours, theirs = contexts
    with pair(ours, theirs, server_side=server_side) as (own, other):
        assert own.mode is mode
        # Between this and the peer's buffer there is room for some 100 000 bytes.
        own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        yield own, other


def test_tls_aio_write_arrives_and_its_future_has_the_length(both: Pair) -> None:
    own, other = both
    for size in (1, 500, 16384, 16385, 100_000):
        data = os.urandom(size)
        future = own.aio_write(data)
        assert isinstance(future, Future)
        assert receive(other, size) == data
        assert future.result(TIMEOUT) == size
        other.sendall(data[:10])
        assert receive(own, len(data[:10])) == data[:10]
    assert own.aio_write(b"").result(TIMEOUT) == 0
    exchange(own, other, (10, 20_000))
    end(own, other)


def test_tls_aio_write_copies_a_buffer(tight: Pair) -> None:
    own, other = tight
    sent = b""
    for turn in range(20):
        data = bytes([turn + 1]) * 50_000
        buffer = bytearray(data)
        own.aio_write(buffer)
        buffer[:] = bytes(len(buffer))
        sent += data
    assert receive(other, len(sent)) == sent


@pytest.mark.parametrize("timeout", [None, 0.0, 5.0])
def test_hundreds_of_tls_aio_writes_in_flight(tight: Pair, timeout: float | None) -> None:
    """None of the calls waits, and nobody reads before the last of them."""
    own, other = tight
    own.settimeout(timeout)
    before = ktls.sysctl[PENDING]
    data = [os.urandom(20_000) for _ in range(300)]
    futures = [own.aio_write(piece) for piece in data]
    assert not futures[-1].done()
    assert ktls.sysctl[PENDING] - before > 100
    assert receive(other, 6_000_000) == b"".join(data)
    assert [future.result(TIMEOUT) for future in futures] == [20_000] * 300
    own.settimeout(TIMEOUT)
    exchange(own, other, (10,))


def test_tls_aio_writes_arrive_in_the_order_of_the_calls(both: Pair, tmp_path: Path) -> None:
    own, other = both
    path = tmp_path / "file"
    path.write_bytes(os.urandom(50_000))
    sent, futures = b"", []
    with ThreadPoolExecutor(1) as pool:
        received = pool.submit(receive, other, 40 * (30_000 + 100 + 2000 + 50_000 + 3000))
        for _ in range(40):
            one, two, three, four = (os.urandom(size) for size in (30_000, 100, 2000, 3000))
            futures.append(own.aio_write(one))
            own.send(two)
            own.sendmsg([three[:1000], three[1000:]])
            with path.open("rb") as file:
                assert own.sendfile(file) == 50_000
            futures.append(own.aio_write(bytearray(four)))
            sent += one + two + three + path.read_bytes() + four
        assert received.result(TIMEOUT) == sent
    assert [future.result(TIMEOUT) for future in futures] == [30_000, 3000] * 40


def test_a_write_that_may_not_wait_is_refused(tight: Pair) -> None:
    own, other = tight
    own.setblocking(False)
    futures = [own.aio_write(bytes(50_000)) for _ in range(50)]
    with pytest.raises(ssl.SSLWantWriteError):
        own.send(b"y")
    assert receive(other, 2_500_000) == bytes(2_500_000)
    assert [future.result(TIMEOUT) for future in futures] == [50_000] * 50
    own.settimeout(TIMEOUT)
    own.sendall(b"z")
    assert receive(other, 1) == b"z"


def test_tls_aio_write_behind_all_that_a_socket_holds(tight: Pair) -> None:
    """A call that does not wait has filled it; this one is not refused."""
    own, other = tight
    own.setblocking(False)
    sent = 0
    with pytest.raises(ssl.SSLWantWriteError):  # noqa: PT012
        while True:
            sent += own.send(b"1" * 10_000)
    future = own.aio_write(b"2" * 10_000)
    assert not future.done()
    assert receive(other, sent + 10_000) == b"1" * sent + b"2" * 10_000
    assert future.result(TIMEOUT) == 10_000


def test_tls_aio_write_does_not_wait_for_another_writer(tight: Pair) -> None:
    own, other = tight
    writer = threading.Thread(target=own.sendall, args=(b"1" * 3_000_000,))
    writer.start()
    writer.join(0.2)
    assert writer.is_alive()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(own.aio_write, b"2" * 1000)
        returned, _ = wait([call], TIMEOUT)
        data = receive(other, 3_001_000)
        writer.join(TIMEOUT)
    assert returned
    assert sorted(data) == sorted(b"1" * 3_000_000 + b"2" * 1000)
    assert call.result().result(TIMEOUT) == 1000


def test_cancel_takes_back_what_openssl_has_not_counted(tight: Pair, mode: Mode) -> None:
    """OpenSSL has counted its records: none of them can be taken back."""
    own, other = tight
    futures = [own.aio_write(bytes([number]) * 50_000) for number in range(50)]
    assert futures[40].cancel() is (mode is Mode.SW)
    kept = [number for number in range(50) if number != 40 or mode is Mode.NONE]
    expected = b"".join(bytes([number]) * 50_000 for number in kept)
    assert receive(other, len(expected)) == expected
    assert [futures[number].result(TIMEOUT) for number in kept] == [50_000] * len(kept)
    exchange(own, other, (10,))


def test_close_leaves_a_tls_aio_write_to_be_sent(tight: Pair) -> None:
    own, other = tight
    futures = [own.aio_write(bytes([number]) * 50_000) for number in range(50)]
    own.close()
    expected = b"".join(bytes([number]) * 50_000 for number in range(50))
    assert receive(other, len(expected)) == expected
    assert [future.result(TIMEOUT) for future in futures] == [50_000] * 50


def test_unwrap_waits_for_a_tls_aio_write(tight: Pair) -> None:
    own, other = tight
    futures = [own.aio_write(bytes([number]) * 50_000) for number in range(50)]
    with ThreadPoolExecutor(1) as pool:
        received = pool.submit(receive, other, 2_500_000)
        ending = ThreadPoolExecutor(1)
        with ending:
            plain = ending.submit(own.unwrap)
            data = received.result(TIMEOUT)
            other.unwrap().close()
            plain.result(TIMEOUT).close()
    assert data == b"".join(bytes([number]) * 50_000 for number in range(50))
    assert [future.result(TIMEOUT) for future in futures] == [50_000] * 50


def test_flush_waits_for_a_tls_aio_write(tight: Pair) -> None:
    own, other = tight
    futures = [own.aio_write(bytes(50_000)) for _ in range(50)]
    with pytest.raises(TimeoutError):
        own.flush(0.1)
    with ThreadPoolExecutor(1) as pool:
        received = pool.submit(receive, other, 2_500_000)
        own.flush(TIMEOUT)
        assert [future.result(TIMEOUT) for future in futures] == [50_000] * 50
        assert received.result(TIMEOUT) == bytes(2_500_000)


def test_tls_aio_write_after_the_end_is_refused(both: Pair) -> None:
    own, _ = both
    own.shutdown(socket.SHUT_WR)
    with pytest.raises(OSError, match=r"(?i)shut|pipe|eof"):
        own.aio_write(b"x")
    own.close()
    with pytest.raises(OSError, match="closed") as caught:
        own.aio_write(b"x")
    assert caught.value.errno == errno.EBADF


def test_a_reset_ends_every_tls_aio_write(tight: Pair) -> None:
    own, other = tight
    futures = [own.aio_write(bytes(50_000)) for _ in range(50)]
    other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    other.close()
    _, not_done = wait(futures, TIMEOUT)
    assert not not_done
    assert isinstance(futures[-1].exception(), OSError)


def test_tls_aio_write_in_an_event_loop(tight: Pair) -> None:
    own, other = tight
    own.setblocking(False)
    data = [os.urandom(30_000) for _ in range(50)]

    async def write() -> list[int]:
        loop = asyncio.get_running_loop()
        received = loop.run_in_executor(None, receive, other, 1_500_000)
        counts = await asyncio.gather(*(asyncio.wrap_future(own.aio_write(d)) for d in data))
        assert await received == b"".join(data)
        return counts

    assert asyncio.run(write()) == [30_000] * 50


# -- key updates -----------------------------------------------------------------------------------


def test_our_key_updates_while_tls_aio_writes_wait(make_context, server_side: bool) -> None:
    ours = make_context(server_side, version="1.3", prepared=True)
    with pair(ours, make_context(not server_side), server_side=server_side) as (own, other):
        assert_ours(own)
        with ThreadPoolExecutor(1) as pool:
            received = pool.submit(receive, other, 200 * 20_000)
            futures = []
            data = [os.urandom(20_000) for _ in range(200)]
            for number, piece in enumerate(data):
                futures.append(own.aio_write(piece))
                if number % 20 == 10:
                    own.key_update(number % 40 == 10)
            assert received.result(TIMEOUT) == b"".join(data)
        assert [future.result(TIMEOUT) for future in futures] == [20_000] * 200
        exchange(own, other, (100,))


@pytest.mark.parametrize("on", [True, False], ids=["SW", "NONE"])
def test_key_updates_of_the_peer_while_tls_aio_writes_wait(make_context, on: bool) -> None:
    """`openssl s_client` asks for ours while hundreds of writes are in flight."""
    ktls.sysctl["kern.ipc.tls.enable"] = on
    context = make_context(True, version="1.3", prepared=True)
    with OpenSSLClient(context, "-tls1_3") as (own, client):
        assert own.mode is (Mode.SW if on else Mode.NONE)
        lines = [f"line {n} {os.urandom(2000).hex()}\n".encode() for n in range(300)]
        futures = []
        for number, line in enumerate(lines):
            futures.append(own.aio_write(line))
            if number % 100 == 50:
                client.say("K\n")
                client.say("go on\n")
                assert receive(own, 6) == b"go on\n"
        own.aio_write(b"the end\n").result(TIMEOUT)
        client.read_until(b"the end\n")
        assert [future.result(TIMEOUT) for future in futures] == [len(line) for line in lines]
        assert b"".join(lines) in client.output.replace(b"KEYUPDATE\n", b"")
