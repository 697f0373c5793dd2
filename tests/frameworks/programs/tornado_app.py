"""The application of docs/frameworks.md for tornado; `app` says what it answers."""

import hashlib

from app import BLOCK_SIZE, FILE
from connection import described
from tornado.web import RequestHandler, stream_request_body


class File(RequestHandler):
    async def get(self) -> None:
        self.set_header("Content-Length", str(FILE.stat().st_size))
        with FILE.open("rb") as file:
            while block := file.read(BLOCK_SIZE):
                self.write(block)
                await self.flush()


class Connection(RequestHandler):
    def get(self) -> None:
        self.write(described(self.request.connection.stream.socket))


@stream_request_body
class Upload(RequestHandler):
    def prepare(self) -> None:
        self.request.connection.set_max_body_size(1 << 30)
        self._digest = hashlib.sha256()
        self._length = 0

    def data_received(self, chunk: bytes) -> None:
        self._digest.update(chunk)
        self._length += len(chunk)

    def put(self) -> None:
        self.write({"sha256": self._digest.hexdigest(), "length": self._length})


HANDLERS = [("/file.bin", File), ("/connection", Connection), ("/upload", Upload)]
