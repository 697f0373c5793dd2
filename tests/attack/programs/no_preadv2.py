"""A file is sent on a kernel that answers ENOSYS to preadv2, as those before Linux 4.6 do.

Usage: no_preadv2.py FILE TIMEOUT: a file to send, and the socket's time-out (0: non-blocking).
"""

import ctypes
import errno
import os
import platform
import sys
from pathlib import Path

import ktls
from keyed_link import connected, parameters
from record_reader import SUITES, RecordReader, Secrets, read_data

CALL = {"x86_64": 327, "aarch64": 286}[platform.machine()]
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | errno.ENOSYS


class Instruction(ctypes.Structure):
    """`struct sock_filter`."""

    _fields_ = (
        ("code", ctypes.c_uint16),
        ("if_true", ctypes.c_uint8),
        ("if_false", ctypes.c_uint8),
        ("k", ctypes.c_uint32),
    )


class Program(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = (("length", ctypes.c_uint16), ("filter", ctypes.POINTER(Instruction)))


def refuse_preadv2() -> None:
    """From now on, in this thread and those that it starts."""
    instructions = (Instruction * 4)(
        (LOAD, 0, 0, 0),  # the number of the call
        (JUMP_IF_EQUAL, 0, 1, CALL),
        (RETURN, 0, 0, REFUSE),
        (RETURN, 0, 0, ALLOW),
    )
    program = Program(len(instructions), instructions)
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in (
        (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0),
    ):
        if libc.prctl(*arguments):
            raise OSError(ctypes.get_errno(), f"prctl({arguments[0]})")


def is_refused(fd: int) -> bool:
    """Whether the filter is in force; glibc has a word of its own for ENOSYS here."""
    try:
        os.preadv(fd, [bytearray(1)], 0, os.RWF_NOWAIT)
    except OSError as error:
        return error.errno in (errno.ENOSYS, errno.EOPNOTSUPP)
    return False


def main() -> None:
    path, timeout = Path(sys.argv[1]), float(sys.argv[2])
    content = path.read_bytes()
    refuse_preadv2()
    near, far = connected()
    secrets = Secrets(SUITES[3])
    ktls.enable()
    with path.open("rb") as file, ktls.Socket(near) as sock, far:
        assert is_refused(file.fileno())
        far.settimeout(20)
        sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(secrets))
        sock.settimeout(timeout)
        assert sock.sendfile(file) == len(content)
        sock.close()
        assert read_data(far, RecordReader(secrets)) == content


main()
