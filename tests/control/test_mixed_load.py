"""``ktls netstat --json`` agrees with peers that record, after connections that ended in every way.

The peers open and seal with another implementation, and count.
"""

import json
import random
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from control.live_process import PATIENCE_S, TESTS, environment, eventually
from record_reader import SUITES, RecordReader, raw_records
from record_writer import RecordWriter
from traffic_secrets import KEY_UPDATE, TrafficSecret

SUITE = SUITES[3]
END = b"this was all"
ENDS = ["close", "abort", "garbage"]


@dataclass
class Recorded:
    """What all peers counted, from the side of the process: `tx` is what it sent."""

    tx: dict[str, int] = field(default_factory=dict)
    rx: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, way: str, **counted: int) -> None:
        with self.lock:
            sums = getattr(self, way)
            for name, number in counted.items():
                sums[name] = sums.get(name, 0) + number


def record_one(port: int, size: int, end: str, recorded: Recorded) -> None:
    """One connection: its peer reads all there is, and sends at the same time."""
    secrets = TrafficSecret(SUITE), TrafficSecret(SUITE)
    told = {"tx": secrets[0].value.hex(), "rx": secrets[1].value.hex(), "size": size, "end": end}
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.settimeout(PATIENCE_S)
        sock.sendall(json.dumps(told).encode() + b"\n")
        received: list[bytes] = []
        records = raw_records(sock, cut_off=True)
        reader, secret = RecordReader(secrets[0].secrets()), secrets[0]
        first = next(records)
        assert reader.open(first) == (23, b"keyed")
        recorded.add("tx", records=1, payload_bytes=5, wire_bytes=len(first))
        sending = threading.Thread(target=send_some, args=(sock, secrets[1], size, recorded))
        sending.start()
        for record in records:
            content_type, payload = reader.open(record)
            recorded.add("tx", records=1, payload_bytes=len(payload), wire_bytes=len(record))
            if (content_type, payload) == (22, KEY_UPDATE):
                recorded.add("tx", key_changes=1)
                secret = secret.next()
                reader = RecordReader(secret.secrets())
            received.append(payload)
            if payload == END:
                break
        assert received[-1] == END
        sending.join()
        if end == "garbage":
            # No record, and the connection is dropped; all that was sent has arrived by now.
            sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
            recorded.add("rx", errors=1)
        else:
            sock.shutdown(socket.SHUT_WR)
        try:
            assert sock.recv(1) == b""
        except ConnectionResetError:
            assert end != "close"


def send_some(sock: socket.socket, secret: TrafficSecret, size: int, recorded: Recorded) -> None:
    """Records of any size, some that do not open, and changes of the key."""
    writer = RecordWriter(secret.secrets())
    left = size
    while left > 0:
        payload = bytes(min(left, random.choice([0, 1, 700, 16384])))
        left -= max(1, len(payload))
        record = writer.seal(payload)
        sums = {"records": 1, "payload_bytes": len(payload), "wire_bytes": len(record)}
        if random.random() < 0.1:
            record = record[:-1] + bytes([record[-1] ^ 1])
            sums |= {"payload_bytes": 0, "errors": 1}
        sock.sendall(record)
        recorded.add("rx", **sums)
        if random.random() < 0.1:
            update = writer.seal(KEY_UPDATE, 22)
            sock.sendall(update)
            recorded.add("rx", records=1, payload_bytes=5, wire_bytes=len(update), key_changes=1)
            secret = secret.next()
            writer = RecordWriter(secret.secrets())


def netstat(pid: int, runtime: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "ktls", "netstat", "--json", "--pid", str(pid)]
    told = subprocess.run(
        command, env=environment(runtime), capture_output=True, text=True, timeout=50, check=True
    )
    [process] = json.loads(told.stdout)["processes"]
    return process


@pytest.mark.parametrize(
    "seconds",
    [3, pytest.param(60, marks=[pytest.mark.large, pytest.mark.timeout(300)])],
)
def test_the_counters_are_those_of_the_peers(runtime: Path, tmp_path: Path, seconds: float) -> None:
    random.seed(3)
    recorded = Recorded()
    program = subprocess.Popen(
        [sys.executable, str(TESTS / "control/programs/loaded.py"), str(tmp_path)],
        env=environment(runtime),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with program:
        try:
            assert program.stdout is not None
            pid, port = json.loads(program.stdout.readline())
            end_s = time.monotonic() + seconds
            connections = 0
            with ThreadPoolExecutor(4) as pool:
                while time.monotonic() < end_s:
                    sizes = [random.choice([0, 10, 20_000, 1_000_000]) for _ in range(4)]
                    ends = [random.choice(ENDS) for _ in sizes]
                    connections += len(sizes)
                    for done in [
                        pool.submit(record_one, port, size, end, recorded)
                        for size, end in zip(sizes, ends, strict=True)
                    ]:
                        done.result(PATIENCE_S)
            for way in ("tx", "rx"):
                recorded.add(way, errors=0, key_changes=0)
            eventually(lambda: not netstat(pid, runtime)["connections"])
            # Those that were closed last may be on their way from the one sum to the other.
            end_s = time.monotonic() + 10
            while True:
                totals = netstat(pid, runtime)["totals"]
                # What a reset or an abort does to the send side is its error, not a record's.
                recorded.tx["errors"] = totals["tx"]["errors"]
                if totals == {"tx": recorded.tx, "rx": recorded.rx} or time.monotonic() > end_s:
                    break
                time.sleep(0.1)
            assert totals == {"tx": recorded.tx, "rx": recorded.rx}
            assert recorded.tx["errors"] <= connections
        finally:
            program.kill()
