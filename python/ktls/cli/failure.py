"""The one exception that ends a command with a line instead of a traceback."""


class CommandError(Exception):
    """What was wrong and what to do about it, in one line."""
