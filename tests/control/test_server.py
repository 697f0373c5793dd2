"""The control socket of a live process: who may ask, what is bounded, and when it is not there."""

import contextlib
import json
import os
import random
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from control.live_process import LiveProcess, RawClient, environment, eventually
from ktls.control import protocol
from ktls.control.server import CLIENTS_MAX, WRONG_MAX

Live = Callable[..., LiveProcess]
NOBODY = 65534


def run(program: str, runtime: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env=environment(runtime, **more),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def test_it_is_the_users_alone_and_greets(live: Live, runtime: Path) -> None:
    process = live()
    assert process.path == runtime / "ktls" / f"{process.pid}.sock"
    assert stat.S_IMODE(process.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(process.path.parent.stat().st_mode) == 0o700
    with RawClient(process.path) as client:
        assert client.line() == f"KTLS-control {protocol.VERSION} {process.pid}\n".encode()
        assert "KTLS-control" in process.tell("threads")
        node = client.ask(b"sysctl get kern.ipc.tls.enable")["ok"]
        assert (node["value"], node["type"], node["flags"]) == (True, "bool", "RWTUN")
        set_ = client.ask(b"sysctl set kern.ipc.tls.maxlen 4096")["ok"]
        assert (set_["old"], set_["new"]) == (16384, 4096)
        names = [node["name"] for node in client.ask(b"sysctl list")["ok"]]
        assert names == sorted(names)
        assert "kern.ipc.tls.stats.active" in names
        page = client.ask(b"connections 0")["ok"]
        assert [each["tx_mode"] for each in page["connections"]] == ["SW", "NONE"]
        assert page["more"] is False
        host, port, foreign_host, foreign_port = process.ends[0]
        line = f"switch ifnet {host} {port} {foreign_host} {foreign_port}".encode()
        assert client.ask(line)["error"]["errno"] == "ENXIO"
        assert client.ask(line.replace(b"ifnet", b"sw")) == {"ok": None}
    assert process.end() == 0
    assert not process.path.exists()


@pytest.mark.parametrize(
    ("line", "number", "said"),
    [
        (b"nonsense", "EINVAL", "is no request"),
        (b"sysctl get kern.ipc.tls.none", "ENOENT", "no node"),
        (b"sysctl set kern.ipc.tls.maxlen 1", "EINVAL", "it lies in"),
        (b"sysctl set kern.ipc.tls.maxlen x", "EINVAL", "is not a number"),
        (b"sysctl set kern.ipc.tls.stats.active 1", "EPERM", "read-only"),
        (b"switch sw 127.0.0.1 1 127.0.0.1 2", "ESRCH", "no connection"),
    ],
)
def test_refusals(live: Live, line: bytes, number: str, said: str) -> None:
    process = live()
    with RawClient(process.path) as client:
        client.line()
        error = client.ask(line)["error"]
        assert error["errno"] == number
        assert said in error["message"]
        assert "ok" in client.ask(b"sysctl list")


def test_pages_have_every_connection_once(live: Live) -> None:
    process = live(100)
    seen: list[int] = []
    with RawClient(process.path) as client:
        client.line()
        more = True
        while more:
            page = client.ask(f"connections {max(seen, default=0)}".encode())["ok"]
            seen += [each["id"] for each in page["connections"]]
            more = page["more"]
    assert seen == sorted(set(seen))
    assert len(seen) == 200


def test_requests_may_come_in_parts_and_many_at_once(live: Live) -> None:
    process = live()
    with RawClient(process.path) as client:
        client.line()
        for byte in b"sysctl get kern.ipc.tls.maxlen\n":
            client.socket.sendall(bytes([byte]))
        assert json.loads(client.line())["ok"]["value"] == 16384
        client.socket.sendall(b"sysctl get kern.ipc.tls.maxlen\n" * 30)
        assert all(json.loads(client.line())["ok"] for _ in range(30))


def test_who_talks_nonsense_is_dropped(live: Live) -> None:
    process = live()
    with RawClient(process.path) as client:
        client.line()
        client.socket.sendall(b"\n" * 100)
        assert [client.line() for _ in range(WRONG_MAX)][-1]
        assert client.line() == b""
    with RawClient(process.path) as client:
        client.line()
        client.socket.sendall(b"x" * protocol.LINE_MAX)
        assert "longer than" in json.loads(client.line())["error"]["message"]
        assert client.line() == b""


def flood(path: Path, count: int) -> int:
    """Lines that a fuzzer would write, by as many connections as it takes; how many were sent."""
    random.seed(2)
    sent = 0
    while sent < count:
        lines = [random.randbytes(random.randrange(1, 40)).replace(b"\n", b"?") for _ in range(200)]
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(60)
        try:
            sock.connect(str(path))
            sock.sendall(b"\n".join(lines) + b"\n")
            sent += len(lines)
        except BlockingIOError:
            # Others wait to be let in.
            time.sleep(0.01)
        except ConnectionError:
            # Dropped in the middle.
            pass
        finally:
            sock.close()
    return sent


@pytest.mark.parametrize(
    "count",
    [20_000, pytest.param(1_000_000, marks=[pytest.mark.large, pytest.mark.timeout(600)])],
)
def test_fuzzed_lines_leave_the_process_undisturbed(live: Live, count: int) -> None:
    process = live()
    before = descriptors(process.pid)
    assert flood(process.path, count) >= count
    process.tell("exchange 3000000")
    eventually(lambda: descriptors(process.pid) <= before)
    with RawClient(process.path) as client:
        assert client.line().startswith(b"KTLS-control 1 ")
        assert client.ask(b"sysctl list")["ok"]
    assert process.end() == 0


def test_a_thousand_clients_at_once_and_silent_ones(live: Live) -> None:
    """They get a place, a refusal or no answer; the process goes on, and so does whoever asks."""
    process = live()
    before = descriptors(process.pid)
    silent = []
    for _ in range(1000):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setblocking(False)
        # The queue of a listening socket is bounded, too: EAGAIN beyond it.
        sock.connect_ex(str(process.path))
        silent.append(sock)
    try:
        process.tell("exchange 3000000")
        assert descriptors(process.pid) <= before + CLIENTS_MAX + 1

        def answered() -> bool:
            try:
                with RawClient(process.path) as client:
                    return client.line().startswith(b"KTLS-control 1 ")
            except OSError:
                return False

        eventually(answered)
    finally:
        for sock in silent:
            sock.close()
    eventually(lambda: descriptors(process.pid) <= before)
    assert process.end() == 0


def test_who_does_not_read_gets_one_answer_and_no_more(live: Live) -> None:
    process = live()
    with RawClient(process.path) as client:
        client.socket.setblocking(False)
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while sent < 10_000_000:
                sent += client.socket.send(b"sysctl list\n" * 50)
        assert sent < 10_000_000
        process.tell("exchange 1000000")
        # Others are served meanwhile.
        with RawClient(process.path) as other:
            other.line()
            assert other.ask(b"sysctl get kern.ipc.tls.enable")["ok"]
    assert process.end() == 0


def test_without_the_opt_in_there_is_nothing(runtime: Path) -> None:
    said = run(
        "import threading, sys, ktls\n"
        "assert [thread.name for thread in threading.enumerate()] == ['MainThread']\n"
        "assert 'ktls.control' not in sys.modules\n",
        runtime,
    )
    assert (said.returncode, said.stderr) == (0, "")
    assert list(runtime.iterdir()) == []


def test_the_environment_opts_in_and_the_end_removes_it(runtime: Path) -> None:
    said = run(
        "import os, pathlib, ktls\n"
        "path = ktls.control.serve().path\n"
        "assert path.name == f'{os.getpid()}.sock' and path.is_socket()\n"
        "print(path)\n",
        runtime,
        KTLS_CONTROL="1",
    )
    assert (said.returncode, said.stderr) == (0, "")
    assert not Path(said.stdout.strip()).exists()
    assert list((runtime / "ktls").iterdir()) == []


def test_it_may_be_closed_and_served_again(runtime: Path) -> None:
    said = run(
        "import threading, ktls\n"
        "for _ in range(3):\n"
        "    server = ktls.control.serve()\n"
        "    assert server.path.is_socket() and not server.is_closed\n"
        "    server.close()\n"
        "    server.close()\n"
        "    assert server.is_closed and not server.path.exists()\n",
        runtime,
    )
    assert (said.returncode, said.stderr) == (0, "")


def test_a_directory_of_others_is_refused(runtime: Path) -> None:
    (runtime / "ktls").mkdir(mode=0o755)
    (runtime / "ktls").chmod(0o755)
    said = run("import ktls.control\nktls.control.serve()", runtime)
    assert "may be entered by others; chmod 700" in said.stderr
    # By the environment it is a warning: the program goes on.
    said = run("import warnings; warnings.simplefilter('default'); import ktls", runtime)
    assert said.returncode == 0
    said = run("import ktls", runtime, KTLS_CONTROL="1")
    assert "RuntimeWarning: KTLS_CONTROL=1, but there is no control socket" in said.stderr


def test_a_name_that_is_too_long_is_said(runtime: Path) -> None:
    long = runtime / ("x" * 100)
    long.mkdir()
    said = run("import ktls.control\nktls.control.serve()", long)
    assert "is too long for a socket; set XDG_RUNTIME_DIR" in said.stderr


def test_a_forked_child_has_its_own_when_it_asks(live: Live) -> None:
    process = live()
    assert process.tell("fork") == "True True False"
    with RawClient(process.path) as client:
        assert client.line().endswith(f" {process.pid}\n".encode())


def test_another_user_is_refused_by_the_kernel_and_by_the_process(live: Live) -> None:
    """As root; anybody else cannot become another user, and is refused as one instead."""
    process = live()
    for place in (process.path.parents[1], process.path.parent):
        place.chmod(0o755)
    if os.geteuid() != 0:
        # The other side of the same rule: nobody else's process can be asked.
        with pytest.raises(PermissionError):
            os.setuid(NOBODY)
        return
    program = (
        f"import os, socket, sys\nos.setgroups([])\nos.setgid({NOBODY})\nos.setuid({NOBODY})\n"
        "sock = socket.socket(socket.AF_UNIX)\nsock.connect(sys.argv[1])\n"
        "print(sock.recv(1000).decode())\nsock.close()\n"
    )
    command = [sys.executable, "-c", program, str(process.path)]
    tries = []
    for mode in (0o600, 0o666):
        process.path.chmod(mode)
        tries.append(
            subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
        )
    assert "PermissionError" in tries[0].stderr
    assert json.loads(tries[1].stdout)["error"]["errno"] == "EPERM"


def test_root_may_ask_whom_it_names(runtime: Path) -> None:
    """As root another user's process is asked; anybody else asks one of its own in the same way."""
    runtime.chmod(0o777)
    become = f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})"
    program = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os, ktls.control, encodings.idna\n"
            f"if os.geteuid() == 0: {become}\n"
            "server = ktls.control.serve()\n"
            "os.write(1, b'ready\\n')\n"
            "os.read(0, 1)\n",
        ],
        env=environment(runtime, XDG_RUNTIME_DIR="", TMPDIR=str(runtime)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with program:
        try:
            assert program.stdout.readline() == b"ready\n"
            said = run(
                "import ktls.control.client as client\n"
                "from ktls.control.protocol import SysctlGet\n"
                f"with client.process({program.pid}) as process:\n"
                "    print(process.pid, process.ask(SysctlGet('kern.ipc.tls.maxlen'))['value'])\n",
                runtime,
                XDG_RUNTIME_DIR="",
                TMPDIR=str(runtime),
            )
            assert (said.stdout, said.stderr) == (f"{program.pid} 16384\n", "")
        finally:
            program.communicate(b"x", timeout=50)
    assert program.returncode == 0


def test_out_of_descriptors_it_waits(runtime: Path) -> None:
    """The program has the last ones; the thread neither spins nor ends."""
    said = run(
        "import os, resource, socket, time, ktls\n"
        "server = ktls.control.serve()\n"
        "client = socket.socket(socket.AF_UNIX)\n"
        "client.settimeout(40)\n"
        "soft = max(map(int, os.listdir('/proc/self/fd'))) + 1\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (soft, soft + 100))\n"
        "taken = []\n"
        "try:\n"
        "    while True: taken.append(os.dup(0))\n"
        "except OSError: pass\n"
        "client.connect(str(server.path))\n"
        "time.sleep(0.3)\n"
        "assert time.thread_time() + 0 < 60\n"
        "for fd in taken: os.close(fd)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (soft + 50, soft + 100))\n"
        "assert client.recv(100).startswith(b'KTLS-control')\n"
        "client.close()\n",
        runtime,
    )
    assert (said.returncode, said.stderr) == (0, "")


@pytest.mark.parametrize(
    "patch",
    ["import gevent.monkey; gevent.monkey.patch_all()", "import eventlet; eventlet.monkey_patch()"],
    ids=["gevent", "eventlet"],
)
def test_it_answers_while_a_hub_of_greenlets_does_not_run(runtime: Path, patch: str) -> None:
    program = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"{patch}\nimport os, ktls\n"
            "server = ktls.control.serve()\n"
            "os.write(1, f'{server.path}\\n'.encode())\n"
            "os.read(0, 1)\n"
            "server.close()\n",
        ],
        env=environment(runtime),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with program:
        try:
            path = Path(program.stdout.readline().decode().strip())
            with RawClient(path) as client:
                assert client.line() == f"KTLS-control 1 {program.pid}\n".encode()
                assert client.ask(b"sysctl get kern.ipc.tls.enable")["ok"]["value"] is False
            program.communicate(b"x", timeout=50)
            assert program.returncode == 0
            assert not path.exists()
        finally:
            program.kill()


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_a_left_over_of_the_same_number_is_replaced(runtime: Path) -> None:
    said = run(
        "import os, pathlib, socket, ktls\n"
        "place = pathlib.Path(os.environ['XDG_RUNTIME_DIR'], 'ktls')\n"
        "place.mkdir(mode=0o700)\n"
        "left = socket.socket(socket.AF_UNIX)\n"
        "left.bind(str(place / f'{os.getpid()}.sock'))\n"
        "left.close()\n"
        "server = ktls.control.serve()\n"
        "client = socket.socket(socket.AF_UNIX)\n"
        "client.connect(str(server.path))\n"
        "assert client.recv(100).startswith(b'KTLS-control')\n"
        "client.close()\n",
        runtime,
    )
    assert (said.returncode, said.stderr) == (0, "")


def test_the_thread_takes_no_time_while_nobody_asks(live: Live) -> None:
    process = live()
    with RawClient(process.path) as client:
        assert client.line()
    [thread] = [
        task
        for task in Path(f"/proc/{process.pid}/task").iterdir()
        if (task / "comm").read_text().strip() == "KTLS-control"
    ]

    def used() -> str:
        return (thread / "schedstat").read_text().split()[0]

    # It has to part with that client first.
    before = ""
    while before != (now := used()):
        before = now
        time.sleep(0.5)
    time.sleep(0.5)
    assert used() == before
