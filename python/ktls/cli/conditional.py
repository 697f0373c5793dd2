"""Validators and ranges of HTTP: whether to answer, and with which bytes (RFC 9110 §8.8, §13, §14).

Pure functions over header values; answer.py asks them.
"""

import datetime
import email.utils
import os
import re
from dataclasses import dataclass

from ktls.cli.request import Headers

_RANGE = re.compile(r"bytes=[ \t]*(?:([0-9]+)-([0-9]*)|-([0-9]+))[ \t]*", re.IGNORECASE)
_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')


class UnsatisfiableRangeError(Exception):
    """The range lies wholly outside the file: 416."""


@dataclass(frozen=True, slots=True)
class Validators:
    """What tells one state of a file from another."""

    etag: str
    """Strong, with its quotes: time of modification in nanoseconds, and size."""
    last_modified: int
    """Seconds since 1970, as the Last-Modified header can say them."""

    @classmethod
    def of(cls, status: os.stat_result) -> "Validators":
        """The validators of a file's present state."""
        return cls(f'"{status.st_mtime_ns:x}-{status.st_size:x}"', int(status.st_mtime))

    def precondition_failed(self, headers: Headers) -> bool:
        """Whether a request with these headers is answered by 412 (RFC 9110 §13.2.2)."""
        wanted = headers.get("If-Match")
        if wanted is not None:
            # If-Unmodified-Since does not count beside it, and the comparison is the strong one.
            return wanted.strip() != "*" and self.etag not in _strong_tags(wanted)
        since = _seconds(headers.get("If-Unmodified-Since"))
        return since is not None and self.last_modified > since

    def not_modified(self, headers: Headers) -> bool:
        """Whether GET or HEAD with these headers is answered by 304 (RFC 9110 §13.2.2)."""
        wanted = headers.get("If-None-Match")
        if wanted is not None:
            # If-Modified-Since does not count beside it, and the comparison is the weak one.
            tags = {tag.removeprefix("W/") for tag in _TAG.findall(wanted)}
            return wanted.strip() == "*" or self.etag in tags
        since = _seconds(headers.get("If-Modified-Since"))
        return since is not None and self.last_modified <= since

    def allow_range(self, if_range: str | None) -> bool:
        """Whether a Range header counts beside this If-Range: strongly compared, §13.1.5."""
        if if_range is None or if_range.strip() == self.etag:
            return True
        return _seconds(if_range) == self.last_modified


def select_range(header: str | None, size: int) -> range | None:
    """The byte positions that a Range header asks for in a file of `size` bytes; None: all.

    Several ranges, other units and malformed values are answered with the whole file, as RFC 9110
    §14.2 allows.  Raises UnsatisfiableRangeError.
    """
    match = _RANGE.fullmatch(header.strip()) if header is not None else None
    if match is None:
        return None
    first_text, last_text, suffix_text = match.groups()
    if suffix_text is not None:
        suffix_len = _position(suffix_text)
        if suffix_len == 0 or size == 0:
            raise UnsatisfiableRangeError
        return range(max(size - suffix_len, 0), size)
    first = _position(first_text)
    last = _position(last_text) if last_text else size - 1
    if last_text and last < first:
        return None
    if first >= size:
        raise UnsatisfiableRangeError
    return range(first, min(last + 1, size))


def _strong_tags(header: str) -> set[str]:
    return {tag for tag in _TAG.findall(header) if not tag.startswith("W/")}


def _position(digits: str) -> int:
    """A byte position; what no file reaches is cut off before int() meets its digit limit."""
    significant = digits.lstrip("0")
    return int(significant or "0") if len(significant) < 20 else 1 << 63


def _seconds(http_date: str | None) -> int | None:
    """Seconds since 1970 of an HTTP date, None when it is not one."""
    if http_date is None:
        return None
    try:
        moment = email.utils.parsedate_to_datetime(http_date)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=datetime.UTC)
        return int(moment.timestamp())
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
