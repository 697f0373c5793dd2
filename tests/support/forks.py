"""Forked children, made by Python or behind its back."""

import ctypes
import errno
import json
import os
import platform
import signal
import ssl
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

TIMEOUT = 10
_FORK_NUMBERS = {"x86_64": 57}
"""The system call of this name; newer machines have clone alone (220)."""
_CLONE = 220


def _in_c(call: Callable[[], int]) -> int:
    """Fork inside a call that Python knows nothing of.

    The interpreter's lock is held over it, and no thread may ask for it meanwhile: the child would
    wait for a thread that it does not have.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        # Those who wait already ask once more, with the interval of before.
        time.sleep(0.02)
        return call()
    finally:
        sys.setswitchinterval(before)


def fork_by_libc() -> int:
    return _in_c(ctypes.PyDLL(None).fork)


def fork_by_system_call() -> int:
    syscall = ctypes.PyDLL(None).syscall
    number = _FORK_NUMBERS.get(platform.machine())
    if number is not None:
        return _in_c(lambda: syscall(number))
    return _in_c(lambda: syscall(_CLONE, int(signal.SIGCHLD), 0, 0, 0, 0))


FORKS: dict[str, Callable[[], int]] = {
    "os.fork": os.fork,
    "libc": fork_by_libc,
    "system-call": fork_by_system_call,
}


def run_in_fork(work: Callable[[], Any], fork: Callable[[], int] = os.fork) -> Any:
    """What `work` returns in a forked child, as JSON carries it; raises what it raises as text."""
    return start_in_fork(work, fork)()


def start_in_fork(work: Callable[[], Any], fork: Callable[[], int] = os.fork) -> Callable[[], Any]:
    """The same, and this process goes on: what is returned waits for the end."""
    read_end, write_end = os.pipe()
    child = fork()
    if child == 0:
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(TIMEOUT)
        except ValueError:
            # Not the main thread; the parent's limit is the test's.
            pass
        try:
            answer = {"value": work()}
        except BaseException:
            answer = {"error": traceback.format_exc()}
        try:
            os.write(write_end, json.dumps(answer).encode())
        finally:
            os._exit(0)
    os.close(write_end)

    def wait() -> Any:
        with open(read_end, "rb") as file:
            said = file.read()
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0, "the child did not end by itself"
        answer = json.loads(said)
        assert "error" not in answer, answer["error"]
        return answer["value"]

    return wait


def run_in_threads_fork(work: Callable[[], Any]) -> Any:
    """The same in a child of a thread that is not the main one."""
    answers: list[Any] = []

    def fork() -> None:
        try:
            answers.append(run_in_fork(work))
        except BaseException as error:
            answers.append(error)

    thread = threading.Thread(target=fork)
    thread.start()
    thread.join(TIMEOUT + 10)
    assert answers, "the child does not end"
    if isinstance(answers[0], BaseException):
        raise answers[0]
    return answers[0]


def outcome(call: Callable[[], Any]) -> str:
    """How a call ended, in a word: the name of its errno or exception, or what it returned."""
    try:
        value = call()
    except ssl.SSLError as error:
        return type(error).__name__
    except OSError as error:
        number = error.errno
        return errno.errorcode.get(number or 0, f"{type(error).__name__} without an errno")
    except Exception as error:
        return type(error).__name__
    return f"returned {value!r}"
