"""PostgreSQL, which takes TLS alone: by a client's certificate, or by a password."""

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cli.server_process import eventually

from .processes import directory_of, free_port, give, identity, running, unprivileged

CERTIFIED, NAMED, PASSWORD = "client", "named", "secret"
"""Who is let in by the certificate, and who by the password."""

_RULES = f"""
local all all trust
hostssl all {CERTIFIED} 127.0.0.1/32 cert
hostssl all {NAMED} 127.0.0.1/32 scram-sha-256
"""


@contextmanager
def postgresql(certificates: Path) -> Iterator[int]:
    """A fresh cluster in a directory of its own; yields the port."""
    user = unprivileged()
    port = free_port()
    with directory_of(user) as directory:
        data = directory / "data"
        subprocess.run(
            [_program("initdb"), "--pgdata", data, "--auth", "trust", "--no-sync", "-U", "owner"],
            check=True,
            capture_output=True,
            cwd=directory,
            **identity(user),
        )
        (data / "pg_hba.conf").write_text(_RULES)
        for name, source in (("server", "server.pem"), ("ca", "ca.pem")):
            # A key has to be the server's own.
            give(shutil.copy(certificates / source, data / f"{name}.pem"), user)
        options = {
            "port": port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": directory,
            "ssl": "on",
            "ssl_cert_file": "server.pem",
            "ssl_key_file": "server.pem",
            "ssl_ca_file": "ca.pem",
            "fsync": "off",
        }
        command = [_program("postgres"), "-D", data]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        log = directory / "log"
        # SIGINT: the fast way to shut down, which does not wait for clients.
        with running(command, [port], log, ends_by=signal.SIGINT, user=user):
            # The port is there before the database.
            eventually(lambda: _is_ready(directory, port))
            for role, rest in ((CERTIFIED, ""), (NAMED, f" PASSWORD '{PASSWORD}'")):
                _ask(directory, port, f"CREATE ROLE {role} LOGIN{rest}")
                _ask(directory, port, f"GRANT ALL ON SCHEMA public TO {role}")
            yield port


def _is_ready(directory: Path, port: int) -> bool:
    command = [_program("pg_isready"), "-h", directory, "-p", str(port)]
    return subprocess.run(command, capture_output=True).returncode == 0


def _ask(directory: Path, port: int, command: str) -> None:
    psql = _program("psql")
    subprocess.run(
        [psql, "-h", directory, "-p", str(port), "-U", "owner", "-d", "postgres", "-c", command],
        check=True,
        capture_output=True,
    )


def _program(name: str) -> Path:
    """Debian keeps them apart by version."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    assert found, f"{name} of PostgreSQL was not found below /usr/lib/postgresql"
    return found[-1]
