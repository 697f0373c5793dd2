"""What the tests of full sockets share: sockets that hold little, and a reader that is told when.

Not a fixture file: the connections themselves come from ``conftest``.
"""

import threading
import time
from collections.abc import Callable

import ktls
from keyed_link import Link
from record_reader import read_records

PENDING = "kern.ipc.tls.stats.aio_pending"
WRITES = "kern.ipc.tls.stats.aio_writes"


def keep(space: int) -> None:
    """Sockets made from now on hold no more than this."""
    for name in ("sendspace", "sendspace_max"):
        ktls.sysctl[f"kern.ipc.tls.{name}"] = space
    ktls.sysctl["kern.ipc.tls.sendlowat"] = space // 2


def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread is about to do; fails after a while."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.001)


class Reading(threading.Thread):
    """Opens all records up to the end of the stream, in the background, from now on."""

    def __init__(self, link: Link) -> None:
        super().__init__(daemon=True)
        self._link = link
        self.records: list[tuple[int, bytes]] = []
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.records = read_records(self._link.peer, self._link.reader)
        except BaseException as error:
            self.error = error

    def finished(self) -> list[tuple[int, bytes]]:
        """Close our end; all records, when the other one has read them."""
        self._link.sock.close()
        self.join(30)
        assert not self.is_alive()
        if self.error is not None:
            raise self.error
        return self.records

    def data(self) -> bytes:
        """The same, when it is application data alone."""
        records = self.finished()
        assert {content_type for content_type, _ in records} <= {23}
        return b"".join(payload for _, payload in records)
