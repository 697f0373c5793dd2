"""How much one key may seal (RFC 8446 §5.5), with limits low enough to be reached."""

import errno
import io
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

import ktls
from keyed_link import ALERT, Link
from record_reader import ALL_SUITES, SUITES, Suite, read_records
from traffic_secrets import KEY_UPDATE, TrafficSecret, read_generations

LIMIT = 10
TLS13 = [suite for suite in SUITES if suite.tls_vminor == 4]


@pytest.fixture
def limited(make_link: Callable[..., Link]) -> Callable[..., Link]:
    """Makes connections whose keys seal ten records."""

    def make(suite: Suite) -> Link:
        ktls.sysctl["kern.ipc.tls.records_per_key"] = LIMIT
        return make_link(suite)

    return make


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 4096)
    return path


@pytest.mark.rule("RFC 8446 5.5")
@pytest.mark.parametrize("suite", ALL_SUITES, ids=str)
def test_key_limit_is_that_of_the_suite(make_link: Callable[..., Link], suite: Suite) -> None:
    session = make_link(suite).sock._slot.session
    assert session.record_limit == (1 << 24 if suite.cipher_algorithm == 25 else None)


@pytest.mark.rule("RFC 8446 5.5")
@pytest.mark.parametrize("suite", ALL_SUITES, ids=str)
def test_no_record_beyond_the_limit_of_a_key(
    limited: Callable[..., Link], suite: Suite, path: Path
) -> None:
    """Whichever way the data comes: what fits goes, the rest is refused, an alert can be said."""
    link = limited(suite)
    link.sock.send(b"first")
    with pytest.raises(OSError, match=f"{LIMIT} records were sealed") as caught:
        link.sock.sendall(bytes(20 * 16384))
    assert caught.value.errno == errno.EKEYEXPIRED
    with path.open("rb") as file:
        for call in (
            lambda: link.sock.send(b"x"),
            lambda: link.sock.sendall(b"x"),
            lambda: link.sock.sendmsg([b"x"]),
            lambda: link.sock.sendfile(file),
            lambda: link.sock.sendfile(io.BytesIO(b"x")),
        ):
            with pytest.raises(OSError, match="open a new connection") as caught:
                call()
            assert caught.value.errno == errno.EKEYEXPIRED
    link.sock.sendmsg([b"\1\0"], ALERT)
    link.sock.close()
    records = read_records(link.peer, link.reader)
    assert [content_type for content_type, _ in records] == [23] * LIMIT + [21]
    assert sum(len(payload) for _, payload in records[:LIMIT]) == 5 + 9 * 16384


@pytest.mark.parametrize("suite", TLS13[:1], ids=str)
def test_count_is_returned_for_what_a_key_may_still_seal(
    limited: Callable[..., Link], suite: Suite
) -> None:
    link = limited(suite)
    link.sock.setblocking(False)
    assert link.sock.send(bytes(20 * 16384)) == LIMIT * 16384
    with pytest.raises(OSError, match="rekey with the next traffic secret"):
        link.sock.send(b"x")


@pytest.mark.rule("RFC 8446 5.5", "RFC 8446 7.2")
@pytest.mark.parametrize("suite", TLS13, ids=str)
def test_key_is_renewed_by_itself_once_the_secret_is_known(
    limited: Callable[..., Link], suite: Suite, path: Path
) -> None:
    link = limited(suite)
    secret = TrafficSecret(suite)
    expected = bytearray()
    link.sock.sendall(b"old")
    link.sock.rekey(secret.value)
    with path.open("rb") as file:
        for length in (1, 40_000, 2, 16384, 163_840, 163_841):
            data = bytes([length % 251]) * length
            link.sock.sendall(data)
            link.sock.sendmsg([data, b"and"])
            link.sock.sendmsg([b"warning"], ALERT)
            sent = link.sock.sendfile(file, 100, length)
            expected += data + data + b"and" + path.read_bytes()[100 : 100 + sent]
        for _ in range(35):
            link.sock.send(b"short")
            expected += b"short"
    link.sock.close()
    generations = read_generations(link.peer, link.reader, secret)
    first, *rest = generations
    assert first == [(23, b"old"), (22, KEY_UPDATE)]
    records = [record for generation in rest for record in generation]
    assert b"".join(data for kind, data in records if kind == 23) == expected
    assert [data for kind, data in records if kind == 21] == [b"warning"] * 6
    assert len(rest) >= len(expected) / 16384 / LIMIT
    for generation in rest:
        assert sum(kind == 23 for kind, _ in generation) <= LIMIT


@pytest.mark.parametrize("suite", TLS13[:1], ids=str)
def test_renewal_without_blocking_loses_nothing(limited: Callable[..., Link], suite: Suite) -> None:
    link = limited(suite)
    secret = TrafficSecret(suite)
    link.sock.rekey(secret.value)
    link.sock.setblocking(False)
    data = bytes(range(256)) * 4000
    sent = 0
    with suppress(BlockingIOError):
        while sent < len(data):
            sent += link.sock.send(data[sent:])
    link.sock.close()
    generations = read_generations(link.peer, link.reader, secret)
    records = [record for generation in generations[1:] for record in generation]
    assert b"".join(payload for kind, payload in records if kind == 23) == data[:sent]
    assert len(generations) > sent // (16384 * LIMIT)
