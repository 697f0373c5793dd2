"""curl, asked for what the tests need."""

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

VERSIONS = {
    "1.2": ("--tlsv1.2", "--tls-max", "1.2"),
    "1.3": ("--tlsv1.3",),
}
_WRITTEN = "%{stderr}%{http_code} %{num_connects}\n"


class Curl:
    """For one server; `shared` holds its authority and what is sent."""

    def __init__(self, port: int, shared: Path, directory: Path) -> None:
        self.port = port
        self.shared = shared
        self._directory = directory

    def run(self, *arguments: object, name: str = "127.0.0.1") -> subprocess.CompletedProcess[str]:
        """One curl; its errors are two numbers for each URL: status and new connections."""
        command = ["curl", "--silent", "--show-error", "--cacert", self.shared / "ca.pem"]
        command += ["--connect-to", f"{name}:443:127.0.0.1:{self.port}"]
        command += ["--noproxy", "*", "--write-out", _WRITTEN, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)

    def counts(self, *arguments: object, name: str = "127.0.0.1") -> list[int]:
        """New connections for each URL, all of which must be served."""
        result = self.run(*arguments, name=name)
        assert result.returncode == 0, result.stderr
        rows = [line.split() for line in result.stderr.splitlines()]
        assert {status for status, _ in rows} == {"200"}, result.stderr
        return [int(count) for _, count in rows]

    def json(self, path: str, *arguments: object, name: str = "127.0.0.1") -> dict[str, Any]:
        """The answer to one request."""
        output = self._directory / "answer"
        self.counts(*arguments, "--output", output, f"https://{name}{path}", name=name)
        found: dict[str, Any] = json.loads(output.read_text())
        return found

    def download(self, *arguments: object) -> str:
        """SHA-256 of the large file as it arrived."""
        output = self._directory / "file.bin"
        self.counts(*arguments, "--output", output, "https://127.0.0.1/file.bin")
        return digest(output)

    def upload(self, path: Path, *arguments: object) -> dict[str, Any]:
        """What the server says of a file that it was sent."""
        # wsgiref does not answer Expect, and curl would wait for a second.
        sent = ("--header", "Expect:", "--upload-file", path)
        return self.json("/upload", *arguments, *sent)


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
