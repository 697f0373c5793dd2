"""Short sessions with real processes, sockets and handshakes."""

import os
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from harness import files
from harness.cases import Case, cases
from harness.contenders import Contender, contenders
from harness.runner import Runner, Setting, sample_of
from harness.work import (
    Echo,
    Failure,
    Idle,
    Receives,
    Relays,
    Sealing,
    SendFile,
    Sends,
    Work,
)
from ktls import _core

PLAIN = Contender("plain", "plain")
SSL = Contender("ssl", "ssl")
OURS = Contender("ktls pool ring", "ktls", "ring", {"kern.ipc.tls.backend": "ring"})
FILE_LEN = 3_000_001

MakeRunner = Callable[..., Runner]


@pytest.fixture(scope="module")
def setting(authority: trustme.CA, certificate: trustme.LeafCert) -> Setting:
    return Setting(
        certificate=certificate.private_key_and_cert_chain_pem.bytes(),
        authority=authority.cert_pem.bytes(),
        congestion="reno",
        crate="",
        timeout=30.0,
    )


@pytest.fixture(scope="module")
def everybody(setting: Setting) -> Iterator[Runner]:
    with Runner(setting, [PLAIN, SSL, OURS]) as runner:
        yield runner


@pytest.fixture
def make_runner(setting: Setting) -> Iterator[MakeRunner]:
    made: list[Runner] = []

    def make(*takers: Contender, **changes: str | float) -> Runner:
        made.append(Runner(replace(setting, **changes), list(takers)))
        return made[-1]

    yield make
    for runner in made:
        runner.__exit__()


def case(work: Work, *, fresh: bool = False) -> Case:
    return Case("one", "one", work, "gb_s", lambda contender: True, fresh)


@pytest.mark.parametrize(
    "work",
    [
        Sends(size=1024, seconds=0.02, call="send"),
        Sends(size=262144, seconds=0.02),
        Sends(size=65536, seconds=0.02, connections=5),
        Sends(size=65536, seconds=0.05, call="send", hog=True),
    ],
    ids=["small", "large", "several", "hog"],
)
def test_every_contender_sends(everybody: Runner, work: Sends) -> None:
    results = everybody.run(case(work), 2)
    assert list(results) == ["plain", "ssl", "ktls pool ring"]
    for result in results.values():
        assert result.failure == ""
        assert len(result.samples) == 2
        for sample in result.samples:
            assert sample["bytes"] % work.size == 0
            assert sample["gb_s"] == pytest.approx(sample["bytes"] / sample["seconds"] / 1e9)
            assert sample["seconds"] >= work.seconds
            assert sample["cpu_ns"] > 0


@pytest.mark.parametrize(
    "work",
    [
        Receives(size=262144, seconds=0.02),
        Receives(size=262144, seconds=0.05, hog=True),
        Relays(size=262144, seconds=0.02),
    ],
    ids=["receives", "hog", "relays"],
)
def test_every_contender_receives(everybody: Runner, work: Work) -> None:
    for result in everybody.run(case(work), 2).values():
        assert result.failure == ""
        assert len(result.samples) == 2
        for sample in result.samples:
            assert sample["bytes"] > 0
            assert sample["gb_s"] == pytest.approx(sample["bytes"] / sample["seconds"] / 1e9)
            assert sample["cpu_ns"] > 0


@pytest.mark.parametrize("cold", [False, True], ids=["hot", "cold"])
def test_every_contender_sends_a_file(everybody: Runner, tmp_path: Path, cold: bool) -> None:
    path = files.make(tmp_path, FILE_LEN)
    work = SendFile(path=str(path), count=FILE_LEN, cold=cold)
    for result in everybody.run(case(work), 1).values():
        assert result.failure == ""
        assert [sample["bytes"] for sample in result.samples] == [FILE_LEN]


def test_a_dropped_file_is_the_same_file(tmp_path: Path) -> None:
    path = files.make(tmp_path, FILE_LEN)
    before = path.read_bytes()
    files.drop(str(path))
    assert len(before) == FILE_LEN
    assert path.read_bytes() == before


def test_a_file_whose_pages_a_connection_holds(tmp_path: Path) -> None:
    """Those of a plain sendfile stay in memory until they were read, and then some."""
    path = files.make(tmp_path, 1 << 17)
    before = path.read_bytes()
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    with near, far:
        near.setblocking(False)
        with path.open("rb") as file:
            assert os.sendfile(near.fileno(), file.fileno(), 0, 1 << 17)
        files.drop(str(path))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_in_memory_cannot_be_cold(tmp_path: Path) -> None:
    fd = os.memfd_create("payload")
    try:
        os.write(fd, bytes(1 << 20))
        with pytest.raises(RuntimeError, match="name a directory on a disk with --directory"):
            files.drop(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


@pytest.mark.parametrize("both", [False, True], ids=["stock client", "own client"])
def test_every_contender_answers_requests(everybody: Runner, both: bool) -> None:
    for result in everybody.run(case(Echo(size=1024, requests=50, both=both)), 1).values():
        assert result.failure == ""
        (sample,) = result.samples
        assert 0 < sample["p50_us"] <= sample["p99_us"]
        assert sample["request_cpu_us"] > 0


def test_memory_is_taken_from_processes_that_nothing_ran_in(make_runner: MakeRunner) -> None:
    runner = make_runner(SSL, OURS)
    results = runner.run(case(Idle(connections=50), fresh=True), 2)
    for result in results.values():
        assert result.failure == ""
        assert len(result.samples) == 2
        assert all(sample["connection_bytes"] > 0 for sample in result.samples)
        assert [sample["connection_fds"] for sample in result.samples] == [1.0, 1.0]


def test_contenders_take_turns(make_runner: MakeRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def once(self: Runner, contender: Contender, work: Work) -> dict[str, float]:
        asked.append(contender.name)
        return {"gb_s": float(len(asked))}

    monkeypatch.setattr(Runner, "_once", once)
    results = make_runner(PLAIN, SSL).run(case(SendFile(path="", count=1)), 3)
    assert asked == ["plain", "ssl"] * 3
    assert [sample["gb_s"] for sample in results["ssl"].samples] == [2.0, 4.0, 6.0]


def test_contender_that_fails_is_left_out_and_the_others_go_on(make_runner: MakeRunner) -> None:
    broken = Contender("broken", "ktls", "", {"kern.ipc.tls.nonsense": 1})
    results = make_runner(broken, PLAIN).run(case(Sends(size=65536, seconds=0.02)), 2)
    assert "kern.ipc.tls.nonsense" in results["broken"].failure
    assert results["broken"].samples == []
    assert len(results["plain"].samples) == 2


def test_a_connection_that_is_not_taken_over_is_not_measured(make_runner: MakeRunner) -> None:
    # The switch goes off after the context was made: OpenSSL would send, under our name.
    off = Contender("off", "ktls", "", {"kern.ipc.tls.enable": 0})
    results = make_runner(off).run(case(Sends(size=65536, seconds=0.02)), 1)
    assert "was not taken over" in results["off"].failure


def test_an_unknown_congestion_control_is_named(make_runner: MakeRunner) -> None:
    runner = make_runner(PLAIN, congestion="nonesuch")
    results = runner.run(case(Sends(size=65536, seconds=0.02)), 1)
    assert "TCP_CONGESTION 'nonesuch' was refused" in results["plain"].failure


def test_a_run_that_takes_too_long_is_given_up(make_runner: MakeRunner) -> None:
    runner = make_runner(PLAIN, timeout=1.5)
    results = runner.run(case(Sends(size=65536, seconds=30)), 1)
    assert results["plain"].samples == []
    assert "no answer from plain" in results["plain"].failure


def test_bytes_that_did_not_arrive_are_a_failure() -> None:
    sent = {"started_ns": 0.0, "bytes": 1000.0, "cpu_ns": 5.0}
    received = {"finished_ns": 1e9, "wire_bytes": 999.0}
    failure = sample_of(Sends(size=10, seconds=1), sent, received)
    assert failure == Failure("1000 bytes were sent, 999 arrived")


def test_sealing_goes_through_the_api_and_the_crate(
    make_runner: MakeRunner, tmp_path: Path
) -> None:
    program = tmp_path / "seal_rate"
    program.write_text('#!/bin/sh\ntest "$1 $2" = "ring 16384" && echo 1234.5\n')
    program.chmod(0o755)
    takers = (Contender("crate ring", "crate", "ring"), Contender("API ring", "api", "ring"))
    runner = make_runner(*takers, crate=str(program))
    results = runner.run(case(Sealing(size=16384, seconds=0.02)), 1)
    assert results["crate ring"].samples == [{"record_ns": 1234.5}]
    assert results["API ring"].samples[0]["record_ns"] > 0


def test_the_bare_crate_asks_for_its_program(make_runner: MakeRunner) -> None:
    runner = make_runner(Contender("crate ring", "crate", "ring"))
    results = runner.run(case(Sealing(size=16384, seconds=0.02)), 1)
    assert "--example seal_rate" in results["crate ring"].failure


def test_the_forms_have_the_cases_and_contenders_that_are_promised() -> None:
    takers = contenders()
    default = next(each.provider for each in takers if each.kind == "ktls")
    short, full = (cases(form, Path("payload"), default) for form in ("short", "full"))
    assert {each.name for each in short} < {each.name for each in full}
    assert {f"connections-{count}" for count in (4, 16, 128, 1000)} < {c.name for c in full}
    (hot,) = [each for each in full if each.name == "sendfile-hot"]
    names = {contender.name for contender in takers if hot.takes(contender)}
    ours = {f"ktls {way} {name}" for way in ("inline", "pool") for name in _core.providers()}
    assert names == {"plain", "ssl", "pyOpenSSL"} | ours
    assert all(re.fullmatch(r"[a-z]+(-[a-z0-9]+)?", each.name) for each in full)
