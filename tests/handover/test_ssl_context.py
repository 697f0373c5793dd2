"""`ktls.SSLContext` and `ktls.create_default_context`: one line changed, the rest as in `ssl`."""

import asyncio
import copy
import errno
import functools
import os
import pickle
import select
import socket
import ssl
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import trustme

import ktls
from handover.pairs import TIMEOUT, exchange, tcp_pair


@pytest.fixture(autouse=True)
def _off() -> None:
    """These contexts ask for the library themselves."""
    ktls.sysctl["kern.ipc.tls.enable"] = False
    ktls.sysctl["kern.ipc.mb_use_ext_pgs"] = False


@pytest.fixture
def server(certificate: trustme.LeafCert) -> ktls.SSLContext:
    context = ktls.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    return context


@pytest.fixture
def client(authority: trustme.CA) -> ktls.SSLContext:
    context = ktls.create_default_context()
    authority.configure_trust(context)
    return context


def wrapped_pair(
    server: ssl.SSLContext, client: ssl.SSLContext, name: str | bytes = "localhost"
) -> tuple[ssl.SSLSocket, ssl.SSLSocket]:
    near, far = tcp_pair()
    with ThreadPoolExecutor(1) as pool:
        accepted = pool.submit(server.wrap_socket, near, server_side=True)
        connected = client.wrap_socket(far, server_hostname=name)
        return accepted.result(TIMEOUT), connected


def test_both_ends_are_taken_over_with_the_switch_off(
    server: ktls.SSLContext, client: ktls.SSLContext
) -> None:
    own, other = wrapped_pair(server, client)
    with own, other:
        for sock in (own, other):
            assert isinstance(sock, ktls.TLSSocket)
            assert isinstance(sock, ssl.SSLSocket)
            assert (sock.mode, sock.why) == (ktls.Mode.SW, "")
            assert (sock.rx_mode, sock.rx_why) == (ktls.Mode.SW, "")
        exchange(own, other, (1, 100_000))


def test_a_prepared_stock_context_obeys_the_switch(
    certificate: trustme.LeafCert, client: ktls.SSLContext
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    ktls.prepare(context)
    near, far = tcp_pair()
    with ThreadPoolExecutor(1) as pool:
        accepted = pool.submit(ktls.wrap_socket, near, context, server_side=True)
        with (
            client.wrap_socket(far, server_hostname="localhost") as other,
            accepted.result() as own,
        ):
            assert own.mode is ktls.Mode.NONE
            assert "kern.ipc.tls.enable is off" in own.why
            assert isinstance(other, ktls.TLSSocket)
            assert other.mode is ktls.Mode.SW


@pytest.mark.parametrize("purpose", list(ssl.Purpose))
def test_context_is_set_up_as_the_stock_one(purpose: ssl.Purpose) -> None:
    ours, stock = ktls.create_default_context(purpose), ssl.create_default_context(purpose)
    assert type(ours) is ktls.SSLContext
    for name in (
        "check_hostname",
        "maximum_version",
        "minimum_version",
        "options",
        "protocol",
        "security_level",
        "verify_flags",
        "verify_mode",
    ):
        assert getattr(ours, name) == getattr(stock, name), name


@pytest.mark.parametrize("by", ["_create", "ssl"])
def test_prepared_whoever_wraps(server: ktls.SSLContext, client: ktls.SSLContext, by: str) -> None:
    """Nobody has called a method of the context before."""
    wrap: functools.partial[ssl.SSLSocket] = functools.partial(ssl.SSLContext.wrap_socket, server)
    if by == "_create":
        wrap = functools.partial(ktls.TLSSocket._create, context=server)
    near, far = tcp_pair()
    with ThreadPoolExecutor(1) as pool:
        accepted = pool.submit(wrap, near, server_side=True)
        with (
            client.wrap_socket(far, server_hostname="localhost") as other,
            accepted.result(TIMEOUT) as own,
        ):
            assert isinstance(own, ktls.TLSSocket)
            assert (own.mode, own.why) == (ktls.Mode.SW, "")
            exchange(own, other)


def test_a_context_that_is_put_in_place_asks_for_itself(
    server: ktls.SSLContext, client: ktls.SSLContext
) -> None:
    near, far = tcp_pair()
    stock = ktls.prepare(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    own = ktls.wrap_socket(near, stock, server_side=True, do_handshake_on_connect=False)
    own.context = server
    with ThreadPoolExecutor(1) as pool:
        peer = pool.submit(client.wrap_socket, far, server_hostname="localhost")
        with own:
            own.do_handshake()
            with peer.result(TIMEOUT) as other:
                assert (own.mode, own.why) == (ktls.Mode.SW, "")
                exchange(own, other)


def test_attributes_are_what_the_user_set(
    server: ktls.SSLContext, client: ktls.SSLContext, tmp_path: Path
) -> None:
    names = []

    def note(sock: ssl.SSLSocket, name: str, context: ssl.SSLContext) -> None:
        names.append(name)

    server.sni_callback = note
    for wanted in (None, str(tmp_path / "keys")):
        if wanted is not None:
            server.keylog_filename = wanted
        for _ in range(2):
            own, other = wrapped_pair(server, client)
            with own, other:
                assert own.mode is ktls.Mode.SW
            assert server.sni_callback is note
            assert server.keylog_filename == wanted
            # What is read is set again: nothing changes.
            server.sni_callback, server.keylog_filename = note, server.keylog_filename
    assert names == ["localhost"] * 4
    assert "TRAFFIC_SECRET_0" in (tmp_path / "keys").read_text()
    server.sni_callback = None
    assert server.sni_callback is None


@pytest.mark.parametrize("base", [ssl.SSLContext, ktls.SSLContext])
@pytest.mark.parametrize("what", ["__hash__", "__eq__"])
def test_a_context_is_known_by_its_identity(
    base: type[ssl.SSLContext], what: str, client: ktls.SSLContext, certificate: trustme.LeafCert
) -> None:
    """A subclass that cannot be hashed, or whose objects are all equal."""
    equal = {"__eq__": lambda *_: True, "__hash__": lambda _: 1}
    kind = type("Context", (base,), {"__hash__": None} if what == "__hash__" else equal)
    contexts = [kind(ssl.PROTOCOL_TLS_SERVER) for _ in range(2)]
    ktls.enable()
    for context in contexts:
        certificate.configure_cert(context)
        ktls.prepare(context)
        near, far = tcp_pair()
        with ThreadPoolExecutor(1) as pool:
            peer = pool.submit(client.wrap_socket, far, server_hostname="localhost")
            with ktls.wrap_socket(near, context, server_side=True) as own, peer.result() as other:
                assert (own.mode, own.why) == (ktls.Mode.SW, "")
                exchange(own, other)


def test_wrap_bio_and_asyncio_stay_stock(server: ktls.SSLContext, client: ktls.SSLContext) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()

    async def main() -> bytes:
        listener = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=server)
        port = listener.sockets[0].getsockname()[1]
        async with listener:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=client, server_hostname="localhost"
            )
            writer.write(b"stock\n")
            line = await reader.readline()
            writer.close()
            await writer.wait_closed()
            return line

    assert asyncio.run(main()) == b"stock\n"
    # No secret was logged anywhere.
    assert server.keylog_filename is client.keylog_filename is None


@pytest.mark.parametrize("name", [b"localhost", "LOCALHOST"])
def test_server_hostnames_are_read_as_in_ssl(
    server: ktls.SSLContext, client: ktls.SSLContext, name: str | bytes
) -> None:
    own, other = wrapped_pair(server, client, name)
    with own, other:
        assert other.server_hostname == (name.decode() if isinstance(name, bytes) else name)
        exchange(own, other, (10,))


def test_a_name_is_encoded_by_idna(client: ktls.SSLContext) -> None:
    with client.wrap_socket(socket.socket(), server_hostname="bücher.example") as sock:
        assert sock.server_hostname == "xn--bcher-kva.example"


@pytest.mark.parametrize("name", ["", ".example.org", "a\0b", "a" * 64 + ".example"])
@pytest.mark.parametrize("is_connected", [False, True])
def test_a_bad_name_is_refused_at_once(
    client: ktls.SSLContext, name: str, is_connected: bool
) -> None:
    near, far = tcp_pair() if is_connected else (socket.socket(), socket.socket())
    with near, far, pytest.raises((ValueError, TypeError)):
        client.wrap_socket(near, server_hostname=name)


def test_stock_context_that_cannot_be_copied_is_refused(
    server: ktls.SSLContext, client: ktls.SSLContext
) -> None:
    own, other = wrapped_pair(server, client)
    with own, other:
        for copying in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError):
                copying(own)
        with pytest.raises(NotImplementedError):
            own.dup()


def test_nothing_to_read_is_a_blocking_io_error(
    server: ktls.SSLContext, client: ktls.SSLContext
) -> None:
    own, other = wrapped_pair(server, client)
    with own, other:
        own.setblocking(False)
        with pytest.raises(BlockingIOError) as caught:
            own.recv(1)
        assert isinstance(caught.value, ssl.SSLWantReadError)
    near, far = tcp_pair()
    near.setblocking(False)
    with (
        far,
        server.wrap_socket(near, server_side=True, do_handshake_on_connect=False) as own,
        pytest.raises(BlockingIOError) as caught,
    ):
        own.do_handshake()
    assert isinstance(caught.value, ssl.SSLWantReadError)
    assert issubclass(ktls.HandoverError, OSError)


def test_values_of_a_closed_socket_are_those_of_ssl(
    server: ktls.SSLContext, client: ktls.SSLContext
) -> None:
    own, other = wrapped_pair(server, client)
    own.settimeout(7)
    before = (own.timeout, own.family, own.type, own.proto)
    for sock in (own, other):
        sock.close()
    assert (own.timeout, own.family, own.type, own.proto) == before
    assert own.fileno() == -1
    assert own.cipher() is own.version() is None
    assert own.pending() == 0
    for call in (own.recv, own.getpeername, lambda: own.send(b"x"), lambda: own.sendall(b"x")):
        with pytest.raises(OSError, match=r"closed|Bad file") as caught:
            call()
        assert caught.value.errno == errno.EBADF
    for refused in (own.read, own.unwrap, lambda: own.write(b"x")):
        with pytest.raises(ValueError, match=r"closed|No SSL wrapper"):
            refused()


def test_a_lazy_connection_is_used_in_a_forked_child(
    server: ktls.SSLContext, client: ktls.SSLContext
) -> None:
    """Its parent closes it, and neither reads nor sends anything."""
    near, far = tcp_pair()
    own = server.wrap_socket(near, server_side=True, do_handshake_on_connect=False)
    pid = os.fork()
    if pid == 0:
        try:
            with own:
                received = own.recv(100)
                own.sendall(b"%s %s" % (own.mode.name.encode(), received))
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        finally:
            os._exit(0)
    own.close()
    with client.wrap_socket(far, server_hostname="localhost") as other:
        other.settimeout(TIMEOUT)
        other.sendall(b"from the client")
        assert other.recv(100) == b"SW from the client"
        assert other.recv(100) == b""
    assert os.waitpid(pid, 0)[1] == 0


def test_an_accepted_connection_is_found_by_select(
    server: ktls.SSLContext, client: ktls.SSLContext
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as plain:
        address = plain.getsockname()
        listener = server.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
    with listener, ThreadPoolExecutor(1) as pool:
        number = listener.fileno()
        connecting = pool.submit(
            lambda: client.wrap_socket(
                socket.create_connection(address), server_hostname="localhost"
            )
        )
        assert select.select([listener], [], [], TIMEOUT)[0] == [listener]
        own, _ = listener.accept()
        assert listener.fileno() == number
        own.do_handshake()
        with own, connecting.result(TIMEOUT) as other:
            assert isinstance(own, ktls.TLSSocket)
            exchange(own, other, (1000,))
