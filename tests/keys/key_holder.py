"""A program with keys, whose memory somebody else searches: it makes a session and closes it.

It says "open" and "closed" and goes on when it gets a byte.  Keys come to it masked, so that it
holds only what the library makes of them.  Usage::

    key_holder.py enable PORT BACKEND TLS_VMINOR CIPHER KEY_LEN IV_LEN
    key_holder.py ktls|stock PORT server|client CERTIFICATES KEY_LOG
"""

import gc
import os
import signal
import socket
import ssl
import sys
import time

import ktls

SIZES = (10, 1000, 100_000, 3_000_000)


def main(kind: str, port: str, *rest: str) -> None:
    signal.alarm(60)
    ktls.enable()
    sock = socket.create_connection(("127.0.0.1", int(port)), 20)
    if kind == "enable":
        installed(sock, rest[0], *map(int, rest[1:]))
    else:
        handed_over(sock, kind == "ktls", rest[0] == "server", *rest[1:])
    gc.collect()
    wait_for_drained()
    pause("closed")


def installed(
    sock: socket.socket, backend: str, vminor: int, cipher: int, key_len: int, iv_len: int
) -> None:
    ktls.sysctl["kern.ipc.tls.backend"] = backend
    key, iv = unmasked(key_len), unmasked(iv_len)
    with ktls.Socket(sock) as sealed:
        en = ktls.TLSEnable(cipher_algorithm=cipher, cipher_key=key, iv=iv, tls_vminor=vminor)
        sealed.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, en)
        for secret in (key, iv):
            secret[:] = bytes(len(secret))
        for size in SIZES:
            sealed.sendall(bytes(size))
        # The workers' stacks count, too.
        sealed.setblocking(False)
        sealed.send(bytes(900_000))
        sealed.flush(20)
        pause("open")


def handed_over(
    sock: socket.socket, ours: bool, server_side: bool, certificates: str, key_log: str
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server_side else ssl.PROTOCOL_TLS_CLIENT)
    hostname = None if server_side else "localhost"
    if server_side:
        context.load_cert_chain(certificates)
    else:
        context.load_verify_locations(certificates)
    if ours:
        ktls.prepare(context)
        tls = ktls.wrap_socket(sock, context, server_side=server_side, server_hostname=hostname)
        assert tls.mode is ktls.Mode.SW, tls.why
    else:
        context.keylog_filename = key_log
        tls = context.wrap_socket(sock, server_side=server_side, server_hostname=hostname)
    with tls:
        for size in SIZES:
            tls.sendall(bytes(size))
        tls.recv(1)
        pause("open")


def unmasked(length: int) -> bytearray:
    """A secret from standard input: what was masked, and the mask."""
    masked, mask = os.read(0, length), os.read(0, length)
    secret = bytearray(length)
    for index in range(length):
        # Byte by byte: a number or a slice of it all would stay behind.
        secret[index] = masked[index] ^ mask[index]
    return secret


def wait_for_drained() -> None:
    """Closed connections drain in the background."""
    while ktls.sysctl["kern.ipc.tls.stats.active"]:
        time.sleep(0.01)


def pause(word: str) -> None:
    print(word, flush=True)
    assert os.read(0, 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
