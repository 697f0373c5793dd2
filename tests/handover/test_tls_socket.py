"""TLSSocket beside SSLSocket: the same questions, the same answers."""

import errno
import hashlib
import io
import os
import pickle
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import ktls
from handover.pairs import TIMEOUT, assert_ours, exchange, pair, receive, sequence, tcp_pair
from ktls import KTLSError, Mode, TLSSocket, wrap_socket

ABSENT = {
    "recvfrom": "the peer of a connection is known",
    "recvfrom_into": "the same",
    "recvmsg": "SSLSocket refuses it, too",
    "recvmsg_into": "the same",
    "sendto": "the same",
    "dup": "the same",
    "selected_npn_protocol": "NPN is gone",
    "ioctl": "Windows",
    "share": "Windows",
    "sendmsg_afalg": "not TCP",
    "set_inheritable": "descriptors of connections are not inherited",
    "get_inheritable": "the same",
}


def test_offers_what_ssl_socket_offers() -> None:
    wanted = {name for name in dir(ssl.SSLSocket) if not name.startswith("_")}
    assert wanted - set(dir(TLSSocket)) <= set(ABSENT)


def test_tls_socket_gives_the_answers_of_a_stock_peer(contexts, server_side: bool) -> None:
    ours, theirs = contexts
    with pair(ours, theirs, server_side=server_side) as (own, other):
        exchange(own, other, (10,))
        assert own.version() == other.version()
        assert own.cipher() == other.cipher()
        assert own.compression() is None
        assert own.selected_alpn_protocol() is None
        assert own.session_reused is False
        # `ssl` copies a session to show it, and a server has no use for one.
        assert (own.session is None) is server_side
        assert own.server_side is server_side
        assert own.server_hostname == (None if server_side else "localhost")
        assert own.context is ours
        assert own.pending() == 0
        assert own.getpeername() == other.getsockname()
        assert own.getsockname() == other.getpeername()
        assert (own.family, own.type) == (other.family, other.type)
        assert own.proto in (0, socket.IPPROTO_TCP)
        assert own.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        assert own.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert own.getsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_MODE) == Mode.SW
        if server_side:
            assert own.getpeercert() is None
            assert own.shared_ciphers()
        else:
            assert own.getpeercert()["subjectAltName"]
            assert own.getpeercert(binary_form=True)
            assert own.shared_ciphers() is None
        if own.version() == "TLSv1.2":
            assert own.get_channel_binding() == other.get_channel_binding()
        with pytest.raises(ValueError, match="channel binding"):
            own.get_channel_binding("nothing")


def test_pending_counts_what_is_decrypted(contexts, server_side: bool) -> None:
    ours, theirs = contexts
    with pair(ours, theirs, server_side=server_side) as (own, other):
        other.sendall(b"0123456789")
        assert own.recv(4) == b"0123"
        assert own.pending() == 6
        buffer = bytearray(20)
        assert own.recv_into(buffer, 3) == 3
        assert own.recv_into(buffer) == 3
        assert buffer[:3] == b"789"
        other.sendall(b"more")
        assert own.read(2) == b"mo"
        assert own.read(10, buffer) == 2
        assert buffer[:2] == b"re"
        assert own.recv(0) == b""
        assert own.recv_into(bytearray()) == 0
        with pytest.raises(ValueError, match="-1"):
            own.recv(-1)
        with pytest.raises(ValueError, match="flags"):
            own.recv(1, socket.MSG_PEEK)
        with pytest.raises(ValueError, match="flags"):
            own.sendall(b"x", socket.MSG_OOB)


def test_tls_socket_by_every_way_to_send(contexts, server_side: bool, tmp_path: Path) -> None:
    ours, theirs = contexts
    data = os.urandom(400_000)
    path = tmp_path / "file"
    path.write_bytes(data)
    with pair(ours, theirs, server_side=server_side) as (own, other):
        assert_ours(own)
        before = sequence(own)
        assert own.send(b"") == 0
        assert own.write(b"") == 0
        assert own.send(bytearray()) == 0
        own.sendall(b"")
        own.sendall(memoryview(b""))
        assert sequence(own) == before
        assert own.send(data[:100]) == 100
        changed = bytearray(data[100:60_000])
        assert own.send(changed) == len(changed)
        changed[:] = bytes(len(changed))
        assert own.write(memoryview(data)[60_000:100_000]) == 40_000
        assert own.sendmsg([data[100_000:100_010], bytearray(data[100_010:200_000])]) == 100_000
        own.sendall(data[200_000:])
        assert receive(other, len(data)) == data
        with path.open("rb") as file:
            assert own.sendfile(file) == len(data)
            assert file.tell() == len(data)
            assert receive(other, len(data)) == data
            assert own.sendfile(file, 1000, 2000) == 2000
            assert file.tell() == 3000
            assert receive(other, 2000) == data[1000:3000]
            assert own.sendfile(file, len(data) - 10, 1000) == 10
            assert receive(other, 10) == data[-10:]
        assert own.sendfile(io.BytesIO(data), 5) == len(data) - 5
        assert receive(other, len(data) - 5) == data[5:]
        own.flush(TIMEOUT)
        exchange(own, other, (10,))


def test_sendfile_longer_than_what_is_accepted_at_once(contexts, server_side, tmp_path) -> None:
    ours, theirs = contexts
    data = os.urandom(17_000_001)
    path = tmp_path / "file"
    path.write_bytes(data)
    with (
        pair(ours, theirs, server_side=server_side) as (own, other),
        path.open("rb") as file,
        ThreadPoolExecutor(1) as pool,
    ):
        received = pool.submit(receive, other, len(data))
        assert own.sendfile(file) == len(data)
        got = received.result(TIMEOUT)
        assert hashlib.sha256(got).digest() == hashlib.sha256(data).digest()


@pytest.mark.parametrize("mode", ["rb", "rwb", "r", "rw"])
def test_makefile_reads_lines(contexts, server_side: bool, mode: str) -> None:
    ours, theirs = contexts
    with pair(ours, theirs, server_side=server_side) as (own, other):
        file = own.makefile(mode)
        other.sendall(b"one\ntwo\n")
        first, second = file.readline(), file.readline()
        lines = (b"one\n", b"two\n") if "b" in mode else ("one\n", "two\n")
        assert (first, second) == lines
        own.close()
        assert not own.closed
        if "w" in mode:
            file.write(b"three" if "b" in mode else "three")
            file.flush()
            assert receive(other, 5) == b"three"
        file.close()
        assert own.closed
        assert own.fileno() == -1


def test_makefile_for_writing(contexts, server_side: bool) -> None:
    ours, theirs = contexts
    with pair(ours, theirs, server_side=server_side) as (own, other):
        with own.makefile("w", encoding="ascii", newline="\r\n") as file:
            file.write("line\n")
        assert receive(other, 6) == b"line\r\n"
        raw = own.makefile("rwb", buffering=0)
        assert raw.write(b"raw") == 3
        assert receive(other, 3) == b"raw"
        raw.close()
        with pytest.raises(ValueError, match="unbuffered"):
            own.makefile("r", buffering=0)
        with pytest.raises(ValueError, match="invalid mode 'a'"):
            own.makefile("a")
        assert not own.closed


def test_descriptor_is_not_handed_out(contexts, server_side: bool) -> None:
    ours, theirs = contexts
    with pair(ours, theirs, server_side=server_side) as (own, other):
        with pytest.raises(KTLSError, match="unwrap"):
            own.detach()
        with pytest.raises(TypeError):
            pickle.dumps(own)
        exchange(own, other, (10,))


def test_clear_text_to_the_descriptor_is_refused(contexts, server_side: bool) -> None:
    ours, theirs = contexts
    with pair(ours, theirs, server_side=server_side) as (own, other):
        with pytest.raises(BrokenPipeError):
            os.write(own.fileno(), b"clear text")
        exchange(own, other, (10,))


def test_closed_tls_socket_refuses_every_call(contexts, server_side: bool) -> None:
    ours, theirs = contexts
    with pair(ours, theirs, server_side=server_side) as (own, _):
        own.close()
        own.close()
        assert own.closed
        assert repr(own) == "<ktls.TLSSocket closed>"
        for call in (
            lambda: own.send(b"x"),
            lambda: own.sendall(b"x"),
            lambda: own.recv(1),
            own.do_handshake,
            own.getpeername,
            own.flush,
            lambda: own.shutdown(socket.SHUT_WR),
            lambda: own.settimeout(1),
        ):
            with pytest.raises(OSError, match="closed") as caught:
                call()
            assert caught.value.errno == errno.EBADF


def test_unconnected_client_connects(make_context, version: str) -> None:
    client = make_context(False, version=version, prepared=True)
    server = make_context(True, version=version)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sock = socket.socket()
        sock.settimeout(TIMEOUT)
        own = wrap_socket(sock, client, server_hostname="localhost")
        assert sock.fileno() == -1
        assert own.why == "not connected"
        assert "not connected" in repr(own)
        assert own.version() is None
        assert own.pending() == 0
        with pytest.raises(OSError, match="not connected"):
            own.do_handshake()
        with ThreadPoolExecutor(1) as pool:
            accepted = pool.submit(
                lambda: server.wrap_socket(listener.accept()[0], server_side=True)
            )
            own.connect(listener.getsockname())
            other = accepted.result(TIMEOUT)
        with own, other:
            assert_ours(own)
            assert own.gettimeout() == TIMEOUT
            exchange(own, other, (1000,))
            with pytest.raises(ValueError, match="already-connected"):
                own.connect(listener.getsockname())


def test_connect_that_fails_leaves_it_unconnected(make_context) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    client = make_context(False, prepared=True)
    with wrap_socket(socket.socket(), client, server_hostname="localhost") as own:
        with pytest.raises(ConnectionRefusedError):
            own.connect(address)
        assert own.connect_ex(address) == errno.ECONNREFUSED
        assert own.mode is Mode.NONE


def test_listening_socket_accepts(make_context, version: str) -> None:
    server = make_context(True, version=version, prepared=True)
    client = make_context(False, version=version)
    sock = socket.socket()
    with wrap_socket(sock, server, server_side=True) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = listener.getsockname()
        for _ in range(3):
            with ThreadPoolExecutor(1) as pool:
                peer = pool.submit(
                    lambda: client.wrap_socket(
                        socket.create_connection(address, TIMEOUT), server_hostname="localhost"
                    )
                )
                own, whence = listener.accept()
                other = peer.result(TIMEOUT)
            with own, other:
                assert whence == other.getsockname()
                assert type(own) is TLSSocket
                assert_ours(own)
                exchange(own, other, (1000,))


def test_session_may_be_set_before_the_handshake(make_context, version: str) -> None:
    server = make_context(True, version=version)
    client = make_context(False, version=version, prepared=True)
    with pair(client, server, server_side=False) as (own, other):
        exchange(own, other, (10,))
        session = own.session
    near, far = tcp_pair()
    own = wrap_socket(near, client, server_hostname="localhost", do_handshake_on_connect=False)
    own.session = session
    with ThreadPoolExecutor(1) as pool:
        peer = pool.submit(server.wrap_socket, far, server_side=True)
        own.do_handshake()
        other = peer.result(TIMEOUT)
    with own, other:
        assert own.session_reused
        assert_ours(own)
        exchange(own, other, (10,))


def test_do_handshake_again_does_nothing(contexts, server_side: bool) -> None:
    ours, theirs = contexts
    with pair(ours, theirs, server_side=server_side) as (own, other):
        own.do_handshake()
        own.do_handshake(block=True)
        exchange(own, other, (10,))


def test_no_room_is_what_both_kinds_of_socket_raise(contexts, server_side: bool) -> None:
    ours, theirs = contexts
    with pair(ours, theirs, server_side=server_side) as (own, _):
        own.setblocking(False)
        with pytest.raises(ssl.SSLWantWriteError) as caught:
            own.sendall(bytes(30_000_000))
        assert isinstance(caught.value, BlockingIOError)


class Wrapper:
    """Behaves like a socket by what it passes on, as some test servers' sockets."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


@pytest.mark.parametrize("shakes_hands", [True, False])
def test_what_behaves_like_a_socket_is_wrapped(make_context: Any, shakes_hands: bool) -> None:
    near, far = tcp_pair()
    client = make_context(False)

    def say() -> None:
        with client.wrap_socket(near, server_hostname="localhost") as peer:
            peer.sendall(b"x")

    shaking = threading.Thread(target=say)
    shaking.start()
    with ktls.wrap_socket(
        Wrapper(far),  # type: ignore[arg-type]  # that is the point
        make_context(True, prepared=True),
        server_side=True,
        do_handshake_on_connect=shakes_hands,
    ) as own:
        assert own.recv(1) == b"x"
    shaking.join()
    assert far.fileno() == -1
