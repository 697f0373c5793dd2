"""A forked child receives nothing of its parent's connection, and takes nothing off its socket."""

import socket

import pytest

import ktls
from keyed_link import parameters
from keyed_receiver import ReceivingLink, enable_receiving, receive, receiving, rekey_receiving
from record_reader import SUITES, Secrets
from support.forks import FORKS, outcome, run_in_fork

SUITE = next(suite for suite in SUITES if suite.tls_vminor == 4)
with_forks = pytest.mark.parametrize("fork", FORKS.values(), ids=FORKS)


def refusals(link: ReceivingLink) -> dict[str, str]:
    """Try all that a child could do to receive; what came of each."""
    sock = link.sock
    calls = {
        "recv": lambda: sock.recv(10),
        "recv_into": lambda: sock.recv_into(bytearray(10)),
        "recvmsg": lambda: receive(sock),
        "recvmsg_into": lambda: sock.recvmsg_into([bytearray(10)]),
        "keys": lambda: enable_receiving(sock, Secrets(SUITE)),
        "rekey_rx": lambda: rekey_receiving(sock, parameters(Secrets(SUITE))),
        "fileno": sock.fileno,
    }
    return {name: outcome(call) for name, call in calls.items()}


@with_forks
def test_every_call_is_refused(fork) -> None:
    """Whether plaintext, a part of a record or nothing is kept at the fork."""
    with receiving(SUITE) as link:
        for _ in range(2):
            link.send(b"first and second")
            record = link.writer.seal(b"third")
            link.peer.sendall(record[:9])
            assert link.sock.recv(5) == b"first"
            answers = run_in_fork(lambda: refusals(link), fork)
            assert answers == dict.fromkeys(answers, "EPERM")
            assert link.sock.recv(100) == b" and second"
            link.peer.sendall(record[9:])
            assert link.sock.recv(100) == b"third"
        assert link.sock.rx_mode is ktls.Mode.SW


@with_forks
def test_a_child_that_ends_leaves_the_connection(fork) -> None:
    """Also one that closes what it inherited."""
    with receiving(SUITE) as link:
        link.send(b"one")
        assert run_in_fork(lambda: outcome(link.sock.close), fork) == "returned None"
        link.send(b"two")
        assert link.sock.recv(6, socket.MSG_WAITALL) == b"onetwo"
