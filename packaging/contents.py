"""What a wheel and an sdist have to hold, and that they hold nothing else.

Everything is held against the tree that they were made of.  Whether a wheel keeps to its platform
tag and to the stable ABI is asked of `auditwheel` and `abi3audit`, in `wheels.py`.
"""

import re
import tarfile
import zipfile
from email.message import Message
from email.parser import BytesParser
from pathlib import Path

_MODULE = re.compile(r"ktls/_core\.(abi3|cpython-3\d+t-[\w-]+)\.so")
_TOP_LEVEL = {"Cargo.lock", "Cargo.toml", "LICENSE-APACHE", "LICENSE-MIT", "README.md"}
_TOP_LEVEL |= {"pyproject.toml"}
_LICENSES = ["LICENSE-APACHE", "LICENSE-MIT"]
_OF_A_CRATE = {"src", "tests", "benches", "examples"}
"""What of a crate may be in the sdist beside its manifest; `src` has to be."""


def wheel_faults(wheel: Path, tree: Path) -> list[str]:
    """What is missing in the wheel, stray or wrong, a line each; empty for a good one."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        info = f"{'-'.join(wheel.name.split('-')[:2])}.dist-info"
        metadata = _parsed(archive.read(f"{info}/METADATA"))
        licenses = {
            name: archive.read(f"{info}/licenses/{name}")
            for name in _LICENSES
            if f"{info}/licenses/{name}" in names
        }
    modules = {name for name in names if _MODULE.fullmatch(name)}
    wanted = {f"ktls/{name}" for name in _package(tree)} | {
        f"{info}/{name}"
        for name in (
            "METADATA",
            "RECORD",
            "WHEEL",
            "entry_points.txt",
            "sboms/ktls-python.cyclonedx.json",
            *(f"licenses/{name}" for name in _LICENSES),
        )
    }
    faults = _compared(wanted, names - modules)
    if len(modules) != 1:
        faults.append(f"one extension module is wanted, not {sorted(modules)}")
    for name, text in licenses.items():
        if text != (tree / name).read_bytes():
            faults.append(f"{name} is not the one of the tree")
    return faults + _metadata_faults(metadata, tree)


def sdist_faults(sdist: Path, tree: Path) -> list[str]:
    """What a build needs and the sdist has not, or what is stray or wrong, a line each."""
    with tarfile.open(sdist) as archive:
        root = sdist.name.removesuffix(".tar.gz") + "/"
        members = [member for member in archive.getmembers() if not member.isdir()]
        information = archive.extractfile(f"{root}PKG-INFO")
        assert information is not None
        metadata = _parsed(information.read())
    faults = [f"{member.name} is no plain file" for member in members if not member.isfile()]
    faults += [
        f"{member.name} is outside of {root}"
        for member in members
        if not member.name.startswith(root)
    ]
    names = {member.name.removeprefix(root) for member in members}
    wanted = {"PKG-INFO"} | _TOP_LEVEL | {f"python/ktls/{name}" for name in _package(tree)}
    allowed: set[str] = set()
    for manifest in tree.glob("rust/*/Cargo.toml"):
        crate = manifest.parent
        wanted.add(str(manifest.relative_to(tree)))
        for path in crate.rglob("*"):
            folder = path.relative_to(crate).parts[0]
            if path.is_file() and folder in _OF_A_CRATE:
                (wanted if folder == "src" else allowed).add(str(path.relative_to(tree)))
    return faults + _compared(wanted, names - allowed) + _metadata_faults(metadata, tree)


def _package(tree: Path) -> set[str]:
    """The files of the Python package, from its folder on; what was built there is none of them."""
    folder = tree / "python" / "ktls"
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.suffix in {".py", ".pyi", ".h"} or path.name == "py.typed"
    }


def _compared(wanted: set[str], there: set[str]) -> list[str]:
    missing = [f"{name} is missing" for name in sorted(wanted - there)]
    return missing + [f"{name} is stray" for name in sorted(there - wanted)]


def _parsed(metadata: bytes) -> Message:
    return BytesParser().parsebytes(metadata)


def _metadata_faults(metadata: Message, tree: Path) -> list[str]:
    faults = []
    for field, value in {
        "Name": "ktls",
        "License-Expression": "MIT OR Apache-2.0",
        "Requires-Python": ">=3.11",
        "Description-Content-Type": "text/markdown; charset=UTF-8; variant=GFM",
    }.items():
        if metadata[field] != value:
            faults.append(f"{field} is {metadata[field]!r}, not {value!r}")
    if sorted(metadata.get_all("License-File", [])) != _LICENSES:
        faults.append(f"License-File is {metadata.get_all('License-File')}")
    body = metadata.get_payload(decode=True)
    if not isinstance(body, bytes) or body.strip() != (tree / "README.md").read_bytes().strip():
        faults.append("the description is not README.md")
    faults += [
        f"{requirement!r} is needed at run time; nothing should be"
        for requirement in metadata.get_all("Requires-Dist", [])
        if "extra ==" not in requirement
    ]
    # PEP 639: beside an expression, a classifier of a license is an error.
    faults += [
        f"the classifier {classifier!r} repeats the license"
        for classifier in metadata.get_all("Classifier", [])
        if classifier.startswith("License ::")
    ]
    return faults
