"""No (key, number) pair and no (key, nonce) pair is used twice: every record on the wire is opened.

The far end knows the keys of every generation, and takes each record for the next of the present
one, or the first of the one after: what is neither would be a pair used again, or one left out.
"""

import os
import random
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress

import pytest
from cryptography.exceptions import InvalidTag

import ktls
from keyed_link import connected, parameters
from record_reader import CHACHA20_POLY1305, SUITES, RecordReader, Secrets, Suite, raw_records
from traffic_secrets import KEY_UPDATE, TrafficSecret

TLS13 = [suite for suite in SUITES if suite.tls_vminor == 4]
TIMEOUT = 20


class Wire(threading.Thread):
    """Reads the far end, and opens records of one generation of keys after another."""

    def __init__(self, peer: socket.socket, generations: list[Secrets]) -> None:
        super().__init__()
        self._peer = peer
        self._generations = generations
        self.present = 0
        self.pairs: set[tuple[bytes, int]] = set()
        self.nonces: set[tuple[bytes, bytes]] = set()
        self.payload_len = 0
        self.error: BaseException | None = None
        peer.settimeout(TIMEOUT)
        self.start()

    def run(self) -> None:
        try:
            self._read()
        except BaseException as error:
            self.error = error

    def finished(self) -> "Wire":
        """Wait for the end of the stream; raises what went wrong."""
        self.join(TIMEOUT)
        assert not self.is_alive()
        if self.error is not None:
            raise self.error
        return self

    def _read(self) -> None:
        reader = RecordReader(self._generations[0])
        for record in raw_records(self._peer):
            try:
                _, payload = reader.open(record)
            except InvalidTag:
                self.present += 1
                reader = RecordReader(self._generations[self.present])
                _, payload = reader.open(record)
            key = self._generations[self.present].key
            pair = (key, reader.sequence - 1)
            assert pair not in self.pairs
            self.pairs.add(pair)
            nonces = {(key, nonce) for nonce in reader.nonces}
            # The reader forgets nothing; only its newest is new to us.
            assert len(nonces - self.nonces) == 1
            self.nonces |= nonces
            reader.nonces.clear()
            self.payload_len += len(payload)


def run_in_child(work: Callable[[], None]) -> None:
    pid = os.fork()
    if not pid:
        code = 1
        try:
            signal.alarm(TIMEOUT)
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def try_everything(sock: ktls.Socket) -> None:
    """All that a forked child could do with its parent's socket."""
    with open(sys.executable, "rb") as file:
        for call in (
            lambda: sock.send(b"from the child"),
            lambda: sock.sendall(bytes(100_000)),
            lambda: sock.sendmsg([b"from", b"the child"]),
            lambda: sock.sendfile(file, 0, 100_000),
            lambda: sock.setsockopt(
                ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(Secrets(SUITES[3]))
            ),
            lambda: sock.rekey(bytes(32)),
            lambda: sock.flush(1),
            lambda: sock.detach(),
        ):
            with pytest.raises((OSError, ValueError)):
                call()
    sock.close()


@pytest.mark.rule("RFC 5288 3", "RFC 7905 2", "RFC 8446 5.3")
@pytest.mark.parametrize("suite", SUITES, ids=str)
def test_forks_in_the_middle_of_writes_repeat_no_nonce(enabled: None, suite: Suite) -> None:
    near, far = connected()
    secrets = Secrets(suite)
    wire = Wire(far, [secrets])
    sent = 0
    with ktls.Socket(near) as sock, far:
        sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(secrets))
        for length in (1, 20_000, 3_000_000):
            sock.setblocking(False)
            with suppress(BlockingIOError):
                sent += sock.send(bytes(length))
            run_in_child(lambda: try_everything(sock))
            sock.setblocking(True)
            sock.sendall(bytes(length))
            sent += length
        sock.close()
        assert wire.finished().payload_len == sent
    assert len(wire.nonces) == len(wire.pairs) >= 6


@pytest.mark.rule("RFC 8446 5.3")
@pytest.mark.parametrize("suite", TLS13, ids=str)
@pytest.mark.parametrize("backend", [backend.name for backend in ktls.backends.available()])
def test_key_updates_forks_and_mode_switches_repeat_no_nonce(
    enabled: None, suite: Suite, backend: str
) -> None:
    ktls.sysctl["kern.ipc.tls.backend"] = backend
    ktls.sysctl["kern.ipc.tls.debug.seal_delay_us"] = 200
    near, far = connected()
    updates = 40
    secrets = TrafficSecret(suite).row(updates + 1)
    wire = Wire(far, [secret.secrets() for secret in secrets])
    sent = [0, 0, 0]
    stop = threading.Event()
    with ktls.Socket(near) as sock, far:
        sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(secrets[0].secrets()))

        def write(index: int) -> None:
            while not stop.is_set():
                length = random.choice([1, 500, 16384, 70_000])
                sock.sendall(bytes(length))
                sent[index] += length

        threads = [threading.Thread(target=write, args=(index,)) for index in range(3)]
        for thread in threads:
            thread.start()
        try:
            for update, secret in enumerate(secrets[1:]):
                sock.rekey(secret.value)
                sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_MODE, ktls.Mode.SW)
                with pytest.raises(OSError, match="no interface"):
                    sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_MODE, ktls.Mode.IFNET)
                if update % 10 == 5:
                    run_in_child(lambda: try_everything(sock))
            # A record of the last generation.
            sock.sendall(b"x")
        finally:
            stop.set()
            for thread in threads:
                thread.join(TIMEOUT)
        sock.close()
        wire.finished()
    assert wire.payload_len == sum(sent) + updates * len(KEY_UPDATE) + 1
    assert wire.present == updates
    assert len(wire.nonces) == len(wire.pairs)


@pytest.mark.rule("RFC 5288 3")
@pytest.mark.parametrize("suite", SUITES, ids=str)
def test_two_sessions_with_one_key_do_not_begin_alike(enabled: None, suite: Suite) -> None:
    """Explicit nonces begin at random; the others are the number's, which the caller gives."""
    if suite.tls_vminor == 4 or suite.cipher_algorithm == CHACHA20_POLY1305:
        explicit = False
    else:
        explicit = True
    secrets = Secrets(suite)
    records = []
    for _ in range(2):
        near, far = connected()
        far.settimeout(TIMEOUT)
        with ktls.Socket(near) as sock, far:
            sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(secrets))
            sock.send(b"same")
            sock.close()
            records += list(raw_records(far))
    one, other = records
    assert (one[5:13] != other[5:13]) == explicit
    assert (one == other) == (not explicit)
