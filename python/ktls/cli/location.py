"""From the target of a request to a file of the directory, and never out of it.

Nothing outside the directory is found.  A symbolic link is followed when what it leads to lies
inside.  Only regular files are opened.  Knows no HTTP beside the forms of a target.
"""

import os
import re
import stat
import urllib.parse
from dataclasses import dataclass
from typing import BinaryIO

# With a host and without a user (RFC 9110 §4.2).
_ABSOLUTE = re.compile(
    r"https?://(?:\[[0-9A-F:.]+\]|[A-Z0-9._~!$&'()*+,;=%-]+)(?::[0-9]*)?(?P<rest>(?:[/?].*)?)",
    re.ASCII | re.IGNORECASE,
)
_NOT_ENCODED = re.compile(r"%(?![0-9A-Fa-f]{2})")
_INDEX_NAMES = ("index.html", "index.htm")
_OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW


class TargetError(ValueError):
    """Not a target that names something here (RFC 9112 §3.2)."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a target names: segments of a path, decoded, without dots."""

    segments: tuple[str, ...]
    is_directory: bool
    """Whether it ends as the name of a directory does."""
    has_slash: bool
    """Whether a browser takes what is relative to it to be inside: it ends in "/" as sent."""
    query: str

    @classmethod
    def parse(cls, target: str) -> "Target":
        """Read the origin form, or the absolute form of an http or https URI.

        Octets are decoded before the path is cut, so "%2F" separates as "/" does: no file name
        holds one.  Names need not be UTF-8.  Raises TargetError.
        """
        if not target.startswith("/"):
            match = _ABSOLUTE.fullmatch(target)
            if match is None:
                raise TargetError(f"{target!r} is neither a path nor an http URI with a host")
            target = match["rest"]
        path, _, query = target.partition("?")
        if "#" in target or _NOT_ENCODED.search(path):
            raise TargetError(f"{target!r} has a fragment, or a % without two digits")
        names: list[bytes] = []
        decoded = urllib.parse.unquote_to_bytes(path.encode("latin-1")).split(b"/")
        for name in decoded:
            if name == b"..":
                del names[-1:]
            elif name not in (b"", b"."):
                names.append(name)
        is_directory = decoded[-1] in (b"", b".", b"..")
        has_slash = path.endswith("/") or not path
        return cls(tuple(map(os.fsdecode, names)), is_directory, has_slash, query)

    @property
    def directory_path(self) -> str:
        """The path of this directory for a URI; never one that begins like an authority."""
        quoted = (urllib.parse.quote(os.fsencode(name), safe="") for name in self.segments)
        return "".join(f"/{name}" for name in quoted) + "/"

    @property
    def directory_reference(self) -> str:
        """The same with the query, for the Location of a redirection."""
        query = urllib.parse.quote(
            self.query.encode("latin-1"), safe="%!$&'()*+,-./:;=?@_~" + "[]|^`{}\\"
        )
        return self.directory_path + (f"?{query}" if query else "")


def resolve(root: str, target: Target) -> str:
    """Path of what `target` names below `root`, without links.

    FileNotFoundError when that lies outside, or is no directory though it is named like one;
    ValueError for a name with a zero byte.
    """
    return _resolve(root, os.path.join(root, *target.segments), target.is_directory)


def index_of(root: str, directory: str) -> str | None:
    """Path of the page that stands for a directory, without links; None where there is none."""
    for name in _INDEX_NAMES:
        index = os.path.join(directory, name)
        if os.path.isfile(index):
            return _resolve(root, index, False)
    return None


def open_regular(path: str) -> BinaryIO:
    """Open a regular file; FileNotFoundError for anything else, without waiting on a pipe."""
    descriptor = os.open(path, _OPEN_FLAGS)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileNotFoundError(f"{path} is not a regular file")
    return os.fdopen(descriptor, "rb", buffering=0)


def _resolve(root: str, location: str, is_directory: bool) -> str:
    resolved = os.path.realpath(location)
    if os.path.commonpath((resolved, root)) != root:
        raise FileNotFoundError(f"{location} leads out of {root}")
    if is_directory and not os.path.isdir(resolved):
        raise FileNotFoundError(f"{location} is not a directory")
    return resolved
