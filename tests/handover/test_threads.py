"""Full duplex, time-outs, non-blocking calls."""

import hashlib
import os
import select
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from cli.server_process import eventually
from handover.openssl import OpenSSLClient
from handover.pairs import TIMEOUT, assert_ours, exchange, pair, receive, tcp_pair
from ktls import TLSSocket, sysctl, wrap_socket

LENGTH = 20_000_000


@pytest.mark.parametrize(
    ("version", "ciphers"),
    [
        ("1.0", "AES128-SHA:@SECLEVEL=0"),
        ("1.2", None),
        ("1.2", "AES256-SHA256"),
        ("1.3", None),
    ],
)
def test_both_ends_send_and_receive_in_threads(
    make_context, version: str, ciphers: str | None
) -> None:
    """Each end receives in one thread and sends in another; both ways are always full.

    Both ends are ours: a stock SSLSocket of two threads loses data now and then.
    """
    server, client = (
        make_context(role, version=version, ciphers=ciphers, rsa=True, prepared=True)
        for role in (True, False)
    )
    near, far = tcp_pair()
    with ThreadPoolExecutor(4) as pool:
        accepted = pool.submit(wrap_socket, near, server, server_side=True)
        with (
            wrap_socket(far, client, server_hostname="localhost") as one,
            accepted.result(TIMEOUT) as two,
        ):
            data = {one: os.urandom(LENGTH), two: os.urandom(LENGTH)}

            def send(end: TLSSocket) -> None:
                for start in range(0, LENGTH, 300_000):
                    end.sendall(data[end][start : start + 300_000])

            received = [pool.submit(receive, end, LENGTH) for end in (one, two)]
            for sent in [pool.submit(send, end) for end in (one, two)]:
                sent.result(TIMEOUT)
            for got, expected in zip(received, (data[two], data[one]), strict=True):
                assert (
                    hashlib.sha256(got.result(TIMEOUT)).digest()
                    == hashlib.sha256(expected).digest()
                )


def test_several_threads_send(contexts, server_side: bool) -> None:
    """Calls are not torn apart."""
    ours, theirs = contexts
    with pair(ours, theirs, server_side=server_side) as (own, other), ThreadPoolExecutor(5) as pool:
        size, count = 3000, 100

        def send(letter: int) -> None:
            for _ in range(count):
                own.sendall(bytes([letter]) * size)

        arrived = pool.submit(receive, other, 4 * count * size)
        list(pool.map(send, range(4)))
        data = arrived.result(TIMEOUT)
        blocks = [data[i : i + size] for i in range(0, len(data), size)]
        assert all(len(set(block)) == 1 for block in blocks)
        assert sorted(block[0] for block in blocks) == sorted(list(range(4)) * count)


def test_key_updates_while_several_threads_send(make_context, server_side: bool) -> None:
    ours = make_context(server_side, version="1.3", prepared=True)
    theirs = make_context(not server_side)
    with pair(ours, theirs, server_side=server_side) as (own, other), ThreadPoolExecutor(5) as pool:
        count = 200
        arrived = pool.submit(receive, other, 3 * count * 1000)

        def send(letter: int) -> None:
            for number in range(count):
                own.sendall(bytes([letter]) * 1000)
                if number % 7 == letter:
                    own.key_update(letter == 1)

        list(pool.map(send, range(3)))
        data = arrived.result(TIMEOUT)
        assert sorted(data) == sorted(bytes(range(3)) * count * 1000)
        exchange(own, other, (100,))


def test_key_update_is_answered_while_a_thread_sends(make_context) -> None:
    """The thread that reads sees the request, the one that writes answers it."""
    with OpenSSLClient(make_context(True, version="1.3", prepared=True), "-tls1_3") as (own, peer):
        stop = threading.Event()
        before = sysctl["kern.ipc.tls.stats.rekeys"]

        def write() -> None:
            while not stop.is_set():
                own.sendall(b"tick " * 20 + b"\n")
                time.sleep(0.001)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for number in range(3):
                peer.say("K\n")
                peer.say(f"line {number}\n")
                assert receive(own, 7) == f"line {number}\n".encode()
                # Two requests may get one answer: the next one waits for this one's.
                eventually(lambda: sysctl["kern.ipc.tls.stats.rekeys"] - before > number)  # noqa: B023
        finally:
            stop.set()
            writer.join()
        own.sendall(b"the end\n")
        peer.read_until(b"the end\n")
        assert sysctl["kern.ipc.tls.stats.rekeys"] - before == 3


def test_receive_times_out(contexts, server_side: bool) -> None:
    ours, theirs = contexts
    with pair(ours, theirs, server_side=server_side) as (own, other):
        exchange(own, other, (10,))
        own.settimeout(0.05)
        assert own.gettimeout() == own.timeout == 0.05
        for _ in range(2):
            with pytest.raises(TimeoutError, match="read operation timed out"):
                own.recv(10)
        other.sendall(b"late")
        own.settimeout(TIMEOUT)
        assert own.recv(10) == b"late"


def test_time_out_counts_for_the_whole_call(make_context) -> None:
    """A peer that trickles a record byte by byte does not hold a call for ever."""
    near, far = tcp_pair()
    with far:
        near.settimeout(0.3)
        stop = threading.Event()

        def trickle() -> None:
            far.sendall(b"\x16\x03\x01\x02\x00")
            while not stop.wait(0.05):
                try:
                    far.sendall(b"\x01")
                except OSError:
                    return

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            with pytest.raises(TimeoutError, match="handshake operation timed out"):
                wrap_socket(near, make_context(True, prepared=True), server_side=True)
        finally:
            stop.set()
            thread.join()


def test_send_times_out(contexts, server_side: bool) -> None:
    ours, theirs = contexts
    with pair(ours, theirs, server_side=server_side) as (own, _):
        own.settimeout(0.05)
        with pytest.raises(TimeoutError):
            own.sendall(bytes(30_000_000))


def test_non_blocking_calls_raise_want_read_and_write(contexts, server_side: bool) -> None:
    ours, theirs = contexts
    with pair(ours, theirs, server_side=server_side) as (own, other):
        exchange(own, other, (10,))
        own.setblocking(False)
        assert not own.getblocking()
        with pytest.raises(ssl.SSLWantReadError):
            own.recv(10)
        data = os.urandom(20_000_000)
        received: list[bytes] = []
        thread = threading.Thread(target=lambda: received.append(receive(other, len(data))))
        sent, full = 0, 0
        while sent < len(data):
            try:
                sent += own.send(data[sent : sent + 400_000])
            except ssl.SSLWantWriteError:
                if not full:
                    thread.start()
                full += 1
                assert select.select([], [own], [], 10)[1]
        assert full
        thread.join()
        assert received == [data]


def test_non_blocking_receive_with_select(contexts, server_side: bool) -> None:
    ours, theirs = contexts
    with pair(ours, theirs, server_side=server_side) as (own, other):
        exchange(own, other, (10,))
        own.setblocking(False)
        assert select.select([own], [], [], 0)[0] == []
        data = os.urandom(2_000_000)
        thread = threading.Thread(target=other.sendall, args=(data,))
        thread.start()
        got = b""
        while len(got) < len(data):
            assert select.select([own], [], [], 10)[0], len(got)
            try:
                got += own.recv(1000)
            except ssl.SSLWantReadError:
                continue
        thread.join()
        assert got == data


def test_descriptor_is_readable_for_what_lies_decrypted(contexts, server_side: bool) -> None:
    """Also when it is asked for only then."""
    ours, theirs = contexts
    with pair(ours, theirs, server_side=server_side) as (own, other):
        other.sendall(b"0123456789")
        assert own.recv(4) == b"0123"
        for expected in (b"45", b"67", b"89"):
            assert select.select([own], [], [], 10)[0]
            assert own.recv(2) == expected
        assert select.select([own], [], [], 0)[0] == []


def test_non_blocking_handshake(make_context, version: str, server_side: bool) -> None:
    near, far = tcp_pair()
    near.setblocking(False)
    theirs = make_context(not server_side, version=version)
    names = (None, "localhost") if server_side else ("localhost", None)
    own = wrap_socket(
        near,
        make_context(server_side, version=version, prepared=True),
        server_side=server_side,
        server_hostname=names[0],
        do_handshake_on_connect=False,
    )
    assert own.why == "the handshake is not finished"
    with own, ThreadPoolExecutor(1) as pool:
        peer = pool.submit(
            theirs.wrap_socket, far, server_side=not server_side, server_hostname=names[1]
        )
        while True:
            try:
                own.do_handshake()
                break
            except ssl.SSLWantReadError:
                assert select.select([own], [], [], 10)[0]
            except ssl.SSLWantWriteError:
                assert select.select([], [own], [], 10)[1]
        with peer.result(TIMEOUT) as other:
            assert_ours(own)
            own.setblocking(True)
            exchange(own, other)


def test_handshake_on_connect_needs_a_blocking_socket(make_context) -> None:
    near, far = tcp_pair()
    with near, far:
        near.setblocking(False)
        with pytest.raises(ValueError, match="non-blocking"):
            wrap_socket(near, make_context(True, prepared=True), server_side=True)


def test_first_call_makes_the_handshake(contexts, server_side: bool) -> None:
    """As in SSLSocket with do_handshake_on_connect=False; here from two threads at once."""
    ours, theirs = contexts
    near, far = tcp_pair()
    names = (None, "localhost") if server_side else ("localhost", None)
    own = wrap_socket(
        near,
        ours,
        server_side=server_side,
        server_hostname=names[0],
        do_handshake_on_connect=False,
    )
    with own, ThreadPoolExecutor(3) as pool:
        peer = pool.submit(
            theirs.wrap_socket, far, server_side=not server_side, server_hostname=names[1]
        )
        reading = pool.submit(own.recv, 100)
        writing = pool.submit(own.sendall, b"from us")
        with peer.result(TIMEOUT) as other:
            writing.result(TIMEOUT)
            assert receive(other, 7) == b"from us"
            other.sendall(b"from the peer")
            assert reading.result(TIMEOUT) == b"from the peer"
            assert_ours(own)
