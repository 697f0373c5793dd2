"""``sendfile`` under signal handlers that raise: the file's position is what was accepted."""

import io
import signal
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from random import randbytes
from typing import Any

import pytest

import ktls
from faces import Face, handshaken, keyed

CONTENT = randbytes(1_500_000)
INTERVAL_S = 0.0007


class Interruption(Exception):
    """What the handler raises."""


class Alarm:
    """Raises once in whatever is called between `arm` and the next one."""

    def __init__(self) -> None:
        self.armed = False
        self.count = 0

    def __call__(self, *_: object) -> None:
        if self.armed:
            self.armed = False
            self.count += 1
            raise Interruption


@pytest.fixture
def alarm() -> Iterator[Alarm]:
    alarm = Alarm()
    before = signal.signal(signal.SIGALRM, alarm)
    signal.setitimer(signal.ITIMER_REAL, INTERVAL_S, INTERVAL_S)
    yield alarm
    alarm.armed = False
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(params=["Socket", "TLSSocket"])
def make_face(
    request: pytest.FixtureRequest,
    enabled: None,
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
) -> Callable[[], AbstractContextManager[Face]]:
    """Makes connections with the smallest buffers, so that calls wait."""
    ktls.sysctl["kern.ipc.tls.sendspace"] = 30_000
    ktls.sysctl["kern.ipc.tls.flush_unit"] = 16384
    ktls.sysctl["kern.ipc.tls.file_window"] = 16384
    if request.param == "Socket":
        return lambda: keyed(small=True)
    ktls.prepare(server_context)
    return lambda: handshaken(
        lambda sock, **how: ktls.wrap_socket(sock, server_context, **how),
        client_context,
        small=True,
    )


@pytest.mark.parametrize("kind", ["buffered", "raw", "memory"])
def test_file_position_after_each_interruption(
    make_face: Callable[[], AbstractContextManager[Face]], tmp_path: Path, alarm: Alarm, kind: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    files: dict[str, Callable[[], Any]] = {
        "buffered": lambda: path.open("rb"),
        "raw": lambda: path.open("rb", buffering=0),
        "memory": lambda: io.BytesIO(CONTENT),
    }
    received: list[bytes] = []
    # The peer reads on after an interruption alone, so that there is one for every few records.
    paces = threading.Semaphore(0)
    with make_face() as face, files[kind]() as file:
        reader = threading.Thread(
            target=lambda: received.append(face.arrived(paces.acquire)), daemon=True
        )
        reader.start()
        while (position := file.tell()) < len(CONTENT):
            try:
                alarm.armed = True
                face.sock.sendfile(file, position)
            except Interruption:
                paces.release(3)
            alarm.armed = False
        paces.release(1000)
        face.sock.close()
        reader.join(30)
    assert alarm.count > 20
    assert received == [CONTENT]
