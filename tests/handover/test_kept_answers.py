"""What a TLSSocket says after OpenSSL was let go is what a stock SSLSocket says in its place."""

import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from handover.pairs import TIMEOUT, end, pair, tcp_pair
from ktls import Mode, prepare


@contextmanager
def stock_pair(
    near_context: ssl.SSLContext,
    far_context: ssl.SSLContext,
    *,
    server_side: bool,
    session: ssl.SSLSession | None = None,
) -> Iterator[tuple[ssl.SSLSocket, ssl.SSLSocket]]:
    """As `pair`, with a stock socket in place of ours."""
    near, far = tcp_pair()
    client: dict[str, Any] = {"server_hostname": "localhost", "session": session}
    server: dict[str, Any] = {"server_side": True}
    with ThreadPoolExecutor(1) as pool:
        peer = pool.submit(far_context.wrap_socket, far, **(client if server_side else server))
        own = near_context.wrap_socket(near, **(server if server_side else client))
        other = peer.result(TIMEOUT)
    with own, other:
        yield own, other


SESSION = ("session", "late session")
"""What a server of ours does not keep, and no client that wants no tickets."""


def answers(sock: Any) -> dict[str, Any]:
    """Everything that does not differ from one connection to the next."""
    said = {
        "cipher": sock.cipher(),
        "version": sock.version(),
        "alpn": sock.selected_alpn_protocol(),
        "compression": sock.compression(),
        "certificate": sock.getpeercert(),
        "der": sock.getpeercert(True),
        "reused": sock.session_reused,
        "shared": sock.shared_ciphers(),
        "server_side": sock.server_side,
        "session": type(sock.session),
        "binding": type(sock.get_channel_binding("tls-unique")),
    }
    for name in ("get_verified_chain", "get_unverified_chain"):
        if hasattr(ssl.SSLSocket, name):
            said[name] = getattr(sock, name)()
    for name, call in {
        "unknown binding": lambda: sock.get_channel_binding("tls-unknown"),
        "late session": lambda: setattr(sock, "session", sock.session),
        "no session": lambda: setattr(sock, "session", b"no session"),
        "post-handshake": sock.verify_client_post_handshake,
    }.items():
        try:
            said[name] = call()
        except (ValueError, TypeError, ssl.SSLError) as error:
            said[name] = (type(error), getattr(error, "reason", None) or str(error))
    return said


@pytest.mark.parametrize("resumed", [False, True])
@pytest.mark.parametrize("client_certificate_sent", [False, True])
def test_answers_without_openssl_are_those_of_stock(
    make_context,
    client_certificate,
    version: str,
    server_side: bool,
    resumed: bool,
    client_certificate_sent: bool,
) -> None:
    server = make_context(True, version=version, prepared=server_side)
    client = make_context(False, version=version, prepared=not server_side)
    for context in (server, client):
        context.set_alpn_protocols(["h2", "http/1.1"])
        # Without tickets a client of ours lets OpenSSL go, too.
        if version == "1.3" and not resumed:
            context.options |= ssl.OP_NO_TICKET
    if client_certificate_sent:
        client_certificate.configure_cert(client)
        server.verify_mode = ssl.CERT_REQUIRED
    prepare(server if server_side else client)
    ours, theirs = (server, client) if server_side else (client, server)

    def session_of(make: Any) -> ssl.SSLSession | None:
        if not resumed:
            return None
        with make(ours, theirs, server_side=server_side) as (own, other):
            own.sendall(b"x")
            assert other.recv(1) == b"x"
            other.sendall(b"y")
            assert own.recv(1) == b"y"
            session: ssl.SSLSession = (other if server_side else own).session
            end(own, other)
            return session

    said = []
    for make in (stock_pair, pair):
        session = session_of(make)
        with make(ours, theirs, server_side=server_side, session=session) as (own, _):
            assert own.session_reused is resumed
            said.append(answers(own))
            if make is pair:
                assert own.mode is own.rx_mode is Mode.SW
                if server_side or ours.options & ssl.OP_NO_TICKET:
                    assert own.session is None
    if server_side or ours.options & ssl.OP_NO_TICKET:
        for answered in said:
            for name in SESSION:
                del answered[name]
    expected, found = said
    assert found == expected


def test_binding_is_that_of_the_peer(make_context, server_side: bool) -> None:
    ours = make_context(server_side, version="1.2", prepared=True)
    theirs = make_context(not server_side, version="1.2")
    with pair(ours, theirs, server_side=server_side) as (own, other):
        assert own.rx_mode is Mode.SW
        assert own.get_channel_binding() == other.get_channel_binding() is not None
