"""Rust's standard library for the other architecture: there, added, or named as what is missing."""

from pathlib import Path

import pytest

from toolchain import CannotBuild, require_standard_library

NAME = "aarch64-unknown-linux-gnu"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with a compiler on it, whose standard libraries would be in `lib`."""
    (tmp_path / "lib").mkdir()
    put(tmp_path, "rustc", f"echo {tmp_path}/lib")
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def put(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_target_that_is_there_is_not_asked_for(folder: Path) -> None:
    (folder / "lib" / "libstd-0.rlib").touch()
    put(folder, "rustup", "exit 1")
    require_standard_library("aarch64")


def test_rustup_adds_a_missing_target(folder: Path) -> None:
    put(folder, "rustup", f'[ "$*" = "target add {NAME}" ] && : > {folder}/lib/libstd-0.rlib')
    require_standard_library("aarch64")


def test_missing_target_without_rustup_is_named(folder: Path) -> None:
    with pytest.raises(CannotBuild, match=f"there is no rustup.*rustup target add {NAME}"):
        require_standard_library("aarch64")


@pytest.mark.parametrize("status", [0, 1])
def test_a_rustup_that_does_not_add_it_is_no_success(folder: Path, status: int) -> None:
    put(folder, "rustup", f"exit {status}")
    with pytest.raises(CannotBuild, match=f"could not add Rust's standard library for {NAME}"):
        require_standard_library("aarch64")
