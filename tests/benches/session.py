"""Results as a session would give them, without measuring anything."""

from harness.cases import Case
from harness.runner import Result
from harness.work import Sends

SEND = Case("send-1048576", "sendall of 1 MiB", Sends(size=1 << 20, seconds=1), "gb_s", bool)
FACTS = {"date": "2026-01-01 00:00 UTC", "commit": "abc", "CPU": "<two> & more", "CPUs": "2"}
FACTS["kernel"] = "Linux"


def result(*rates: float) -> Result:
    return Result([{"gb_s": rate, "cpu_ns": 16384 / rate} for rate in rates])


def session() -> dict[str, dict[str, Result]]:
    return {
        "send-1048576": {
            "plain": result(8.0, 9.0, 10.0),
            "ssl": result(1.0, 2.0, 1.5),
            "pyOpenSSL": Result([], "pyOpenSSL is not installed"),
            "ktls pool ring": result(4.5, 4.5, 3.0),
        },
        "idle": {
            "ssl": Result([{"connection_bytes": 20480.0, "connection_fds": 1.0}]),
            "ktls": Result([{"connection_bytes": 5120.0, "connection_fds": 1.0}]),
        },
    }
