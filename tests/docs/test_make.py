"""What `make serve` says on a machine that lacks something: one line, and nothing is begun."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEEDED = ("make", "sh", "find")
REMEDY = "install a Rust toolchain, 1.85 or later (https://rustup.rs)"


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A directory with all programs that the machine has; the compilers would do nothing."""
    directory = tmp_path / "bin"
    directory.mkdir()
    for name in NEEDED:
        found = shutil.which(name)
        assert found is not None, name
        (directory / name).symlink_to(found)
    (directory / "python3").symlink_to(sys.executable)
    put(directory, "cc", "exit 1")
    put(directory, "cargo", "echo 'cargo 1.85.0 (d73d2caf9 2024-12-31)'")
    return directory


def put(directory: Path, name: str, script: str) -> None:
    """A program of ours in the place of a real one."""
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def refusal(programs: Path, *assignments: str) -> str:
    """The first line; make adds that the recipe failed."""
    environment = programs.parent / ".venv"
    result = subprocess.run(
        ["make", "-C", ROOT, "--no-print-directory", "serve", f"VENV={environment}", *assignments],
        env={"PATH": str(programs), "HOME": str(programs.parent), "LC_ALL": "C"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert result.returncode == 2
    assert result.stdout == ""
    assert not environment.exists()
    first, last = result.stderr.splitlines()
    assert last.startswith("make: *** [")
    return first


def test_make_without_cargo_says_so(programs: Path) -> None:
    (programs / "cargo").unlink()
    assert refusal(programs) == f"make: cargo was not found; {REMEDY}"


def test_make_with_an_old_cargo_says_so(programs: Path) -> None:
    put(programs, "cargo", "echo 'cargo 1.63.0 (fd9c4297c 2022-07-01)'")
    said = refusal(programs)
    assert said == f"make: cargo 1.63.0 (fd9c4297c 2022-07-01) is too old; {REMEDY}"


def test_make_without_a_c_compiler_says_so(programs: Path) -> None:
    (programs / "cc").unlink()
    assert refusal(programs).startswith("make: cc was not found; install a C compiler")


@pytest.mark.parametrize("is_there", [False, True], ids=["missing", "old"])
def test_make_without_a_python_that_will_do_says_so(programs: Path, is_there: bool) -> None:
    if is_there:
        put(programs, "python3.9", "exit 1  # as the question for its version does")
    said = refusal(programs, "PYTHON=python3.9")
    assert said.startswith("make: python3.9 is missing or older than 3.11; install Python 3.11")
