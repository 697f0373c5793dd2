"""Counts by backend: both directions, each kind, to the record; and who is in use."""

import errno
import os
import socket

import pytest

import ktls
from both_ends import SUITES, both_ends, carried, deregister
from ktls import backends


def counts(name: str) -> dict[str, int]:
    prefix = f"kern.ipc.tls.stats.{name}."
    return {
        node.removeprefix(prefix): ktls.sysctl.number(node)
        for node in ktls.sysctl
        if node.startswith(prefix)
    }


def grown(name: str, before: dict[str, int]) -> dict[str, int]:
    return {key: count - before[key] for key, count in counts(name).items() if count - before[key]}


@pytest.mark.parametrize("kind", SUITES)
@pytest.mark.parametrize(("sealer", "opener"), [("ring", "aws-lc"), ("aws-lc", "ring")])
def test_records_are_counted_where_they_are_sealed_and_opened(
    tcp_pair: tuple[socket.socket, socket.socket], kind: str, sealer: str, opener: str
) -> None:
    before = {name: counts(name) for name in (sealer, opener)}
    data = os.urandom(1_000_000)
    with both_ends(tcp_pair, kind, sealer=sealer, opener=opener) as (near, far):
        assert carried(near, far, data) == data
        near.flush()
    records = -(-len(data) // 16384)
    assert grown(sealer, before[sealer]) == {f"{kind}_encrypts": records}
    assert grown(opener, before[opener]) == {f"{kind}_decrypts": records}


def test_keys_that_follow_stay_in_the_same_hands(
    tcp_pair: tuple[socket.socket, socket.socket],
) -> None:
    by_name = {backend.name: backend for backend in backends.registered()}
    used = {name: backends.use_count(backend) for name, backend in by_name.items()}
    with both_ends(tcp_pair, "tls13_gcm", sealer="ring", opener="aws-lc") as (near, far):
        ktls.sysctl["kern.ipc.tls.backend"] = ""
        assert backends.use_count(by_name["ring"]) == used["ring"] + 1
        assert backends.use_count(by_name["aws-lc"]) == used["aws-lc"] + 1
        before = {name: counts(name) for name in used}
        secret = os.urandom(48)
        near.send(b"before")
        assert far.recv(6) == b"before"
        near.rekey(secret)
        near.send(b"after")
        assert far.recvmsg(100, 100)[1][0][2][0] == 22, "the KeyUpdate"
        far.rekey_rx(secret)
        assert far.recv(5) == b"after"
        assert backends.use_count(by_name["ring"]) == used["ring"] + 1
        assert backends.use_count(by_name["aws-lc"]) == used["aws-lc"] + 1
    assert grown("ring", before["ring"]) == {"tls13_gcm_encrypts": 3}
    assert grown("aws-lc", before["aws-lc"]) == {"tls13_gcm_decrypts": 3}
    assert {name: backends.use_count(backend) for name, backend in by_name.items()} == used


class Borrowed:
    name = "borrowed"
    prio = 1
    api_version = 1
    provider = "ring"


def test_one_in_use_does_not_go(
    tcp_pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ktls.sysctl._values, "kern.ipc.tls.allow_unload", 1)
    backend = Borrowed()
    backends.register(backend)
    with both_ends(tcp_pair, "tls13_gcm", sealer="borrowed", opener="borrowed") as (near, far):
        with pytest.raises(OSError, match="'borrowed' has the keys of 2 sessions") as caught:
            backends.deregister(backend)
        assert caught.value.errno == errno.EBUSY
        near.send(b"x")
        assert far.recv(1) == b"x"
    deregister(backend)
    assert backend not in backends.registered()
    assert ktls.sysctl["kern.ipc.tls.stats.borrowed.tls13_gcm_decrypts"] == 1, "counts stay"


def test_a_counter_cannot_be_set() -> None:
    with pytest.raises(OSError, match="read-only") as caught:
        ktls.sysctl["kern.ipc.tls.stats.ring.tls13_gcm_encrypts"] = 0
    assert caught.value.errno == errno.EPERM
