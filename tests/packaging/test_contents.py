"""What the wheel of `dist` and an sdist of this tree hold; and that what is wrong is noticed.

Nothing is compiled here: `make wheels` builds, audits and tries.
"""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from contents import sdist_faults, wheel_faults

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel() -> Path:
    found = list((ROOT / "dist").glob("ktls-*.whl"))
    assert len(found) == 1, f"one wheel is wanted in dist, not {found}; run make build"
    return found[0]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sdist")
    command = [sys.executable, "-m", "maturin", "sdist", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    (found,) = out.iterdir()
    return found


def rewritten_wheel(
    wheel: Path, out: Path, without: str = "", also: str = "", metadata: tuple[str, str] = ("", "")
) -> Path:
    """The wheel with one fault; what the extension module is made of is left out."""
    path = out / wheel.name
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            content = b"" if name.endswith(".so") else source.read(name)
            if name.endswith("/METADATA"):
                content = content.decode().replace(*metadata).encode()
            if not name.endswith(without or "\n"):
                target.writestr(name, content)
        if also:
            target.writestr(also, "")
    return path


def rewritten_sdist(sdist: Path, out: Path, without: str = "", also: str = "") -> Path:
    """The sdist with one fault."""
    path = out / sdist.name
    with tarfile.open(sdist) as source, tarfile.open(path, "w:gz", compresslevel=1) as target:
        for member in source.getmembers():
            if not member.name.endswith(without or "\n"):
                target.addfile(member, source.extractfile(member))
        if also:
            target.addfile(tarfile.TarInfo(f"{sdist.name.removesuffix('.tar.gz')}/{also}"))
    return path


def test_the_wheel_holds_the_package_and_its_licenses(wheel: Path) -> None:
    assert wheel_faults(wheel, ROOT) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"without": "ktls/py.typed"}, "ktls/py.typed is missing"),
        ({"without": "ktls/_core.abi3.so"}, "one extension module is wanted, not []"),
        ({"without": "licenses/LICENSE-MIT"}, "INFO/licenses/LICENSE-MIT is missing"),
        ({"also": "tests/test_session.py"}, "tests/test_session.py is stray"),
        ({"also": "ktls/_core.abi3.so.bak"}, "ktls/_core.abi3.so.bak is stray"),
        (
            {"metadata": ("Requires-Python: >=3.11", "Requires-Python: >=3.8")},
            "Requires-Python is '>=3.8', not '>=3.11'",
        ),
        (
            {"metadata": ("trustme>=1.2 ; extra == 'cli'", "trustme>=1.2")},
            "'trustme>=1.2' is needed at run time; nothing should be",
        ),
        (
            {
                "metadata": (
                    "Classifier: Typing",
                    "Classifier: License :: Other\nClassifier: Typing",
                )
            },
            "the classifier 'License :: Other' repeats the license",
        ),
    ],
)
def test_what_is_wrong_with_a_wheel_is_noticed(
    wheel: Path, tmp_path: Path, change: dict[str, Any], fault: str
) -> None:
    info = f"{'-'.join(wheel.name.split('-')[:2])}.dist-info"
    found = wheel_faults(rewritten_wheel(wheel, tmp_path, **change), ROOT)
    assert [line.replace(info, "INFO") for line in found] == [fault]


def test_the_sdist_holds_what_a_build_needs(sdist: Path) -> None:
    assert sdist_faults(sdist, ROOT) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"without": "/Cargo.lock"}, "Cargo.lock is missing"),
        ({"without": "/rust/engine/src/sys.rs"}, "rust/engine/src/sys.rs is missing"),
        ({"without": "/LICENSE-APACHE"}, "LICENSE-APACHE is missing"),
        ({"also": "python/ktls/_core.abi3.so"}, "python/ktls/_core.abi3.so is stray"),
        ({"also": "rust/engine/notes.txt"}, "rust/engine/notes.txt is stray"),
    ],
)
def test_what_is_wrong_with_an_sdist_is_noticed(
    sdist: Path, tmp_path: Path, change: dict[str, str], fault: str
) -> None:
    assert sdist_faults(rewritten_sdist(sdist, tmp_path, **change), ROOT) == [fault]
