"""``ktls serve``: a directory over HTTPS, every byte after the handshake sealed by this library.

Reads the options, sets up context and server, waits for the signal that ends it.
"""

import argparse
import contextlib
import resource
import signal
import ssl
import sys
import threading
import time
from pathlib import Path

import ktls
from ktls.cli import certificate
from ktls.cli.failure import CommandError
from ktls.cli.limits import Limits
from ktls.cli.report import Printer
from ktls.cli.server import FileServer, Unsent, address_text

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


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the sub-command to the command line."""
    limits = Limits()
    parser = commands.add_parser(
        "serve",
        help="serve a directory over HTTPS",
        description="Serve the files of a directory over HTTPS. Symbolic links are followed only "
        "to what lies inside. Prints the URL, then a line per response. SIGINT or SIGTERM ends it.",
    )
    parser.set_defaults(run=run)
    parser.add_argument("directory", type=Path, metavar="DIR")
    parser.add_argument("--host", default="127.0.0.1", help="address to bind (%(default)s)")
    parser.add_argument(
        "--port", type=_port, default=8443, help="0: one that is free (%(default)s)"
    )
    parser.add_argument(
        "--cert",
        type=Path,
        metavar="FILE",
        help="certificate chain, PEM (default: throw-away)",
    )
    parser.add_argument(
        "--key", type=Path, metavar="FILE", help="its private key, PEM; default: in the same file"
    )
    parser.add_argument("--tls", choices=sorted(_VERSIONS), help="this version only; default: both")
    parser.add_argument(
        "--workers", type=_count, metavar="N", help="worker threads; default: one per CPU"
    )
    parser.add_argument(
        "--max-connections",
        type=_count,
        default=limits.connections,
        metavar="N",
        help="more wait in the listening queue (%(default)s)",
    )
    for name, default, meaning in (
        ("handshake", limits.handshake_s, "for a whole handshake"),
        ("request", limits.request_s, "until the next request's header is complete"),
        ("send", limits.send_s, "without the client taking a byte"),
    ):
        parser.add_argument(
            f"--{name}-timeout",
            type=_seconds,
            default=default,
            metavar="S",
            help=f"seconds {meaning} (%(default)g)",
        )


def run(options: argparse.Namespace) -> int:
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
    return 0


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


def _context(options: argparse.Namespace) -> ssl.SSLContext:
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


def _server(options: argparse.Namespace, context: ssl.SSLContext) -> FileServer:
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


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; it is 0..65535")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1 << 16:
        raise argparse.ArgumentTypeError(f"{text!r} is not a count; it is 1..65536")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.001 <= value <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time; it is 0.001..86400 seconds")
    return value
