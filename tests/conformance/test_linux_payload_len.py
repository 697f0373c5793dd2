"""Linux's cases of TLS_TX_MAX_PAYLOAD_LEN: smaller records, for one socket, on a live session."""

import errno
import os
import socket

import pytest

import ktls
from conformance.linux import every_variant
from keyed_link import Link, nothing_has_arrived
from record_reader import Suite, raw_records, read_record, read_records

LIMIT = 128


def set_limit(link: Link, limit: int) -> None:
    link.sock.setsockopt(ktls.SOL_TLS, ktls.TLS_TX_MAX_PAYLOAD_LEN, limit)


@every_variant
def test_tx_max_payload_len(link: Link, suite: Suite) -> None:
    """tls_12_tx_max_payload_len, in every version: the limit holds on the wire."""
    set_limit(link, LIMIT)
    assert link.sock.getsockopt(ktls.SOL_TLS, ktls.TLS_TX_MAX_PAYLOAD_LEN) == LIMIT
    data = os.urandom(1000)
    assert link.sock.send(data) == len(data)
    link.sock.close()
    records = list(raw_records(link.peer))
    assert all(len(record) <= LIMIT + suite.overhead for record in records)
    payloads = [link.reader.open(record)[1] for record in records]
    assert payloads == [data[at : at + LIMIT] for at in range(0, len(data), LIMIT)]


@every_variant
def test_tx_max_payload_len_open_rec(link: Link) -> None:
    """tls_12_tx_max_payload_len_open_rec: not while a record waits for more."""
    link.sock.send(bytes(100), socket.MSG_MORE)
    with pytest.raises(OSError, match="open") as caught:
        set_limit(link, LIMIT)
    assert caught.value.errno == errno.EBUSY
    nothing_has_arrived(link.peer)
    link.sock.send(bytes(200))
    assert read_record(link.peer, link.reader) == (23, bytes(300))
    set_limit(link, LIMIT)
    link.sock.send(bytes(200))
    link.sock.close()
    records = read_records(link.peer, link.reader)
    assert records == [(23, bytes(LIMIT)), (23, bytes(200 - LIMIT))]


@pytest.mark.parametrize("limit", [0, 1, 62, 16385, 65535])
@every_variant
def test_payload_len_out_of_range_is_refused_as_by_linux(link: Link, limit: int) -> None:
    with pytest.raises(OSError, match=str(limit)) as caught:
        set_limit(link, limit)
    assert caught.value.errno == errno.EINVAL
    assert link.sock.getsockopt(ktls.SOL_TLS, ktls.TLS_TX_MAX_PAYLOAD_LEN) == 16384


@every_variant
def test_least_payload_len_counts_the_content_type_of_tls13(link: Link, suite: Suite) -> None:
    """Linux counts the content type of TLS 1.3 as payload: there 63 are left of 64."""
    if suite.tls_vminor == 4:
        set_limit(link, 63)
        link.sock.send(bytes(64))
        assert read_record(link.peer, link.reader) == (23, bytes(63))
        assert read_record(link.peer, link.reader) == (23, bytes(1))
    else:
        with pytest.raises(OSError, match="63") as caught:
            set_limit(link, 63)
        assert caught.value.errno == errno.EINVAL
    set_limit(link, 64)
    link.sock.send(bytes(65))
    assert read_record(link.peer, link.reader) == (23, bytes(64))
    assert read_record(link.peer, link.reader) == (23, bytes(1))
