"""``aio_write`` and keys: before they come, when they change, when they are used up."""

import errno
import os
import socket
import threading
from collections.abc import Callable

import pytest

import ktls
from full_link import keep
from keyed_link import Link, parameters
from record_reader import (
    CBC_SUITES,
    SUITES,
    RecordReader,
    Secrets,
    Suite,
    read_exactly,
    read_records,
)
from traffic_secrets import KEY_UPDATE, TrafficSecret, read_generations

MakeLink = Callable[..., Link]
CHAINED = CBC_SUITES[0]


def test_aio_write_before_the_keys(plain: tuple[ktls.Socket, socket.socket]) -> None:
    sock, far = plain
    future = sock.aio_write(b"in clear")
    assert future.result(20) == 8
    assert read_exactly(far, 8) == b"in clear"


@pytest.mark.parametrize("suite", [s for s in SUITES if s.tls_vminor == 4], ids=str)
def test_keys_change_while_aio_writes_wait(make_link: MakeLink, suite: Suite) -> None:
    """All arrives in order, in records of one generation of keys or the next."""
    keep(65536)
    link = make_link(suite, small=True)
    row = TrafficSecret(suite).row(10)
    data = [os.urandom(10_000) for _ in range(100)]
    futures = []
    for number, piece in enumerate(data):
        futures.append(link.sock.aio_write(piece))
        if number % 10 == 5:
            link.sock.rekey(row[number // 10].value)
    generations: list[list[tuple[int, bytes]]] = []
    reading = threading.Thread(
        target=lambda: generations.extend(read_generations(link.peer, link.reader, row[0]))
    )
    reading.start()
    assert [future.result(20) for future in futures] == [10_000] * 100
    link.sock.close()
    reading.join(20)
    records = [record for generation in generations for record in generation]
    assert b"".join(payload for kind, payload in records if kind == 23) == b"".join(data)
    assert [payload for kind, payload in records if kind == 22] == [KEY_UPDATE] * 10


def test_keys_change_by_themselves_while_aio_writes_wait(make_link: MakeLink) -> None:
    """At the limit of each; no future is told of it."""
    keep(65536)
    ktls.sysctl["kern.ipc.tls.records_per_key"] = 7
    link = make_link(small=True)
    secret = TrafficSecret(link.secrets.suite)
    link.sock.rekey(secret.value)
    data = [os.urandom(3000) for _ in range(200)]
    futures = [link.sock.aio_write(piece) for piece in data]
    generations: list[list[tuple[int, bytes]]] = []
    reading = threading.Thread(
        target=lambda: generations.extend(read_generations(link.peer, link.reader, secret))
    )
    reading.start()
    assert [future.result(20) for future in futures] == [3000] * 200
    link.sock.close()
    reading.join(20)
    records = [record for generation in generations for record in generation]
    assert b"".join(payload for kind, payload in records if kind == 23) == b"".join(data)
    assert all(sum(kind == 23 for kind, _ in one) <= 7 for one in generations)


def test_what_waits_before_the_keys_leaves_in_clear(
    plain: tuple[ktls.Socket, socket.socket],
) -> None:
    """Also what is not framed when they come."""
    keep(65536)
    sock, far = plain
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    clear = [os.urandom(300_000) for _ in range(30)]
    futures = [sock.aio_write(piece) for piece in clear]
    assert not futures[-1].done()
    secrets = Secrets(SUITES[3])
    sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(secrets))
    futures.append(sock.aio_write(b"sealed"))
    far.settimeout(20)
    assert read_exactly(far, 9_000_000) == b"".join(clear)
    assert [future.result(20) for future in futures] == [300_000] * 30 + [6]
    sock.close()
    assert read_records(far, RecordReader(secrets)) == [(23, b"sealed")]


def test_key_that_is_used_up_ends_the_future(make_link: MakeLink) -> None:
    """Not the call says so but the future."""
    ktls.sysctl["kern.ipc.tls.records_per_key"] = 5
    link = make_link()
    first = link.sock.aio_write(bytes(3 * 16384))
    second = link.sock.aio_write(bytes(3 * 16384))
    third = link.sock.aio_write(b"x")
    assert first.result(20) == 3 * 16384
    for future in (second, third):
        error = future.exception(20)
        assert isinstance(error, OSError)
        assert error.errno == errno.EKEYEXPIRED
    link.sock.close()
    assert len(read_records(link.peer, link.reader)) <= 5
