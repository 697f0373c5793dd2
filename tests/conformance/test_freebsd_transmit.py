"""FreeBSD's transmit cases, one by one under their names: 16 suites, 235 cases."""

import errno
import os

import pytest

import ktls
from conformance.catalogue import CBC_SUITES, INVALID_SUITES, SUITES, cases, with_type
from keyed_link import Link, parameters
from record_reader import Secrets, Suite, read_record, read_records

ALERT = 0x21
"""What upstream's tests call an alert; 33 is no assigned type, and none is refused."""
MAX_LEN = 16384


def send_control(link: Link, data: bytes) -> None:
    assert link.sock.sendmsg([data], with_type(ALERT)) == len(data)
    assert read_record(link.peer, link.reader) == (ALERT, data)
    link.sock.close()
    assert read_records(link.peer, link.reader) == []


@cases("short", SUITES)
def test_short(link: Link) -> None:
    data = os.urandom(64)
    assert link.sock.send(data) == 64
    link.sock.close()
    assert read_records(link.peer, link.reader) == [(23, data)]


@pytest.mark.rule("RFC 5246 6.2.1", "RFC 8446 5.1")
@cases("long", SUITES)
def test_long(link: Link, suite: Suite) -> None:
    data = os.urandom(64 * 1024)
    sent = 0
    while sent < len(data):
        count = link.sock.send(data[sent:])
        assert count > 0
        sent += count
    link.sock.close()
    records = read_records(link.peer, link.reader)
    assert {content_type for content_type, _ in records} == {23}
    assert all(len(payload) <= MAX_LEN for _, payload in records)
    assert b"".join(payload for _, payload in records) == data


@pytest.mark.rule("ktls(4) TLS_SET_RECORD_TYPE")
@cases("control", SUITES)
def test_control(link: Link) -> None:
    send_control(link, os.urandom(32))


@pytest.mark.rule("RFC 5246 6.2.3.2")
@pytest.mark.parametrize(
    ("suite", "length"),
    [
        pytest.param(suite, length, id=f"ktls_transmit_{suite}_padding_{length}")
        for suite in CBC_SUITES
        for length in range(1, 17)
    ],
)
def test_padding(link: Link, length: int) -> None:
    send_control(link, os.urandom(length))


@pytest.mark.rule("RFC 5246 6.2.1")
@cases("empty_fragment", SUITES)
def test_empty_fragment(link: Link, suite: Suite) -> None:
    """TLS 1.0 with AES-CBC: one empty record.  Otherwise none; upstream's EINVAL is 0 here."""
    assert link.sock.send(b"") == 0
    if suite in CBC_SUITES and suite.tls_vminor == 1:
        assert read_record(link.peer, link.reader) == (23, b"")
    link.sock.sendall(b"next")
    assert read_record(link.peer, link.reader) == (23, b"next")


@pytest.mark.rule("freebsd.md row 13")
@pytest.mark.parametrize(
    "suite",
    [pytest.param(suite, id=f"ktls_transmit_invalid_{suite}") for suite in INVALID_SUITES],
)
def test_invalid(fresh: ktls.Socket, suite: Suite) -> None:
    active = ktls.sysctl["kern.ipc.tls.stats.active"]
    with pytest.raises(OSError, match="is ") as caught:
        fresh.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(Secrets(suite)))
    assert caught.value.errno == errno.EINVAL
    assert fresh.mode is ktls.Mode.NONE
    assert ktls.sysctl["kern.ipc.tls.stats.active"] == active
