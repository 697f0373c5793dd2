"""What a fresh installation has to do: TLS connections on the loopback, with both ends looked at.

Usage, inside of an environment that holds ktls and nothing else::

    python -I packaging/smoke.py --certificate server.pem --root root.pem --backend ring

For each backend, TLS 1.2 and TLS 1.3: a `TLSSocket` serves a stock `ssl` client, and is one itself.
A connection counts when ktls sealed and opened (Mode.SW) and the bytes came back as they went.
Standard library only; not a test of the library, which `make test` is.
"""

import argparse
import platform
import socket
import ssl
import sys
import tempfile
import threading
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import ktls
from ktls import _core

PAYLOAD = bytes(range(256)) * 2048  # half a mebibyte: more than one record, more than one unit
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
TIMEOUT = 30.0
Wrap = Callable[[socket.socket], ssl.SSLSocket | ktls.TLSSocket]


def main() -> int:
    parser = argparse.ArgumentParser(description="Try a fresh installation of ktls.")
    parser.add_argument("--certificate", required=True, help="PEM file of a chain and its key")
    parser.add_argument("--root", required=True, help="PEM file of who signed it")
    parser.add_argument("--backend", action="append", required=True, help="one that must be there")
    arguments = parser.parse_args()
    require_installation(arguments.backend)
    ktls.enable()
    for backend in arguments.backend:
        ktls.sysctl["kern.ipc.tls.backend"] = backend
        for version in VERSIONS:
            server, client = contexts(arguments.certificate, arguments.root, version)
            connect(served_by_ktls(server), asked_by_ssl(client))
            connect(served_by_ssl(server), asked_by_ktls(client))
    print(
        f"smoke: ktls {metadata.version('ktls')} ({Path(_core.__file__).name}), "
        f"CPython {platform.python_version()}, {ssl.OPENSSL_VERSION}, {platform.machine()}: "
        f"{', '.join(arguments.backend)} in TLS 1.2 and 1.3, as server and as client"
    )
    return 0


def require_installation(wanted: list[str]) -> None:
    """End the program unless this is the installed package, of a release, with those backends."""
    place = Path(ktls.__file__).resolve()
    if Path(sys.prefix).resolve() not in place.parents:
        sys.exit(f"smoke: {place} is not in the environment {sys.prefix}; run with python -I")
    if not place.with_name("py.typed").is_file():
        sys.exit(f"smoke: {place.parent} has no py.typed")
    if _core.BUILD_PROFILE != "release":
        sys.exit(f"smoke: this is a build of the profile {_core.BUILD_PROFILE}, not a release")
    available = {backend.name for backend in ktls.backends.available()}
    if not set(wanted) <= available:
        sys.exit(f"smoke: backends {sorted(available)}, but {sorted(wanted)} are asked for")


def contexts(
    certificate: str, root: str, version: ssl.TLSVersion
) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's and a client's context for one version, both prepared."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate)
    client = ssl.create_default_context(cafile=root)
    for context in (server, client):
        context.minimum_version = context.maximum_version = version
        ktls.prepare(context)
    return server, client


def served_by_ktls(context: ssl.SSLContext) -> Wrap:
    return lambda sock: ktls.wrap_socket(sock, context, server_side=True)


def asked_by_ktls(context: ssl.SSLContext) -> Wrap:
    return lambda sock: ktls.wrap_socket(sock, context, server_hostname="localhost")


def served_by_ssl(context: ssl.SSLContext) -> Wrap:
    return lambda sock: context.wrap_socket(sock, server_side=True)


def asked_by_ssl(context: ssl.SSLContext) -> Wrap:
    return lambda sock: context.wrap_socket(sock, server_hostname="localhost")


def connect(serve: Wrap, ask: Wrap) -> None:
    """One connection: the client sends the payload, the server sends it back from a file.

    What goes wrong at either end is raised, both together.
    """
    failures: list[Exception] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(TIMEOUT)
        thread = threading.Thread(target=answer, args=(listener, serve, failures))
        thread.start()
        try:
            with ask(socket.create_connection(listener.getsockname(), TIMEOUT)) as client:
                require_native(client)
                client.sendall(PAYLOAD)
                require_payload(client)
                client.unwrap().close()
        except Exception as failure:
            failures.append(failure)
        thread.join()
    if failures:
        raise ExceptionGroup("smoke: a connection failed", failures)


def answer(listener: socket.socket, serve: Wrap, failures: list[Exception]) -> None:
    """The server's side, in a thread; what goes wrong is kept for the other."""
    try:
        sock, _ = listener.accept()
        sock.settimeout(TIMEOUT)
        with serve(sock) as server, tempfile.TemporaryFile() as file:
            require_native(server)
            file.write(require_payload(server))
            file.seek(0)
            server.sendfile(file)
            server.unwrap().close()
    except Exception as failure:
        failures.append(failure)


def require_native(sock: ssl.SSLSocket | ktls.TLSSocket) -> None:
    """Refuse a `TLSSocket` that left something to OpenSSL; a stock socket is what it is."""
    if isinstance(sock, ktls.TLSSocket) and (sock.mode, sock.rx_mode) != (ktls.Mode.SW,) * 2:
        raise RuntimeError(
            f"sends in mode {sock.mode.name} ({sock.why}), "
            f"receives in mode {sock.rx_mode.name} ({sock.rx_why})"
        )


def require_payload(sock: ssl.SSLSocket | ktls.TLSSocket) -> bytes:
    """Receive the payload and return it; RuntimeError for anything else."""
    received = bytearray()
    while len(received) < len(PAYLOAD) and (part := sock.recv(len(PAYLOAD) - len(received))):
        received += part
    if received != PAYLOAD:
        raise RuntimeError(f"{len(received)} bytes arrived, not the {len(PAYLOAD)} that were sent")
    return bytes(received)


if __name__ == "__main__":
    sys.exit(main())
