"""What a request is answered with: a status, fields, and text or a part of a file.

Decides and opens; sends nothing.
"""

import errno
import os
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import BinaryIO

from ktls.cli import listing, location
from ktls.cli.conditional import UnsatisfiableRangeError, Validators, select_range
from ktls.cli.request import Request

RESOURCES_SHORT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""Errors that say nothing about what was asked for, and pass."""

_METHODS = frozenset({"GET", "HEAD"})
_REFUSED = frozenset({"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})


@dataclass(frozen=True, slots=True)
class Answer:
    """A final response; `file` is open, and whoever sends the answer closes it."""

    status: HTTPStatus
    fields: tuple[tuple[str, str], ...]
    text: bytes = b""
    file: BinaryIO | None = None
    positions: range = range(0)
    """Which bytes of `file` are the body."""

    @property
    def body_len(self) -> int:
        """Bytes of the body, were the request a GET."""
        return len(self.text) if self.file is None else len(self.positions)


def answer_to(request: Request, root: str) -> Answer:
    """Answer a request from the directory `root`, a path without links."""
    if request.method in _REFUSED:
        return status_answer(HTTPStatus.METHOD_NOT_ALLOWED, ("Allow", "GET, HEAD"))
    if request.method not in _METHODS:
        return status_answer(HTTPStatus.NOT_IMPLEMENTED)
    try:
        return _find(request, root, location.Target.parse(request.target))
    except location.TargetError:
        return status_answer(HTTPStatus.BAD_REQUEST)
    except PermissionError:
        return status_answer(HTTPStatus.FORBIDDEN)
    except (OSError, ValueError) as error:
        short = isinstance(error, OSError) and error.errno in RESOURCES_SHORT
        # Otherwise not there, outside, a name too long or with a zero byte, a loop, a pipe.
        return status_answer(HTTPStatus.SERVICE_UNAVAILABLE if short else HTTPStatus.NOT_FOUND)


def status_answer(status: HTTPStatus, *fields: tuple[str, str]) -> Answer:
    """A status with its name as text."""
    return _text(status, f"{status.value} {status.phrase}\n".encode(), "text/plain", *fields)


def _text(status: HTTPStatus, text: bytes, kind: str, *fields: tuple[str, str]) -> Answer:
    common = (("Content-Type", f"{kind}; charset=utf-8"), ("Content-Length", str(len(text))))
    return Answer(status, (*common, *fields), text)


def _find(request: Request, root: str, target: location.Target) -> Answer:
    path = location.resolve(root, target)
    if os.path.isdir(path):
        if not target.is_directory:
            moved = ("Location", target.directory_reference)
            return status_answer(HTTPStatus.MOVED_PERMANENTLY, moved)
        index = location.index_of(root, path)
        if index is None:
            name = target.directory_path
            page = listing.page(path, _shown(target), "" if target.has_slash else name)
            return _text(HTTPStatus.OK, page, "text/html")
        path = index
    file = location.open_regular(path)
    answer = None
    try:
        answer = _file_answer(request, file, listing.media_type(path))
        return answer
    finally:
        if answer is None or answer.file is None:
            file.close()


def _shown(target: location.Target) -> str:
    return "/".join(("", *target.segments, "")) if target.segments else "/"


def _file_answer(request: Request, file: BinaryIO, media_type: str) -> Answer:
    status, headers = os.fstat(file.fileno()), request.headers
    validators = Validators.of(status)
    common = (
        ("ETag", validators.etag),
        ("Last-Modified", formatdate(validators.last_modified, usegmt=True)),
        ("Accept-Ranges", "bytes"),
    )
    if validators.precondition_failed(headers):
        return status_answer(HTTPStatus.PRECONDITION_FAILED)
    if validators.not_modified(headers):
        return Answer(HTTPStatus.NOT_MODIFIED, common)
    size, selected = status.st_size, None
    # Range means nothing to HEAD (RFC 9110 §14.2).
    if request.method == "GET" and validators.allow_range(headers.get("If-Range")):
        try:
            selected = select_range(headers.get("Range"), size)
        except UnsatisfiableRangeError:
            outside = ("Content-Range", f"bytes */{size}")
            return status_answer(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, outside)
    positions = range(size) if selected is None else selected
    fields = (("Content-Type", media_type), ("Content-Length", str(len(positions))), *common)
    if selected is None:
        return Answer(HTTPStatus.OK, fields, file=file, positions=positions)
    part = ("Content-Range", f"bytes {selected.start}-{selected.stop - 1}/{size}")
    return Answer(HTTPStatus.PARTIAL_CONTENT, (*fields, part), file=file, positions=positions)
