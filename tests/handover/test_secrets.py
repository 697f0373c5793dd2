"""Secrets: the right ones among forged ones, and none left behind."""

import gc
import os
import re
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from handover.openssl import OpenSSLClient
from handover.pairs import TIMEOUT, assert_ours, exchange, pair, tcp_pair
from ktls import HandoverError, Mode, prepare, wrap_socket
from ktls.handover import keylog
from ktls.handover.handshake import Handshake
from tls_records import CLIENT_HELLO, SERVER_HELLO, hello_random

LABELS = {
    "1.2": ["CLIENT_RANDOM"],
    "1.3": [
        "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
        "SERVER_HANDSHAKE_TRAFFIC_SECRET",
        "CLIENT_TRAFFIC_SECRET_0",
        "SERVER_TRAFFIC_SECRET_0",
    ],
}


def append_lines(path: str, version: str, client_random: bytes) -> None:
    """What anybody gets logged who replays a client random in a handshake of his own."""
    lengths = (48,) if version == "1.2" else (32, 48)
    with open(path, "a") as log:
        for length in lengths:
            for label in LABELS[version]:
                log.write(f"{label} {client_random.hex()} {os.urandom(length).hex()}\n")


def on_hellos(context: ssl.SSLContext, call: Callable[[int, bytes], None]) -> None:
    """Have `call` know of every hello that OpenSSL sends or is about to look at, by its random."""

    def on_message(_tls, _direction, _version, content_type, message_type, data) -> None:
        if content_type == 22 and message_type in (CLIENT_HELLO, SERVER_HELLO):
            call(message_type, hello_random(data))

    context._msg_callback = on_message


def forge(context: ssl.SSLContext, version: str) -> list[bytes]:
    """Make forged lines appear before the secrets of every handshake; returns the randoms."""
    client_randoms: list[bytes] = []

    def on_hello(message_type: int, random: bytes) -> None:
        if message_type == CLIENT_HELLO:
            client_randoms.append(random)
        append_lines(context.keylog_filename, version, client_randoms[-1])

    on_hellos(context, on_hello)
    return client_randoms


def before_the_secrets_are_read(monkeypatch: pytest.MonkeyPatch, call: Callable[[], None]) -> None:
    """Call between the end of a handshake and the look for its keys."""
    take_over = Handshake._take_over

    def take_over_late(*arguments: Any) -> None:
        call()
        take_over(*arguments)

    monkeypatch.setattr(Handshake, "_take_over", take_over_late)


@pytest.mark.parametrize("tickets", [0, 2])
def test_forged_secrets_under_the_live_random_are_not_taken(
    make_context, version: str, server_side: bool, tickets: int
) -> None:
    ours = make_context(server_side, version=version)
    theirs = make_context(not server_side, version=version)
    (ours if server_side else theirs).num_tickets = tickets
    prepare(ours)
    randoms = forge(ours, version)
    session = None
    for turn in range(3):
        with pair(ours, theirs, server_side=server_side, session=session) as (own, other):
            assert len(randoms) == turn + 1
            assert_ours(own)
            exchange(own, other)
            session = (other if server_side else own).session


def test_forged_secrets_after_the_handshakes_are_not_taken(
    make_context, version: str, monkeypatch
) -> None:
    """The last word in the log is a stranger's."""
    ours = make_context(True, version=version, prepared=True)
    randoms: list[bytes] = []
    on_hellos(ours, lambda kind, random: randoms.append(random) if kind == CLIENT_HELLO else None)
    before_the_secrets_are_read(
        monkeypatch, lambda: append_lines(ours.keylog_filename, version, randoms[-1])
    )
    with pair(ours, make_context(False), server_side=True) as (own, other):
        assert_ours(own)
        exchange(own, other)


def test_forged_secret_alone_is_found_out(make_context, monkeypatch) -> None:
    """A 1.3 client has sent nothing yet under its application key: the probe finds it out."""
    client = make_context(False, version="1.3", prepared=True)
    line = re.compile(rb"(CLIENT_TRAFFIC_SECRET_0 [0-9a-f]{64}) ([0-9a-f]+)\n")

    def forge_it() -> None:
        with open(client.keylog_filename, "r+b") as log:
            found = line.search(log.read())
            assert found is not None
            log.seek(found.start(2))
            log.write(os.urandom(len(found[2]) // 2).hex().encode())

    before_the_secrets_are_read(monkeypatch, forge_it)
    with (
        pytest.raises(HandoverError, match="do not open what OpenSSL writes"),
        pair(client, make_context(True, version="1.3"), server_side=False),
    ):
        pass


def test_no_secret_passes_through(
    make_context, version: str, server_side: bool, monkeypatch
) -> None:
    ours = make_context(server_side, version=version, prepared=True)

    def blank() -> None:
        with open(ours.keylog_filename, "r+b") as log:
            lines = log.read()
            log.seek(0)
            log.write(re.sub(rb"[^\n]", b"#", lines))

    before_the_secrets_are_read(monkeypatch, blank)
    with pair(ours, make_context(not server_side), server_side=server_side) as (own, other):
        assert own.mode is Mode.NONE
        assert "no secret was logged" in own.why
        exchange(own, other)


def test_no_key_in_any_repr(make_context, version: str) -> None:
    ours = make_context(True, version=version, prepared=True)
    with pair(ours, make_context(False), server_side=True) as (own, _):
        shown = repr(own)
        assert "mode=SW" in shown
        assert "TLSv" in shown
        parts = own._parts
        owners = (parts, parts.handshake)
        holders = [getattr(owner, name) for owner in owners for name in owner.__slots__]
        for text in (shown, *map(repr, owners), *map(repr, holders)):
            assert len(text) < 2000
            assert not any(len(word) > 60 for word in text.split())


def test_nothing_is_left_after_200_handshakes(make_context, version: str) -> None:
    server = make_context(True, version=version, prepared=True)
    client = make_context(False, version=version, prepared=True)
    log = keylog.process_log()

    def turn() -> None:
        with pair(server, client_stock, server_side=True) as (own, other):
            assert_ours(own)
            exchange(own, other, (100,))
        with pair(client, server_stock, server_side=False) as (own, other):
            assert_ours(own)

    client_stock, server_stock = make_context(False), make_context(True)
    for _ in range(5):
        turn()
    gc.collect()
    before = _descriptors()
    for _ in range(100):
        turn()
    gc.collect()
    assert _settled(before) <= before
    assert len(log.reader) == 0
    data = Path(log.path).read_bytes()
    assert data.strip(b"\0") == b""
    assert os.stat(log.path).st_blocks * 512 < 200_000


def test_failed_handshakes_leave_nothing(make_context) -> None:
    server = make_context(True, version="1.3", prepared=True)
    log = keylog.process_log()
    before = _descriptors()
    for _ in range(20):
        with (
            pytest.raises(ssl.SSLError),
            pair(server, make_context(False, version="1.2"), server_side=True),
        ):
            pass
    gc.collect()
    assert len(log.reader) == 0
    assert _settled(before) <= before


def test_abandoned_handshakes_leave_nothing(make_context) -> None:
    client = make_context(False, prepared=True)
    log = keylog.process_log()
    near, far = tcp_pair()
    with far:
        near.setblocking(False)
        own = wrap_socket(near, client, server_hostname="localhost", do_handshake_on_connect=False)
        with pytest.raises(ssl.SSLWantReadError):
            own.do_handshake()
        assert len(log.reader) == 1
        own.close()
        assert len(log.reader) == 0


def test_log_of_stock_handshakes_is_wiped_by_the_next_hand_over(make_context) -> None:
    server = make_context(True, version="1.3", prepared=True)
    with OpenSSLClient(server, "-tls1_3") as (own, _):
        own.settimeout(TIMEOUT)
        assert_ours(own)
    assert Path(keylog.process_log().path).read_bytes().strip(b"\0") == b""


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def _settled(limit: int) -> int:
    """Closed connections drain in the background."""
    import time

    for _ in range(100):
        if _descriptors() <= limit:
            break
        time.sleep(0.05)
    return _descriptors()
