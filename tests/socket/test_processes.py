"""fork, the end of the interpreter, and the worker threads."""

import os
import random
import re
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import ktls
from keyed_link import Link
from record_reader import CBC_SUITES, SUITES, RecordReader, Secrets, read_data

MakeLink = Callable[..., Link]


def in_child(work: Callable[[], str]) -> str:
    """What `work` returns in a forked child."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer = work()
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(write_end, answer.encode())
        os._exit(0)
    os.close(write_end)
    with open(read_end, "rb") as file:
        answer = file.read().decode()
    os.waitpid(child, 0)
    return answer


def test_a_child_cannot_use_the_session_of_its_parent(link: Link) -> None:
    def attempt() -> str:
        answers = []
        for call in (
            lambda: link.sock.send(b"from the child"),
            lambda: link.sock.sendall(b"from the child"),
            lambda: link.sock.sendmsg([b"from the child"]),
            lambda: link.sock.flush(),
        ):
            try:
                call()
            except OSError as error:
                answers.append(str(error))
            else:
                answers.append("it was sent")
        link.sock.close()
        return "\n".join(answers)

    link.sock.send(b"before ")
    answers = in_child(attempt).splitlines()
    assert len(answers) == 4
    for answer in answers:
        assert f"belongs to process {os.getpid()}" in answer
    link.sock.send(b"after")
    link.sock.close()
    assert read_data(link.peer, link.reader) == b"before after"


def test_a_child_can_make_a_session_of_its_own(
    tcp_pair: tuple[socket.socket, socket.socket],
) -> None:
    near, far = tcp_pair
    secrets = Secrets(SUITES[3])
    data = random.randbytes(300_000)

    def work() -> str:
        from keyed_link import parameters

        with ktls.Socket(near) as sock:
            sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(secrets))
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            sock.flush()
            return f"threads {ktls.sysctl['kern.ipc.tls.stats.threads']}"

    answer: list[str] = []
    import threading

    reader_data: list[bytes] = []

    def read() -> None:
        reader_data.append(read_data(far, RecordReader(secrets)))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    answer.append(in_child(work))
    near.close()
    thread.join(20)
    assert reader_data == [data]
    assert answer[0].startswith("threads ")
    assert int(answer[0].split()[1]) >= 1


@pytest.mark.parametrize("choice", ["empty", "split"])
def test_a_child_does_not_wait_for_a_writer_of_its_parent(make_link: MakeLink, choice: str) -> None:
    """TLS 1.0: one writer at a time, and the one at work was not forked."""
    ktls.sysctl["kern.ipc.tls.tls10_fragment"] = choice
    ktls.sysctl["kern.ipc.tls.sendspace"] = 65536
    ktls.sysctl["kern.ipc.tls.sendspace_max"] = 65536
    link = make_link(CBC_SUITES[0], small=True)
    data = os.urandom(300_000)
    writer = threading.Thread(target=link.sock.sendall, args=(data,))
    writer.start()
    while link.sock.pending < 30_000:
        time.sleep(0.01)

    def attempt() -> str:
        answers = []
        for call in (link.sock.send, link.sock.sendall):
            with pytest.raises(PermissionError) as caught:
                call(b"from the child")
            answers.append(caught.value.strerror)
        return "\n".join(answers)

    answers = in_child(attempt).splitlines()
    assert len(answers) == 2
    assert all("belongs to process" in answer for answer in answers)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(read_data(link.peer, link.reader)))
    reader.start()
    writer.join()
    link.sock.close()
    reader.join()
    assert received == [data]


def test_forking_while_data_is_under_way(make_link: MakeLink) -> None:
    """Neither side hangs, and the parent's data arrives whole."""
    import hashlib
    import threading

    ktls.sysctl["kern.ipc.tls.sendspace"] = 100_000
    link = make_link()
    data = random.randbytes(20 << 20)
    digests: list[str] = []
    reading = threading.Thread(
        target=lambda: digests.append(
            hashlib.sha256(read_data(link.peer, link.reader)).hexdigest()
        ),
        daemon=True,
    )
    reading.start()
    sending = threading.Thread(target=link.sock.sendall, args=(data,), daemon=True)
    sending.start()
    forks = 0
    while sending.is_alive() or forks < 3:
        assert in_child(lambda: "alive") == "alive"
        forks += 1
    sending.join(30)
    link.sock.close()
    reading.join(30)
    assert digests == [hashlib.sha256(data).hexdigest()]


PROGRAM = """
    import socket, sys
    sys.path[:0] = [{tests!r}]
    import ktls
    from keyed_link import parameters
    from record_reader import SUITES, Secrets

    secrets = Secrets(SUITES[3])
    secrets.key, secrets.iv, secrets.sequence = bytes(16), bytes(12), 0
    ktls.enable()
    sock = ktls.Socket(socket.create_connection(("127.0.0.1", {port})))

    def send():
        sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(secrets))
        sock.setblocking(False)
        print(sock.send(bytes(1_000_000)), flush=True)
"""


def run_program(body: str, *, read: bool = True, **environment: str) -> tuple[int, bytes, str]:
    """Bytes that a program says it sent, what arrived from it, and its standard error."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        tests = str(Path(__file__).parent.parent)
        program = PROGRAM.format(tests=tests, port=server.getsockname()[1])
        with subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(program) + textwrap.dedent(body)],
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            peer, _ = server.accept()
            peer.settimeout(30)
            with peer:
                assert process.stdout is not None
                assert process.stderr is not None
                said = process.stdout.readline()
                secrets = Secrets(SUITES[3])
                secrets.key, secrets.iv, secrets.sequence = bytes(16), bytes(12), 0
                data = read_data(peer, RecordReader(secrets)) if read else b""
                errors = process.stderr.read()
                assert process.wait(30) == 0, errors
    return int(said), data, errors


@pytest.mark.parametrize("last", ["", "sock.close()", "sys.exit(0)"])
def test_the_end_of_the_interpreter_waits_for_accepted_data(last: str) -> None:
    sent, data, _ = run_program(f"send()\n{last}")
    assert sent == 1_000_000
    assert data == bytes(sent)


def test_the_end_of_the_interpreter_does_not_wait_for_ever() -> None:
    body = "sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)\nsend()"
    _, _, errors = run_program(
        body,
        read=False,
        KTLS_SYSCTL="kern.ipc.tls.close_timeout=1,kern.ipc.tls.sendspace=8388608",
        PYTHONWARNINGS="default",
    )
    assert re.search(
        r"ResourceWarning: \d{5,} bytes that 1 connection had accepted were not sent after 1 s",
        errors,
    )


def test_an_interrupt_ends_the_wait_at_the_end_of_the_interpreter() -> None:
    body = """
        import atexit, os, signal, threading
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        send()
        interrupt = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
        interrupt.daemon = True
        # Before what waits, which was registered before.
        atexit.register(interrupt.start)
    """
    _, _, errors = run_program(
        textwrap.dedent(body),
        read=False,
        KTLS_SYSCTL="kern.ipc.tls.close_timeout=600,kern.ipc.tls.sendspace=8388608",
        PYTHONWARNINGS="default",
    )
    assert re.search(r"ResourceWarning: \d{5,} bytes that 1 connection had accepted", errors)
    assert "Exception ignored" not in errors


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_child_of_multiprocessing_sends_what_it_accepted(method: str, tmp_path: Path) -> None:
    """Such a child leaves by os._exit, past atexit."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        tests = str(Path(__file__).parent.parent)
        program = PROGRAM.format(tests=tests, port=server.getsockname()[1])
        script = tmp_path / "program.py"
        body = textwrap.dedent(program).replace(
            "sock = ktls.Socket(", "def connect(): return ktls.Socket("
        )
        body = body.replace("def send():\n", "def send():\n    sock = connect()\n")
        script.write_text(
            body
            + textwrap.dedent(f"""
            if __name__ == "__main__":
                import multiprocessing
                child = multiprocessing.get_context({method!r}).Process(target=send)
                child.start()
                child.join()
                sys.exit(child.exitcode)
            """)
        )
        with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE) as process:
            peer, _ = server.accept()
            peer.settimeout(30)
            with peer:
                secrets = Secrets(SUITES[3])
                secrets.key, secrets.iv, secrets.sequence = bytes(16), bytes(12), 0
                assert read_data(peer, RecordReader(secrets)) == bytes(1_000_000)
            assert process.wait(30) == 0


def thread_names(code: str, **environment: str) -> list[str]:
    program = f"""
        import os, socket, time, ktls
        {code}
        def comm(task):
            with open("/proc/self/task/" + task + "/comm") as file:
                return file.read().strip()
        # A thread gives itself its name when it begins to run.
        while True:
            names = [comm(task) for task in os.listdir("/proc/self/task")]
            if len([name for name in names if name.startswith("KTLS")]) == len(names) - 1:
                break
            time.sleep(0.01)
        print(" ".join(sorted(names)))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return [name for name in done.stdout.split() if name.startswith("KTLS")]


def test_no_thread_before_the_first_socket() -> None:
    assert thread_names("ktls.enable(); ktls.probe()") == []


def test_one_worker_for_each_cpu() -> None:
    names = thread_names("sock = ktls.Socket(socket.socket())")
    workers = [f"KTLS-{number}" for number in range(len(os.sched_getaffinity(0)))]
    assert [name for name in names if not name.startswith("KTLS-io")] == workers
    assert "KTLS-io-0" in names


def test_the_number_of_workers_is_policy() -> None:
    names = thread_names(
        "sock = ktls.Socket(socket.socket())", KTLS_SYSCTL="kern.ipc.tls.workers=5"
    )
    assert [name for name in names if not name.startswith("KTLS-io")] == [
        f"KTLS-{number}" for number in range(5)
    ]


@pytest.mark.rule("freebsd.md row 14")
def test_workers_that_cannot_be_started_are_an_error_and_tried_again() -> None:
    program = """
        import errno, resource, socket, ktls
        sock = socket.socket()
        with open("/proc/self/statm") as file:
            size = int(file.read().split()[0]) * resource.getpagesize()
        limits = resource.getrlimit(resource.RLIMIT_AS)
        # Room for whatever Python needs, and for no stack of a thread.
        resource.setrlimit(resource.RLIMIT_AS, (size + (128 << 20), limits[1]))
        for _ in range(2):
            try:
                ktls.Socket(sock)
            except OSError as error:
                print(errno.errorcode[error.errno], sock.fileno() >= 0)
        resource.setrlimit(resource.RLIMIT_AS, limits)
        print(ktls.Socket(sock).mode.name)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env=os.environ | {"RUST_MIN_STACK": str(256 << 20)},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert done.stdout.split() == ["EAGAIN", "True"] * 2 + ["NONE"], done.stderr
