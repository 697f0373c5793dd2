"""The facts that a figure is worth nothing without, and the refusal to measure a debug build."""

import os
import platform
import ssl
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ktls import _core

_ROOT = Path(__file__).resolve().parents[2]


def require_release(profile: str) -> None:
    """SystemExit unless `profile`, that of the extension module, is the one that is delivered."""
    if profile != "release":
        raise SystemExit(
            f"ktls._core is a {profile} build, which must not be measured; build it with"
            " `make build` or `maturin develop --release`"
        )


def facts(congestion: str) -> dict[str, str]:
    """Name and value, in the order of the report."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "build": _core.BUILD_PROFILE,
        "CPU": _cpu(),
        "CPUs": str(len(os.sched_getaffinity(0))),
        "memory": _memory(),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "congestion control": f"{congestion} (system default {_default_congestion()})",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "OpenSSL of ssl": ssl.OPENSSL_VERSION,
        "pyOpenSSL": _pyopenssl(),
        "providers": ", ".join(_core.providers()),
        "load before": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }


def _commit() -> str:
    def git(*arguments: str) -> str:
        ran = subprocess.run(
            ["git", *arguments], cwd=_ROOT, capture_output=True, text=True, check=True
        )
        return ran.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "--short=12", "HEAD") + (" and local changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _cpu() -> str:
    found = _fields("/proc/cpuinfo", ("model name", "cpu family", "model"))
    if "model name" not in found:
        return platform.processor() or "unknown"
    family, model = found.get("cpu family", "?"), found.get("model", "?")
    return f"{found['model name']} (family {family}, model {model})"


def _memory() -> str:
    total = _fields("/proc/meminfo", ("MemTotal",)).get("MemTotal", "unknown")
    number, _, unit = total.partition(" ")
    return f"{int(number) / (1 << 20):.0f} GiB" if unit == "kB" else total


def _fields(path: str, names: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    try:
        text = Path(path).read_text()
    except OSError:
        return found
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in names:
            found.setdefault(name.strip(), value.strip())
    return found


def _default_congestion() -> str:
    try:
        return Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
    except OSError:
        return "unknown"


def _pyopenssl() -> str:
    try:
        number = version("pyOpenSSL")
        from OpenSSL import SSL
    except (PackageNotFoundError, ImportError):
        return "not installed"
    return f"{number} on {SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode()}"
