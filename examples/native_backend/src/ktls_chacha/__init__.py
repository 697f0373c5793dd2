"""ChaCha20-Poly1305 in plain C, as a backend of ktls."""

from typing import Final

from ktls_chacha import _chacha


class Backend:
    """Made by ktls, which finds it through the entry-point group ``ktls.backends``."""

    name: Final = "chacha-example"
    # Below the built-in ones: it is asked when an operator fixes it by hand.
    prio: Final = 1
    api_version: Final = 1

    def __init__(self) -> None:
        self.capsule = _chacha.capsule()
