"""The parent's side of a child process: start it, tell it, hear it with a limit, end it."""

import contextlib
import multiprocessing
import resource
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from typing import Any

from harness.work import Failure

_SPAWN = multiprocessing.get_context("spawn")
_END_S = 2.0


class Child:
    """A process that runs ``target(pipe, *arguments)``."""

    def __init__(self, name: str, target: Callable[..., None], *arguments: Any) -> None:
        self.name = name
        self.pipe, theirs = _SPAWN.Pipe()
        self.process = _SPAWN.Process(
            target=target, args=(theirs, *arguments), name=name, daemon=True
        )
        self.process.start()
        theirs.close()

    def tell(self, message: object) -> None:
        """Send a message; one to a process that has ended shows when it is heard."""
        with contextlib.suppress(BrokenPipeError):
            self.pipe.send(message)

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


def end(children: list[Child]) -> None:
    """Ask them to end; after a while, end them."""
    for child in children:
        child.tell(None)
    deadline = time.monotonic() + _END_S
    for child in children:
        child.process.join(max(0.0, deadline - time.monotonic()))
        child.kill()


def raise_descriptor_limit() -> None:
    """For a child: a thousand connections need some thousands of descriptors."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def hear(children: list[Child], timeout: float) -> list[Any]:
    """One answer of each; a `Failure` of one, its end or the time-out is everybody's.

    Returns the answers in the order of `children`, or the one failure.
    """
    deadline = time.monotonic() + timeout
    answers: dict[str, Any] = {}
    while len(answers) < len(children):
        waiting = {child.pipe: child for child in children if child.name not in answers}
        ready = wait(list(waiting), max(0.0, deadline - time.monotonic()))
        if not ready:
            names = ", ".join(child.name for child in waiting.values())
            return [Failure(f"no answer from {names} within {timeout:g} s")]
        for pipe in ready:
            child = waiting[pipe]  # type: ignore[index]
            try:
                answer = child.pipe.recv()
            except (EOFError, ConnectionResetError):
                answer = Failure(f"the process of {child.name} ended")
            if isinstance(answer, Failure):
                return [answer]
            answers[child.name] = answer
    return [answers[child.name] for child in children]
