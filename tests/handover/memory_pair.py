"""Two `SSLObject`s that talk through memory, and a look at the key log in memory.  No threads."""

import os
import ssl
from contextlib import suppress
from pathlib import Path

from support import descriptors


class MemoryPair:
    """A client and a server between memory BIOs, before their handshake."""

    def __init__(
        self,
        client: ssl.SSLContext,
        server: ssl.SSLContext,
        session: ssl.SSLSession | None = None,
    ) -> None:
        self.to_server, self.to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = client.wrap_bio(
            self.to_client, self.to_server, server_hostname="localhost", session=session
        )
        self.server = server.wrap_bio(self.to_server, self.to_client, server_side=True)

    def shake_hands(self) -> None:
        """Turn by turn; what OpenSSL raises is raised."""
        unfinished = [self.client, self.server]
        while unfinished:
            for end in list(unfinished):
                with suppress(ssl.SSLWantReadError):
                    end.do_handshake()
                    unfinished.remove(end)

    def exchange(self) -> None:
        """Data both ways, and the tickets that come before it."""
        for one, other in ((self.client, self.server), (self.server, self.client)):
            assert one.write(b"data") == 4
            assert other.read(100) == b"data"


def key_log_path() -> Path:
    """The memory file of this process, as the system shows it to everybody who may look."""
    paths = descriptors.paths("/memfd:ktls-keylog")
    # The reader has a descriptor of its own.
    assert len({path.stat().st_ino for path in paths}) == 1
    return paths[0]


def logged() -> bytes:
    """What can be read of it."""
    return key_log_path().read_bytes().strip(b"\0")


def assert_nothing_is_left() -> None:
    """No byte, no disk block, no length."""
    assert logged() == b""
    status = os.stat(key_log_path())
    assert (status.st_size, status.st_blocks) == (0, 0)


def secrets_in(path: Path) -> list[str]:
    """The secrets of a key log file, in hexadecimal."""
    lines = path.read_text().splitlines()
    return [line.split()[2] for line in lines if not line.startswith("#")]
