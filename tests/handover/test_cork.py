"""``TLSSocket.cork`` and MSG_MORE; where OpenSSL writes the records, a cork changes nothing."""

import os
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import ktls
from handover.openssl import OpenSSLClient
from handover.pairs import Pair, assert_ours, end, exchange, pair, receive, sequence
from keyed_link import nothing_has_arrived
from ktls import Mode, TLSSocket


@pytest.fixture
def sealed(contexts, server_side: bool) -> Iterator[Pair]:
    ours, theirs = contexts
    with pair(ours, theirs, server_side=server_side) as (own, other):
        assert_ours(own)
        # The tickets are out of the way.
        exchange(own, other, (1,))
        yield own, other


@pytest.fixture
def passed(contexts, server_side: bool) -> Iterator[Pair]:
    ktls.sysctl["kern.ipc.tls.enable"] = False
    ours, theirs = contexts
    with pair(ours, theirs, server_side=server_side) as (own, other):
        assert own.mode is Mode.NONE
        exchange(own, other, (1,))
        yield own, other


def next_record(other: ssl.SSLSocket) -> bytes:
    """OpenSSL gives one record at a time."""
    return other.recv(16384)


def last_then_end(own: TLSSocket, other: ssl.SSLSocket, last: bytes) -> None:
    """Our end says close_notify, which the peer finds behind the data."""
    with ThreadPoolExecutor(1) as pool:
        ending = pool.submit(own.unwrap)
        assert next_record(other) == last
        assert other.recv(1) == b""
        other.unwrap().close()
        ending.result(20).close()


def test_writes_in_a_cork_are_one_record_of_tls(sealed: Pair) -> None:
    own, other = sealed
    for _ in range(3):
        before = sequence(own)
        with own.cork():
            own.send(b"send ")
            own.sendall(bytearray(b"sendall "))
            own.write(b"write ")
            own.sendmsg([b"send", b"msg"])
            own.sendall(b"")
            nothing_has_arrived(other)
        assert next_record(other) == b"send sendall write sendmsg"
        assert sequence(own) == before + 1
    end(own, other)


def test_msg_more_joins_tls_writes_to_one_record(sealed: Pair) -> None:
    own, other = sealed
    own.send(b"one ", socket.MSG_MORE)
    own.sendall(b"two ", socket.MSG_MORE)
    own.sendmsg([b"three "], [], socket.MSG_MORE)
    nothing_has_arrived(other)
    own.send(b"four")
    assert next_record(other) == b"one two three four"
    own.send(b"flushed", socket.MSG_MORE)
    own.flush(20)
    assert next_record(other) == b"flushed"
    end(own, other)


def test_close_notify_comes_after_an_open_record(sealed: Pair) -> None:
    own, other = sealed
    own.send(b"the last", socket.MSG_MORE)
    nothing_has_arrived(other)
    last_then_end(own, other, b"the last")


def test_unwrap_inside_a_cork_sends_the_open_record(sealed: Pair) -> None:
    own, other = sealed
    with own.cork():
        own.send(b"the ")
        own.send(b"last")
        last_then_end(own, other, b"the last")


def test_close_inside_a_cork_sends_the_open_record(sealed: Pair) -> None:
    own, other = sealed
    with own.cork():
        own.send(b"the ")
        own.send(b"last")
        own.close()
    assert next_record(other) == b"the last"
    with pytest.raises(OSError, match="closed"):
        own.send(b"x")


def test_key_update_inside_a_cork(make_context, server_side: bool) -> None:
    ours = make_context(server_side, version="1.3", prepared=True)
    with pair(ours, make_context(not server_side), server_side=server_side) as (own, other):
        exchange(own, other, (1,))
        with own.cork():
            own.send(b"old ")
            own.send(b"keys")
            own.key_update()
            assert sequence(own) == 0
            own.send(b"new ")
            own.send(b"keys")
        assert next_record(other) == b"old keys"
        assert next_record(other) == b"new keys"
        assert_ours(own)
        exchange(own, other, (100,))


def test_key_update_of_the_peer_inside_a_cork(make_context) -> None:
    """The answer closes the record before it, and goes with the next write."""
    context = make_context(True, version="1.3", prepared=True)
    with OpenSSLClient(context, "-tls1_3") as (own, client):
        for number in range(3):
            with own.cork():
                own.send(b"before ")
                client.say("K\n")
                client.say(f"line {number}\n")
                assert receive(own, 7) == f"line {number}\n".encode()
                own.send(f"and after {number}\n".encode())
            client.read_until(f"and after {number}\n".encode())
        text = b"".join(b"before and after %d\n" % number for number in range(3))
        assert text in client.output.replace(b"KEYUPDATE\n", b"")


def test_cork_changes_nothing_where_openssl_writes(passed: Pair) -> None:
    own, other = passed
    with own.cork():
        with own.cork():
            own.send(b"one")
            own.sendall(b"two")
        assert receive(other, 6) == b"onetwo"
    data = os.urandom(100_000)
    with own.cork():
        for at in range(0, len(data), 1000):
            own.send(data[at : at + 1000])
    assert receive(other, len(data)) == data
    with pytest.raises(ValueError, match="flags"):
        own.send(b"x", socket.MSG_MORE)
    end(own, other)


def test_exception_passes_a_cork_whoever_writes(make_context, server_side: bool) -> None:
    """Whoever writes, an exception passes."""
    ours = make_context(server_side, prepared=True)
    for on in (True, False):
        ktls.sysctl["kern.ipc.tls.enable"] = on
        with pair(ours, make_context(not server_side), server_side=server_side) as (own, other):
            with pytest.raises(ZeroDivisionError), own.cork():  # noqa: PT012
                own.send(b"before")
                raise ZeroDivisionError
            assert receive(other, 6) == b"before"
