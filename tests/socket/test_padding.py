"""kern.ipc.tls.pad_to: records of TLS 1.3 that do not show how long their content is."""

import errno
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import ktls
from keyed_link import ALERT, Link, parameters
from record_reader import ALL_SUITES, SUITES, RecordReader, Secrets, Suite, raw_records
from traffic_secrets import KEY_UPDATE, TrafficSecret

MakeLink = Callable[..., Link]
PAD_TO = "kern.ipc.tls.pad_to"
TLS13 = [suite for suite in SUITES if suite.tls_vminor == 4]
MAX_LEN = 16384

Opened = list[tuple[int, bytes, int]]


def opened(peer: socket.socket, reader: RecordReader) -> Opened:
    """Content type, payload, and padding of all records; each is as long as that says."""
    found: Opened = []
    for record in raw_records(peer):
        content_type, payload = reader.open(record)
        assert len(record) == 5 + len(payload) + 1 + reader.padding_len + 16
        found.append((content_type, payload, reader.padding_len))
    return found


def opened_of(link: Link) -> Opened:
    link.sock.close()
    return opened(link.peer, RecordReader(link.secrets, padded=True))


def padding(length: int, multiple: int, most: int = MAX_LEN) -> int:
    """Zeros that a record of so many bytes should have."""
    return min(-(-length // multiple) * multiple, most) - length


def set_limit(sock: ktls.Socket, limit: int) -> None:
    sock.setsockopt(ktls.SOL_TLS, ktls.TLS_TX_MAX_PAYLOAD_LEN, limit)


def test_no_padding_by_default(make_link: MakeLink) -> None:
    assert ktls.sysctl[PAD_TO] == 0
    link = make_link()
    link.sock.send(b"x")
    assert opened_of(link) == [(23, b"x", 0)]


@pytest.mark.rule("RFC 8446 5.4")
@pytest.mark.parametrize("suite", TLS13, ids=str)
@pytest.mark.parametrize("pad_to", [1, 2, 64, 100, 4096, 16383, 16384])
def test_records_are_padded_to_a_multiple(make_link: MakeLink, suite: Suite, pad_to: int) -> None:
    ktls.sysctl[PAD_TO] = pad_to
    link = make_link(suite)
    lens = [1, 2, 63, 64, 65, 99, 100, 101, 4095, 4096, 4097, 16300, 16383, 16384]
    data = [os.urandom(length) for length in lens]
    for piece in data:
        link.sock.sendall(piece)
    assert opened_of(link) == [(23, piece, padding(len(piece), pad_to)) for piece in data]


@pytest.mark.parametrize("content_type", [21, 22, 100])
def test_records_of_every_type_are_padded(make_link: MakeLink, content_type: int) -> None:
    ktls.sysctl[PAD_TO] = 256
    control = [(ktls.IPPROTO_TCP, ktls.TLS_SET_RECORD_TYPE, bytes([content_type]))]
    link = make_link()
    link.sock.sendmsg([b"\1\0"], control)
    link.sock.sendmsg([bytes(257)], control)
    assert opened_of(link) == [(content_type, b"\1\0", 254), (content_type, bytes(257), 255)]


def test_padded_content_may_end_in_zeros(make_link: MakeLink) -> None:
    """They are content, behind which the type stands."""
    ktls.sysctl[PAD_TO] = 100
    link = make_link()
    link.sock.send(bytes(99))
    link.sock.send(bytes(100))
    link.sock.send(b"x" + bytes(100))
    assert opened_of(link) == [
        (23, bytes(99), 1),
        (23, bytes(100), 0),
        (23, b"x" + bytes(100), 99),
    ]


def test_last_record_of_a_write_is_padded(make_link: MakeLink) -> None:
    ktls.sysctl[PAD_TO] = 4096
    link = make_link()
    link.sock.send(bytes(2 * MAX_LEN + 5000))
    assert [(len(data), zeros) for _, data, zeros in opened_of(link)] == [
        (MAX_LEN, 0),
        (MAX_LEN, 0),
        (5000, 8192 - 5000),
    ]


def test_records_are_padded_whichever_way_the_data_comes(
    make_link: MakeLink, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(250))
    ktls.sysctl[PAD_TO] = 100
    link = make_link()
    link.sock.sendmsg([bytes(125), bytes(125)])
    with path.open("rb") as file:
        link.sock.sendfile(file)
    link.sock.send(bytes(125), socket.MSG_MORE)
    link.sock.send(bytes(125))
    with link.sock.cork():
        link.sock.send(bytes(125))
        link.sock.send(bytes(125))
    link.sock.aio_write(bytes(250)).result(20)
    assert opened_of(link) == [(23, bytes(250), 50)] * 5


@pytest.mark.parametrize("size", [100_000, 3_000_000])
@pytest.mark.parametrize("gather_max", [0, 32768])
@pytest.mark.parametrize("small", [False, True])
def test_units_of_many_records_are_padded(
    make_link: MakeLink, size: int, gather_max: int, small: bool
) -> None:
    """Sealed by the caller, by a worker, behind a socket that takes little."""
    ktls.sysctl[PAD_TO] = 1000
    ktls.sysctl["kern.ipc.tls.gather_max"] = gather_max
    ktls.sysctl["kern.ipc.tls.maxlen"] = 1500
    link = make_link(small=small)
    data = os.urandom(size // 4 if small else size)
    found: Opened = []
    reader = RecordReader(link.secrets, padded=True)
    reading = threading.Thread(target=lambda: found.extend(opened(link.peer, reader)))
    reading.start()
    for at in range(0, len(data), 7777):
        link.sock.sendall(data[at : at + 7777])
    link.sock.close()
    reading.join()
    assert b"".join(payload for _, payload, _ in found) == data
    assert all(zeros == padding(len(payload), 1000, 1500) for _, payload, zeros in found)


@pytest.mark.rule("RFC 8446 5.4")
@pytest.mark.parametrize(
    ("pad_to", "limit"), [(64, 100), (100, 100), (4096, 512), (16384, 16384), (16384, 63)]
)
def test_padding_makes_no_record_longer_than_it_may_be(
    make_link: MakeLink, pad_to: int, limit: int
) -> None:
    """The limit is that of content and padding together."""
    ktls.sysctl[PAD_TO] = pad_to
    link = make_link()
    set_limit(link.sock, limit)
    lens = [1, limit // 2, limit - 1, limit]
    for length in lens:
        link.sock.send(bytes(length))
    assert opened_of(link) == [
        (23, bytes(length), padding(length, pad_to, limit)) for length in lens
    ]


def test_padding_ends_at_maxlen(make_link: MakeLink) -> None:
    ktls.sysctl[PAD_TO] = 4096
    ktls.sysctl["kern.ipc.tls.maxlen"] = 1000
    link = make_link()
    link.sock.send(b"x")
    assert opened_of(link) == [(23, b"x", 999)]


def test_padding_of_a_session_stays(make_link: MakeLink) -> None:
    ktls.sysctl[PAD_TO] = 100
    padded = make_link()
    ktls.sysctl[PAD_TO] = 0
    plain = make_link()
    ktls.sysctl[PAD_TO] = 200
    for link in (padded, plain):
        link.sock.send(b"x")
    assert opened_of(padded) == [(23, b"x", 99)]
    assert opened_of(plain) == [(23, b"x", 0)]


def test_padding_stays_with_other_keys(make_link: MakeLink) -> None:
    """The message that announces them is padded, too."""
    ktls.sysctl[PAD_TO] = 100
    link = make_link()
    ktls.sysctl[PAD_TO] = 0
    suite = link.secrets.suite
    secret, other = TrafficSecret(suite), Secrets(suite)
    link.sock.send(b"x")
    link.sock.rekey(secret.value)
    link.sock.send(b"y")
    link.sock.rekey(parameters(other))
    link.sock.send(b"z")
    link.sock.close()
    readers = [
        RecordReader(secrets, padded=True) for secrets in (link.secrets, secret.secrets(), other)
    ]
    expected = [(0, 23, b"x"), (0, 22, KEY_UPDATE), (1, 23, b"y"), (2, 23, b"z")]
    for record, (generation, content_type, payload) in zip(
        raw_records(link.peer), expected, strict=True
    ):
        reader = readers[generation]
        assert reader.open(record) == (content_type, payload)
        assert reader.padding_len == 100 - len(payload)


@pytest.mark.rule("RFC 8446 5.4")
@pytest.mark.parametrize("suite", [s for s in ALL_SUITES if s.tls_vminor < 4], ids=str)
def test_no_padding_before_tls13(make_link: MakeLink, suite: Suite) -> None:
    ktls.sysctl[PAD_TO] = 512
    link = make_link(suite)
    link.sock.send(b"x")
    link.sock.sendmsg([b"\1\0"], ALERT)
    link.sock.close()
    records = list(raw_records(link.peer))
    assert all(len(record) <= 2 + suite.overhead for record in records)
    assert [link.reader.open(record) for record in records] == [(23, b"x"), (21, b"\1\0")]


@pytest.mark.parametrize("value", [-1, 16385])
def test_pad_to_out_of_range_is_refused(value: int) -> None:
    with pytest.raises(OSError, match=r"0\.\.16384") as caught:
        ktls.sysctl[PAD_TO] = value
    assert caught.value.errno == errno.EINVAL
