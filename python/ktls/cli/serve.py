"""``ktls serve``: a directory over HTTPS, every byte after the handshake sealed by this library.

Reads the options, sets up context and server, waits for the signal that ends it.
"""

import contextlib
import resource
import signal
import ssl
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

import ktls
from ktls.cli import certificate
from ktls.cli.failure import CommandError
from ktls.cli.limits import Limits
from ktls.cli.numbers import COUNT, PORT, SECONDS
from ktls.cli.report import Printer
from ktls.cli.server import FileServer, Unsent, address_text

_Command = Callable[..., None]
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_GRACE_S = 5.0
"""For answers under way when the server stops."""
_STALL_S = 0.5
"""Without any client taking a byte; then nobody is waited for."""
_REPORT_S = 0.2
_TICK_S = 0.05
_POLL_S = 0.1
_DESCRIPTORS_PER_CONNECTION = 8
_DESCRIPTORS_BESIDE = 128


_LIMITS = Limits()


def _timeout(name: str, default: float, text: str) -> Callable[[_Command], _Command]:
    """An option of seconds."""
    return click.option(
        name, type=SECONDS, default=default, show_default=True, metavar="S", help=text
    )


@click.command(short_help="serve a directory over HTTPS")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="address to bind")
@click.option("--port", type=PORT, default=8443, show_default=True, help="0: one that is free")
@click.option(
    "--cert",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="certificate chain, PEM; default: throw-away",
)
@click.option(
    "--key",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="its private key, PEM; default: in the same file",
)
@click.option(
    "--tls", type=click.Choice(sorted(_VERSIONS)), help="this version only; default: both"
)
@click.option("--workers", type=COUNT, metavar="N", help="worker threads; default: one per CPU")
@click.option(
    "--max-connections",
    type=COUNT,
    default=_LIMITS.connections,
    show_default=True,
    metavar="N",
    help="more wait in the listening queue",
)
@_timeout("--handshake-timeout", _LIMITS.handshake_s, "seconds for a whole handshake")
@_timeout(
    "--request-timeout", _LIMITS.request_s, "seconds until the next request's header is complete"
)
@_timeout("--send-timeout", _LIMITS.send_s, "seconds without the client taking a byte")
def command(**options: Any) -> None:
    """Serve the files of a directory over HTTPS.

    Symbolic links are followed only to what lies inside. Prints the URL, then a line per response.
    SIGINT or SIGTERM ends it.
    """
    run(Options(**options))


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says; times in seconds."""

    directory: Path
    host: str
    port: int
    cert: Path | None
    key: Path | None
    tls: str | None
    workers: int | None
    max_connections: int
    handshake_timeout: float
    request_timeout: float
    send_timeout: float


def run(options: Options) -> None:
    """Serve until SIGINT or SIGTERM; another one ends the end, too.

    Raises CommandError for what cannot be served.
    """
    ends = {signal.SIGINT, signal.SIGTERM}
    # Before any thread exists, so that the signal comes to sigwait below and nowhere else.
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    if not options.directory.is_dir():
        raise CommandError(f"{options.directory} is not a directory")
    if options.workers is not None:
        ktls.sysctl["kern.ipc.tls.workers"] = options.workers
    ktls.enable()
    _raise_descriptor_limit(options.max_connections)
    server = _server(options, _context(options))
    host, port = server.server_address[:2]
    Printer(sys.stdout)(
        f"serving {server.directory} on https://{address_text((str(host), int(port)))}/"
    )
    acceptor = threading.Thread(
        target=server.serve_forever, args=(_POLL_S,), name="accept", daemon=True
    )
    acceptor.start()
    signal.sigwait(ends)
    server.stop()
    left = _wait_for_answers(server, ends)
    if left.connections:
        server.drop(_REPORT_S)
        server.note(
            f"dropped {left.connections} connection{'s' * (left.connections > 1)}"
            f" with about {left.bytes} bytes not sent"
        )
        # Whoever has not taken its answer by now will not get it: the exit need not wait again.
        ktls.sysctl["kern.ipc.tls.close_timeout"] = 0


def _wait_for_answers(server: FileServer, ends: set[signal.Signals]) -> Unsent:
    """Let the answers under way go out while somebody takes them; returns what is left."""
    left, changed_s = server.unsent(), time.monotonic()
    end_s = changed_s + _GRACE_S
    while left.connections and time.monotonic() < min(end_s, changed_s + _STALL_S):
        if signal.sigtimedwait(ends, _TICK_S) is not None:
            break
        before, left = left, server.unsent()
        if left != before:
            changed_s = time.monotonic()
    return left


def _context(options: Options) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[options.tls or "1.2"]
    context.maximum_version = _VERSIONS[options.tls or "1.3"]
    context.set_alpn_protocols(["http/1.1"])
    if options.cert is not None:
        certificate.load(context, options.cert, options.key)
    elif options.key is not None:
        raise CommandError("--key needs --cert, the certificate that it belongs to")
    else:
        certificate.load_throwaway(context, options.host)
    return ktls.prepare(context)


def _server(options: Options, context: ssl.SSLContext) -> FileServer:
    printer = Printer(sys.stdout)
    limits = Limits(
        options.max_connections,
        options.handshake_timeout,
        options.request_timeout,
        options.send_timeout,
    )
    address = (options.host, options.port)
    try:
        return FileServer(
            address,
            options.directory,
            context,
            limits,
            report=printer,
            note=Printer(sys.stderr),
        )
    except OSError as error:
        raise CommandError(f"cannot listen on {address_text(address)}: {error}") from error


def _raise_descriptor_limit(connections: int) -> None:
    """Ask for enough descriptors; with fewer, accepting pauses when they run out."""
    wanted = connections * _DESCRIPTORS_PER_CONNECTION + _DESCRIPTORS_BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
