"""A program under gevent or eventlet: `python green.py LIBRARY CASE`; 0, or a traceback.

Server and client run in greenlets of one thread, so a call that waits natively never returns: the
greenlet that it waits for cannot run. Only the program that starts this one has a clock.
"""

import sys

LIBRARY, CASE = sys.argv[1:3]
if LIBRARY == "gevent":
    from gevent import monkey

    monkey.patch_all()
    import gevent as library
else:
    import eventlet as library

    library.monkey_patch()

import hashlib  # noqa: E402  # all that follows is patched
import importlib  # noqa: E402
import itertools  # noqa: E402
import os  # noqa: E402
import socket  # noqa: E402
import ssl  # noqa: E402
import tempfile  # noqa: E402
import urllib.request  # noqa: E402
import warnings  # noqa: E402
from collections.abc import Callable  # noqa: E402
from typing import Any  # noqa: E402

import trustme  # noqa: E402

import ktls  # noqa: E402

# Not before: eventlet says of itself that it is deprecated.
warnings.simplefilter("error")

LARGE = 10 * 1024 * 1024
authority = trustme.CA()
certificate = authority.issue_cert("localhost")


class Greenlet:
    """One that is waited for, with what it raised."""

    def __init__(self, run: Callable[..., Any], *args: Any) -> None:
        self._spawned = library.spawn(run, *args)

    def result(self) -> Any:
        return self._spawned.get() if LIBRARY == "gevent" else self._spawned.wait()


class Ticks:
    """Counts the turns of a greenlet that does nothing else: proof that the hub goes on."""

    def __init__(self) -> None:
        self.count = 0
        library.spawn(self._run)

    def _run(self) -> None:
        while True:
            library.sleep(0.001)
            self.count += 1

    def pass_by(self, count: int) -> None:
        end = self.count + count
        while self.count < end:
            library.sleep(0.001)


def contexts(version: ssl.TLSVersion | None = None) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Of a server and a client, not prepared."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(server)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(client)
    if version is not None:
        server.minimum_version = server.maximum_version = version
        client.minimum_version = client.maximum_version = version
    return server, client


def listener() -> socket.socket:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(64)
    return sock


def pair(version: ssl.TLSVersion | None = None) -> tuple[ktls.TLSSocket, ktls.TLSSocket]:
    """Both ends of a connection, both ours."""
    server, client = map(ktls.prepare, contexts(version))
    with ktls.wrap_socket(listener(), server, server_side=True) as listening:
        accepted = Greenlet(listening.accept)
        ours = ktls.wrap_socket(socket.socket(), client, server_hostname="localhost")
        ours.connect(listening.getsockname())
        theirs, _ = accepted.result()
    return ours, theirs


def receive(sock: Any, count: int) -> bytes:
    parts = []
    while count:
        part = sock.recv(min(count, 65536))
        assert part, f"the stream ended {count} bytes early"
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def raises(kind: type[BaseException], call: Callable[..., Any], *args: Any) -> BaseException:
    try:
        call(*args)
    except kind as error:
        return error
    raise AssertionError(f"{call} raised no {kind.__name__}")


def echo() -> None:
    """Fifty stock clients wait for answers that come after the hub has gone on for a while."""
    ticks = Ticks()
    server, client = contexts()
    ktls.prepare(server)
    arrived = itertools.count(1)
    modes = set()
    all_wait = [0]

    def answer(sock: ktls.TLSSocket) -> None:
        with sock:
            modes.add((sock.mode, sock.rx_mode))
            request = receive(sock, 5)
            all_wait[0] = next(arrived)
            while all_wait[0] < 50:
                library.sleep(0.001)
            ticks.pass_by(20)
            sock.sendall(request * 1000)

    def serve(listening: ktls.TLSSocket) -> None:
        while True:
            sock, _ = listening.accept()
            library.spawn(answer, sock)

    def ask(number: int) -> None:
        plain = socket.create_connection(address)
        with client.wrap_socket(plain, server_hostname="localhost") as sock:
            sock.sendall(b"%05d" % number)
            assert receive(sock, 5000) == b"%05d" % number * 1000

    sock = listener()
    address = sock.getsockname()
    listening = ktls.wrap_socket(sock, server, server_side=True)
    library.spawn(serve, listening)
    for asked in [Greenlet(ask, number) for number in range(50)]:
        asked.result()
    assert modes == {(ktls.Mode.SW, ktls.Mode.SW)}


def large(version: ssl.TLSVersion) -> None:
    """Ten megabytes each way at once, through KeyUpdates where there are any."""
    one, other = pair(version)
    for sock in (one, other):
        assert (sock.mode, sock.rx_mode) == (ktls.Mode.SW, ktls.Mode.SW), (sock.why, sock.rx_why)
    data = os.urandom(LARGE)

    def send(sock: ktls.TLSSocket) -> None:
        for start in range(0, LARGE, LARGE // 5):
            sock.sendall(data[start : start + LARGE // 5])
            if version == ssl.TLSVersion.TLSv1_3:
                sock.key_update(request=True)
        sock.flush()

    senders = [Greenlet(send, sock) for sock in (one, other)]
    readers = [Greenlet(receive, sock, LARGE) for sock in (one, other)]
    for sender in senders:
        sender.result()
    for reader in readers:
        assert hashlib.sha256(reader.result()).digest() == hashlib.sha256(data).digest()
    ended = Greenlet(other.unwrap)
    one.unwrap().close()
    ended.result().close()


def sendfile() -> None:
    one, other = pair()
    data = os.urandom(LARGE)
    with tempfile.TemporaryFile() as file, one, other:
        file.write(data)
        sent = Greenlet(one.sendfile, file)
        assert receive(other, LARGE) == data
        assert sent.result() == LARGE
        assert file.tell() == LARGE


def openssl() -> None:
    """The same where OpenSSL keeps the connection."""
    ktls.sysctl["kern.ipc.tls.enable"] = 0
    one, other = pair()
    assert (one.mode, one.rx_mode) == (ktls.Mode.NONE, ktls.Mode.NONE)
    data = os.urandom(LARGE // 4)
    with one, other:
        sent = Greenlet(one.sendall, data)
        assert receive(other, len(data)) == data
        sent.result()
        other.settimeout(0.01)
        raises(TimeoutError, other.recv, 1)


def within(seconds: float, call: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a call, or the library's own Timeout."""
    with library.Timeout(seconds):
        return call(*arguments)


def timeouts() -> None:
    """The calls' own time-outs, and those of the library; the connection goes on."""
    one, other = pair()
    with one, other:
        one.settimeout(0.01)
        raises(TimeoutError, one.recv, 1)
        error = raises(TimeoutError, one.sendall, bytes(LARGE))
        assert "were accepted" in str(error), error
        accepted = int(str(error).split("; ")[1].split()[0])
        one.settimeout(None)
        assert not any(receive(other, accepted))
        raises(library.Timeout, within, 0.01, one.recv, 1)
        other.sendall(b"on")
        assert receive(one, 2) == b"on"
        sent = 0
        with library.Timeout(0.05, False):
            while True:
                sent += one.send(bytes(16384))
        last = Greenlet(one.sendall, b"\1")
        got = receive(other, sent)
        while not got.endswith(b"\1"):
            got += other.recv(65536)
        assert not any(got[:-1])
        last.result()


def closing() -> None:
    """Who waits when another greenlet closes is told."""
    for call in (lambda sock: sock.recv(1), lambda sock: sock.sendall(bytes(LARGE))):
        one, other = pair()
        with other:
            waiting = Greenlet(raises, OSError, call, one)
            library.sleep(0.01)
            one.close()
            assert waiting.result().errno in (9, 32), waiting.result()
    one, other = pair()
    with one, other:
        waiting = Greenlet(raises, OSError, one.sendall, bytes(LARGE))
        library.sleep(0.01)
        one.shutdown(socket.SHUT_WR)
        assert waiting.result().errno == 32, waiting.result()


def two_writers() -> None:
    """Two greenlets of one thread write to one socket: neither waits for ever."""
    one, other = pair()
    with one, other:
        first = Greenlet(one.sendall, b"a" * LARGE)
        library.sleep(0.01)
        if LIBRARY == "eventlet":
            error = raises(RuntimeError, one.sendall, b"b" * LARGE)
            assert "Second simultaneous write" in str(error)
            left = LARGE
            while left:
                left -= other.recv(65536).count(b"a")
        else:
            second = Greenlet(one.sendall, b"b" * LARGE)
            got = receive(other, 2 * LARGE)
            second.result()
            assert got.count(b"a") == got.count(b"b") == LARGE
        first.result()


def asynchronous() -> None:
    """The thread that ends futures is a native one."""
    ticks = Ticks()
    one, other = pair()
    with one, other:
        future = one.aio_write(b"a" * LARGE)
        ended: list[int] = []
        future.add_done_callback(lambda future: ended.append(future.result()))
        assert receive(other, LARGE) == b"a" * LARGE
        one.flush()
        while not ended:
            ticks.pass_by(1)
        assert ended == [LARGE]


def wsgi() -> None:
    """A stock WSGI server of gevent over our sockets, and stock clients."""
    from gevent import pywsgi

    server, client = contexts()
    ktls.prepare(server)
    body = os.urandom(1 << 20)
    modes = set()

    class Wrapping:
        def wrap_socket(self, sock: Any, **options: Any) -> ktls.TLSSocket:
            wrapped = ktls.wrap_socket(sock, server, **options)
            modes.add((wrapped.mode, wrapped.rx_mode))
            return wrapped

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    def fetch() -> bytes:
        with urllib.request.urlopen(f"https://localhost:{port}/", context=client) as answer:
            whole: bytes = answer.read()
            return whole

    served = pywsgi.WSGIServer(("127.0.0.1", 0), application, log=None, ssl_context=Wrapping())
    served.start()
    port = served.server_port
    for fetched in [Greenlet(fetch) for _ in range(20)]:
        assert fetched.result() == body
    served.stop()
    assert modes == {(ktls.Mode.SW, ktls.Mode.SW)}


def unpatched() -> None:
    """Without the callback: a clear error, and the socket stays as it was."""
    ktls.set_wait_callback(None)
    server, _ = contexts()
    ktls.prepare(server)
    with listener() as listening, socket.create_connection(listening.getsockname()) as sock:
        for call in (ktls.Socket, lambda sock: ktls.wrap_socket(sock, server, server_side=True)):
            error = raises(ktls.KTLSError, call, sock)
            assert f"import ktls.contrib.{LIBRARY} and call its patch()" in str(error), error
            assert sock.fileno() >= 0
        sock.settimeout(0)
        with ktls.Socket(sock) as ours:
            raises(ktls.KTLSError, ours.settimeout, 1)


CASES: dict[str, Callable[[], None]] = {
    "echo": echo,
    "tls12": lambda: large(ssl.TLSVersion.TLSv1_2),
    "tls13": lambda: large(ssl.TLSVersion.TLSv1_3),
    "sendfile": sendfile,
    "openssl": openssl,
    "timeouts": timeouts,
    "closing": closing,
    "two_writers": two_writers,
    "asynchronous": asynchronous,
    "wsgi": wsgi,
    "unpatched": unpatched,
}

importlib.import_module(f"ktls.contrib.{LIBRARY}").patch()
ktls.enable()
CASES[CASE]()
