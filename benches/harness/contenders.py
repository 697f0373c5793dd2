"""Who takes part: each a way to write to a connection, under a name that the report shows.

An ``Endpoint`` is the sending end of one connection.  Its calls are the bound methods of the thing
that is measured wherever it has them, so that nothing of ours is measured with it.
"""

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from socket import SHUT_WR, socket
from typing import Any, BinaryIO, Literal

import ktls
from ktls import _core, prepare, wrap_socket
from ktls.constants import Mode

Kind = Literal["plain", "ssl", "pyopenssl", "ktls", "api", "crate"]

AS_IT_COMES = "ktls"
"""The contender whose backends are what this machine makes of them, one for each direction."""

NEVER = 2**63 - 1
"""Larger than any backlog: the pool is never asked to help a blocking caller."""

_READ_LEN = 262144


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to send.  `provider` seals, where that is ours to say."""

    name: str
    kind: Kind
    provider: str = ""
    sysctls: Mapping[str, int | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The sending end of a connection after its handshake."""

    send: Callable[[bytes], int]
    sendall: Callable[[bytes], object]
    sendfile: Callable[[BinaryIO, int], object]
    recv: Callable[[int], bytes]
    recv_into: Callable[[memoryview], int]
    finish: Callable[[], object]
    """Wait until everything is with TCP, then end the stream."""
    close: Callable[[], object]


def contenders() -> list[Contender]:
    """All of them; those of ktls once as it comes, and for each backend that is compiled in.

    The default one first.
    """
    compiled_in = _core.providers()
    names = [backend.name for backend in ktls.backends.available()]
    backends = [name for name in names if name in compiled_in]
    found = [
        Contender("plain", "plain"),
        Contender("ssl", "ssl"),
        Contender("pyOpenSSL", "pyopenssl"),
    ]
    found.append(Contender(AS_IT_COMES, "ktls"))
    for backend in backends:
        fixed = {"kern.ipc.tls.backend": backend}
        found += [
            Contender(
                f"ktls inline {backend}",
                "ktls",
                backend,
                {**fixed, "kern.ipc.tls.handoff_min": NEVER},
            ),
            Contender(f"ktls pool {backend}", "ktls", backend, fixed),
        ]
    for backend in backends:
        found += [
            Contender(f"crate {backend}", "crate", backend),
            Contender(f"API {backend}", "api", backend),
        ]
    return found


def server_context(contender: Contender, certificate: bytes) -> Any:
    """What the contender's connections are made with: a context, or None."""
    match contender.kind:
        case "ssl":
            return _stock_context(certificate)
        case "ktls":
            ktls.enable()
            for name, value in contender.sysctls.items():
                ktls.sysctl[name] = value
            return prepare(_stock_context(certificate))
        case "pyopenssl":
            return _pyopenssl_context(certificate)
        case _:
            return None


def endpoint(contender: Contender, sock: socket, context: Any) -> Endpoint:
    """Make the handshake of the accepted `sock`.

    RuntimeError when a ktls connection stays with OpenSSL: that would measure something else.
    """
    match contender.kind:
        case "plain":
            return _stock_endpoint(sock)
        case "ssl":
            return _stock_endpoint(context.wrap_socket(sock, server_side=True))
        case "pyopenssl":
            return _pyopenssl_endpoint(sock, context)
        case "ktls":
            return _ktls_endpoint(sock, context)
    raise ValueError(f"{contender.name} makes no connections")


def _stock_context(certificate: bytes) -> ssl.SSLContext:
    import trustme

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    with trustme.Blob(certificate).tempfile() as path:
        context.load_cert_chain(path)
    return context


def _stock_endpoint(sock: socket) -> Endpoint:
    return Endpoint(
        send=sock.send,
        sendall=sock.sendall,
        sendfile=lambda file, count: sock.sendfile(file, 0, count),
        recv=sock.recv,
        recv_into=sock.recv_into,
        finish=lambda: sock.shutdown(SHUT_WR),
        close=sock.close,
    )


def _ktls_endpoint(sock: socket, context: ssl.SSLContext) -> Endpoint:
    ours = wrap_socket(sock, context, server_side=True)
    if ours.mode is not Mode.SW or ours.rx_mode is not Mode.SW:
        raise RuntimeError(f"the connection was not taken over: {ours.why or ours.rx_why}")

    def finish() -> None:
        ours.flush()
        ours.shutdown(SHUT_WR)

    return Endpoint(
        send=ours.send,
        sendall=ours.sendall,
        sendfile=lambda file, count: ours.sendfile(file, 0, count),
        recv=ours.recv,
        recv_into=ours.recv_into,
        finish=finish,
        close=ours.close,
    )


def _pyopenssl_context(certificate: bytes) -> Any:
    try:
        import trustme
        from OpenSSL import SSL
    except ImportError:
        raise RuntimeError("pyOpenSSL is not installed: pip install --group bench") from None
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    with trustme.Blob(certificate).tempfile() as path:
        context.use_certificate_chain_file(path)
        context.use_privatekey_file(path)
    return context


def _pyopenssl_endpoint(sock: socket, context: Any) -> Endpoint:
    from OpenSSL import SSL

    connection = SSL.Connection(context, sock)
    connection.set_accept_state()
    connection.do_handshake()

    def sendfile(file: BinaryIO, count: int) -> None:
        # It has no sendfile: what a program does instead.
        buffer = memoryview(bytearray(_READ_LEN))
        while count:
            length = file.readinto(buffer[:count])  # type: ignore[attr-defined]
            connection.sendall(buffer[:length])
            count -= length

    def close() -> None:
        connection.close()
        sock.close()

    return Endpoint(
        send=connection.send,
        sendall=connection.sendall,
        sendfile=sendfile,
        recv=connection.recv,
        recv_into=connection.recv_into,
        finish=lambda: connection.sock_shutdown(SHUT_WR),
        close=close,
    )
