"""The worker threads: names, binding, and whose connection is whose."""

import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import ktls
from keyed_link import Link, connected
from ktls import workers
from ktls.workers import Flow

PREFIX = "kern.ipc.tls."
PROGRAM = """
import os, socket, sys
import ktls
ktls.enable()
listener = socket.create_server(("127.0.0.1", 0))
near = socket.create_connection(listener.getsockname())
far, _ = listener.accept()
with ktls.Socket(near), far:
    for _ in sys.stdin:
        threads = []
        for entry in os.scandir("/proc/self/task"):
            name = open(f"{entry.path}/comm").read().strip()
            if name.startswith("KTLS-") and not name.startswith("KTLS-io"):
                status = open(f"{entry.path}/status").read()
                allowed = next(l for l in status.splitlines() if l.startswith("Cpus_allowed_list"))
                threads.append(f"{name}={allowed.split()[1]}")
        print(*threads, flush=True)
"""


def has_workers(expected: dict[str, set[int]], **values: int) -> None:
    """A process with these nodes set comes to have these workers, on these CPUs.

    A thread names and binds itself, which it may not have done when it is looked at.
    """
    text = ",".join(f"{PREFIX}{name}={value}" for name, value in values.items())
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {"KTLS_SYSCTL": text},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        found: dict[str, set[int]] = {}
        end = time.monotonic() + 30
        while found != expected and time.monotonic() < end:
            process.stdin.write("\n")
            process.stdin.flush()
            threads = [thread.split("=") for thread in process.stdout.readline().split()]
            found = {name: cpus(allowed) for name, allowed in threads}
        process.stdin.close()
        assert process.wait(30) == 0
    assert found == expected


def cpus(text: str) -> set[int]:
    """The numbers of a list of the kernel's."""
    found: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found


def test_there_is_one_for_each_usable_cpu_and_all_have_names() -> None:
    usable = os.sched_getaffinity(0)
    has_workers({f"KTLS-{index}": usable for index in range(len(usable))})


def test_their_number_is_a_node() -> None:
    usable = os.sched_getaffinity(0)
    has_workers({f"KTLS-{index}": usable for index in range(3)}, workers=3)


def test_bound_to_cores_they_go_round() -> None:
    usable = sorted(os.sched_getaffinity(0))
    count = len(usable) + 1
    expected = {f"KTLS-{index}": {usable[index % len(usable)]} for index in range(count)}
    has_workers(expected, workers=count, bind_threads=1)


def test_bound_to_domains_they_have_the_cpus_of_a_node() -> None:
    usable = os.sched_getaffinity(0)
    lists = sorted(
        Path("/sys/devices/system/node").glob("node[0-9]*"), key=lambda node: int(node.name[4:])
    )
    nodes = [cpus((node / "cpulist").read_text()) & usable for node in lists]
    nodes = [node for node in nodes if node] or [usable]
    count = len(nodes) + 1
    expected = {f"KTLS-{index}": nodes[index % len(nodes)] for index in range(count)}
    has_workers(expected, workers=count, bind_threads=2)


# -- whose connection is whose ---------------------------------------------------------------------


@pytest.fixture
def restored() -> Iterator[None]:
    yield
    workers.set_queue_policy(None)


def queue_of_pair(near: socket.socket, far: socket.socket) -> int:
    with ktls.Socket(near) as sock, far:
        return sock._stream.queue


def test_connections_are_spread_by_their_flow() -> None:
    # So many that chance leaves none empty.
    count = len(os.sched_getaffinity(0))
    queues = [queue_of_pair(*connected()) for _ in range(24 * count)]
    assert set(queues) == set(range(count))


def test_a_policy_chooses_and_is_asked_once(restored: None) -> None:
    asked: list[Flow] = []

    def last(flow: Flow) -> int:
        asked.append(flow)
        return flow.queues - 1

    workers.set_queue_policy(last)
    near, far = connected()
    ends = near.getsockname(), near.getpeername()
    with ktls.Socket(near) as sock, far:
        queues = int(ktls.sysctl[PREFIX + "stats.threads"])
        assert sock._stream.queue == queues - 1
        sock.sendall(b"and never again")
        assert far.recv(100) == b"and never again"
    assert asked == [Flow(*ends, queues)]


def test_a_socket_without_a_peer_has_a_flow_without_one(restored: None) -> None:
    asked: list[Flow] = []

    def first(flow: Flow) -> int:
        asked.append(flow)
        return 0

    workers.set_queue_policy(first)
    with ktls.Socket(socket.socket()):
        pass
    assert [flow.remote for flow in asked] == [None]


def raising(flow: Flow) -> int:
    raise LookupError("no queue for this one")


RUBBISH: list[tuple[str, Callable[[Flow], object], str]] = [
    ("raises", raising, "no queue for this one"),
    ("none", lambda flow: None, "returned None"),
    ("text", lambda flow: "0", "returned '0'"),
    ("negative", lambda flow: -1, "returned -1"),
    ("too-large", lambda flow: flow.queues, "not a number from 0 to"),
]


@pytest.mark.parametrize(
    ("choose", "words"), [case[1:] for case in RUBBISH], ids=[case[0] for case in RUBBISH]
)
def test_a_policy_that_fails_is_logged_and_passed_over(
    restored: None,
    caplog: pytest.LogCaptureFixture,
    choose: Callable[[Flow], int],
    words: str,
) -> None:
    workers.set_queue_policy(choose)
    with caplog.at_level(logging.ERROR, "ktls.workers"):
        near, far = connected()
        with ktls.Socket(near) as sock, far:
            sock.sendall(b"goes on")
            assert far.recv(100) == b"goes on"
    assert [record.name for record in caplog.records] == ["ktls.workers"]
    assert words in caplog.text


def test_what_is_no_function_is_refused(restored: None) -> None:
    with pytest.raises(TypeError, match="function of a Flow"):
        workers.set_queue_policy(3)  # type: ignore[arg-type]


def test_a_signal_that_interrupts_the_policy_is_not_swallowed(restored: None) -> None:
    def interrupted(flow: Flow) -> int:
        raise KeyboardInterrupt

    workers.set_queue_policy(interrupted)
    near, far = connected()
    with near, far, pytest.raises(KeyboardInterrupt):
        ktls.Socket(near)
    assert threading.current_thread() is threading.main_thread()


def test_a_greedy_connection_leaves_turns_to_the_others(make_link: Callable[..., Link]) -> None:
    """With one quantum for each turn every connection of one worker gets on."""
    workers.set_queue_policy(lambda flow: 0)
    try:
        ktls.sysctl[PREFIX + "quantum"] = 16384
        ktls.sysctl[PREFIX + "inline_max"] = 0
        greedy = make_link()
        others = [make_link() for _ in range(4)]
        stop = threading.Event()

        def take() -> None:
            while not stop.is_set():
                greedy.peer.recv(1 << 16)

        def give() -> None:
            while not stop.is_set():
                greedy.sock.sendall(bytes(1 << 20))

        threads = [threading.Thread(target=take), threading.Thread(target=give)]
        for thread in threads:
            thread.start()
        try:
            for link in others * 5:
                link.sock.setblocking(False)
                assert link.sock.send(bytes(40000)) == 40000
                assert link.read(40000) == bytes(40000)
        finally:
            stop.set()
            threads[1].join()
            greedy.sock.close()
            threads[0].join()
    finally:
        workers.set_queue_policy(None)


# -- interpreters ----------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["", "import ktls"], ids=["alone", "after-the-main-one"])
def test_a_sub_interpreter_is_refused_in_words(first: str) -> None:
    """The pool, its locks and its counters are the process's; two interpreters would share them."""
    program = f"""
{first}
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
made = interpreters.create()
try:
    failed = interpreters.run_string(made, "import ktls")
except Exception as error:
    failed = error
print(failed)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "ImportError" in done.stdout, done.stdout
    assert "interpreter" in done.stdout
