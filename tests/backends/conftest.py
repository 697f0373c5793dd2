"""The example of a native backend, built and installed."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "native_backend"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, built."""
    build, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for path in EXAMPLE.rglob("*"):
        if path.is_file() and path.suffix in {".toml", ".py", ".c", ".h", ".md"}:
            copy = build / path.relative_to(EXAMPLE)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    pip("wheel", "--no-build-isolation", "--no-deps", "--wheel-dir", str(out), str(build))
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def scratch(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where it is installed, beside everything else."""
    target = tmp_path_factory.mktemp("scratch")
    pip("install", "--no-deps", "--no-index", "--target", str(target), str(wheel))
    return target


def pip(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
