"""TCP_RXTLS_ENABLE and TCP_RXTLS_MODE: what is checked, in which order, and what is counted."""

import errno
import os
import socket
from typing import Any

import pytest

import ktls
from conformance.catalogue import AEAD_SUITES, CBC_SUITES
from full_link import until
from keyed_link import connected, parameters
from keyed_receiver import counted, enable_receiving, fails, receiving
from record_reader import SUITES, Secrets
from record_writer import RecordWriter

SUITE = SUITES[3]
PREFIX = "kern.ipc.tls."


@pytest.fixture
def sock():
    with ktls.Socket(socket.socket()) as sock:
        yield sock


def mode(sock: ktls.Socket) -> Any:
    return sock.getsockopt(ktls.IPPROTO_TCP, ktls.TCP_RXTLS_MODE)


def refused(sock: ktls.Socket, number: int, *, calls: int, **changes: Any) -> None:
    """The keys are refused; whether that was an enable call is said by `calls`."""
    with counted(enable_calls=calls, offload_total=0, active=0):
        fails(sock, number, lambda: enable_receiving(sock, Secrets(SUITE), **changes))
    assert mode(sock) is ktls.Mode.NONE


def test_receiving_is_enabled_before_there_is_a_connection(sock: ktls.Socket) -> None:
    """Also before there is a connection."""
    assert mode(sock) is ktls.Mode.NONE
    with counted(enable_calls=1, offload_total=1, active=1):
        enable_receiving(sock, Secrets(SUITE))
    assert mode(sock) is ktls.Mode.SW
    active = ktls.sysctl.number(PREFIX + "stats.active")
    sock.close()
    until(lambda: ktls.sysctl.number(PREFIX + "stats.active") == active - 1)


def test_each_direction_by_itself(sock: ktls.Socket) -> None:
    enable_receiving(sock, Secrets(SUITE))
    assert sock.mode is ktls.Mode.NONE
    sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(Secrets(SUITE)))
    assert (sock.mode, mode(sock)) == (ktls.Mode.SW, ktls.Mode.SW)


@pytest.mark.rule("ktls(4) TCP_RXTLS_ENABLE")
@pytest.mark.parametrize("name", ["enable", "rx_enable"])
def test_receiving_is_refused_while_switched_off(sock: ktls.Socket, name: str) -> None:
    ktls.sysctl[PREFIX + name] = False
    refused(sock, errno.EOPNOTSUPP, calls=0)


def test_sending_does_not_need_the_switch_of_receiving(sock: ktls.Socket) -> None:
    ktls.sysctl[PREFIX + "rx_enable"] = False
    sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(Secrets(SUITE)))
    assert sock.mode is ktls.Mode.SW


def test_the_switch_is_for_sessions_to_come() -> None:
    with receiving(SUITE) as link:
        ktls.sysctl[PREFIX + "rx_enable"] = False
        link.send(b"still opened")
        assert link.sock.recv(100) == b"still opened"


def test_receiving_needs_no_unmapped_pages(sock: ktls.Socket) -> None:
    ktls.sysctl["kern.ipc.mb_use_ext_pgs"] = False
    enable_receiving(sock, Secrets(SUITE))
    assert mode(sock) is ktls.Mode.SW


def test_receiving_cbc_while_it_is_switched_off(sock: ktls.Socket) -> None:
    ktls.sysctl[PREFIX + "cbc_enable"] = False
    suite = next(suite for suite in CBC_SUITES if suite.tls_vminor == 3)
    fails(sock, errno.EOPNOTSUPP, lambda: enable_receiving(sock, Secrets(suite)))
    enable_receiving(sock, Secrets(SUITE))


@pytest.mark.rule("ktls(4) TCP_RXTLS_ENABLE")
@pytest.mark.parametrize(
    ("changes", "calls"),
    [
        ({"cipher_key": b""}, 0),
        ({"cipher_key": bytes(1025)}, 0),
        ({"iv": bytes(17)}, 0),
        ({"auth_key": bytes(1025)}, 0),
        ({"rec_seq": bytes(7)}, 0),
        ({"tls_vmajor": 2}, 1),
        ({"tls_vminor": 0}, 1),
        ({"flags": 1}, 1),
        ({"auth_algorithm": 7}, 1),
        ({"cipher_key": bytes(24)}, 1),
        ({"iv": bytes(4)}, 1),
    ],
    ids=str,
)
def test_receiving_checks_its_parameters_in_order(
    sock: ktls.Socket, changes: dict[str, Any], calls: int
) -> None:
    """The lengths come first, before the switch; they are no enable call."""
    refused(sock, errno.EINVAL, calls=calls, **changes)
    ktls.sysctl[PREFIX + "enable"] = False
    refused(sock, errno.EOPNOTSUPP if calls else errno.EINVAL, calls=0, **changes)


@pytest.mark.rule("ktls(4) TCP_RXTLS_ENABLE")
def test_enabling_receiving_twice_is_refused(sock: ktls.Socket) -> None:
    """EALREADY comes before the keys are looked at, and changes nothing."""
    enable_receiving(sock, Secrets(SUITE))
    with counted(enable_calls=2, offload_total=0, active=0):
        for changes in ({}, {"tls_vminor": 0}):
            fails(
                sock,
                errno.EALREADY,
                lambda changes=changes: enable_receiving(sock, Secrets(SUITE), **changes),
            )
    assert mode(sock) is ktls.Mode.SW


def test_receiving_refuses_what_is_no_tls_enable(sock: ktls.Socket) -> None:
    for value in (b"", 1, None):
        with pytest.raises(TypeError, match="TLSEnable"):
            sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_RXTLS_ENABLE, value)


def test_set_only_and_get_only(sock: ktls.Socket) -> None:
    calls = [
        lambda: sock.getsockopt(ktls.IPPROTO_TCP, ktls.TCP_RXTLS_ENABLE),
        lambda: sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_RXTLS_MODE, ktls.Mode.SW),
    ]
    for _ in range(2):
        for call in calls:
            fails(sock, errno.ENOPROTOOPT, call)
        if mode(sock) is ktls.Mode.NONE:
            enable_receiving(sock, Secrets(SUITE))


@pytest.mark.rule("ktls(4) TCP_RXTLS_MODE")
def test_a_listening_socket_has_no_receive_mode(sock: ktls.Socket) -> None:
    sock.bind(("127.0.0.1", 0))
    sock.listen(1)
    fails(sock, errno.EINVAL, lambda: mode(sock))


@pytest.mark.parametrize("suite", AEAD_SUITES, ids=str)
def test_receive_keys_before_the_connection(suite) -> None:
    """The first byte of the connection to come is that of a record."""
    secrets = Secrets(suite)
    with ktls.Socket(socket.socket()) as sock, socket.create_server(("127.0.0.1", 0)) as server:
        enable_receiving(sock, secrets)
        sock.connect(server.getsockname())
        peer, _ = server.accept()
        with peer:
            peer.sendall(RecordWriter(secrets).seal(b"the first"))
            sock.settimeout(20)
            assert sock.recv(100) == b"the first"


@pytest.mark.parametrize("cut", [1, 4, 5, 6, 30, -1])
def test_what_lies_in_the_kernel_already_is_opened(cut: int) -> None:
    """Also a part of a record, wherever it ends."""
    near, far = connected()
    secrets = Secrets(SUITE)
    data = os.urandom(1000)
    record = RecordWriter(secrets).seal(data)
    with ktls.Socket(near) as sock, far:
        sock.settimeout(20)
        far.sendall(record[:cut])
        size = len(record[:cut])
        assert sock.recv(size, socket.MSG_PEEK | socket.MSG_WAITALL) == record[:cut]
        enable_receiving(sock, secrets)
        far.sendall(record[cut:])
        assert sock.recv(1000, socket.MSG_WAITALL) == data


def test_gauge_of_records_that_wait() -> None:
    """Nothing waits for long."""
    with receiving(SUITE) as link:
        link.send(b"data")
        assert link.sock.recv(100) == b"data"
        assert ktls.sysctl[PREFIX + "stats.sw_rx_inqueue"] == 0
