"""Connections that stay with OpenSSL: everything works, and `why` says why."""

import io
import os
import select
import ssl
import threading
from pathlib import Path

import pytest

import ktls
from handover.openssl import OpenSSLClient
from handover.pairs import assert_ours, end, exchange, pair, receive
from ktls import KTLSError, Mode


@pytest.fixture
def passed(contexts, server_side: bool):
    """A connection with KTLS switched off."""
    ktls.sysctl["kern.ipc.tls.enable"] = False
    ours, theirs = contexts
    with pair(ours, theirs, server_side=server_side) as (own, other):
        assert own.mode is Mode.NONE
        yield own, other


def test_switched_off_by_the_sysctl_stays_with_openssl(passed) -> None:
    own, other = passed
    assert "kern.ipc.tls.enable is off" in own.why
    assert "ktls.enable()" in own.why
    assert "mode=NONE" in repr(own)
    exchange(own, other)
    end(own, other)


def test_other_switch_off_stays_with_openssl(contexts, server_side: bool) -> None:
    ktls.sysctl["kern.ipc.mb_use_ext_pgs"] = False
    ours, theirs = contexts
    with pair(ours, theirs, server_side=server_side) as (own, other):
        assert own.mode is Mode.NONE
        assert "mb_use_ext_pgs is off" in own.why
        exchange(own, other)


@pytest.mark.parametrize(
    ("suite", "reason", "rsa"),
    [
        ("ECDHE-ECDSA-AES128-CCM", "none of the suites", False),
        ("ECDHE-ECDSA-AES256-CCM8", "none of the suites", False),
        ("ECDHE-ECDSA-CAMELLIA256-SHA384", "none of the suites", False),
        ("ECDHE-ARIA128-GCM-SHA256", "none of the suites", True),
    ],
)
def test_suites_that_are_not_supported(
    make_context, server_side: bool, suite: str, reason: str, rsa: bool
) -> None:
    ciphers = suite + ":@SECLEVEL=0"
    ours = make_context(server_side, version="1.2", ciphers=ciphers, rsa=rsa, prepared=True)
    theirs = make_context(not server_side, version="1.2", ciphers=ciphers, rsa=rsa)
    with pair(ours, theirs, server_side=server_side) as (own, other):
        assert own.mode is Mode.NONE
        assert own.cipher()[0] == suite
        assert suite in own.why
        assert reason in own.why
        exchange(own, other)


@pytest.mark.parametrize("suite", ["AES128-SHA", "AES256-SHA256"])
def test_cbc_switched_off_stays_with_openssl(make_context, server_side: bool, suite: str) -> None:
    ktls.sysctl["kern.ipc.tls.cbc_enable"] = False
    ours, theirs = (
        make_context(role, version="1.2", ciphers=suite, rsa=True, prepared=role is server_side)
        for role in (server_side, not server_side)
    )
    with pair(ours, theirs, server_side=server_side) as (own, other):
        assert own.mode is Mode.NONE
        assert "cbc_enable" in own.why
        exchange(own, other)
    with pair(ours, theirs, server_side=server_side) as (own, other):
        end(own, other)


def test_openssl_by_every_way_to_send(passed, tmp_path: Path) -> None:
    own, other = passed
    data = os.urandom(200_000)
    path = tmp_path / "file"
    path.write_bytes(data)
    assert own.send(b"") == 0
    assert own.send(data[:100]) == 100
    assert own.write(bytearray(data[100:200])) == 100
    assert own.sendmsg([data[200:300], memoryview(data)[300:400]]) == 200
    own.sendall(memoryview(data)[400:])
    assert receive(other, len(data)) == data
    with path.open("rb") as file:
        assert own.sendfile(file, 10, 150_000) == 150_000
        assert file.tell() == 150_010
    assert own.sendfile(io.BytesIO(data)) == len(data)
    assert receive(other, 150_000) == data[10:150_010]
    assert receive(other, len(data)) == data
    with pytest.raises(OSError, match="control messages"):
        own.sendmsg([b"x"], [(ktls.IPPROTO_TCP, ktls.TLS_SET_RECORD_TYPE, b"\x16")])
    with pytest.raises(KTLSError, match="taken over"):
        own.key_update()


def test_non_blocking_openssl_sends_nothing_twice(passed) -> None:
    """Nothing is sent twice and nothing is lost, however full the way is."""
    own, other = passed
    own.setblocking(False)
    data = os.urandom(8_000_000)
    received: list[bytes] = []
    thread = threading.Thread(target=lambda: received.append(receive(other, len(data))))
    sent = 0
    full = 0
    while sent < len(data):
        try:
            sent += own.send(data[sent : sent + 100_000])
        except ssl.SSLWantWriteError:
            if not full:
                thread.start()
            full += 1
            assert select.select([], [own], [], 10)[1]
    assert full
    thread.join()
    assert received == [data]


def test_openssl_answers_key_update_of_the_peer(make_context) -> None:
    """OpenSSL answers by itself."""
    ktls.sysctl["kern.ipc.tls.enable"] = False
    with OpenSSLClient(make_context(True, prepared=True), "-tls1_3") as (own, client):
        assert own.mode is Mode.NONE
        for number in range(3):
            client.say("K\n")
            client.say(f"line {number}\n")
            assert receive(own, 7) == f"line {number}\n".encode()
            own.sendall(f"answer {number}\n".encode())
            client.read_until(f"answer {number}\n".encode())


def test_switched_on_later_changes_no_connection(contexts, server_side: bool) -> None:
    ours, theirs = contexts
    ktls.sysctl["kern.ipc.tls.enable"] = False
    with pair(ours, theirs, server_side=server_side) as (own, _):
        assert own.mode is Mode.NONE
    ktls.enable()
    with pair(ours, theirs, server_side=server_side) as (own, other):
        assert_ours(own)
        exchange(own, other, (1000,))
