"""Builds the wheels and the sdist, checks each one, and tries those that this machine can run.

Usage::

    python packaging/wheels.py --out wheelhouse [--architecture x86_64] [--glibc 2.28]

The last lines say what was done with each, and what was not built and why.  The status is 1 when
something that was asked for could not be built, was refused, or failed when it was tried.  A
free-threaded wheel is asked for by an interpreter of that kind that is there.
"""

import argparse
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import interpreters
import toolchain
from audit import Refused, audit_sdist, audit_wheel
from bare_environment import bare_environment
from interpreters import Interpreter

ARCHITECTURES = ["x86_64", "aarch64"]
BACKENDS = ["ring", "aws-lc"]
OLDEST = (3, 11)
OLDEST_FREE_THREADED = (3, 14)
"""For earlier ones PyO3 does not build."""


@dataclass(frozen=True)
class Product:
    """One file to be made: how it is built into a folder and looked at, and who tries it."""

    name: str
    build: Callable[[Path], Path]
    audit: Callable[[Path], None]
    tried_by: list[Interpreter]
    pip_options: tuple[str, ...]


def main() -> int:
    parser = argparse.ArgumentParser(description="Build, check and try the wheels and the sdist.")
    parser.add_argument("--out", type=Path, default=Path("wheelhouse"), help="emptied first")
    parser.add_argument("--architecture", action="append", choices=ARCHITECTURES, help="both")
    parser.add_argument("--glibc", default="2.17", help="the oldest that the wheels are for")
    options = parser.parse_args()
    out = options.out.resolve()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    found = interpreters.found(OLDEST)
    said, failed = [], False
    for product in products(options.architecture or ARCHITECTURES, options.glibc, found):
        print(f"== {product.name} ==", flush=True)
        try:
            said.append(make(product, out))
        except (toolchain.CannotBuild, Refused, subprocess.SubprocessError) as failure:
            said.append(f"FAILED: {product.name}: {failure}")
            failed = True
    if not any(is_free_threaded(interpreter) for interpreter in found):
        said.append(
            "NOT BUILT: free-threaded wheel: no free-threaded CPython "
            f"{'.'.join(map(str, OLDEST_FREE_THREADED))} or later on PATH or under pyenv"
        )
    if not failed:
        (out / "unchecked").rmdir()
    print("== wheels and sdist ==")
    print("\n".join(said))
    return 1 if failed else 0


def products(architectures: list[str], glibc: str, found: list[Interpreter]) -> list[Product]:
    """What is made: abi3 wheels, free-threaded ones of this architecture, the sdist."""
    native = platform.machine()
    with_gil = [interpreter for interpreter in found if not interpreter.is_free_threaded]
    wheels = [
        wheel("abi3 wheel", name, glibc, sys.executable, with_gil if name == native else [])
        for name in architectures
    ]
    wheels += [
        wheel(f"wheel for {interpreter}", native, glibc, interpreter.program, [interpreter])
        for interpreter in found
        if is_free_threaded(interpreter) and native in architectures
    ]
    return [*wheels, Product("sdist", toolchain.build_sdist, audit_sdist, with_gil[:1], ())]


def wheel(
    name: str, architecture: str, glibc: str, interpreter: str, tried_by: list[Interpreter]
) -> Product:
    """A wheel, which pip installs without looking for anything else."""

    def build(out: Path) -> Path:
        toolchain.require_standard_library(architecture)
        return toolchain.build_wheel(architecture, glibc, interpreter, out)

    return Product(f"{name}, {architecture}", build, audit_wheel, tried_by, ("--no-index",))


def is_free_threaded(interpreter: Interpreter) -> bool:
    """Whether a free-threaded wheel can be built for it."""
    return interpreter.is_free_threaded and interpreter.version[:2] >= OLDEST_FREE_THREADED


def make(product: Product, out: Path) -> str:
    """Build, look, try; returns the line that says so.  What failed stays in `unchecked`.

    CannotBuild, Refused or SubprocessError, whose program has said why, when a step fails.
    """
    unchecked = out / "unchecked"
    unchecked.mkdir(exist_ok=True)
    path = product.build(unchecked)
    product.audit(path)
    for interpreter in product.tried_by:
        with bare_environment(interpreter) as environment:
            environment.install(path, *product.pip_options)
            environment.smoke(BACKENDS)
    path = path.rename(out / path.name)
    names = ", ".join(map(str, product.tried_by))
    tried = f"installed and tried on {names}" if names else "not tried: not of this machine's kind"
    return f"{path.name}: {path.stat().st_size / 1e6:.1f} MB, audited, {tried}"


if __name__ == "__main__":
    sys.exit(main())
