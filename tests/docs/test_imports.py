"""Imports run one way: the layers of docs/design.md, for the package and for the engine."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "python" / "ktls"
ENGINE = ROOT / "rust" / "engine" / "src"

# Lowest first; a module imports from its own row and those above it in this list.
LAYERS = [
    {"_core", "constants", "errors", "byte_view", "log", "tcp"},
    {"waiting", "per_process", "version"},
    {"addressing"},
    {"sysctl", "params", "sendfile"},
    {"backends"},
    {"policy"},
    {"workers", "session_keys", "forked"},
    {"futures"},
    {"session", "rx_session"},
    {"tx_mode"},
    {"cmsg", "connections", "sockopt", "probe"},
    {"socket"},
    {"handover"},
    {"tls_socket"},
    {"context"},
    {"control"},
    {"__init__", "contrib"},
    {"cli"},
    {"__main__"},
]
HANDOVER_LAYERS = [
    {"kept", "keylog", "openssl_sender", "weak_identity"},
    {"stock"},
    {"context"},
    {"handshake"},
    {"parts"},
    {"__init__"},
]
CLI_LAYERS = [
    {"bench_peer", "failure", "figures", "limits", "listing", "location", "numbers"},
    {"processes", "report", "request", "tcp_info"},
    {"certificate", "conditional", "linger", "reader"},
    {"answer"},
    {"http"},
    {"server"},
    {"netstat", "probe", "serve", "switch_tls", "sysctl"},
    {"bench", "top"},
    {"commands"},
    {"__init__"},
]
# What each folder of the engine may name of the crate beside its own.
SHARED = {
    "backend",
    "counters",
    "deadline",
    "error",
    "fork_lock",
    "poll_fd",
    "pool",
    "sys",
    "traffic",
    "transport",
}
ENGINE_USES = {
    "send": SHARED | {"ledger", "replies", "times", "tunables"},
    "receive": SHARED | {"replies", "turn"},
    "pool": {"counters", "deadline", "error", "poll_fd", "sys", "tunables"},
    "transport": {"error", "fork_lock", "sys"},
}


def row(layers: list[set[str]], name: str) -> int:
    """The row of a module; a new one needs a place."""
    found = [index for index, names in enumerate(layers) if name in names]
    assert found, f"{name} has no place in the layers of {__file__}"
    return found[0]


def imported(path: Path) -> Iterator[str]:
    """Dotted names below `ktls` that a file imports, `.name` for its own folder."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "ktls")
        elif isinstance(node, ast.ImportFrom) and node.level:
            yield f".{node.module or ''}"
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ktls":
            if node.module == "ktls":
                yield from (f"ktls.{alias.name}" for alias in node.names)
            elif node.module == "ktls.cli" and path.parent.name == "cli":
                yield from (f"ktls.cli.{alias.name}" for alias in node.names)
            else:
                yield str(node.module)


def module_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def files(folder: Path) -> list[Path]:
    found = sorted(folder.rglob("*.py"))
    assert found
    return found


@pytest.mark.parametrize("path", files(PACKAGE), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_package_imports_downwards(path: Path) -> None:
    own = module_of(path)
    for name in imported(path):
        if name.startswith("."):
            assert own == "handover", f"{path}: absolute imports only"
            ours, theirs = row(HANDOVER_LAYERS, path.stem), row(HANDOVER_LAYERS, name[1:])
            assert theirs < ours, f"{path} imports {name}, which is not below it"
        elif own != "cli":
            parts = [*name.split("."), "__init__"]
            ours, theirs = row(LAYERS, own), row(LAYERS, parts[1])
            assert theirs < ours or parts[1] == own, f"{path} imports {name}, not below it"


@pytest.mark.parametrize("path", files(PACKAGE / "cli"), ids=lambda path: path.name)
def test_the_command_imports_downwards(path: Path) -> None:
    ours = row(CLI_LAYERS, path.stem)
    for name in imported(path):
        parts = [*name.split("."), "__init__"]
        if parts[1] == "cli":
            assert row(CLI_LAYERS, parts[2]) < ours, f"{path} imports {name}, not below it"


def test_nobody_imports_the_whole_package() -> None:
    """But the command, which is a program of its own."""
    for path in files(PACKAGE):
        if module_of(path) != "cli":
            assert "ktls" not in set(imported(path)), path


@pytest.mark.parametrize("folder", sorted(ENGINE_USES))
def test_the_folders_of_the_engine_use_what_they_may(folder: str) -> None:
    used = set()
    sources = sorted((ENGINE / folder).rglob("*.rs"))
    assert sources
    for path in sources:
        used |= set(re.findall(r"crate::([a-z_]+)", path.read_text()))
    assert used - {folder} <= ENGINE_USES[folder]


def test_the_record_layer_knows_nobody() -> None:
    manifest = (ROOT / "rust" / "record" / "Cargo.toml").read_text()
    assert not re.search(r"^(ktls|pyo3|rustix|libc)", manifest, re.MULTILINE)
    assert "#![forbid(unsafe_code)]" in (ROOT / "rust" / "record" / "src" / "lib.rs").read_text()
