"""Receiving after the switch: who opens, the end of the stream, selectors, failures."""

import os
import select
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor

import pytest

import ktls
from handover.openssl import OpenSSLClient
from handover.pairs import TIMEOUT, assert_ours, exchange, pair, receive, tcp_pair
from ktls import Mode

PLAIN = b"250 and now in clear\r\n"
RX_ENABLE = "kern.ipc.tls.rx_enable"


def closes_and_goes_on(other: ssl.SSLSocket, plain: bytes, data: bytes = b"") -> None:
    """The peer sends data, close_notify and something in clear, all in one segment."""
    other.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    if data:
        other.sendall(data)
    other.settimeout(0)
    with pytest.raises(ssl.SSLWantReadError):
        other.unwrap()
    os.write(other.fileno(), plain)
    other.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
    other.settimeout(TIMEOUT)


def read_becomes_ready(own: ktls.TLSSocket) -> None:
    ready, _, _ = select.select([own], [], [], TIMEOUT)
    assert ready == [own]


def test_both_directions_are_opened_and_sealed_here(contexts, server_side: bool) -> None:
    ours, theirs = contexts
    with pair(ours, theirs, server_side=server_side) as (own, other):
        assert (own.mode, own.rx_mode, own.why, own.rx_why) == (Mode.SW, Mode.SW, "", "")
        exchange(own, other)


def test_openssl_opens_where_receiving_is_off(contexts, server_side: bool) -> None:
    ktls.sysctl[RX_ENABLE] = False
    ours, theirs = contexts
    with pair(ours, theirs, server_side=server_side) as (own, other):
        assert_ours(own)
        assert own.rx_mode is Mode.NONE
        assert RX_ENABLE in own.rx_why
        exchange(own, other)


def test_openssl_does_both_where_all_is_off(contexts, server_side: bool) -> None:
    ktls.sysctl["kern.ipc.tls.enable"] = False
    ours, theirs = contexts
    with pair(ours, theirs, server_side=server_side) as (own, other):
        assert own.mode is own.rx_mode is Mode.NONE
        assert "kern.ipc.tls.enable" in own.why
        assert own.rx_why == own.why
        exchange(own, other)


@pytest.mark.rule("RFC 8446 6.1")
@pytest.mark.parametrize("enabled", [True, False])
def test_what_follows_the_close_notify_is_read_from_the_plain_socket(
    contexts, server_side: bool, enabled: bool
) -> None:
    ktls.sysctl["kern.ipc.tls.enable"] = enabled
    ours, theirs = contexts
    with pair(ours, theirs, server_side=server_side) as (own, other):
        closes_and_goes_on(other, PLAIN, b"last")
        assert receive(own, 4) == b"last"
        assert own.recv(10) == b""
        with own.unwrap() as plain:
            assert plain.recv(100) == PLAIN


def test_unwrap_alone_takes_nothing_behind_the_close_notify(contexts, server_side: bool) -> None:
    ours, theirs = contexts
    with pair(ours, theirs, server_side=server_side) as (own, other):
        closes_and_goes_on(other, PLAIN)
        with own.unwrap() as plain:
            assert plain.recv(100) == PLAIN


def test_unwrap_beside_data_loses_nothing(contexts, server_side: bool) -> None:
    ours, theirs = contexts
    with pair(ours, theirs, server_side=server_side) as (own, other):
        other.sendall(b"still to be read")
        for _ in range(2):
            with pytest.raises(ssl.SSLError) as caught:
                own.unwrap()
            assert caught.value.reason == "APPLICATION_DATA_AFTER_CLOSE_NOTIFY"
        assert receive(own, 16) == b"still to be read"
        with ThreadPoolExecutor(1) as pool:
            assert other.recv(10) == b""
            peer = pool.submit(other.unwrap)
            with own.unwrap() as plain, peer.result(TIMEOUT) as far:
                far.sendall(PLAIN)
                assert plain.recv(100) == PLAIN


@pytest.mark.rule("RFC 8446 6.1")
def test_receiving_goes_on_after_our_close_notify(contexts, server_side: bool) -> None:
    """As half-close in ssl: the peer may go on, and what it says is read."""
    ours, theirs = contexts
    with pair(ours, theirs, server_side=server_side) as (own, other):
        own.setblocking(False)
        with pytest.raises(ssl.SSLWantReadError):
            own.unwrap()
        own.settimeout(TIMEOUT)
        other.sendall(b"more")
        assert receive(own, 4) == b"more"


def test_small_records_and_a_selector(contexts, server_side: bool) -> None:
    ours, theirs = contexts
    with pair(ours, theirs, server_side=server_side) as (own, other):
        own.setblocking(False)
        with pytest.raises(ssl.SSLWantReadError):
            own.recv(10)
        sent = received = b""
        for n in range(100):
            part = bytes([n]) * (n % 7 + 1)
            other.sendall(part)
            sent += part
            if n % 3 == 0:
                while len(received) < len(sent):
                    read_becomes_ready(own)
                    # Less than a record at a time: the rest is announced, too.
                    received += own.recv(3)
                assert select.select([own], [], [], 0)[0] == []
        while len(received) < len(sent):
            read_becomes_ready(own)
            received += own.recv(3)
        assert received == sent


@pytest.mark.rule("RFC 8446 4.6.3")
def test_a_lone_key_update_and_a_selector(make_context) -> None:
    """It is answered although nobody reads, and nothing is there to be read."""
    ours = make_context(True, version="1.3", prepared=True)
    with OpenSSLClient(ours, "-tls1_3") as (own, client):
        own.setblocking(False)
        client.say("K\n")
        assert select.select([own], [], [], 0.5)[0] == []
        with pytest.raises(ssl.SSLWantReadError):
            own.recv(10)
        own.sendall(b"under new keys\n")
        client.read_until(b"under new keys\n")
        client.say("data\n")
        read_becomes_ready(own)
        assert own.recv(10) == b"data\n"


def test_lone_tickets_and_a_selector(make_context) -> None:
    """They reach the session, and are no data."""
    server = make_context(True, version="1.3")
    client = make_context(False, prepared=True)
    with pair(client, server, server_side=False) as (own, other):
        assert own.rx_mode is Mode.SW
        own.setblocking(False)
        assert select.select([own], [], [], 0.5)[0] == []
        with pytest.raises(ssl.SSLWantReadError):
            own.recv(10)
        assert own.session is not None
        assert own.session.has_ticket
        other.sendall(b"data")
        read_becomes_ready(own)
        assert own.recv(10) == b"data"


@pytest.mark.rule("RFC 8446 4.6.1")
def test_tickets_come_with_data(make_context) -> None:
    """In one segment with data before and after: the data is whole, the session has a ticket."""
    server = make_context(True, version="1.3")
    server.num_tickets = 5
    client = make_context(False, prepared=True)
    with pair(client, server, server_side=False) as (own, other):
        data = os.urandom(100_000)
        with ThreadPoolExecutor(1) as pool:
            sent = pool.submit(other.sendall, data)
            assert receive(own, len(data)) == data
            sent.result(TIMEOUT)
        assert own.session is not None
        assert own.session.has_ticket
        session = own.session
    with pair(client, server, server_side=False, session=session) as (own, other):
        assert own.session_reused
        exchange(own, other)


@pytest.mark.rule("RFC 8446 4.6.2")
@pytest.mark.parametrize("ours_is_server", [True, False])
def test_post_handshake_authentication_while_data_flows(
    make_context, client_certificate, ours_is_server: bool
) -> None:
    server = make_context(True, version="1.3")
    client = make_context(False, version="1.3")
    server.verify_mode = ssl.CERT_OPTIONAL
    server.post_handshake_auth = client.post_handshake_auth = True
    client_certificate.configure_cert(client)
    ours, theirs = (server, client) if ours_is_server else (client, server)
    ktls.prepare(ours)
    with pair(ours, theirs, server_side=ours_is_server) as (own, other):
        assert own.rx_mode is Mode.SW
        asking, asked = (own, other) if ours_is_server else (other, own)
        exchange(own, other, (1000,))
        asking.verify_client_post_handshake()
        data = os.urandom(300_000)
        with ThreadPoolExecutor(2) as pool:
            to_asked = pool.submit(asking.sendall, data)
            came = pool.submit(receive, asked, len(data))
            assert came.result(TIMEOUT) == data
            to_asked.result(TIMEOUT)
            to_asking = pool.submit(asked.sendall, data)
            assert receive(asking, len(data)) == data
            to_asking.result(TIMEOUT)
        assert asking.getpeercert(True) is not None
        exchange(own, other, (1000,))


@pytest.mark.rule("RFC 5246 7.2.2", "RFC 8446 6.2")
def test_nothing_comes_after_a_fatal_error(contexts, server_side: bool) -> None:
    ours, theirs = contexts
    with pair(ours, theirs, server_side=server_side) as (own, other):
        os.write(other.fileno(), b"\x17\x03\x03\x00\x20" + b"A" * 32)
        with pytest.raises(ssl.SSLError, match="BAD_RECORD_MAC"):
            own.recv(10)
        os.write(other.fileno(), PLAIN)
        for _ in range(3):
            assert own.recv(10) == b""


@pytest.mark.rule("RFC 8446 4.6.2", "RFC 8446 6.2")
def test_nothing_comes_behind_an_authentication_that_failed(make_context) -> None:
    """OpenSSL refuses what the client answers; what follows is not from who it claims to be."""
    server = make_context(True, version="1.3")
    client = make_context(False, version="1.3")
    server.verify_mode = ssl.CERT_REQUIRED
    server.post_handshake_auth = client.post_handshake_auth = True
    ktls.prepare(server)
    with pair(server, client, server_side=True) as (own, other):
        own.verify_client_post_handshake()
        own.sendall(b"x")
        assert other.recv(1) == b"x"
        other.sendall(b"not genuine")
        with pytest.raises(ssl.SSLError) as caught:
            own.recv(100)
        assert caught.value.reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE"
        assert [own.recv(100) for _ in range(3)] == [b"", b"", b""]


@pytest.mark.rule("RFC 5246 7.2.2", "RFC 8446 6.2")
def test_no_data_is_sent_after_a_fatal_alert(make_context, version: str) -> None:
    """RFC 8446 6.2, RFC 5246 7.2.2."""
    ours = make_context(True, version=version, prepared=True)
    theirs = make_context(False, version=version, prepared=True)
    near, far = tcp_pair()
    with ThreadPoolExecutor(1) as thread:
        other = thread.submit(ktls.wrap_socket, far, theirs, server_hostname="localhost")
        own = ktls.wrap_socket(near, ours, server_side=True)
        peer = other.result(TIMEOUT)
    with own, peer:
        alert = (ktls.IPPROTO_TCP, ktls.TLS_SET_RECORD_TYPE, bytes([ktls.TLS_RLTYPE_ALERT]))
        peer.sendmsg([bytes([2, 40])], [alert])
        with pytest.raises(ssl.SSLError) as caught:
            own.recv(1)
        assert caught.value.reason == "SSLV3_ALERT_HANDSHAKE_FAILURE"
        with pytest.raises(ssl.SSLError, match="handshake failure"):
            own.sendall(b"secret")
        own.close()
        assert peer.recv(10) == b""


def test_a_reset_is_raised_once_as_by_a_plain_socket(contexts, server_side: bool) -> None:
    ours, theirs = contexts
    with pair(ours, theirs, server_side=server_side) as (own, other):
        exchange(own, other, (10,))
        other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        other.close()
        with pytest.raises(ConnectionResetError):
            own.recv(10)
        for _ in range(3):
            assert own.recv(10) == b""


def test_what_came_is_read_after_a_send_that_failed(contexts, server_side: bool) -> None:
    ours, theirs = contexts
    with pair(ours, theirs, server_side=server_side) as (own, other):
        exchange(own, other, (10,))
        other.sendall(b"the answer")
        read_becomes_ready(own)
        # Unread data makes a reset of the close.
        own.sendall(b"unread")
        other.close()
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            own.sendall(bytes(50_000_000))
        assert receive(own, 10) == b"the answer"


def test_a_peer_that_only_receives_may_answer_any_number_of_requests(make_context) -> None:
    """Its answers are all that it sends, and no flood."""
    server = make_context(True, version="1.3", prepared=True)
    server.num_tickets = 0
    client = make_context(False, version="1.3", prepared=True)
    near, far = tcp_pair()
    with ThreadPoolExecutor(1) as pool:
        peer = pool.submit(ktls.wrap_socket, far, client, server_hostname="localhost")
        own = ktls.wrap_socket(near, ktls.prepare(server), server_side=True)
        other = peer.result(TIMEOUT)
    with own, other:
        own.setblocking(False)
        for _ in range(50):
            own.key_update(request=True)
            own.sendall(b"x")
            assert receive(other, 1) == b"x"
            with pytest.raises(ssl.SSLWantReadError):
                own.recv(10)
        other.sendall(b"y")
        read_becomes_ready(own)
        assert own.recv(10) == b"y"
