"""A wheel's name promises no older glibc than auditwheel finds that it needs."""

import pytest

from audit import is_true


@pytest.mark.parametrize(
    ("promised", "found", "true"),
    [
        ("manylinux_2_17_x86_64.manylinux2014_x86_64", "manylinux_2_17_x86_64", True),
        ("manylinux_2_28_x86_64", "manylinux_2_5_x86_64", True),
        ("manylinux_2_5_x86_64", "manylinux_2_17_x86_64", False),
        ("manylinux_2_28_x86_64.manylinux_2_17_x86_64", "manylinux_2_28_x86_64", False),
        ("manylinux_2_17_aarch64", "manylinux_2_34_aarch64", False),
        ("manylinux_2_17_x86_64", "linux_x86_64", False),
        ("linux_x86_64", "manylinux_2_17_x86_64", False),
    ],
)
def test_tag_promises_no_older_glibc_than_needed(promised: str, found: str, true: bool) -> None:
    assert is_true(promised, found) is true
