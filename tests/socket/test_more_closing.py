"""MSG_MORE: what closes an open record, and what does not."""

import errno
import io
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

import ktls
from keyed_link import ALERT, Link, nothing_has_arrived, parameters, records_of
from record_reader import (
    ALL_SUITES,
    CBC_SUITES,
    SUITES,
    RecordReader,
    Secrets,
    Suite,
    read_data,
    read_record,
)
from traffic_secrets import KEY_UPDATE, TrafficSecret, read_generations

MakeLink = Callable[..., Link]
MORE = socket.MSG_MORE
CHAINED = CBC_SUITES[0]
FULL = bytes(range(256)) * 64


# -- what closes it --------------------------------------------------------------------------------


@pytest.mark.rule("RFC 8446 5.1")
@pytest.mark.parametrize("suite", ALL_SUITES, ids=str)
def test_record_type_closes_an_open_record(make_link: MakeLink, suite: Suite) -> None:
    link = make_link(suite)
    link.sock.send(b"open", MORE)
    link.sock.sendmsg([b"\1\0"], ALERT)
    link.sock.send(b"and open again", MORE)
    link.sock.sendmsg([b"\2\0"], ALERT)
    assert records_of(link) == [
        (23, b"open"),
        (21, b"\1\0"),
        (23, b"and open again"),
        (21, b"\2\0"),
    ]


def test_application_data_by_its_type_is_a_message_too(link: Link) -> None:
    """It is never merged."""
    application_data = [(ktls.IPPROTO_TCP, ktls.TLS_SET_RECORD_TYPE, bytes([23]))]
    link.sock.send(b"open", MORE)
    link.sock.sendmsg([b"a message"], application_data)
    link.sock.send(b"after")
    assert records_of(link) == [(23, b"open"), (23, b"a message"), (23, b"after")]


@pytest.mark.parametrize("suite", [*SUITES, CHAINED], ids=str)
def test_sendfile_closes_an_open_record(make_link: MakeLink, suite: Suite, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(FULL + b"end of the file")
    link = make_link(suite)
    link.sock.send(b"header", MORE)
    with path.open("rb") as file:
        assert link.sock.sendfile(file) == len(FULL) + 15
    link.sock.send(b"trailer", MORE)
    assert records_of(link) == [
        (23, b"header"),
        (23, FULL),
        (23, b"end of the file"),
        (23, b"trailer"),
    ]


def test_source_that_is_only_read_joins_an_open_record(link: Link) -> None:
    """It is sent as any data."""
    link.sock.send(b"header, ", MORE)
    assert link.sock.sendfile(io.BytesIO(b"from memory")) == 11
    assert records_of(link) == [(23, b"header, from memory")]


@pytest.mark.rule("RFC 8446 4.6.3")
@pytest.mark.parametrize("suite", [s for s in SUITES if s.tls_vminor == 4], ids=str)
def test_key_update_closes_an_open_record(make_link: MakeLink, suite: Suite) -> None:
    """Under the keys that it was accepted for."""
    link = make_link(suite)
    secret = TrafficSecret(suite)
    link.sock.send(b"old", MORE)
    nothing_has_arrived(link.peer)
    link.sock.rekey(secret.value)
    link.sock.send(b"new", MORE)
    link.sock.rekey(secret.next().value)
    link.sock.close()
    assert read_generations(link.peer, link.reader, secret) == [
        [(23, b"old"), (22, KEY_UPDATE)],
        [(23, b"new"), (22, KEY_UPDATE)],
        [],
    ]


@pytest.mark.parametrize("suite", [s for s in SUITES if s.tls_vminor == 4], ids=str)
def test_silent_change_of_keys_closes_an_open_record(make_link: MakeLink, suite: Suite) -> None:
    link = make_link(suite)
    other = Secrets(suite)
    link.sock.send(b"old", MORE)
    link.sock.rekey(parameters(other))
    assert read_record(link.peer, link.reader) == (23, b"old")
    link.sock.send(b"new", MORE)
    link.sock.close()
    assert read_data(link.peer, RecordReader(other)) == b"new"


def test_refused_change_of_keys_closes_no_open_record(link: Link) -> None:
    link.sock.send(b"open ", MORE)
    with pytest.raises(OSError, match="has 5 bytes"):
        link.sock.rekey(bytes(5))
    nothing_has_arrived(link.peer)
    link.sock.send(b"closed")
    assert records_of(link) == [(23, b"open closed")]


def test_flush_closes_an_open_record(link: Link) -> None:
    link.sock.send(b"one", MORE)
    link.sock.flush(20)
    assert read_record(link.peer, link.reader) == (23, b"one")
    link.sock.flush(0)
    link.sock.send(b"two", MORE)
    link.sock.flush()
    assert records_of(link) == [(23, b"two")]


def test_what_joins_at_the_limit_of_a_key(make_link: MakeLink) -> None:
    """The number and the key are those of the time when it is closed."""
    ktls.sysctl["kern.ipc.tls.records_per_key"] = 3
    link = make_link()
    secret = TrafficSecret(link.secrets.suite)
    link.sock.rekey(secret.value)
    for turn in range(8):
        link.sock.send(b"turn ", MORE)
        if turn % 2:
            link.sock.sendmsg([b"\1\0"], ALERT)
        else:
            link.sock.send(b"%d" % turn)
    link.sock.send(b"the end", MORE)
    link.sock.close()
    generations = read_generations(link.peer, link.reader, secret)[1:]
    records = [record for generation in generations for record in generation]
    data = [payload for kind, payload in records if kind == 23]
    assert data == [
        *(b"turn 0", b"turn ", b"turn 2", b"turn ", b"turn 4", b"turn ", b"turn 6", b"turn "),
        b"the end",
    ]
    assert all(sum(kind == 23 for kind, _ in one) <= 3 for one in generations)


@pytest.mark.rule("RFC 8446 5.3")
def test_open_record_never_has_the_last_number(make_link: MakeLink) -> None:
    """An open record that gets no number any more is an error of the call that closes it."""
    ktls.sysctl["kern.ipc.tls.records_per_key"] = 1
    link = make_link()
    link.sock.send(b"the only one")
    with pytest.raises(OSError, match="1 records were sealed") as caught:  # noqa: PT012
        link.sock.send(b"open", MORE)
        link.sock.send(b"closed")
    assert caught.value.errno == errno.EKEYEXPIRED
    assert records_of(link) == [(23, b"the only one")]


# -- what does not ---------------------------------------------------------------------------------


@pytest.mark.parametrize("content_type", [21, 22, 23, 100])
def test_record_type_never_joins_an_open_record(link: Link, content_type: int) -> None:
    control = [(ktls.IPPROTO_TCP, ktls.TLS_SET_RECORD_TYPE, bytes([content_type]))]
    link.sock.send(b"still ", MORE)
    with pytest.raises(OSError, match="MSG_MORE") as caught:
        link.sock.sendmsg([b"\1\0"], control, MORE)
    assert caught.value.errno == errno.EINVAL
    nothing_has_arrived(link.peer)
    link.sock.send(b"open")
    assert records_of(link) == [(23, b"still open")]


def write_nothing(sock: ktls.Socket) -> None:
    assert sock.send(b"") == 0
    assert sock.send(b"", MORE) == 0
    assert sock.send(bytearray()) == 0
    sock.sendall(b"")
    sock.sendall(b"", MORE)
    assert sock.sendmsg([]) == 0
    assert sock.sendmsg([b"", b""], [], MORE) == 0


@pytest.mark.parametrize("suite", [s for s in ALL_SUITES if s.tls_vminor > 1], ids=str)
def test_write_of_nothing_closes_no_open_record(make_link: MakeLink, suite: Suite) -> None:
    link = make_link(suite)
    link.sock.send(b"open ", MORE)
    write_nothing(link.sock)
    nothing_has_arrived(link.peer)
    link.sock.send(b"closed")
    assert records_of(link) == [(23, b"open closed")]


@pytest.mark.parametrize("suite", [s for s in CBC_SUITES if s.tls_vminor == 1], ids=str)
def test_empty_record_of_tls_10_closes_an_open_record(make_link: MakeLink, suite: Suite) -> None:
    """TLS 1.0 with AES-CBC has such records; they do not go into another one."""
    link = make_link(suite)
    link.sock.send(b"open", MORE)
    assert link.sock.send(b"") == 0
    link.sock.send(b"open again", MORE)
    assert link.sock.sendmsg([]) == 0
    link.sock.send(b"after")
    assert records_of(link) == [
        (23, b"open"),
        (23, b""),
        (23, b"open again"),
        (23, b""),
        (23, b"after"),
    ]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("empty", [b"", b"one two three", b"", b"four"]),
        ("split", [b"o", b"ne two three", b"f", b"our"]),
        ("none", [b"one two three", b"four"]),
    ],
)
def test_what_precedes_a_write_precedes_the_record(
    make_link: MakeLink, choice: str, expected: list[bytes]
) -> None:
    """TLS 1.0: once, when the record is opened, not for what joins it."""
    ktls.sysctl["kern.ipc.tls.tls10_fragment"] = choice
    link = make_link(CHAINED)
    link.sock.send(b"one ", MORE)
    link.sock.sendall(b"two ", MORE)
    link.sock.send(b"three")
    link.sock.sendmsg([b"fo", b"ur"])
    assert records_of(link) == [(23, payload) for payload in expected]


@pytest.mark.parametrize("choice", ["empty", "split"])
def test_what_precedes_a_write_again_after_a_file(
    make_link: MakeLink, choice: str, tmp_path: Path
) -> None:
    ktls.sysctl["kern.ipc.tls.tls10_fragment"] = choice
    path = tmp_path / "file"
    path.write_bytes(b"file")
    link = make_link(CHAINED)
    link.sock.send(b"head", MORE)
    with path.open("rb") as file:
        assert link.sock.sendfile(file) == 4
    link.sock.send(b"tail", MORE)
    first = {"empty": 0, "split": 1}[choice]
    assert records_of(link) == [
        (23, part) for data in (b"head", b"file", b"tail") for part in (data[:first], data[first:])
    ]
