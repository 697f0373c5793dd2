"""``switch_tls`` against two live processes, form by form, with its messages and statuses."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from cli import tool as tool_of_processes
from control.live_process import LiveProcess, runtime_directory
from ktls.cli.switch_tls import HELP, USAGE

NO_INTERFACE = "No such device or address"
"""ENXIO in the words of this system."""
NOBODY = 65534


class Tool(tool_of_processes.Tool):
    """``switch_tls``; a warning is an error."""

    command = ("-W", "error", "-m", "ktls.cli.switch_tls")
    timeout_s = 50

    def lines(self, text: str) -> list[str]:
        """A line for each socket of the processes: both ends of every connection."""
        ends = [end for process in self.processes for end in process.ends]
        pairs = [pair for lh, lp, fh, fp in ends for pair in ((lh, lp, fh, fp), (fh, fp, lh, lp))]
        return sorted(text.format(f"{lh} {lp} {fh} {fp}") for lh, lp, fh, fp in pairs)


@pytest.fixture(scope="module")
def tool() -> Iterator[Tool]:
    with Tool.beside_two() as tool:
        yield tool


def test_all_are_listed_and_nothing_is_changed(tool: Tool) -> None:
    for flags, shown in ([], "-s"), (["-s"], "-s"), (["-i"], "-i"), (["-i", "-s"], "-s"):
        result = tool(*flags, "-a", "-l")
        assert (result.returncode, result.stderr) == (0, "")
        assert sorted(result.stdout.splitlines()) == tool.lines(f"switch_tls {shown} {{}}")
    # What is printed are commands.
    command = tool("-a", "-l").stdout.splitlines()[0].split()
    assert tool(*command[1:]).returncode == 0


def test_all_are_switched_to_software(tool: Tool) -> None:
    result = tool("-a")
    assert (result.returncode, result.stderr) == (0, "")
    assert sorted(result.stdout.splitlines()) == tool.lines("{}: switched")


def test_none_goes_to_an_interface_and_all_are_tried(tool: Tool) -> None:
    """Those without a session to send are switched in silence, as upstream's."""
    result = tool("-i", "-a")
    assert result.returncode == 1
    keyed = [" ".join(map(str, end)) for process in tool.processes for end in process.ends]
    assert sorted(result.stderr.splitlines()) == sorted(
        f"switch_tls: {ends}: {NO_INTERFACE}" for ends in keyed
    )
    assert len(result.stdout.splitlines()) == len(keyed)


@pytest.mark.parametrize("form", ["four", "colon", "dot"])
@pytest.mark.parametrize("number", [0, 1])
def test_one_connection_in_every_form(tool: Tool, form: str, number: int) -> None:
    lh, lp, fh, fp = tool.processes[number].ends[0]
    match form:
        case "four":
            operands = [lh, lp, fh, fp]
        case "colon":
            operands = [f"{lh}:{lp}", f"{fh}:{fp}"]
        case _:
            operands = [f"{lh}.{lp}", f"{fh}.{fp}"]
    ends = f"{lh} {lp} {fh} {fp}"
    for flags in ([], ["-s"]):
        result = tool(*flags, *operands)
        assert (result.returncode, result.stdout, result.stderr) == (0, f"{ends}: switched\n", "")
    result = tool("-i", *operands)
    said = (result.returncode, result.stdout, result.stderr)
    assert said == (1, "", f"switch_tls: {ends}: {NO_INTERFACE}\n")


def test_by_stack(tool: Tool) -> None:
    result = tool("-S", sys.platform, "-l")
    assert sorted(result.stdout.splitlines()) == tool.lines("switch_tls -s {}")
    assert tool("-S", sys.platform).returncode == 0
    result = tool("-S", "rack")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_one_process(tool: Tool) -> None:
    one = tool.processes[1]
    result = tool("-p", one.pid, "-a", "-l")
    assert len(result.stdout.splitlines()) == 2 * len(one.ends)
    result = tool("-p", one.pid, *tool.processes[0].ends[0])
    assert result.returncode == 1
    assert result.stderr.endswith(": No such process\n")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["1.2.3.4:5"],
        ["1.2.3.4", "5", "1.2.3.4"],
        ["1.2.3.4", "5", "1.2.3.4", "6", "7"],
        ["-l", "1.2.3.4:5", "1.2.3.4:6"],
        ["-a", "-S", "linux"],
        ["-a", "1.2.3.4:5", "1.2.3.4:6"],
        ["-S", "linux", "1.2.3.4:5", "1.2.3.4:6"],
        ["host", "1.2.3.4:6"],
        ["1.2.3.4:", "1.2.3.4:6"],
    ],
    ids=" ".join,
)
def test_wrong_use_is_the_usage_text(tool: Tool, arguments: list[str]) -> None:
    result = tool(*arguments)
    assert (result.returncode, result.stdout, result.stderr) == (1, "", USAGE)


def test_unknown_options_are_named_before_the_usage_text(tool: Tool) -> None:
    for option in ("-x", "-S", "-p"):
        result = tool(option)
        assert result.returncode == 1
        assert result.stderr.startswith("switch_tls: option ")
        assert result.stderr.endswith(USAGE)


def test_names_are_resolved(tool: Tool) -> None:
    result = tool("127.0.0.1", "no-such-service", "127.0.0.1", "2")
    assert result.returncode == 1
    assert re.fullmatch(
        r"switch_tls: getaddrinfo: 127\.0\.0\.1 port no-such-service: .+\n", result.stderr
    )
    result = tool("127.0.0.1", "1", "::1", "2")
    assert result.stderr == "switch_tls: 127.0.0.1 1 ::1 2: different address families\n"
    assert result.returncode == 1


def test_a_connection_that_is_not_there(tool: Tool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        result = tool("127.0.0.1", port, "127.0.0.1", 1)
    said = f"switch_tls: 127.0.0.1 {port} 127.0.0.1 1: No such process\n"
    assert (result.returncode, result.stdout, result.stderr) == (1, "", said)


def test_help(tool: Tool) -> None:
    result = tool("--help")
    assert (result.returncode, result.stdout, result.stderr) == (0, HELP, "")
    assert tool("-h").stdout == HELP


def test_nobody_to_ask_is_said() -> None:
    with runtime_directory() as runtime:
        result = Tool(runtime)("-a", "-l")
    assert result.returncode == 1
    assert "no process of this user has a control socket; start one with" in result.stderr


def test_processes_that_have_none_are_told_apart(tool: Tool) -> None:
    result = tool("-p", os.getpid(), "-a")
    assert result.returncode == 1
    assert f"process {os.getpid()} has no control socket" in result.stderr
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    result = tool("-p", child.pid, "-a")
    assert result.stderr == f"switch_tls: there is no process {child.pid}\n"
    assert "is not the number of a process" in tool("-p", "x", "-a").stderr


def test_a_killed_process_is_forgotten(tool: Tool) -> None:
    with runtime_directory() as runtime:
        process = LiveProcess(runtime)
        process.kill()
        assert process.path.exists()
        assert Tool(runtime)("-a", "-l").returncode == 1
        assert not process.path.exists()


def test_another_users_process_is_refused(tool: Tool) -> None:
    """As root nobody asks; else root's is asked, which is the same rule."""
    if os.geteuid() == 0:
        program = (
            f"import os, sys\nfrom ktls.cli.switch_tls import main\nimport encodings.idna\n"
            f"os.setgroups([])\nos.setgid({NOBODY})\nos.setuid({NOBODY})\nsys.exit(main())\n"
        )
        pid = tool.processes[0].pid
    else:
        program = "import sys\nfrom ktls.cli.switch_tls import main\nsys.exit(main())\n"
        pid = 1
    result = subprocess.run(
        [sys.executable, "-c", program, "-p", str(pid), "-a"],
        env=tool.environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr == f"switch_tls: process {pid} belongs to another user\n"
