"""KeyUpdate: ours, the peer's, and what our stream says meanwhile."""

import errno
import os
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from handover.openssl import OpenSSLClient, OpenSSLServer, Process
from handover.pairs import TIMEOUT, assert_ours, end, exchange, pair, receive, sequence
from ktls import KTLSError, TLSSocket, sysctl

COMMENTS = re.compile(rb"KEYUPDATE\n|SSL_do_handshake -> 1\n|Read BLOCK\n")
"""What openssl says of itself amid the data."""


def rekeys() -> int:
    """How often keys were renewed, in all."""
    return int(sysctl["kern.ipc.tls.stats.rekeys"])


@pytest.fixture
def openssl_server(certificate, tmp_path):
    with OpenSSLServer(certificate, tmp_path, "-tls1_3") as server:
        yield server


@pytest.mark.rule("RFC 8446 4.6.3")
@pytest.mark.parametrize("request_answer", [False, True])
def test_our_key_update_is_followed_by_the_peer(
    make_context, server_side: bool, request_answer: bool
) -> None:
    ours = make_context(server_side, version="1.3", prepared=True)
    with pair(ours, make_context(not server_side), server_side=server_side) as (own, other):
        for _ in range(5):
            own.key_update(request_answer)
            assert sequence(own) == 0
            exchange(own, other, (1, 20_000))
        assert_ours(own)


def test_key_update_needs_tls13(make_context) -> None:
    ours = make_context(True, version="1.2", prepared=True)
    with pair(ours, make_context(False), server_side=True) as (own, other):
        with pytest.raises(KTLSError, match=r"TLS 1\.3"):
            own.key_update()
        exchange(own, other, (10,))


@pytest.fixture
def ten_records() -> None:
    """A key seals ten records."""
    sysctl["kern.ipc.tls.records_per_key"] = 10


@pytest.mark.rule("RFC 8446 5.5")
def test_key_is_renewed_at_its_limit_in_tls13(
    make_context, ten_records: None, server_side: bool
) -> None:
    """The library renews the key by itself before it has sealed too much, inside of writes too."""
    ours = make_context(server_side, version="1.3", prepared=True)
    before = rekeys()
    with pair(ours, make_context(not server_side), server_side=server_side) as (own, other):
        for records in (5, 5, 5, 100):
            data = os.urandom(records * 16384)
            with ThreadPoolExecutor(1) as pool:
                received = pool.submit(receive, other, len(data))
                own.sendall(data)
                assert received.result(20) == data
            # The handshake sealed two tickets with the first key.
            assert sequence(own) <= 12
        assert rekeys() - before == 11
        exchange(own, other)


@pytest.mark.rule("RFC 8446 5.5")
def test_key_is_refused_at_its_limit_in_tls12(make_context, ten_records: None) -> None:
    ours = make_context(True, version="1.2", ciphers="ECDHE+AESGCM", prepared=True)
    with pair(ours, make_context(False), server_side=True) as (own, other):
        data = os.urandom(10 * 16384)
        own.sendall(data)
        assert receive(other, len(data)) == data
        for _ in range(2):
            with pytest.raises(OSError, match=r"10 records .* open a new connection") as caught:
                own.send(b"x")
            assert caught.value.errno == errno.EKEYEXPIRED
        # The end can still be said.
        end(own, other)


@pytest.mark.parametrize("kind", ["K", "k"])
def test_key_updates_of_a_peer_client_while_data_flows(make_context, kind: str) -> None:
    """`openssl s_client` updates its keys while our server sends; K asks for the same."""
    context = make_context(True, version="1.3", prepared=True)
    with OpenSSLClient(context, "-tls1_3") as (own, client):
        update_while_data_flows(own, client, kind)


@pytest.mark.parametrize("kind", ["K", "k"])
def test_key_updates_of_a_peer_server_while_data_flows(
    make_context, openssl_server, kind: str
) -> None:
    """The same by `openssl s_server` while our client sends."""
    client = make_context(False, version="1.3", prepared=True)
    with openssl_server.connect(client) as own:
        update_while_data_flows(own, openssl_server, kind)


def update_while_data_flows(own: TLSSocket, peer: Process, kind: str) -> None:
    """Four updates by the peer, each with blocks of ours before and behind it on the wire."""
    assert_ours(own)
    before = rekeys()
    blocks = [f"<block {number}> {os.urandom(5000).hex()}\n".encode() for number in range(200)]
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(lambda: [own.sendall(block) for block in blocks])
        for number in range(4):
            peer.read_until(f"<block {number * 40}>".encode())
            assert f"<block {len(blocks) - 1}>".encode() not in peer.output
            peer.say(f"{kind}\n")
            line = f"line {number}\n".encode()
            peer.say(line.decode())
            assert receive(own, len(line)) == line
        peer.read_until(blocks[-1])
        sent.result(TIMEOUT)
    own.sendall(b"the end\n")
    peer.read_until(b"the end\n")
    assert b"".join(blocks) in COMMENTS.sub(b"", peer.output)
    # Requests that come while nothing is written may be answered together (RFC 8446 §4.6.3).
    assert rekeys() - before in (range(1, 5) if kind == "K" else [0])


@pytest.mark.rule("RFC 8446 4.6.3")
def test_key_updates_of_a_peer_server_between_writes(make_context, openssl_server) -> None:
    """Each request is answered before the next thing is said."""
    client = make_context(False, version="1.3", prepared=True)
    before = rekeys()
    with openssl_server.connect(client) as own:
        assert_ours(own)
        for number in range(4):
            openssl_server.say("K\n")
            openssl_server.say(f"line {number}\n")
            line = f"line {number}\n".encode()
            assert receive(own, len(line)) == line
            own.sendall(f"echo {number}\n".encode())
            openssl_server.read_until(f"echo {number}\n".encode())
            assert rekeys() - before == number + 1
