"""Alerts and the end of a connection: OpenSSL decides, our stream says it."""

import os
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor

import pytest

from handover.openssl import OpenSSLClient
from handover.pairs import TIMEOUT, assert_ours, exchange, pair, receive, tcp_pair
from handover.relay import Relay
from ktls import Mode, wrap_socket


@pytest.mark.rule("RFC 5246 7.2.2", "RFC 8446 5.2", "RFC 8446 6.2")
def test_corrupted_record_of_the_peer(contexts, server_side: bool) -> None:
    """The alert that OpenSSL makes arrives as bad_record_mac, sealed under our keys."""
    ours, theirs = contexts
    with Relay() as relay, relay.pair(ours, theirs, server_side=server_side) as (own, other):
        assert_ours(own)
        exchange(own, other, (1000,))
        relay.corrupt_next(to_us=True)
        other.sendall(b"to be corrupted")
        with pytest.raises(ssl.SSLError, match="BAD_RECORD_MAC"):
            own.recv(100)
        with pytest.raises(ssl.SSLError, match="PROTOCOL_IS_SHUTDOWN"):
            own.send(b"more")
        with pytest.raises(ssl.SSLError, match="ALERT_BAD_RECORD_MAC"):
            other.recv(100)


def test_corrupted_record_of_ours(contexts, server_side: bool) -> None:
    ours, theirs = contexts
    with Relay() as relay, relay.pair(ours, theirs, server_side=server_side) as (own, other):
        exchange(own, other, (1000,))
        relay.corrupt_next(to_us=False)
        own.sendall(b"to be corrupted")
        with pytest.raises(ssl.SSLError, match="BAD_RECORD_MAC"):
            other.recv(100)
        with pytest.raises(ssl.SSLError, match="ALERT_BAD_RECORD_MAC"):
            own.recv(100)


@pytest.mark.rule("RFC 5246 7.2.1", "RFC 8446 6.1")
def test_close_notify_of_the_peer_is_the_end_of_the_stream(contexts, server_side: bool) -> None:
    ours, theirs = contexts
    with pair(ours, theirs, server_side=server_side) as (own, other):
        other.sendall(b"last words")
        other.settimeout(0.2)
        with pytest.raises(TimeoutError):
            other.unwrap()
        assert own.recv(100) == b"last words"
        for _ in range(3):
            assert own.recv(100) == b""
            assert own.recv_into(bytearray(10)) == 0


def test_unwrap_to_plain_text(contexts, server_side: bool) -> None:
    """What follows the close_notify is the plain socket's, also when it came in the same packet."""
    ours, theirs = contexts
    with pair(ours, theirs, server_side=server_side) as (own, other):
        data = os.urandom(50_000)
        own.sendall(data)
        assert receive(other, len(data)) == data

        def peer() -> socket.socket:
            plain = other.unwrap()
            plain.sendall(b"plain from the peer")
            return plain

        with ThreadPoolExecutor(1) as pool:
            theirs_plain = pool.submit(peer)
            plain = own.unwrap()
            far = theirs_plain.result(TIMEOUT)
        with plain, far:
            assert type(plain) is socket.socket
            assert plain.gettimeout() == TIMEOUT
            assert own.closed
            assert own.fileno() == -1
            plain.sendall(b"plain from us")
            assert far.recv(100) == b"plain from us"
            assert plain.recv(100) == b"plain from the peer"


@pytest.mark.rule("RFC 5246 7.2.1", "RFC 8446 6.1")
def test_unwrap_answers_the_close_notify_of_the_peer(contexts, server_side: bool) -> None:
    """The peer says close_notify first."""
    ours, theirs = contexts
    with pair(ours, theirs, server_side=server_side) as (own, other), ThreadPoolExecutor(1) as pool:
        peer = pool.submit(other.unwrap)
        assert own.recv(10) == b""
        with own.unwrap() as plain, peer.result(TIMEOUT) as far:
            plain.sendall(b"x")
            assert far.recv(1) == b"x"
        with pytest.raises(ValueError, match="No SSL wrapper"):
            own.unwrap()


@pytest.mark.rule("RFC 5246 7.2.1", "RFC 8446 6.1")
def test_no_writing_after_close_notify(contexts, server_side: bool) -> None:
    ours, theirs = contexts
    with pair(ours, theirs, server_side=server_side) as (own, other):
        own.settimeout(0.2)
        with pytest.raises(TimeoutError):
            own.unwrap()
        for call in (own.send, own.sendall, own.write):
            with pytest.raises(ssl.SSLError) as caught:
                call(b"more")
            assert caught.value.reason == "PROTOCOL_IS_SHUTDOWN"
        assert other.recv(10) == b""


@pytest.mark.rule("RFC 8446 6.1")
def test_writing_goes_on_after_the_peers_close_notify(make_context) -> None:
    """Half-close is legal in 1.3 (RFC 8446 §6.1)."""
    ours = make_context(True, version="1.3", prepared=True)
    with pair(ours, make_context(False), server_side=True) as (own, other):
        other.settimeout(0.2)
        with pytest.raises(TimeoutError):
            other.unwrap()
        assert own.recv(10) == b""
        own.sendall(b"still here")
        other.settimeout(TIMEOUT)
        assert receive(other, 10) == b"still here"


@pytest.mark.rule("RFC 5246 7.2.1", "RFC 8446 6.1")
def test_stream_that_ends_without_close_notify(contexts, server_side: bool) -> None:
    ours, theirs = contexts
    for suppress in (True, False):
        with pair(ours, theirs, server_side=server_side) as (own, other):
            own.suppress_ragged_eofs = suppress
            exchange(own, other, (10,))
            other.close()
            if suppress:
                assert own.recv(10) == b""
                assert own.recv(10) == b""
            else:
                with pytest.raises(ssl.SSLEOFError):
                    own.recv(10)


def test_close_sends_what_was_accepted_and_no_close_notify(contexts, server_side: bool) -> None:
    """As SSLSocket.close."""
    ours, theirs = contexts
    with pair(ours, theirs, server_side=server_side) as (own, other):
        other.suppress_ragged_eofs = False
        data = os.urandom(300_000)
        own.sendall(data)
        own.close()
        assert receive(other, len(data)) == data
        with pytest.raises(ssl.SSLEOFError):
            other.recv(1)


def test_shutdown_of_the_write_side(contexts, server_side: bool) -> None:
    ours, theirs = contexts
    with pair(ours, theirs, server_side=server_side) as (own, other):
        own.sendall(b"all")
        own.shutdown(socket.SHUT_WR)
        assert receive(other, 3) == b"all"
        with pytest.raises(BrokenPipeError):
            own.send(b"more")


@pytest.mark.rule("RFC 5246 7.2.2")
def test_renegotiation_is_refused(make_context) -> None:
    """A ClientHello is answered with the warning no_renegotiation; openssl then gives up."""
    ours = make_context(True, version="1.2", prepared=True)
    with OpenSSLClient(ours, "-tls1_2") as (own, client):
        assert_ours(own)
        assert own.rx_mode is Mode.SW
        own.sendall(b"hello\n")
        client.read_until(b"hello\n")
        client.say("R\n")
        with pytest.raises(ssl.SSLError):
            receive(own, 1000)
        client.read_until(b"no renegotiation")


def test_failed_handshake_says_why(make_context, server_side: bool) -> None:
    """The alert of a handshake that fails is OpenSSL's own, in clear."""
    ours = make_context(server_side, version="1.2", prepared=True)
    theirs = make_context(not server_side, version="1.3")
    near, far = tcp_pair()
    name = None if server_side else "localhost"
    their_name = "localhost" if server_side else None
    with ThreadPoolExecutor(1) as pool, far:
        peer = pool.submit(
            theirs.wrap_socket, far, server_side=not server_side, server_hostname=their_name
        )
        with pytest.raises(ssl.SSLError, match=r"(?i)protocol|version"):
            wrap_socket(near, ours, server_side=server_side, server_hostname=name)
        with pytest.raises(ssl.SSLError, match=r"(?i)protocol|version"):
            peer.result(TIMEOUT)
    assert near.fileno() == -1
