"""What ``ktls.Socket`` takes over, and what is left of it."""

import errno
import gc
import os
import select
import socket
import ssl
import threading
import warnings
from collections.abc import Callable

import pytest

import ktls
from keyed_link import Link, connected, parameters
from record_reader import SUITES, RecordReader, Secrets, read_data


def test_the_object_passed_in_is_closed(tcp_pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = tcp_pair
    with ktls.Socket(near) as sock:
        assert near.fileno() == -1
        with pytest.raises(OSError, match="Bad file descriptor"):
            near.send(b"clear text")
        sock.sendall(b"through ktls")
        assert far.recv(100) == b"through ktls"


@pytest.mark.parametrize("timeout", [None, 0.0, 2.5])
def test_timeout_of_the_socket_is_kept(
    tcp_pair: tuple[socket.socket, socket.socket], timeout: float | None
) -> None:
    near, _ = tcp_pair
    near.settimeout(timeout)
    with ktls.Socket(near) as sock:
        assert sock.gettimeout() == timeout
        assert sock.getblocking() is (timeout != 0)


@pytest.mark.parametrize("thing", [None, 3, b"", "socket"])
def test_what_is_no_socket_is_refused(thing: object) -> None:
    with pytest.raises(TypeError, match=f"takes a socket.socket, not {type(thing).__name__}"):
        ktls.Socket(thing)  # type: ignore[arg-type]


def test_ktls_socket_is_not_taken_over_again(plain: tuple[ktls.Socket, socket.socket]) -> None:
    with pytest.raises(TypeError, match=r"already a ktls\.Socket"):
        ktls.Socket(plain[0])  # type: ignore[arg-type]


def test_an_ssl_socket_is_refused(
    tcp_pair: tuple[socket.socket, socket.socket], client_context: ssl.SSLContext
) -> None:
    with client_context.wrap_socket(
        tcp_pair[0], server_hostname="localhost", do_handshake_on_connect=False
    ) as wrapped:
        with pytest.raises(TypeError, match=r"ktls\.wrap_socket"):
            ktls.Socket(wrapped)
        assert wrapped.fileno() >= 0


def test_closed_plain_socket_is_refused() -> None:
    sock = socket.socket()
    sock.close()
    with pytest.raises(OSError, match="closed") as caught:
        ktls.Socket(sock)
    assert caught.value.errno == errno.EBADF


@pytest.mark.rule("freebsd.md row 6")
@pytest.mark.parametrize(
    ("family", "kind", "words"),
    [
        (socket.AF_INET, socket.SOCK_DGRAM, "AF_INET, SOCK_DGRAM, protocol 17"),
        (socket.AF_UNIX, socket.SOCK_STREAM, "AF_UNIX, SOCK_STREAM"),
        (socket.AF_INET6, socket.SOCK_DGRAM, "AF_INET6, SOCK_DGRAM"),
    ],
)
def test_socket_that_is_not_tcp_is_refused(
    family: socket.AddressFamily, kind: socket.SocketKind, words: str
) -> None:
    with socket.socket(family, kind) as sock:
        with pytest.raises(OSError, match=words) as caught:
            ktls.Socket(sock)
        assert caught.value.errno == errno.EINVAL
        assert sock.fileno() >= 0


@pytest.mark.rule("ktls(4) TCP_TXTLS_ENABLE")
def test_keys_before_the_connection() -> None:
    """As upstream: there is no check that the socket is connected."""
    secrets = Secrets(SUITES[3])
    with socket.create_server(("127.0.0.1", 0)) as server, ktls.Socket(socket.socket()) as sock:
        sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(secrets))
        assert sock.mode is ktls.Mode.SW
        sock.connect(server.getsockname())
        peer, _ = server.accept()
        with peer:
            sock.sendall(b"sealed from the first byte")
            sock.shutdown(socket.SHUT_WR)
            assert read_data(peer, RecordReader(secrets)) == b"sealed from the first byte"


def test_sending_unconnected_fails() -> None:
    with ktls.Socket(socket.socket()) as sock:
        for write in (sock.send, sock.sendall, sock.aio_write, lambda data: sock.sendmsg([data])):
            with pytest.raises(OSError, match="connect it") as caught:
                write(b"nowhere")
            assert caught.value.errno == errno.ENOTCONN
        with pytest.raises(OSError, match="connect it"):
            sock.shutdown(socket.SHUT_WR)


def test_what_failed_unconnected_works_connected() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ktls.Socket(socket.socket()) as sock:
        with pytest.raises(OSError, match="not connected"):
            sock.send(b"early")
        sock.settimeout(0)
        assert sock.connect_ex(listener.getsockname()) in (0, errno.EINPROGRESS)
        sock.settimeout(10)
        sock.sendall(b"late")
        peer, _ = listener.accept()
        with peer:
            assert peer.recv(100) == b"late"


def test_what_a_socket_tells(plain: tuple[ktls.Socket, socket.socket]) -> None:
    sock, far = plain
    assert sock.getpeername() == far.getsockname()
    assert sock.getsockname() == far.getpeername()
    assert (sock.family, sock.type) == (socket.AF_INET, socket.SOCK_STREAM)
    assert sock.proto in (0, socket.IPPROTO_TCP)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    assert isinstance(sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8), bytes)


def test_repr_shows_suite_and_ends_but_no_key(link: Link) -> None:
    shown = repr(link.sock)
    assert "mode=SW (TLS 1.3 AES-GCM with a 16-byte key, sealed by " in shown
    assert str(link.peer.getsockname()) in shown
    for secret in (link.secrets.key, link.secrets.iv):
        assert secret.hex() not in shown
        assert repr(secret)[2:-1] not in shown
    link.sock.close()
    assert repr(link.sock) == "<ktls.Socket closed>"


def test_reading_without_keys_is_raw(plain: tuple[ktls.Socket, socket.socket]) -> None:
    sock, far = plain
    far.sendall(b"one two three")
    assert sock.recv(4) == b"one "
    buffer = bytearray(4)
    assert sock.recv_into(buffer) == 4
    assert buffer == b"two "
    data, ancillary, _, _ = sock.recvmsg(100)
    assert (data, ancillary) == (b"three", [])
    far.close()
    assert sock.recv(1) == b""


def wait_for(sock: ktls.Socket, event: int, timeout: float = 10) -> bool:
    poller = select.poll()
    poller.register(sock, event)
    return any(seen & event for _, seen in poller.poll(timeout * 1000))


def test_descriptor_can_be_polled(plain: tuple[ktls.Socket, socket.socket]) -> None:
    sock, far = plain
    assert wait_for(sock, select.POLLOUT)
    assert not wait_for(sock, select.POLLIN, 0.05)
    for word in (b"one", b"two", b"three"):
        far.sendall(word)
        assert wait_for(sock, select.POLLIN)
        assert sock.recv(100) == word
        assert not wait_for(sock, select.POLLIN, 0.05)
    far.sendall(b"four")
    assert wait_for(sock, select.POLLIN)
    assert sock.recv(2) == b"fo"
    assert wait_for(sock, select.POLLIN)
    assert sock.recv(2) == b"ur"
    far.close()
    assert wait_for(sock, select.POLLIN)
    assert sock.recv(2) == b""


def test_what_is_written_to_the_descriptor_is_refused(link: Link) -> None:
    with pytest.raises(BrokenPipeError):
        os.write(link.sock.fileno(), b"clear text")
    link.sock.sendall(b"sealed")
    link.sock.shutdown(socket.SHUT_WR)
    assert read_data(link.peer, link.reader) == b"sealed"


def test_descriptor_says_when_there_is_room(make_link: Callable[..., Link]) -> None:
    ktls.sysctl["kern.ipc.tls.sendspace"] = 65536
    ktls.sysctl["kern.ipc.tls.sendlowat"] = 16384
    link = make_link(small=True)
    link.sock.setblocking(False)
    assert wait_for(link.sock, select.POLLOUT)
    sent = 0
    with pytest.raises(BlockingIOError):  # noqa: PT012
        while True:
            sent += link.sock.send(bytes(8192))
    assert not wait_for(link.sock, select.POLLOUT, 0.05)
    received = 0
    while not wait_for(link.sock, select.POLLOUT, 0.01):
        received += len(link.peer.recv(4096))
    assert received > 0
    assert link.sock.send(b"more") == 4


def test_close_is_idempotent_and_final(plain: tuple[ktls.Socket, socket.socket]) -> None:
    sock, far = plain
    sock.close()
    sock.close()
    assert sock.fileno() == -1
    assert far.recv(1) == b""
    for call in (
        lambda: sock.send(b"x"),
        lambda: sock.sendall(b"x"),
        lambda: sock.sendmsg([b"x"]),
        lambda: sock.recv(1),
        lambda: sock.flush(),
        lambda: sock.getsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_MODE),
        lambda: sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_MODE, 1),
    ):
        with pytest.raises(OSError, match=r"closed|Bad file descriptor") as caught:
            call()
        assert caught.value.errno == errno.EBADF


def test_a_forgotten_socket_is_closed_with_a_warning(
    tcp_pair: tuple[socket.socket, socket.socket],
) -> None:
    near, far = tcp_pair
    sock = ktls.Socket(near)
    sock.send(b"last words")
    # What other tests have left is theirs.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del sock
        gc.collect()
    assert [warning.category for warning in caught] == [ResourceWarning]
    assert far.recv(100) == b"last words"
    assert far.recv(100) == b""


def test_detach_without_a_session(plain: tuple[ktls.Socket, socket.socket]) -> None:
    sock, far = plain
    sock.sendall(bytes(300_000))

    def read(size: int) -> int:
        return len(far.recv(size, socket.MSG_WAITALL))

    counted: list[int] = []
    thread = threading.Thread(target=lambda: counted.append(read(300_000)))
    thread.start()
    descriptor = sock.detach()
    thread.join()
    received = counted[0]
    assert received == 300_000
    assert sock.fileno() == -1
    with socket.socket(fileno=descriptor) as again:
        again.sendall(b"plain again")
        assert far.recv(100) == b"plain again"


def test_detach_with_a_session_is_refused(link: Link) -> None:
    with pytest.raises(OSError, match="clear text") as caught:
        link.sock.detach()
    assert caught.value.errno == errno.EOPNOTSUPP
    link.sock.sendall(b"still there")
    link.sock.close()
    assert read_data(link.peer, link.reader) == b"still there"


def test_descriptors_and_sessions_do_not_leak(make_link: Callable[..., Link]) -> None:
    def once() -> None:
        near, far = connected()
        with far, ktls.Socket(near) as sock:
            secrets = Secrets(SUITES[0])
            sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(secrets))
            sock.fileno()
            sock.sendall(b"x")
            sock.flush()

    once()
    before = len(os.listdir("/proc/self/fd"))
    active = ktls.sysctl["kern.ipc.tls.stats.active"]
    for _ in range(50):
        once()
    assert len(os.listdir("/proc/self/fd")) <= before
    assert ktls.sysctl["kern.ipc.tls.stats.active"] == active
