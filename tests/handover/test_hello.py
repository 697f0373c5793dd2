"""HelloRetryRequest, ALPN, SNI, and peers that do not begin as they should."""

import socket
import ssl

import pytest

from handover.pairs import assert_ours, exchange, pair, tcp_pair
from handover.relay import Relay
from ktls import HandoverError, Mode, prepare, wrap_socket
from ktls.errors import HandoverDeclined
from tls_records import split_records

HANDSHAKE, CLIENT_HELLO = 22, 1


@pytest.mark.rule("RFC 8446 4.1.4")
def test_hello_retry_request(make_context, server_side: bool) -> None:
    """The client guesses a group that the server does not take, and sends a second hello."""
    ours = make_context(server_side, version="1.3")
    theirs = make_context(not server_side, version="1.3")
    (ours if server_side else theirs).set_ecdh_curve("secp384r1")
    prepare(ours)
    with Relay() as relay, relay.pair(ours, theirs, server_side=server_side) as (own, other):
        assert_ours(own)
        exchange(own, other)
        sent_by_client = bytes(relay.to_us if server_side else relay.from_us)
        records = list(split_records(sent_by_client))
    hellos = [record for record in records if record[0] == HANDSHAKE and record[5] == CLIENT_HELLO]
    assert len(hellos) == 2


@pytest.mark.rule("RFC 7301 3.2")
def test_alpn_is_agreed_on_as_without_us(contexts, server_side: bool) -> None:
    ours, theirs = contexts
    for context in contexts:
        context.set_alpn_protocols(["h2", "http/1.1"])
    with pair(ours, theirs, server_side=server_side) as (own, other):
        assert_ours(own)
        assert own.selected_alpn_protocol() == "h2"
        exchange(own, other, (100,))


@pytest.mark.rule("RFC 6066 3")
@pytest.mark.parametrize("own_log", [False, True], ids=["no-log", "own-log"])
@pytest.mark.parametrize("prepared", [False, True], ids=["unprepared", "prepared"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_sni_callback_puts_another_context_in_place(
    make_context, version: str, when: str, prepared: bool, own_log: bool, tmp_path
) -> None:
    other_context = make_context(True, version=version, rsa=True)
    if own_log:
        other_context.keylog_filename = str(tmp_path / "keys.log")
    if prepared:
        prepare(other_context)
    names = []

    def choose(ssl_object: ssl.SSLObject, name: str, context: ssl.SSLContext) -> None:
        names.append(name)
        ssl_object.context = other_context

    server = make_context(True, version=version)
    if when == "before":
        server.sni_callback = choose
    prepare(server)
    if when == "after":
        server.sni_callback = choose
    for _ in range(2):
        with pair(server, make_context(False), server_side=True) as (own, other):
            assert_ours(own)
            assert own.context is other_context
            exchange(own, other, (100,))
    assert names == ["localhost", "localhost"]


def test_sni_callback_refuses(make_context) -> None:
    """What the callback returns is still the answer."""
    server = make_context(True)
    server.sni_callback = lambda *_: ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
    prepare(server)
    with (
        pytest.raises(ssl.SSLError, match=r"(?i)callback|unrecognized"),
        pair(server, make_context(False), server_side=True),
    ):
        pass


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        bytes(600),
        b"\x16\x03\x01\xff\xff" + bytes(70_000),
        b"\x80",
        b"\x16",
    ],
    ids=["http", "zeros", "long", "sslv2", "one"],
)
def test_garbage_instead_of_a_hello(make_context, garbage: bytes) -> None:
    near, far = tcp_pair()
    with far:
        far.sendall(garbage)
        far.shutdown(socket.SHUT_WR)
        with pytest.raises(ssl.SSLError):
            wrap_socket(near, make_context(True, prepared=True), server_side=True)
        assert near.fileno() == -1


def test_sslv2_hello_is_not_taken_over(make_context) -> None:
    """OpenSSL still understands it; what it says then is read as it comes."""
    random = bytes(range(32))
    suites = bytes.fromhex("00c02b00c02f0000ff")
    body = b"\x01\x03\x03" + len(suites).to_bytes(2, "big") + b"\0\0\0\x20" + suites + random
    near, far = tcp_pair()
    own = wrap_socket(
        near, make_context(True, prepared=True), server_side=True, do_handshake_on_connect=False
    )
    with far, own:
        far.sendall((0x8000 | len(body)).to_bytes(2, "big") + body)
        own.settimeout(0.5)
        # Either the hello goes through and OpenSSL waits for the rest, or it is refused as such.
        with pytest.raises((TimeoutError, ssl.SSLError)):
            own.do_handshake()
        assert own.mode is Mode.NONE
        # After a refused hello nothing is followed any more.
        with pytest.raises(HandoverDeclined, match=r"began with an SSLv2 hello|was not followed"):
            own._parts.side.find(None)


def test_wrap_socket_refuses_an_unprepared_context(make_context) -> None:
    near, far = tcp_pair()
    with near, far:
        with pytest.raises(HandoverError, match=r"call ktls\.prepare\(ctx\) first"):
            wrap_socket(near, make_context(True), server_side=True)
        assert near.fileno() >= 0
        far.setblocking(False)
        with pytest.raises(BlockingIOError):
            far.recv(1)
