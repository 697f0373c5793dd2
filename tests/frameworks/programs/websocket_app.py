"""Both ends of docs/frameworks.md for websockets; the client ends well when all came back."""

import json
import random
from typing import Any

from connection import described

LENGTHS = [0, 1, 125, 126, 16384, 65536, 1_000_003, 20_000_000]


def echo(websocket: Any) -> None:
    """Say what the connection is, then send everything back."""
    websocket.send(json.dumps(described(websocket.socket)))
    for message in websocket:
        websocket.send(message)


def talk(websocket: Any) -> None:
    """Send what comes back, and print what each end says of the connection."""
    print(websocket.recv())
    print(json.dumps(described(websocket.socket)))
    source = random.Random(1)
    for length in LENGTHS:
        message = source.randbytes(length)
        websocket.send(message)
        assert websocket.recv() == message, length
