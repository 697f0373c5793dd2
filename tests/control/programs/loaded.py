"""A server under a mixed load, whose peer records what comes and says what it sends.

    python loaded.py DIRECTORY

Prints its number and its port. A connection begins in clear text with a line of JSON: both traffic
secrets, how much is to be sent, and how it ends. Then both sides seal, and change their keys, too.
"""

import errno
import json
import os
import random
import socket
import sys
import threading
from pathlib import Path

import ktls
import ktls.control
from keyed_link import parameters
from record_reader import SUITES
from traffic_secrets import TrafficSecret

SUITE = SUITES[3]
END = b"this was all"


def send_load(sock: ktls.Socket, size: int, secret: TrafficSecret, file: Path) -> None:
    """By every way of writing; a quarter of the writes is followed by a change of the key."""
    left = size
    while left > 0:
        part = min(left, random.choice([1, 100, 5_000, 16_384, 60_000, 300_000]))
        match random.randrange(6):
            case 0:
                sock.sendall(bytes(part))
            case 1:
                sock.sendmsg([bytes(part // 2), bytearray(part - part // 2)])
            case 2:
                with file.open("rb") as opened:
                    sock.sendfile(opened, 0, part)
            case 3:
                sock.aio_write(bytes(part)).result()
            case 4:
                with sock.cork():
                    for _ in range(3):
                        sock.send(bytes(part // 3 + 1))
            case 5:
                control = [(ktls.IPPROTO_TCP, ktls.TLS_SET_RECORD_TYPE, bytes([21]))]
                sock.sendmsg([bytes(min(part, 2))], control)
        left -= part
        if random.random() < 0.25:
            secret = secret.next()
            sock.rekey(secret.value)
    sock.sendall(END)
    sock.flush()


def receive_load(sock: ktls.Socket, secret: TrafficSecret) -> None:
    """Up to the end, or to what ends the connection; a lost record is passed over."""
    while True:
        try:
            data, controls, _, _ = sock.recvmsg(16384, socket.CMSG_SPACE(6))
        except OSError as error:
            if error.errno == errno.EBADMSG:
                continue
            if error.errno in (errno.EINVAL, errno.ECONNRESET):
                return
            raise
        if not data and not controls:
            return
        if controls and controls[0][2][0] == 22:
            secret = secret.next()
            sock.rekey_rx(secret.value)


def serve(plain: socket.socket, file: Path) -> None:
    with plain.makefile("rb", 0) as opened:
        told = json.loads(opened.readline())
    secrets = [TrafficSecret(SUITE, bytes.fromhex(told[name])) for name in ("tx", "rx")]
    with ktls.Socket(plain) as sock:
        sock.settimeout(50)
        tx, rx = (parameters(secret.secrets()) for secret in secrets)
        sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, tx)
        sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_RXTLS_ENABLE, rx)
        sock.sendall(b"keyed")
        receiving = threading.Thread(target=receive_load, args=(sock, secrets[1]))
        receiving.start()
        send_load(sock, told["size"], secrets[0], file)
        receiving.join()
        if told["end"] == "abort":
            sock.abort()


def main() -> None:
    ktls.enable()
    ktls.control.serve()
    file = Path(sys.argv[1], "file")
    file.write_bytes(os.urandom(300_000))
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(json.dumps([os.getpid(), server.getsockname()[1]]), flush=True)
        threading.Thread(target=accept, args=(server, file), daemon=True).start()
        sys.stdin.read()


def accept(server: socket.socket, file: Path) -> None:
    while True:
        plain, _ = server.accept()
        threading.Thread(target=serve, args=(plain, file), daemon=True).start()


main()
