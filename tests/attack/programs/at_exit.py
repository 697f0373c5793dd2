"""Writes at the end of the interpreter.

Usage: at_exit.py KIND PORT CERTIFICATES WORK [MORE].  The handler below is registered before ktls
is imported, so it runs when everything of ktls has ended.  Nothing that tests share is used: that
would import it.
"""

import atexit
import sys

late = []


@atexit.register
def run_late() -> None:
    for work in late:
        work()


import contextlib  # noqa: E402
import select  # noqa: E402
import socket  # noqa: E402
import ssl  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402

import ktls  # noqa: E402

kind, port, certificates, what, *more = sys.argv[1:]
LINES = 2000


def connect():
    sock = socket.create_connection(("127.0.0.1", int(port)), 30)
    if what == "stuck":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    sock.settimeout(None)
    context = ssl.create_default_context(cafile=certificates)
    if kind == "STOCK":
        return context.wrap_socket(sock, server_hostname="localhost")
    ktls.enable()
    if kind == "KEYED":
        own = ktls.Socket(sock)
        keys = ktls.TLSEnable(
            cipher_algorithm=ktls.CRYPTO_AES_NIST_GCM_16,
            cipher_key=bytes(16),
            iv=bytes(12),
            tls_vminor=ktls.TLS_MINOR_VER_THREE,
            rec_seq=bytes(8),
        )
        own.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, keys)
        return own
    ktls.sysctl["kern.ipc.tls.enable"] = kind == "SW"
    own = ktls.wrap_socket(sock, ktls.prepare(context), server_hostname="localhost")
    assert own.mode is ktls.Mode[kind], own.why
    return own


def write_lines(own) -> None:
    for number in range(LINES):
        own.sendall(b"line %05d\n" % number)


def fill(own, letter: bytes) -> int:
    """Write until there is no room; how much was accepted."""
    own.setblocking(False)
    accepted = 0
    with contextlib.suppress(BlockingIOError, ssl.SSLWantWriteError):
        while accepted < 2_000_000:
            accepted += own.send(letter * 50_000)
    return accepted


def late_lines() -> None:
    write_lines(own)
    end()


def late_large() -> None:
    own.sendall(b"q" * 8_000_000)
    end()


def end() -> None:
    if more[0] == "close":
        own.close()
    print("handler done", flush=True)


def late_aio() -> None:
    try:
        future = own.aio_write(b"a" * 1_000_000)
    except (RuntimeError, OSError):
        print(0, flush=True)
        return
    print(future.result(20), flush=True)


def late_nonblocking() -> None:
    accepted = fill(own, b"n")
    own.close()
    print(accepted, flush=True)


def late_connection() -> None:
    own = connect()
    write_lines(own)
    own.close()


def daemon() -> None:
    def write() -> None:
        while True:
            own.sendall(b"d" * 30_000)

    threading.Thread(target=write, daemon=True).start()
    threading.Event().wait(0.3)


def stuck() -> None:
    every = [own, *(connect() for _ in range(int(more[0]) - 1))]
    late.append(lambda: every)
    print(sum(fill(each, b"s") for each in every), flush=True)


def send_file() -> None:
    own.setblocking(False)
    with open(more[0], "rb") as file:
        count = own.sendfile(file)
    own.close()
    print(count, flush=True)


if what == "late-connection":
    late.append(late_connection)
else:
    own = connect()
match what:
    case "late-lines" | "late-large":
        print("connected", flush=True)
        late.append(late_lines if what == "late-lines" else late_large)
    case "late-aio":
        print("connected", flush=True)
        late.append(late_aio)
    case "late-nonblocking":
        late.append(late_nonblocking)
    case "file":
        send_file()
    case "stuck":
        stuck()
    case "daemon":
        daemon()
    case "end-exit" | "end-error" | "end-cycle":
        print(fill(own, b"e"), flush=True)
        if what == "end-exit":
            sys.exit(0)
        if what == "end-error":
            raise RuntimeError("the program fails")
        cycle = [own]
        cycle.append(cycle)
        del own
    case "unread-leave" | "unread-drop":
        select.select([own], [], [])
        own.sendall(b"u" * 1_000_000)
        if what == "unread-drop":
            del own
            time.sleep(2)
