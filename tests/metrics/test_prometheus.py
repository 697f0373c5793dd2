"""What /metrics says, against the tree and against a recording peer."""

import os
import random
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.parser import text_string_to_metric_families

import ktls
from keyed_link import Link, connected, linked, parameters
from ktls.contrib import prometheus
from record_reader import SUITES, RecordReader, Secrets, raw_records
from record_writer import RecordWriter
from traffic_secrets import KEY_UPDATE, TrafficSecret

PREFIX = "kern.ipc.tls."
TLS13 = SUITES[3]
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parsed(text: str) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def registry(enabled: None) -> CollectorRegistry:
    made = CollectorRegistry()
    prometheus.register(made)
    return made


@pytest.fixture
def url(registry: CollectorRegistry) -> Iterator[str]:
    """A real endpoint."""
    server, thread = start_http_server(0, addr="127.0.0.1", registry=registry)
    yield f"http://127.0.0.1:{server.server_port}/metrics"
    server.shutdown()
    server.server_close()
    thread.join()


def scrape(url: str) -> Samples:
    with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310
        return parsed(answer.read().decode())


def test_every_counter_and_gauge_of_the_tree_is_there(url: str) -> None:
    names = {name for name, _ in scrape(url)}
    for name in ktls.sysctl:
        node = ktls.sysctl.node(name)
        shown = prometheus.metric_name(node) + ("_total" if node.type == "counter" else "")
        assert (shown in names) == (node.flags == "RD"), name


def test_names_that_people_will_write_down(registry: CollectorRegistry) -> None:
    text = generate_latest(registry).decode()
    for line in (
        "# TYPE ktls_records_total counter",
        "# HELP ktls_records_total TLS records sealed",
        "# TYPE ktls_active gauge",
        "# TYPE ktls_sw_gcm gauge",
        "# TYPE ktls_threads gauge",
        "# TYPE ktls_seal_seconds histogram",
        "# TYPE ktls_queue_wait_seconds histogram",
    ):
        assert line in text.splitlines()


def test_two_collectors_in_one_registry_are_refused(registry: CollectorRegistry) -> None:
    with pytest.raises(ValueError, match="Duplicated"):
        prometheus.register(registry)


def test_the_package_does_not_need_prometheus() -> None:
    """Neither is it imported, nor are logs written."""
    code = "import ktls, sys; assert 'prometheus_client' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


# -- times -----------------------------------------------------------------------------------------


def histogram(samples: Samples, name: str, backend: str) -> tuple[int, int, list[float]]:
    """Count, count of the last bucket, and all buckets in order."""
    label = ("backend", backend)
    buckets = {
        float(dict(labels)["le"]): value
        for (sample, labels), value in samples.items()
        if sample == f"{name}_bucket" and label in labels
    }
    count = samples.get((f"{name}_count", (label,)), 0)
    return int(count), int(buckets.get(float("inf"), 0)), [buckets[key] for key in sorted(buckets)]


@pytest.mark.parametrize("backend", ["ring", "aws-lc"])
def test_times_by_backend(registry: CollectorRegistry, backend: str) -> None:
    """One for each unit that was sealed, and one for each turn of a worker."""
    ktls.sysctl[PREFIX + "backend"] = backend
    before = parsed(generate_latest(registry).decode())
    with linked(TLS13) as link:
        # Eight units of the caller's, and then one of a worker's.
        for _ in range(8):
            link.sock.sendall(bytes(100_000))
            link.read(100_000)
        ktls.sysctl[PREFIX + "inline_max"] = 0
        link.sock.setblocking(False)
        assert link.sock.send(bytes(60_000)) == 60_000
        link.read(60_000)
        after = parsed(generate_latest(registry).decode())
    for name, least in (("ktls_seal_seconds", 9), ("ktls_queue_wait_seconds", 1)):
        count, whole, buckets = histogram(after, name, backend)
        assert count == whole
        assert buckets == sorted(buckets), "buckets are cumulative"
        assert count - histogram(before, name, backend)[0] >= least
        total = after[f"{name}_sum", (("backend", backend),)]
        assert total > before.get((f"{name}_sum", (("backend", backend),)), 0)


# -- against a recording peer ----------------------------------------------------------------------


class Recording:
    """What the peers of one run saw and did."""

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()
        self._lock = threading.Lock()

    def note(self, **counts: int) -> None:
        with self._lock:
            self.count.update(counts)


def read_and_record(link: Link, secret: TrafficSecret, recording: Recording) -> None:
    """Opens everything that comes, with a library of its own, and follows key updates."""
    reader = link.reader
    for record in raw_records(link.peer):
        content_type, payload = reader.open(record)
        recording.note(records=1, bytes=len(payload))
        if (content_type, payload) == (22, KEY_UPDATE):
            reader = RecordReader(secret.secrets())
            secret = secret.next()
            recording.note(rekeys=1)


def write_mixed(link: Link, secret: TrafficSecret, seed: int) -> None:
    """Writes of all kinds, with new keys in between, and an orderly end."""
    choose = random.Random(seed)
    for _ in range(choose.randrange(5, 40)):
        match choose.randrange(6):
            case 0:
                link.sock.rekey(secret.value)
                secret = secret.next()
            case 1:
                with link.sock.cork():
                    for _ in range(choose.randrange(1, 9)):
                        link.sock.sendall(bytes(choose.randrange(1, 3000)))
            case 2:
                kind = [(ktls.IPPROTO_TCP, ktls.TLS_SET_RECORD_TYPE, bytes([21]))]
                link.sock.sendmsg([bytes([1, 90])], kind)
            case 3:
                link.sock.aio_write(bytes(choose.randrange(1, 100_000))).result(30)
            case _:
                link.sock.sendall(bytes(choose.choice([1, 200, 16384, 70_000, 400_000])))
    link.sock.close()


def one_connection(seed: int, recording: Recording) -> None:
    with linked(TLS13) as link:
        secret = TrafficSecret(TLS13)
        writer = threading.Thread(target=write_mixed, args=(link, secret, seed))
        writer.start()
        read_and_record(link, secret, recording)
        writer.join()
        recording.note(sessions=1)


def one_receiver(seed: int, recording: Recording) -> None:
    """A peer that sends good records and bad ones, and counts both."""
    choose = random.Random(seed)
    secrets = Secrets(TLS13)
    near, far = connected()
    with ktls.Socket(far) as sock, near:
        sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_RXTLS_ENABLE, parameters(secrets))
        sock.settimeout(20)
        writer = RecordWriter(secrets)
        for _ in range(choose.randrange(1, 30)):
            record = bytearray(writer.seal(os.urandom(choose.randrange(1, 16384))))
            is_bad = choose.randrange(4) == 0
            if is_bad:
                record[-1] ^= 1
            near.sendall(record)
            try:
                left = len(record) - 22
                while left:
                    left -= len(sock.recv(left))
                assert not is_bad
            except OSError:
                assert is_bad
            recording.note(**{"failed_crypto" if is_bad else "rx_records": 1})
        recording.note(sessions=1)


def mixed_load(seconds: float, recording: Recording) -> None:
    end = time.monotonic() + seconds
    seeds = iter(range(1 << 30))
    lock = threading.Lock()

    def work(kind: Any) -> None:
        while time.monotonic() < end:
            with lock:
                seed = next(seeds)
            kind(seed, recording)

    with ThreadPoolExecutor(5) as pool:
        kinds = [one_connection] * 3 + [one_receiver] * 2
        for done in [pool.submit(work, kind) for kind in kinds]:
            done.result()


@pytest.mark.parametrize(
    "seconds", [2, pytest.param(60, marks=[pytest.mark.large, pytest.mark.timeout(300)])]
)
def test_the_counters_are_what_a_recording_peer_counted(
    url: str, seconds: int, record_property: Callable[[str, object], None]
) -> None:
    """To the record, with rekeys, records that do not open, and ends amid it."""
    names = ("records", "bytes", "rekeys", "rx_records", "failed_crypto", "offload")
    before, recording = scrape(url), Recording()
    mixed_load(seconds, recording)
    after = scrape(url)

    def moved(name: str) -> int:
        key = (f"ktls_{name}_total", ())
        return int(after[key] - before[key])

    seen = recording.count
    expected = {name: seen[name] for name in names} | {"offload": seen["sessions"]}
    assert {name: moved(name) for name in names} == expected
    assert min(expected.values()) > 0, expected
    gauges = [("ktls_active", ()), ("ktls_buffered", ()), ("ktls_sw_gcm", ())]
    assert [after[gauge] for gauge in gauges] == [before[gauge] for gauge in gauges]
    record_property("summary", f"metrics: {seconds} s: {dict(seen)}, and so said /metrics")
