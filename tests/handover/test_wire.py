"""What somebody on the wire sees."""

import os
import struct

import pytest

from handover.pairs import SIZES, assert_ours, exchange, receive
from handover.relay import Relay
from tls_records import split_records


@pytest.mark.rule("RFC 8446 5.2")
def test_no_plain_text_after_the_switch(contexts, server_side: bool, tmp_path) -> None:
    ours, theirs = contexts
    marks = [os.urandom(24) for _ in range(40)]
    path = tmp_path / "file"
    path.write_bytes(b"".join(marks) * 200)
    with Relay() as relay, relay.pair(ours, theirs, server_side=server_side) as (own, other):
        assert_ours(own)
        count = 0
        for mark in marks:
            data = mark * 100
            own.sendall(data)
            own.send(data)
            own.sendmsg([data, data])
            count += 4 * len(data)
            assert receive(other, 4 * len(data)) == data * 4
        with path.open("rb") as file:
            own.sendfile(file)
        receive(other, path.stat().st_size)
        other.sendall(b"thanks")
        assert receive(own, 6) == b"thanks"
        seen = bytes(relay.from_us)
        assert len(seen) > count + path.stat().st_size
        for mark in marks:
            assert mark[:12] not in seen


@pytest.mark.rule("RFC 5288 3", "RFC 8446 5.1")
def test_wire_is_whole_records(contexts, server_side: bool) -> None:
    """Nothing but records, and no explicit nonce twice (TLS 1.2 AES-GCM)."""
    ours, theirs = contexts
    with Relay() as relay, relay.pair(ours, theirs, server_side=server_side) as (own, other):
        exchange(own, other, SIZES)
        records = list(split_records(bytes(relay.from_us)))
        assert {record[0] for record in records} <= {20, 22, 23}
        assert all(struct.unpack(">H", record[1:3])[0] in (0x301, 0x303) for record in records)
        if own.version() == "TLSv1.2":
            switch = next(i for i, record in enumerate(records) if record[0] == 20)
            nonces = [int.from_bytes(record[5:13], "big") for record in records[switch + 1 :]]
            assert nonces == [(nonces[0] + i) % 2**64 for i in range(len(nonces))]
