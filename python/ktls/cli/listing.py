"""The page that lists a directory, and the media types of files."""

import html
import mimetypes
import os
import urllib.parse

# A browser would unpack what has a Content-Encoding; packed files are served as what they are.
_PACKED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}
_ANY = "application/octet-stream"


def page(directory: str, path: str, prefix: str) -> bytes:
    """HTML that lists `directory`, UTF-8; `path` is its title, `prefix` precedes each link.

    OSError when it cannot be read.
    """
    title = html.escape(f"Directory listing for {path}")
    rows = []
    with os.scandir(directory) as listed:
        entries = sorted(listed, key=lambda entry: entry.name.lower())
    for entry in entries:
        # What a link leads to decides how it is named in a URI; a broken one is no directory.
        slash = "/" if os.path.isdir(entry.path) else ""
        mark = "@" if entry.is_symlink() else slash
        reference = prefix + urllib.parse.quote(os.fsencode(entry.name), safe="") + slash
        rows.append(f'<li><a href="{reference}">{html.escape(entry.name)}{mark}</a></li>')
    text = "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f"<title>{title}</title>\n</head>\n<body>\n<h1>{title}</h1>\n<hr>\n<ul>",
            *rows,
            "</ul>\n<hr>\n</body>\n</html>\n",
        ]
    )
    return text.encode("utf-8", "replace")


def media_type(path: str) -> str:
    """The type that the name of a file says."""
    kind, encoding = mimetypes.guess_type(path)
    return (kind if encoding is None else _PACKED.get(encoding)) or _ANY
