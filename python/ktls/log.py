"""The loggers ``ktls.*``: silent until a program sets their level (docs/metrics.md).

A handler alone does not make them speak: a handshake must not wait for the handler of a log that is
sent through that very connection.
"""

import logging

_root = logging.getLogger("ktls")
if _root.level == logging.NOTSET:
    _root.setLevel(logging.CRITICAL + 1)


def logger(name: str) -> logging.Logger:
    """Return the logger ``ktls.NAME``."""
    return _root.getChild(name)
