"""100 MB by somebody else's backend to curl, identical; and backends changed under load."""

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import trustme

import ktls
from both_ends import both_ends, deregister, enable_for, received
from cli.server_process import ServerProcess, write_random
from ktls import backends
from python_ciphers import PythonBackend

SIZE = 100_000_000
TESTS = Path(__file__).parents[1]


@pytest.fixture
def plugged(tmp_path: Path) -> Path:
    """The ciphers in Python, as a distribution brings them."""
    place = tmp_path / "plugged"
    info = place / "plugged-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugged\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[ktls.backends]\nplugged = python_ciphers:PythonBackend\n"
    )
    return place


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for the server, and the authority that curl is to trust."""
    authority, path = trustme.CA(), tmp_path / "cert.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(path)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return path, tmp_path / "ca.pem"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["chacha-example", "python"])
def test_a_hundred_megabytes_to_curl(
    name: str,
    scratch: Path,
    plugged: Path,
    tmp_path: Path,
    certificate: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    served = tmp_path / "served"
    served.mkdir()
    digest = write_random(served / "file.bin", SIZE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (scratch, plugged, TESTS))))
    monkeypatch.setenv("KTLS_SYSCTL", f"kern.ipc.tls.backend={name}")
    server = ServerProcess(served, certificate[0])
    try:
        command = ["curl", "-sS", "--cacert", str(certificate[1]), "--max-time", "240"]
        command += ["--tls13-ciphers", "TLS_CHACHA20_POLY1305_SHA256", server.url + "file.bin"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as curl:
            came = hashlib.file_digest(curl.stdout, "sha256").hexdigest()
        line = server.response("/file.bin")
    finally:
        assert server.end() == 0
    assert curl.returncode == 0
    assert came == digest
    assert (line.mode, line.backend, line.body_len) == ("SW", name, SIZE)


class Aliased:
    """One that comes and goes."""

    api_version = 1
    provider = "ring"

    def __init__(self, number: int) -> None:
        self.name = f"alias-{number}"
        self.prio = 50 + number


def totals() -> tuple[int, int]:
    """Records sealed and opened, by all."""
    counted = {name: ktls.sysctl.number(name) for name in ktls.sysctl if name.count(".") == 5}
    return tuple(
        sum(count for name, count in counted.items() if name.endswith(way))
        for way in ("_encrypts", "_decrypts")
    )


def test_switching_under_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections come and go while backends do: no byte is lost, and the counts agree."""
    monkeypatch.setitem(ktls.sysctl._values, "kern.ipc.tls.allow_unload", 1)
    ktls.enable()
    python = PythonBackend("python", prio=1)
    backends.register(python)
    done = threading.Event()
    switches = [0]

    def switch() -> None:
        number = 0
        while not done.is_set():
            alias = Aliased(number % 4)
            backends.register(alias)
            python.prio = 100 if number % 3 == 0 else 1
            done.wait(0.005)
            while True:
                try:
                    backends.deregister(alias)
                    break
                except OSError:
                    # It has sessions: no more come, and these end.
                    alias.prio = -1
                    done.wait(0.005)
            number += 1
            switches[0] = number

    # Its own are counted from here on.
    before = totals()
    switcher = threading.Thread(target=switch)
    switcher.start()
    used: set[str | None] = set()
    records = 0
    try:
        for number in range(60):
            data = os.urandom(200_000 + number)
            with pair() as ends, both_ends(ends, "tls13_gcm") as (near, far):
                used.add(near.backend)
                writer = threading.Thread(target=near.sendall, args=(data,))
                writer.start()
                assert received(far, len(data)) == data
                writer.join()
            records += -(-len(data) // 16384)
    finally:
        done.set()
        switcher.join()
    deregister(python)
    sealed, opened = (new - old for old, new in zip(before, totals(), strict=True))
    assert (sealed, opened) == (records, records)
    assert switches[0] > 0
    assert len(used) > 1, used


class pair:  # noqa: N801  # used as a function
    """Two ends of a TCP connection."""

    def __enter__(self) -> tuple[socket.socket, socket.socket]:
        with socket.create_server(("127.0.0.1", 0)) as server:
            near = socket.create_connection(server.getsockname())
            far, _ = server.accept()
        return near, far

    def __exit__(self, *_: object) -> None:
        pass


PROGRAM = """
import os, socket, threading
import ktls
from both_ends import both_ends
from ktls import backends
from python_ciphers import Cipher, PythonBackend

class Hanging(Cipher):
    def seal(self, batch):
        os.write(1, b"sealing\\n")
        threading.Event().wait()

class Backend(PythonBackend):
    def cipher(self, aead):
        return Hanging(aead)

backends.register(Backend())
ktls.sysctl["kern.ipc.tls.close_timeout"] = 1
with socket.create_server(("127.0.0.1", 0)) as server:
    near = socket.create_connection(server.getsockname())
    far, _ = server.accept()
ends = both_ends((near, far), "tls13_gcm", sealer="python")
sock, _ = ends.__enter__()
sock.settimeout(0)
sock.send(b"x" * 100000)
"""


def test_the_interpreter_ends_while_a_cipher_hangs() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert set(done.stdout.split()) == {"sealing"}


LAST_WORDS = """
import json, socket, sys
import ktls
from ktls import backends
from python_ciphers import PythonBackend

host, port, key, iv = json.loads(sys.argv[1])
ktls.enable()
backends.register(PythonBackend())
ktls.sysctl["kern.ipc.tls.backend"] = "python"
sock = ktls.Socket(socket.create_connection((host, port)))
sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, ktls.TLSEnable(
    cipher_algorithm=ktls.CRYPTO_CHACHA20_POLY1305, cipher_key=bytes.fromhex(key),
    iv=bytes.fromhex(iv), tls_vmajor=3, tls_vminor=4))
ktls.sysctl["kern.ipc.tls.sendspace"] = 4_000_000
sock.setblocking(False)
print(sock.send(bytes(range(250)) * 4000), flush=True)
"""


def test_what_was_accepted_is_sealed_at_the_interpreters_end() -> None:
    ktls.enable()
    en = enable_for("tls13_chacha20")
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        argument = json.dumps([host, port, bytes(en.cipher_key).hex(), bytes(en.iv).hex()])
        child = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", LAST_WORDS, argument],
            env={**os.environ, "PYTHONPATH": str(TESTS)},
            stdout=subprocess.PIPE,
        )
        with child:
            end, _ = server.accept()
            accepted = int(child.stdout.readline())
            with ktls.Socket(end) as far:
                far.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_RXTLS_ENABLE, en)
                far.settimeout(60)
                assert received(far, accepted) == (bytes(range(250)) * 4000)[:accepted]
                assert far.recv(1) == b""
    assert child.returncode == 0
    assert accepted > 100_000
