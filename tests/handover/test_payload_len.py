"""Record sizes of a TLSSocket: TLS_TX_MAX_PAYLOAD_LEN, what the peer allows, padding."""

import errno
import os

import pytest

import ktls
from handover.openssl import OpenSSLClient
from handover.pairs import assert_ours, exchange, pair, receive, sequence
from ktls import Mode

OPTION = (ktls.SOL_TLS, ktls.TLS_TX_MAX_PAYLOAD_LEN)


def test_tls_records_are_no_longer_than_set(contexts, server_side: bool) -> None:
    ours, theirs = contexts
    with pair(ours, theirs, server_side=server_side) as (own, other):
        assert_ours(own)
        assert own.getsockopt(*OPTION) == 16384
        own.setsockopt(*OPTION, 1000)
        assert own.getsockopt(*OPTION) == 1000
        before = sequence(own)
        data = os.urandom(10_500)
        own.sendall(data)
        assert sequence(own) == before + 11
        assert [len(other.recv(16384)) for _ in range(11)] == [1000] * 10 + [500]
        exchange(own, other)


@pytest.mark.rule("RFC 6066 4")
@pytest.mark.parametrize("limit", [512, 4096])
@pytest.mark.parametrize("flag", ["-tls1_2", "-tls1_3"])
def test_payload_len_above_what_the_peer_allows_is_refused(
    make_context, flag: str, limit: int
) -> None:
    """RFC 6066 §4: it asked for it, and gets it."""
    context = make_context(True, prepared=True)
    with OpenSSLClient(context, flag, "-maxfraglen", str(limit)) as (own, client):
        assert own.getsockopt(*OPTION) == limit
        for value in (limit + 1, 16384):
            with pytest.raises(OSError, match=str(value)) as caught:
                own.setsockopt(*OPTION, value)
            assert caught.value.errno == errno.EINVAL
        own.setsockopt(*OPTION, 100)
        own.setsockopt(*OPTION, limit)
        own.sendall(b"x" * 10_000 + b"\n")
        client.read_until(b"x" * 10_000 + b"\n")


def test_payload_len_is_refused_where_openssl_writes(contexts, server_side: bool) -> None:
    """There is no session that it could be set for."""
    ktls.sysctl["kern.ipc.tls.enable"] = False
    ours, theirs = contexts
    with pair(ours, theirs, server_side=server_side) as (own, other):
        assert own.mode is Mode.NONE
        with pytest.raises(OSError, match="session") as caught:
            own.setsockopt(*OPTION, 1000)
        assert caught.value.errno == errno.EINVAL
        exchange(own, other, (100,))


@pytest.mark.rule("RFC 8446 5.4")
@pytest.mark.parametrize("pad_to", [1, 64, 1000, 16384])
def test_a_stock_peer_takes_the_padding_off(make_context, server_side: bool, pad_to: int) -> None:
    ktls.sysctl["kern.ipc.tls.pad_to"] = pad_to
    ours = make_context(server_side, version="1.3", prepared=True)
    with pair(ours, make_context(not server_side), server_side=server_side) as (own, other):
        assert_ours(own)
        exchange(own, other)
        own.key_update(True)
        exchange(own, other, (1, 20_000))
        own.setsockopt(*OPTION, 100)
        own.sendall(bytes(1000))
        assert receive(other, 1000) == bytes(1000)
        assert_ours(own)
