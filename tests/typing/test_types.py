"""`mypy --strict` and pyright over small programs, and over all examples of the documents.

What a checker is to refuse is tried as well, so that silence means something.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import ktls

ROOT = Path(__file__).parents[2]
EXAMPLES = Path(__file__).parent / "examples"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
PACKAGE = Path(ktls.__file__).parents[1]
UNTYPED = ["cheroot", "eventlet", "gevent", "gunicorn", "pg8000"]
"""Ship no types; nothing is known of what comes from them."""
REFUSED = [
    'sock.recv("a hundred")',
    "sock.settimeout(b'1')",
    "sock.mode = 1",
    "number: int = sock.getsockopt(1, 3, 4)",
    "sock.setsockopt(1, 3, None)",
    "context.wrap_socket(sock, server_hostname=1)",
    "text: str = sock.getpeercert(True)",
    "count: str = sock.send(b'')",
    "sock.bind(object())",
]

_UNANNOTATED = "# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls\n"
BEFORE = {
    " program": _UNANNOTATED,
    " settings": f"{_UNANNOTATED}import ssl\nimport ktls\nctx = ktls.create_default_context()\n",
}
"""What precedes a block of each kind: programs are as users write them."""
OF_THE_USER = ROOT / "tests" / "frameworks" / "programs"
"""What programs of the documents import as the user's."""

_BLOCK = re.compile(r"^```python(?P<kind>.*)\n(?P<text>(?:.*\n)*?)```$", re.MULTILINE)


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A directory with every program, and none of the tests' own modules in sight."""
    directory = tmp_path / "programs"
    shutil.copytree(EXAMPLES, directory)
    for document in DOCUMENTS:
        text = document.read_text()
        for match in _BLOCK.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            name = re.sub(r"\W", "_", document.stem)
            before = BEFORE.get(match["kind"], "")
            (directory / f"{name}_line_{line}.py").write_text(before + match["text"])
    assert any(directory.glob("README_*"))
    assert any(directory.glob("frameworks_clients_*"))
    return directory


def mypy(directory: Path) -> str:
    """What it says, one complaint a line."""
    lines = ["[mypy]", "strict = True"]
    paths = [OF_THE_USER] if "site-packages" in PACKAGE.parts else [PACKAGE, OF_THE_USER]
    lines.append(f"mypy_path = {':'.join(map(str, paths))}")
    for name in UNTYPED:
        lines += [f"[mypy-{name}.*]", "ignore_missing_imports = True"]
    # What programs import as the user's has tests of its own.
    lines += [f"[mypy-{','.join(path.stem for path in OF_THE_USER.glob('*.py'))}]"]
    lines += ["ignore_errors = True"]
    configuration = directory.parent / "mypy.ini"
    configuration.write_text("\n".join(lines))
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--config-file",
        str(configuration),
        "--no-error-summary",
    ]
    command += ["--cache-dir", str(directory.parent / "mypy"), *map(str, directory.glob("*.py"))]
    return said(command, directory)


def pyright(directory: Path) -> str:
    """What it says, one complaint a line."""
    configuration = directory.parent / "pyrightconfig.json"
    configuration.write_text(
        json.dumps(
            {
                "include": [str(directory)],
                "extraPaths": [str(PACKAGE), str(OF_THE_USER)],
                "pythonVersion": "3.11",
                "reportMissingTypeStubs": False,
            }
        )
    )
    command = [sys.executable, "-m", "pyright", "--project", str(configuration)]
    command += ["--pythonpath", sys.executable, "--outputjson"]
    found = json.loads(said(command, directory))
    assert found["summary"]["filesAnalyzed"] == len(list(directory.glob("*.py")))
    return "".join(
        f"{each['file']}:{each['range']['start']['line'] + 1}: {each['message']}\n"
        for each in found["generalDiagnostics"]
        if each["severity"] == "error"
    )


def said(command: list[str], directory: Path) -> str:
    process = subprocess.run(
        command,
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=300,
        # A newer pyright is not looked for.
        env={**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},
    )
    assert process.returncode in (0, 1), process.stderr
    return process.stdout


Checker = Callable[[Path], str]
each_checker = pytest.mark.parametrize("checker", [mypy, pyright], ids=["mypy", "pyright"])


@pytest.mark.timeout(300)
@each_checker
def test_examples_are_accepted(checker: Checker, programs: Path) -> None:
    assert checker(programs) == ""


@pytest.mark.timeout(300)
@each_checker
def test_mistakes_are_refused(checker: Checker, tmp_path: Path) -> None:
    """Each line by itself: not one of the types above is `Any`."""
    directory = tmp_path / "mistakes"
    directory.mkdir()
    lines = ["import ktls", "def mistakes(sock: ktls.TLSSocket, context: ktls.SSLContext) -> None:"]
    text = "\n".join(lines + [f"    {line}" for line in REFUSED]) + "\n"
    (directory / "mistakes.py").write_text(text)
    numbers = {int(number) for number in re.findall(r"mistakes\.py:(\d+):", checker(directory))}
    assert numbers == set(range(len(lines) + 1, len(lines) + 1 + len(REFUSED)))
