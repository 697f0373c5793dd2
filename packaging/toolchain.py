"""What builds wheels and the sdist: maturin, with zig as the C compiler and linker, and rustup.

zig brings the headers and symbols of every glibc, so a wheel for an old one, or for the other
architecture, needs no container and no second machine.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

TREE = Path(__file__).resolve().parents[1]
_FLAGS = {"CFLAGS", "CPPFLAGS", "LDFLAGS", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"}
"""Variables that may tune what is built for one machine: a wheel for others takes none of them."""


class CannotBuild(Exception):
    """Something is missing; the message says what, and the remedy."""


def target(architecture: str) -> str:
    """The Rust target for `x86_64` or `aarch64`."""
    return f"{architecture}-unknown-linux-gnu"


def require_standard_library(architecture: str) -> None:
    """Have Rust's standard library for that architecture, from rustup where it is missing.

    CannotBuild where there is no rustup, or it cannot fetch it.
    """
    name = target(architecture)
    if _has_standard_library(name):
        return
    if shutil.which("rustup") is None:
        raise CannotBuild(
            f"Rust's standard library for {name} is missing, and there is no rustup to add it; "
            f"install it with what installed Rust, or use rustup: rustup target add {name}"
        )
    command = ["rustup", "target", "add", name]
    if subprocess.run(command, check=False).returncode or not _has_standard_library(name):
        raise CannotBuild(f"rustup could not add Rust's standard library for {name} (above)")


def build_wheel(architecture: str, glibc: str, interpreter: str, out: Path) -> Path:
    """Build the wheel for one architecture and a glibc (`2.17`) or later; returns its path.

    Debug information is left out: it is nine tenths of the module. CannotBuild when maturin fails.
    """
    arguments = ["build", "--release", "--locked", "--strip", "--zig"]
    arguments += ["--target", target(architecture), "--interpreter", interpreter]
    arguments += ["--compatibility", f"manylinux_{glibc.replace('.', '_')}"]
    return _maturin(arguments, out)


def build_sdist(out: Path) -> Path:
    """Build the sdist; returns its path.  CannotBuild when maturin fails."""
    return _maturin(["sdist"], out)


def _has_standard_library(name: str) -> bool:
    command = ["rustc", "--print", "target-libdir", "--target", name]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.returncode == 0 and any(Path(answer.stdout.strip()).glob("libstd-*.rlib"))


def _maturin(arguments: list[str], out: Path) -> Path:
    """Run maturin; the one file that it made, moved to `out`."""
    environment = {key: value for key, value in os.environ.items() if key not in _FLAGS}
    environment["CARGO_ZIGBUILD_ZIG_PATH"] = str(files("ziglang") / "zig")
    with tempfile.TemporaryDirectory(prefix="ktls-wheel-") as directory:
        command = [sys.executable, "-m", "maturin", *arguments, "--out", directory]
        if subprocess.run(command, cwd=TREE, env=environment, check=False).returncode:
            raise CannotBuild(f"maturin {' '.join(arguments)} failed (above)")
        (made,) = Path(directory).iterdir()
        return Path(shutil.move(made, out / made.name))
