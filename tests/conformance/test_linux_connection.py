"""Linux's cases of whole connections: both directions, waiting or not, and their end."""

import errno
import os
import select
import socket
import threading

import pytest

import ktls
from conformance.linux import Receiver, every_variant
from keyed_link import Link, connected, parameters
from record_reader import RecordReader, Secrets, Suite, read_exactly, read_records


def enable(sock: ktls.Socket, secrets: Secrets) -> None:
    sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(secrets))


@every_variant
def test_bidir(suite: Suite) -> None:
    """Each direction has its own keys, and goes its own way."""
    near, far = connected()
    with ktls.Socket(near) as one, ktls.Socket(far) as other:
        ways = []
        for sock, peer in ((one, other), (other, one)):
            secrets = Secrets(suite)
            enable(sock, secrets)
            ways.append((sock, peer, RecordReader(secrets)))
        for turn in range(10):
            for sock, peer, reader in ways:
                data = os.urandom(100 * turn + 1)
                sock.sendall(data)
                header = peer.recv(5, socket.MSG_WAITALL)
                body = peer.recv(int.from_bytes(header[3:], "big"), socket.MSG_WAITALL)
                assert reader.open(header + body) == (23, data)


@every_variant
def test_blocking(link: Link) -> None:
    """100 000 bytes each way; the peer reads them all before it answers."""
    data = os.urandom(100_000)

    def answer() -> None:
        count = 0
        while count < len(data):
            header = read_exactly(link.peer, 5)
            body = read_exactly(link.peer, int.from_bytes(header[3:], "big"))
            count += len(link.reader.open(header + body)[1])
        link.peer.sendall(data[::-1])

    peer = threading.Thread(target=answer)
    peer.start()
    link.sock.sendall(data)
    assert link.sock.recv(len(data), socket.MSG_WAITALL) == data[::-1]
    peer.join()


@every_variant
def test_nonblocking(make_link, suite: Suite) -> None:
    """The smallest buffers: sends are refused now and then, and all arrives."""
    for name in ("sendspace", "sendspace_max"):
        ktls.sysctl[f"kern.ipc.tls.{name}"] = 16384
    link = make_link(suite, small=True)
    link.sock.setblocking(False)
    data = os.urandom(200_000)
    receiver = None
    sent = refused = 0
    while sent < len(data):
        try:
            sent += link.sock.send(data[sent : sent + 20_000])
        except BlockingIOError:
            refused += 1
            receiver = receiver or Receiver(link)
            assert select.select([], [link.sock], [], 20)[1]
    assert refused
    assert receiver is not None
    assert receiver.data() == data


@every_variant
def test_shutdown(link: Link) -> None:
    """What was accepted arrives, then the end; a later send is EPIPE."""
    link.sock.sendall(b"test_read")
    link.sock.shutdown(socket.SHUT_RDWR)
    assert read_records(link.peer, link.reader) == [(23, b"test_read")]
    for send in (link.sock.send, link.sock.sendall):
        with pytest.raises(BrokenPipeError):
            send(b"too late")


@every_variant
def test_shutdown_reuse(link: Link) -> None:
    """A connection that has ended does not become another one with the same keys."""
    link.sock.shutdown(socket.SHUT_RDWR)
    link.peer.shutdown(socket.SHUT_RDWR)
    link.peer.close()
    with pytest.raises(OSError, match="has a session") as caught:
        link.sock.listen(10)
    assert caught.value.errno == errno.EINVAL
    with socket.create_server(("127.0.0.1", 0)) as server:
        with pytest.raises(OSError, match=r"\[Errno") as caught:
            link.sock.connect(server.getsockname())
        assert caught.value.errno == errno.EISCONN
