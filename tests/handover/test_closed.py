"""A closed TLSSocket has let its connection go, although the program still has the object."""

import socket
import ssl
from concurrent.futures import ThreadPoolExecutor

import pytest

from handover.pairs import TIMEOUT, exchange, pair, receive


def has_ended(peer: socket.socket) -> bool:
    """Whether writing fails in the end: nobody is there who could read it."""
    peer.settimeout(TIMEOUT)
    try:
        for _ in range(1000):
            peer.sendall(bytes(65536))
    except TimeoutError:
        return False
    except OSError:
        return True
    return False


def test_unread_data_does_not_keep_the_connection(contexts, server_side: bool) -> None:
    ours, theirs = contexts
    with pair(ours, theirs, server_side=server_side) as (own, other):
        exchange(own, other)
        other.sendall(bytes(500_000))
        assert receive(own, 1000) == bytes(1000)
        own.close()
        assert has_ended(other)
        assert own.closed
        assert own.fileno() == -1


@pytest.mark.parametrize("closes_plain", [True, False])
def test_close_after_unwrap_leaves_the_plain_socket(
    contexts, server_side: bool, closes_plain: bool
) -> None:
    """`ftplib`, for one, drops what `unwrap` returns and closes what it had before."""
    ours, theirs = contexts
    with pair(ours, theirs, server_side=server_side) as (own, other), ThreadPoolExecutor(1) as pool:
        peer = pool.submit(other.unwrap)
        assert own.recv(10) == b""
        plain = own.unwrap()
        with peer.result(TIMEOUT) as far:
            if closes_plain:
                plain.close()
            else:
                own.close()
            assert plain.fileno() == -1
            assert has_ended(far)


def test_close_with_post_handshake_authentication_lets_openssl_go(make_context) -> None:
    """A server that may ask for a certificate keeps OpenSSL beside the stream."""
    ours, theirs = make_context(True, version="1.3", prepared=True), make_context(False)
    ours.verify_mode = ssl.CERT_OPTIONAL
    ours.post_handshake_auth = theirs.post_handshake_auth = True
    with pair(ours, theirs, server_side=True) as (own, other):
        exchange(own, other)
        own.close()
        assert has_ended(other)
