"""A new virtual environment with one distribution and nothing else, and the smoke test in it.

The environment has no pip of its own: the pip of the caller installs into it, so an interpreter
without `ensurepip` will do.  The certificate of the test is made here, for one run.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

from interpreters import Interpreter

_SMOKE = Path(__file__).with_name("smoke.py")


@dataclass(frozen=True)
class BareEnvironment:
    """A folder that `venv` made, by its python."""

    python: Path

    def install(self, distribution: Path, *options: str) -> None:
        """Install a wheel or an sdist; CalledProcessError when it, or `pip check`, fails."""
        self._pip("install", "--quiet", *options, str(distribution))
        self._pip("check")

    def smoke(self, backends: list[str]) -> None:
        """Run the smoke test, and the command; CalledProcessError when one fails."""
        with tempfile.TemporaryDirectory(prefix="ktls-smoke-") as directory:
            certificate, root = Path(directory, "server.pem"), Path(directory, "root.pem")
            authority = trustme.CA()
            authority.cert_pem.write_to_path(root)
            issued = authority.issue_cert("localhost")
            issued.private_key_and_cert_chain_pem.write_to_path(certificate)
            command = [str(self.python), "-I", "-X", "dev", "-W", "error", str(_SMOKE)]
            command += ["--certificate", str(certificate), "--root", str(root)]
            for backend in backends:
                command += ["--backend", backend]
            subprocess.run(command, cwd=directory, timeout=300, check=True)
            entry_point = [str(self.python.with_name("ktls")), "--help"]
            subprocess.run(
                entry_point, cwd=directory, timeout=300, check=True, stdout=subprocess.DEVNULL
            )

    def _pip(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "pip", "--python", str(self.python), *arguments]
        # All files of an sdist have one old date: in a shared folder cargo would take what it
        # built from other sources for up to date.
        environment = {k: v for k, v in os.environ.items() if k != "CARGO_TARGET_DIR"}
        subprocess.run(command, env=environment, check=True)


@contextmanager
def bare_environment(interpreter: Interpreter) -> Iterator[BareEnvironment]:
    """An environment of that interpreter, removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="ktls-bare-") as directory:
        command = [interpreter.program, "-m", "venv", "--without-pip", directory]
        subprocess.run(command, check=True)
        yield BareEnvironment(Path(directory, "bin", "python"))
