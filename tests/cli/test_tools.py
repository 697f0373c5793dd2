"""``ktls sysctl``, ``netstat`` and ``top`` against two live processes; ``probe`` and ``bench``."""

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

import ktls
from cli import tool as tool_of_processes
from control.live_process import LiveProcess, runtime_directory
from ktls.cli import figures
from ktls.cli.processes import Snapshot, shown
from ktls.cli.top import Rates

PREFIX = "kern.ipc.tls."


class Tool(tool_of_processes.Tool):
    """``ktls``."""

    command = ("-m", "ktls")
    timeout_s = 55

    def says(self, *arguments: object) -> str:
        """What it prints, nothing being wrong."""
        result = self(*arguments)
        assert (result.returncode, result.stderr) == (0, "")
        return result.stdout


@pytest.fixture(scope="module")
def tool() -> Iterator[Tool]:
    with Tool.beside_two() as tool:
        yield tool


# -- sysctl ----------------------------------------------------------------------------------------


def test_a_node_is_shown_as_sysctl_does(tool: Tool) -> None:
    pid = tool.processes[0].pid
    name = f"{PREFIX}enable"
    assert tool.says("sysctl", "--pid", pid, name) == f"{name}: 1\n"
    assert tool.says("sysctl", "--pid", pid, "-n", name) == "1\n"
    assert tool.says("sysctl", "--pid", pid, "-e", name) == f"{name}=1\n"
    assert tool.says("sysctl", "--pid", pid, "-N", name) == f"{name}\n"
    assert tool.says("sysctl", "--pid", pid, "-t", name) == f"{name}: bool\n"
    help_text = ktls.sysctl.node(name).help
    assert tool.says("sysctl", "--pid", pid, "-d", name) == f"{name}: {help_text}\n"
    assert tool.says("sysctl", "--pid", pid, "-d", "-n", name) == f"{help_text}\n"


def test_all_nodes_and_those_below_a_name(tool: Tool) -> None:
    pid = tool.processes[0].pid
    # Nodes of backends are there when one was asked.
    names = [
        name
        for name in ktls.sysctl
        if name.removeprefix(f"{PREFIX}stats.").count(".") == 0
        or not name.startswith(f"{PREFIX}stats.")
    ]
    said = tool.says("sysctl", "--pid", pid, "-a", "-N").splitlines()
    assert said == sorted(said)
    assert set(names) <= set(said)
    below = [name for name in said if name.startswith(f"{PREFIX}stats.")]
    for name in (f"{PREFIX}stats", f"{PREFIX}stats."):
        assert tool.says("sysctl", "--pid", pid, "-N", name).splitlines() == below


def test_every_process_is_asked_and_says_who_it_is(tool: Tool) -> None:
    lines = tool.says("sysctl", f"{PREFIX}stats.active").splitlines()
    pids = sorted(process.pid for process in tool.processes)
    headings = [f"==> process {pid}: " for pid in pids]
    assert [line.startswith(heading) for line, heading in zip(lines[::2], headings, strict=True)]
    by_pid = {process.pid: 2 * len(process.ends) for process in tool.processes}
    assert lines[1::2] == [f"{PREFIX}stats.active: {by_pid[pid]}" for pid in pids]


def test_a_node_is_set_while_the_process_runs(tool: Tool) -> None:
    pid = tool.processes[0].pid
    name = f"{PREFIX}quantum"
    assert tool.says("sysctl", "--pid", pid, f"{name}=65536") == f"{name}: 1048576 -> 65536\n"
    assert tool.says("sysctl", "--pid", pid, "-n", f"{name}=0x100000") == "65536 -> 1048576\n"
    empty = f"{PREFIX}backend"
    assert tool.says("sysctl", "--pid", pid, f"{empty}=ring") == f"{empty}:  -> ring\n"
    assert tool.says("sysctl", "--pid", pid, f"{empty}=") == f"{empty}: ring -> \n"


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("kern.none", "unknown oid 'kern.none'"),
        ("kern.none=1", "unknown oid 'kern.none'"),
        (f"{PREFIX}stats=1", f"oid '{PREFIX}stats' isn't a leaf node"),
        (f"{PREFIX}stats.active=1", f"oid '{PREFIX}stats.active' is read only"),
        (f"{PREFIX}maxlen=1", f"{PREFIX}maxlen=1: "),
        (f"{PREFIX}maxlen=x", f"{PREFIX}maxlen=x: 'x' is not a number"),
        (f"{PREFIX}maxlen=é", f"{PREFIX}maxlen=é: "),
        (f"{PREFIX}workers=1", f"{PREFIX}workers=1: "),
    ],
)
def test_what_cannot_be_set_is_said_and_the_rest_is_done(tool: Tool, word: str, said: str) -> None:
    pid = tool.processes[0].pid
    result = tool("sysctl", "--pid", pid, word, f"{PREFIX}enable")
    assert result.returncode == 1
    assert result.stderr.startswith(f"sysctl: {said}")
    assert result.stderr.count("\n") == 1
    assert result.stdout == f"{PREFIX}enable: 1\n"


def test_unknown_names_may_be_passed_over(tool: Tool) -> None:
    assert tool.says("sysctl", "--pid", tool.processes[0].pid, "-i", "kern.none") == ""


def test_names_or_all(tool: Tool) -> None:
    for arguments in ([], ["-a", f"{PREFIX}enable"]):
        result = tool("sysctl", *arguments)
        assert result.returncode == 2
        assert "either -a or names are needed" in result.stderr


# -- netstat ---------------------------------------------------------------------------------------


def test_netstat_agrees_with_what_was_exchanged(tool: Tool) -> None:
    first, second = tool.processes
    first.tell("exchange 100000")
    first.tell("rekey")
    second.tell("exchange 40000")
    told = {each["pid"]: each for each in json.loads(tool.says("netstat", "--json"))["processes"]}
    assert set(told) == {first.pid, second.pid}
    assert len(told[first.pid]["connections"]) == 4
    sums = told[first.pid]["totals"]
    # Seven records of data and a KeyUpdate on each of two connections.
    assert sums["tx"] == sums["rx"]
    assert (sums["tx"]["records"], sums["tx"]["key_changes"]) == (16, 2)
    assert sums["tx"]["payload_bytes"] == 2 * (100_000 + 5)
    assert told[second.pid]["totals"]["rx"]["payload_bytes"] == 40_000
    sealing = told[second.pid]["connections"][0]
    assert [*sealing["local"], *sealing["foreign"]] == second.ends[0]
    modes = sealing["tx_mode"], sealing["rx_mode"], sealing["stack"]
    assert modes == ("SW", "NONE", sys.platform)
    table = tool.says("netstat")
    for process in tool.processes:
        for lh, lp, fh, fp in process.ends:
            assert re.search(rf"\b{process.pid} +{lh}:{lp} +{fh}:{fp} +open +tx +SW ", table)
    totals = tool.says("netstat", "--totals", "--pid", second.pid)
    assert re.search(rf"{second.pid} +\S+ +tx +2 +3 +40\.0k ", totals)
    assert str(first.pid) not in totals


def test_nobody_to_ask_is_one_line() -> None:
    with runtime_directory() as runtime:
        for name in (["netstat"], ["top"], ["sysctl", "-a"], ["netstat", "--json"]):
            result = Tool(runtime)(*name)
            assert (result.returncode, result.stdout) == (1, "")
            assert result.stderr.startswith("ktls: no process of this user has a control socket")
        result = Tool(runtime)("netstat", "--pid", "4194304")
        assert result.stderr == "ktls: there is no process 4194304\n"


def test_a_stopped_process_is_told_from_one_that_answers(tool: Tool) -> None:
    with runtime_directory() as runtime:
        process = LiveProcess(runtime)
        process.process.send_signal(signal.SIGSTOP)
        try:
            result = Tool(runtime)("netstat", "--pid", process.pid)
        finally:
            process.process.send_signal(signal.SIGCONT)
        assert (result.returncode, result.stderr) == (1, "ktls: it does not answer\n")
        process.kill()


# -- top -------------------------------------------------------------------------------------------


def test_top_prints_as_often_as_it_is_told(tool: Tool) -> None:
    said = tool.says("top", "--count", 2, "--interval", 0.05, "--lines", 3)
    assert said.count("2 processes, 6 connections") == 2
    assert len(re.findall(r"^\d+ +127\.0\.0\.1:", said, re.MULTILINE)) == 2 * 3
    one = tool.says("top", "--count", 1, "--pid", tool.processes[1].pid)
    assert "1 process, 2 connections" in one


def test_top_fills_a_terminal_and_ends_with_ctrl_c(tool: Tool) -> None:
    main, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "ktls", "top", "--interval", "0.1"],
        env=tool.environment | {"TERM": "xterm", "COLUMNS": "120", "LINES": "30"},
        stdin=terminal,
        stdout=terminal,
        stderr=subprocess.PIPE,
    )
    os.close(terminal)
    drawn = b""
    try:
        while b"2 processes, 6 connections" not in drawn:
            drawn += os.read(main, 4096)
        process.send_signal(signal.SIGINT)
        # The terminal fails when nobody has it open any more.
        with contextlib.suppress(OSError):
            while True:
                os.read(main, 4096)
        assert process.wait(50) == 130
        assert process.stderr.read() == b""
    finally:
        process.kill()
        process.communicate()
        os.close(main)


def snapshot(payload: int, *, pid: int = 1, id: int = 1, records: int = 0) -> Snapshot:
    traffic = {"payload_bytes": payload, "records": records, "queued_bytes": 0, "errors": 0}
    connection = {"id": id, "tx": traffic, "rx": traffic | {"payload_bytes": 0}}
    sums = {"tx": {"payload_bytes": payload}, "rx": {"payload_bytes": 0}}
    return Snapshot(pid, "program", [connection], sums)


def test_rates_are_those_between_two_looks() -> None:
    rates = Rates()
    rates.look([snapshot(1000)], 10.0)
    assert list(rates.history["tx"]) == [0.0]
    rates.look([snapshot(3000, records=6), snapshot(500, pid=2)], 12.0)
    assert list(rates.history["tx"]) == [0.0, 1000.0]
    assert [busy.bytes_s["tx"] for busy in rates.busy] == [1000.0, 250.0]
    assert rates.busy[0].records_s["tx"] == 3.0
    # Another connection under a number that was known, and a process that has gone.
    rates.look([snapshot(0, id=2)], 13.0)
    assert rates.history["tx"][-1] == 0.0
    assert [busy.bytes_s["tx"] for busy in rates.busy] == [0.0]


def test_figures() -> None:
    numbers = {0: "0", 999: "999", 1000: "1.00k", 12345: "12.3k", 999_600: "1.00M", 5e12: "5.00T"}
    assert {number: figures.count(number) for number in numbers} == numbers
    assert figures.plot([0, 1, 2, 4], 6) == "  ▁▃▅█"
    assert figures.plot([], 3) == "   "
    assert figures.plot([0, 0], 2) == "▁▁"
    assert figures.suite("TLS 1.2 AES-CBC with a 32-byte key") == "1.2 AES-CBC-256"
    assert figures.suite("another kind") == "another kind"
    assert figures.endpoint(["::1", 443]) == "[::1]:443"
    assert figures.endpoint(["", 0]) == "*:*"


def test_what_a_terminal_would_obey_is_not_shown() -> None:
    assert shown({"a\33[2J": ["\7b", 1, None]}) == {"a?[2J": ["?b", 1, None]}


# -- probe and bench -------------------------------------------------------------------------------


def test_probe_shows_every_layer(tool: Tool) -> None:
    names = [layer.name for layer in ktls.probe()]
    said = tool.says("probe").splitlines()
    assert [line.split("  ")[0] for line in said] == names
    assert [layer["name"] for layer in json.loads(tool.says("probe", "--json"))] == names


def test_bench_measures_both_and_says_what(tool: Tool) -> None:
    result = tool("bench", "--seconds", "0.05", "--rounds", "2", "--json")
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["agreed"].startswith("TLSv1.3 TLS_AES_")
    assert [each["case"] for each in told["results"]] == ["sendfile", "sendall", "echo"]
    for each in told["results"]:
        assert all(value > 0 for values in each["values"].values() for value in values)
        assert [len(values) for values in each["values"].values()] == [2, 2]
        assert len(each["ratios"]) == 2
        assert each["ratio"] == each["medians"]["ktls"] / each["medians"]["ssl"]
    result = tool("bench", "--only", "echo", "--seconds", "0.05", "--rounds", "1")
    assert result.returncode == 0, result.stderr
    assert re.search(r"^echo .*/s +\(.* to .*\)", result.stdout, re.MULTILINE)
    assert "1 rounds of 0.05 s each, in turns" in result.stdout
