"""What is sent: 100 MB, as bytes of any value and as the lines of a message."""

import base64
import hashlib
import random

SIZE = 100_000_000
_LINE_LEN = 960
"""Under the 998 of RFC 5322 §2.1.1."""


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def random_bytes() -> bytes:
    """`SIZE` bytes."""
    return random.Random(1).randbytes(SIZE)


def message() -> bytes:
    """A message of at least `SIZE` bytes in lines of ASCII that end with CRLF."""
    line_count = SIZE // (_LINE_LEN + 2) + 1
    text = base64.b64encode(random.Random(2).randbytes(line_count * _LINE_LEN * 3 // 4))
    lines = [text[start : start + _LINE_LEN] for start in range(0, len(text), _LINE_LEN)]
    return b"Subject: large\r\n\r\n" + b"\r\n".join(lines) + b"\r\n"
