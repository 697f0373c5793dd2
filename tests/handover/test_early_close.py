"""A connection that is closed while both ends write: nobody waits for the other."""

import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from handover.pairs import TIMEOUT, pair


@pytest.mark.parametrize("tickets", [True, False], ids=["tickets", "no-tickets"])
def test_peer_that_writes_is_told(make_context, tickets: bool) -> None:
    """Also while the closed object is kept, and where OpenSSL stays for a session."""
    ours, theirs = make_context(False, prepared=True), make_context(True)
    if not tickets:
        ours.options |= ssl.OP_NO_TICKET

    def echo(other: ssl.SSLSocket) -> None:
        while data := other.recv(65536):
            other.sendall(data)

    with pair(ours, theirs, server_side=False) as (own, other), ThreadPoolExecutor(1) as pool:
        other.settimeout(TIMEOUT)
        ended = pool.submit(echo, other)
        own.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                own.send(bytes(8192))
        own.close()
        error = ended.exception(TIMEOUT)
        assert error is None or isinstance(error, ConnectionError | ssl.SSLError)


@pytest.mark.parametrize("tickets", [True, False], ids=["tickets", "no-tickets"])
def test_closed_connection_has_no_descriptor(make_context, tickets: bool) -> None:
    ours, theirs = make_context(False, prepared=True), make_context(True)
    if not tickets:
        ours.options |= ssl.OP_NO_TICKET
    with pair(ours, theirs, server_side=False) as (own, other):
        own.sendall(b"last")
        own.close()
        other.settimeout(TIMEOUT)
        assert other.recv(4) == b"last"
        # With the descriptor open what arrives is taken in silence.
        with suppress(ConnectionError, ssl.SSLEOFError):
            while True:
                other.sendall(b"more")
