"""What `sendfile` needs where OpenSSL writes: a file is read, and goes out record by record."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from ktls._core import OpenSSLSide

_RECORD_LEN: Final = 16384


class OpenSSLSender:
    """Sends by OpenSSL, as a stream does by itself."""

    def __init__(self, side: OpenSSLSide) -> None:
        self._side = side

    def send_counted(self, data: ReadableBuffer, accepted: list[int], /) -> int:
        """As `SendStream.send_counted`."""
        accepted.append(self._side.write(data, all=False, before=sum(accepted)))
        return accepted[-1]

    def sendfile(self, fd: int, offset: int, count: int, file: Any, before: int, /) -> int:
        """As `SendStream.sendfile`."""
        data = os.pread(fd, min(count, _RECORD_LEN), offset)
        sent = self._side.write(data, all=False, before=before)
        if file is not None:
            file.seek(offset + sent)
        return sent
