"""After a connection was closed its keys are nowhere in the memory of the process that had them.

The keys are searched for from outside.  What a stock handshake with a key log leaves behind by
itself (OpenSSL does not wipe the secrets and IVs of TLS 1.3) is measured, and nothing may be left
beyond it.
"""

import os
import socket
import ssl
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

import ktls
from keys.process_image import Find, search
from record_reader import SUITES, Suite

TIMEOUT = 30
PROGRAM = Path(__file__).with_name("key_holder.py")
Needles = dict[str, bytes]

BACKENDS = [backend.name for backend in ktls.backends.available()]


class Holder:
    """The other process."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def feed(self, data: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(data)
        self._process.stdin.flush()

    def search_when(self, word: str, needles: Needles) -> list[Find]:
        """What is in its memory when it says `word`; it goes on then."""
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == word.encode() + b"\n"
        found = search(self._process.pid, needles)
        self.feed(b"\n")
        return found


@contextmanager
def holder(*arguments: str | int) -> Iterator[Holder]:
    # The dynamic linker saves the vector registers, and the last round key in them, on the stack
    # when it binds a function at its first call. That is not ours to wipe.
    environment = os.environ | {"LD_BIND_NOW": "1"}
    command = [sys.executable, str(PROGRAM), *map(str, arguments)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as process:
        try:
            yield Holder(process)
            assert process.wait(TIMEOUT) == 0
        finally:
            process.kill()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("suite", SUITES, ids=str)
def test_installed_keys_are_nowhere_in_memory_after_close(suite: Suite, backend: str) -> None:
    key, iv = os.urandom(suite.key_len), os.urandom(suite.iv_len)
    needles = {"key": key, "end of the key": key[suite.key_len // 2 :]}
    if suite.iv_len == 12:  # four bytes are found by chance
        needles["iv"] = iv
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(TIMEOUT)
        with holder(
            "enable",
            server.getsockname()[1],
            backend,
            suite.tls_vminor,
            suite.cipher_algorithm,
            suite.key_len,
            suite.iv_len,
        ) as child:
            child.feed(masked(key) + masked(iv))
            peer, _ = server.accept()
            with discarding(peer.recv), peer:
                assert {find.name for find in child.search_when("open", needles)} >= {"key"}
                assert list(map(str, child.search_when("closed", needles))) == []


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
@pytest.mark.parametrize("role", ["server", "client"])
def test_handed_over_keys_are_nowhere_in_memory_after_close(
    role: str, version: str, authority: trustme.CA, certificate: trustme.LeafCert, tmp_path: Path
) -> None:
    def left(kind: str, run: int) -> Counter[str]:
        directory = tmp_path / f"{kind}-{run}"
        directory.mkdir()
        number = ssl.TLSVersion[version]
        return left_by_a_handshake(kind, role, number, authority, certificate, directory)

    stock, ours = left("stock", 0), left("ktls", 0)
    for run in range(1, 20):
        if not ours - stock:
            break
        # OpenSSL frees its structures as they are: what of them is written over by then is chance.
        stock |= left("stock", run)
    assert ours - stock == Counter()


def left_by_a_handshake(
    kind: str,
    role: str,
    version: ssl.TLSVersion,
    authority: trustme.CA,
    certificate: trustme.LeafCert,
    directory: Path,
) -> Counter[str]:
    """How often each secret is in the memory of the process after its connection."""
    certificates = directory / "certificates.pem"
    log = directory / f"{kind}.log"
    if role == "server":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        authority.configure_trust(context)
        certificate.private_key_and_cert_chain_pem.write_to_path(certificates)
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        authority.cert_pem.write_to_path(certificates)
    context.minimum_version = context.maximum_version = version
    context.keylog_filename = str(log)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(TIMEOUT)
        port = server.getsockname()[1]
        with holder(kind, port, role, certificates, directory / "child.log") as child:
            raw, _ = server.accept()
            raw.settimeout(TIMEOUT)
            with context.wrap_socket(
                raw,
                server_side=role == "client",
                server_hostname="localhost" if role == "server" else None,
            ) as peer:
                peer.send(b"x")
                suite = peer.cipher()
                assert suite is not None
                needles = secrets_of(log, suite[0])
                with discarding(peer.recv):
                    found = child.search_when("open", needles)
                    assert found, "nothing is found even while the keys are in use"
                    left = child.search_when("closed", needles)
    return Counter(find.name for find in left)


def secrets_of(log: Path, suite: str) -> Needles:
    """The secrets in a key log, in binary and as text, and the keys that come from them."""
    needles = {}
    for line in log.read_text().splitlines():
        if line.startswith("#"):
            continue
        label, _, text = line.split()
        secret = bytes.fromhex(text)
        needles[label] = secret
        needles[label + " in hexadecimal"] = text.lower().encode()
        needles[label + " in capitals"] = text.upper().encode()
        if label.endswith("_TRAFFIC_SECRET_0"):
            key_len = 16 if "128" in suite else 32
            hash_ = hashes.SHA384() if suite.endswith("384") else hashes.SHA256()
            needles[label + " key"] = expanded(secret, b"tls13 key", key_len, hash_)
            needles[label + " iv"] = expanded(secret, b"tls13 iv", 12, hash_)
    return needles


def expanded(secret: bytes, label: bytes, length: int, hash_: hashes.HashAlgorithm) -> bytes:
    """HKDF-Expand-Label with an empty context (RFC 8446 §7.1)."""
    info = length.to_bytes(2, "big") + bytes([len(label)]) + label + b"\0"
    return HKDFExpand(hash_, length, info).derive(secret)


def masked(secret: bytes) -> bytes:
    mask = os.urandom(len(secret))
    return bytes(a ^ b for a, b in zip(secret, mask, strict=True)) + mask


@contextmanager
def discarding(receive: Callable[[int], bytes]) -> Iterator[None]:
    """Somebody reads and throws away, up to the end of the stream."""

    def discard() -> None:
        with suppress(OSError):
            while receive(1 << 20):
                pass

    thread = threading.Thread(target=discard)
    thread.start()
    try:
        yield
    finally:
        thread.join(TIMEOUT)
