"""The programs of docs/frameworks-clients.md, run as they stand against the servers of this folder.

A block says what it needs: ``python with ftp``.  The ports of its service are replaced.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from .dovecot import Ports

DOCUMENT = Path(__file__).parents[3] / "docs" / "frameworks-clients.md"
CONTENT = bytes(range(256)) * 1000

_BLOCK = re.compile(r"^```python(?P<rest>.*)\n(?P<code>(?:.*\n)*?)```$", re.MULTILINE)


@dataclass(frozen=True)
class Program:
    """One block."""

    line: int
    rest: str
    code: str


def programs() -> list[Program]:
    text = DOCUMENT.read_text()
    return [
        Program(text.count("\n", 0, match.start()) + 1, match["rest"], match["code"])
        for match in _BLOCK.finditer(text)
    ]


def of_service(name: str) -> pytest.MarkDecorator:
    chosen = [program for program in programs() if program.rest == f" with {name}"]
    assert chosen, f"no program needs {name}"
    return pytest.mark.parametrize("program", chosen, ids=lambda program: f"line {program.line}")


@pytest.fixture
def directory(certificates: Path, tmp_path: Path) -> Path:
    """Where the reader is."""
    shutil.copytree(certificates, tmp_path, dirs_exist_ok=True)
    (tmp_path / "file.bin").write_bytes(CONTENT)
    return tmp_path


def run(program: Program, directory: Path, ports: dict[int, int]) -> str:
    """Run it to its end, warnings being errors; this library sealed and opened."""
    code = program.code
    for shown, port in ports.items():
        code = re.sub(rf"\b{shown}\b", str(port), code)
    (directory / "program.py").write_text(code)
    process = subprocess.run(
        [sys.executable, "-W", "error", "program.py"],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=50,
        env={**os.environ, "KTLS_SYSCTL": ""},
    )
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    said = process.stdout.splitlines()
    sockets = re.findall(r"<ktls\.TLSSocket client, .*, mode=(.*)>", process.stdout)
    assert set(sockets) == {"SW"} or said[-1] == "2", process.stdout
    return process.stdout


@of_service("https")
def test_documented_https_clients_fetch(
    program: Program, directory: Path, https: int, http_files: Path
) -> None:
    (http_files / "files" / "file.bin").write_bytes(CONTENT)
    assert str(len(CONTENT)) in run(program, directory, {8443: https})


@of_service("ftp")
def test_documented_ftp_client_goes_both_ways(
    program: Program, directory: Path, ftp: int, ftp_files: Path
) -> None:
    run(program, directory, {2121: ftp})
    assert (directory / "copy.bin").read_bytes() == CONTENT
    (ftp_files / "copy.bin").unlink()


@of_service("smtp")
def test_documented_smtp_client_delivers(
    program: Program, directory: Path, smtp: tuple[int, int]
) -> None:
    later, at_once = smtp
    assert run(program, directory, {587: later, 465: at_once}).count("mode=SW>") == 2


@of_service("mailbox")
def test_documented_mailbox_clients_read(program: Program, directory: Path, mailbox: Ports) -> None:
    assert run(program, directory, {993: mailbox.imaps, 995: mailbox.pop3s})


@of_service("database")
def test_documented_database_client_connects(
    program: Program, directory: Path, database: int
) -> None:
    assert "TLSv1.3" in run(program, directory, {5432: database})


def test_every_program_is_run() -> None:
    services = {" with https", " with ftp", " with smtp", " with mailbox", " with database"}
    assert {program.rest for program in programs()} == services
