"""FreeBSD's two cases that are about sockets, not records."""

import errno
import os
import socket

import pytest

import ktls
from conformance.catalogue import gcm
from keyed_link import parameters
from keyed_receiver import enable_receiving
from record_reader import Secrets

SUITE = gcm(128, "1_3")


def enable(sock: ktls.Socket) -> None:
    sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(Secrets(SUITE)))


@pytest.mark.parametrize("name", [pytest.param("", id="ktls_sendto_baddst")])
def test_sendto_baddst(fresh: ktls.Socket, name: str) -> None:
    enable(fresh)
    with pytest.raises(OSError, match="broadcast address") as caught:
        fresh.sendto(os.urandom(32), ("255.255.255.255", 12345))
    assert caught.value.errno == errno.EACCES
    fresh.close()
    assert fresh.fileno() == -1


@pytest.mark.rule("freebsd.md row 17")
@pytest.mark.parametrize("name", [pytest.param("", id="ktls_listening_socket")])
def test_listening_socket(fresh: ktls.Socket, name: str) -> None:
    enable(fresh)
    with pytest.raises(OSError, match="has a session") as caught:
        fresh.listen(1)
    assert caught.value.errno == errno.EINVAL
    with ktls.Socket(socket.socket()) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(1)
        with pytest.raises(OSError, match="listening") as caught:
            enable(listening)
        assert caught.value.errno == errno.ENOTCONN
        with pytest.raises(OSError, match="listening") as caught:
            enable_receiving(listening, Secrets(SUITE))
        assert caught.value.errno == errno.EINVAL
    with ktls.Socket(socket.socket()) as receiving:
        enable_receiving(receiving, Secrets(SUITE))
        with pytest.raises(OSError, match="has a session") as caught:
            receiving.listen(1)
        assert caught.value.errno == errno.EINVAL
