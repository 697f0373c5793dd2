"""TLS_TX_MAX_PAYLOAD_LEN: how long the records of one socket may be."""

import errno
import io
import os
import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

import ktls
from keyed_link import ALERT, Link, connected, parameters
from ktls import _core
from record_reader import (
    ALL_SUITES,
    CBC_SUITES,
    SUITES,
    RecordReader,
    Secrets,
    Suite,
    raw_records,
    read_record,
    read_records,
)
from traffic_secrets import KEY_UPDATE, TrafficSecret, read_generations

MakeLink = Callable[..., Link]


def set_limit(sock: ktls.Socket, limit: int) -> None:
    sock.setsockopt(ktls.SOL_TLS, ktls.TLS_TX_MAX_PAYLOAD_LEN, limit)


def limit_of(sock: ktls.Socket) -> int | bytes:
    return sock.getsockopt(ktls.SOL_TLS, ktls.TLS_TX_MAX_PAYLOAD_LEN)


def lens_of(link: Link) -> list[int]:
    link.sock.close()
    return [len(payload) for _, payload in read_records(link.peer, link.reader)]


def test_payload_len_has_the_numbers_of_linux() -> None:
    assert (ktls.SOL_TLS, ktls.TLS_TX_MAX_PAYLOAD_LEN) == (282, 5)


@pytest.mark.parametrize("suite", ALL_SUITES, ids=str)
@pytest.mark.parametrize("limit", [64, 1000, 16383, 16384])
def test_records_are_no_longer_than_payload_len(
    make_link: MakeLink, suite: Suite, limit: int
) -> None:
    link = make_link(suite)
    assert limit_of(link.sock) == 16384
    set_limit(link.sock, limit)
    assert limit_of(link.sock) == limit
    data = os.urandom(5 * limit + 1)
    link.sock.sendall(data)
    link.sock.close()
    records = list(raw_records(link.peer))
    assert max(map(len, records)) <= limit + suite.overhead
    payloads = [link.reader.open(record)[1] for record in records]
    assert payloads == [data[at : at + limit] for at in range(0, len(data), limit)]


def test_payload_len_holds_whichever_way_the_data_comes(link: Link, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(250))
    set_limit(link.sock, 100)
    link.sock.send(bytes(250))
    link.sock.sendall(bytearray(250))
    link.sock.sendmsg([bytes(99), bytes(151)])
    link.sock.sendmsg([bytes(250)], ALERT)
    with path.open("rb") as file:
        link.sock.sendfile(file)
    link.sock.sendfile(io.BytesIO(bytes(250)))
    link.sock.aio_write(bytes(250)).result(20)
    assert lens_of(link) == [100, 100, 50] * 7


def test_open_record_is_full_at_payload_len(link: Link) -> None:
    set_limit(link.sock, 100)
    for _ in range(25):
        link.sock.send(bytes(10), socket.MSG_MORE)
    assert lens_of(link) == [100, 100, 50]


@pytest.mark.parametrize("choice", ["none", "empty", "split"])
def test_payload_len_of_what_precedes_a_write_in_tls_10(make_link: MakeLink, choice: str) -> None:
    ktls.sysctl["kern.ipc.tls.tls10_fragment"] = choice
    link = make_link(CBC_SUITES[0])
    set_limit(link.sock, 100)
    link.sock.send(bytes(250))
    before = {"none": [], "empty": [0], "split": [1]}[choice]
    rest = 250 - sum(before)
    assert lens_of(link) == [*before, 100, 100, rest - 200]


def test_payload_len_may_be_set_again(link: Link) -> None:
    for limit in (64, 16384, 63, 5000, 64):
        set_limit(link.sock, limit)
        assert limit_of(link.sock) == limit
        link.sock.send(bytes(limit + 1))
    lens = [(limit, 1) for limit in (64, 16384, 63, 5000, 64)]
    assert lens_of(link) == [length for pair in lens for length in pair]


def test_what_was_framed_before_keeps_its_length(make_link: MakeLink) -> None:
    """The most of it has not been sealed when the limit is set."""
    link = make_link(small=True)
    link.sock.setblocking(False)
    accepted = link.sock.send(bytes(500_000))
    set_limit(link.sock, 100)
    link.sock.setblocking(True)
    assert accepted == 500_000
    link.sock.send(bytes(150))
    *before, last_but_one, last = lens_of(link)
    assert before == [16384] * 30 + [500_000 - 30 * 16384]
    assert (last_but_one, last) == (100, 50)


@pytest.mark.parametrize("suite", [s for s in SUITES if s.tls_vminor == 4], ids=str)
def test_payload_len_stays_with_other_keys(make_link: MakeLink, suite: Suite) -> None:
    link = make_link(suite)
    secret = TrafficSecret(suite)
    set_limit(link.sock, 100)
    link.sock.rekey(secret.value)
    assert limit_of(link.sock) == 100
    link.sock.send(bytes(150))
    link.sock.rekey(secret.next().value)
    set_limit(link.sock, 200)
    link.sock.rekey(secret.next().next().value)
    link.sock.send(bytes(250))
    link.sock.close()
    assert read_generations(link.peer, link.reader, secret) == [
        [(22, KEY_UPDATE)],
        [(23, bytes(100)), (23, bytes(50)), (22, KEY_UPDATE)],
        [(22, KEY_UPDATE)],
        [(23, bytes(200)), (23, bytes(50))],
    ]


def test_payload_len_stays_with_keys_that_change_by_themselves(make_link: MakeLink) -> None:
    ktls.sysctl["kern.ipc.tls.records_per_key"] = 4
    link = make_link()
    secret = TrafficSecret(link.secrets.suite)
    link.sock.rekey(secret.value)
    set_limit(link.sock, 100)
    link.sock.send(bytes(1000))
    link.sock.close()
    generations = read_generations(link.peer, link.reader, secret)
    lens = [
        len(payload) for generation in generations for kind, payload in generation if kind == 23
    ]
    assert lens == [100] * 10


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize("suite", ALL_SUITES, ids=str)
def test_payload_len_out_of_range_is_refused(make_link: MakeLink, suite: Suite) -> None:
    link = make_link(suite)
    least = 63 if suite.tls_vminor == 4 else 64
    for limit in (-1, 0, 1, least - 1, 16385, 65536, 2**31):
        with pytest.raises(OSError, match=str(limit)) as caught:
            set_limit(link.sock, limit)
        assert caught.value.errno == errno.EINVAL
        assert limit_of(link.sock) == 16384
    set_limit(link.sock, least)
    assert limit_of(link.sock) == least


@pytest.mark.rule("RFC 6066 4", "RFC 8449 4")
def test_payload_len_above_what_was_agreed_on_is_refused() -> None:
    """What a handshake said of the peer's max_fragment_length or record_size_limit stays."""
    near, far = connected()
    secrets = Secrets(SUITES[3])
    with ktls.Socket(near) as sock, far:
        keys = _core.Keys(4, ktls.CRYPTO_AES_NIST_GCM_16, secrets.key, secrets.iv)
        agreed = SimpleNamespace(
            tls_vminor=4,
            cipher_algorithm=ktls.CRYPTO_AES_NIST_GCM_16,
            key_len=len(secrets.key),
            max_frame_len=1024,
        )
        session = sock._slot.plan(agreed)
        direction = _core.DirectionKeys(keys, secrets.sequence)
        sock._stream.install(direction, session.record_params, session)
        assert limit_of(sock) == 1024
        for limit in (1025, 16384):
            with pytest.raises(OSError, match=str(limit)) as caught:
                set_limit(sock, limit)
            assert caught.value.errno == errno.EINVAL
        assert limit_of(sock) == 1024
        set_limit(sock, 100)
        set_limit(sock, 1024)
        sock.send(bytes(1500))
        sock.close()
        lens = [len(payload) for _, payload in read_records(far, RecordReader(secrets))]
    assert lens == [1024, 476]


def test_payload_len_above_maxlen_is_refused(make_link: MakeLink) -> None:
    ktls.sysctl["kern.ipc.tls.maxlen"] = 2000
    link = make_link()
    assert limit_of(link.sock) == 2000
    with pytest.raises(OSError, match="2001") as caught:
        set_limit(link.sock, 2001)
    assert caught.value.errno == errno.EINVAL
    set_limit(link.sock, 2000)
    assert limit_of(link.sock) == 2000


def test_payload_len_without_a_session_is_refused(plain: tuple[ktls.Socket, socket.socket]) -> None:
    sock, _ = plain
    for call in (lambda: set_limit(sock, 1000), lambda: limit_of(sock)):
        with pytest.raises(OSError, match="session") as caught:
            call()
        assert caught.value.errno == errno.EINVAL


@pytest.mark.parametrize("value", ["1000", None, 1000.0])
def test_payload_len_that_is_no_number_is_refused(link: Link, value: object) -> None:
    with pytest.raises(TypeError):
        link.sock.setsockopt(ktls.SOL_TLS, ktls.TLS_TX_MAX_PAYLOAD_LEN, value)
    assert limit_of(link.sock) == 16384


def test_payload_len_while_a_record_is_open_is_refused(link: Link) -> None:
    link.sock.send(bytes(200), socket.MSG_MORE)
    with pytest.raises(OSError, match="open") as caught:
        set_limit(link.sock, 100)
    assert caught.value.errno == errno.EBUSY
    link.sock.send(bytes(100))
    with link.sock.cork():
        set_limit(link.sock, 1000)
        link.sock.send(bytes(200))
        with pytest.raises(OSError, match="open") as caught:
            set_limit(link.sock, 100)
        assert caught.value.errno == errno.EBUSY
    assert read_record(link.peer, link.reader) == (23, bytes(300))
    assert read_record(link.peer, link.reader) == (23, bytes(200))
    set_limit(link.sock, 100)
    link.sock.send(bytes(150))
    assert lens_of(link) == [100, 50]


def test_payload_len_after_close_is_refused(link: Link) -> None:
    link.sock.close()
    with pytest.raises(OSError, match="closed") as caught:
        set_limit(link.sock, 1000)
    assert caught.value.errno == errno.EBADF


def test_sockets_have_a_payload_len_of_their_own(
    make_link: MakeLink, plain: tuple[ktls.Socket, object]
) -> None:
    one, other = make_link(), make_link()
    set_limit(one.sock, 100)
    assert limit_of(other.sock) == 16384
    later = make_link()
    assert limit_of(later.sock) == 16384
    sock, _ = plain
    sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(Secrets(SUITES[0])))
    assert limit_of(sock) == 16384
