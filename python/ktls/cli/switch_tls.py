"""``switch_tls``: FreeBSD's command of this name, over the control sockets of the user's processes.

Its syntax, its forms, its messages and its statuses are those of switch_tls(8); beyond them are
``-p PID``, one process, and ``--help``. It needs nothing but the standard library.
"""

import errno
import getopt
import os
import socket
import sys
from collections.abc import Sequence
from typing import Any

from ktls.cli.failure import CommandError
from ktls.cli.processes import chosen, reason, snapshots
from ktls.control.protocol import ProtocolError, Switch

Endpoint = tuple[str, int]

USAGE = """\
usage: switch_tls [-i | -s] local-address local-port foreign-address foreign-port
       switch_tls [-i | -s] local-address:local-port foreign-address:foreign-port
       switch_tls [-i | -s] local-address.local-port foreign-address.foreign-port
       switch_tls [-l | -i | -s] -a
       switch_tls [-l | -i | -s] -S stack
"""
HELP = f"""\
{USAGE}
Switch who seals the TLS records of connections that ktls owns.

  -s          to software, which is the default
  -i          to the network interface, where one offers TLS
  -a          all connections
  -S STACK    all connections of this TCP stack; that of the host is "{sys.platform}"
  -l          with -a or -S: print a command for each connection, and switch nothing
  -p PID      connections of this process; default: of every process of the user
  -h, --help  print this text

A process takes part when it was started with KTLS_CONTROL=1, or has called
ktls.control.serve().  The status is 1 when a connection could not be switched.
"""


class _UsageError(Exception):
    """Answered with the usage text."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its status."""
    try:
        return _run(list(sys.argv[1:] if arguments is None else arguments))
    except _UsageError:
        sys.stderr.write(USAGE)
        return 1
    except CommandError as error:
        _warn(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read the list has gone; nothing is left to be flushed at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(arguments: list[str]) -> int:
    mode, lists, stack, pid = "sw", False, "", None
    takes_all = False
    try:
        options, operands = getopt.getopt(arguments, "ailS:sp:h", ["help"])
    except getopt.GetoptError as error:
        _warn(str(error))
        raise _UsageError from None
    for option, value in options:
        match option:
            case "-a":
                takes_all = True
            case "-i":
                mode = "ifnet"
            case "-s":
                mode = "sw"
            case "-l":
                lists = True
            case "-S":
                stack = value
            case "-p":
                pid = _pid(value)
            case _:
                sys.stdout.write(HELP)
                return 0
    if takes_all and stack:
        raise _UsageError
    if takes_all or stack:
        if operands:
            raise _UsageError
        return _switch_many(pid, mode, stack, lists=lists)
    if len(operands) not in (2, 4) or lists:
        raise _UsageError
    if len(operands) == 2:
        operands = [part for operand in operands for part in _split(operand)]
    return _switch_named(pid, mode, operands)


def _pid(text: str) -> int:
    if not text.isdecimal() or not text.isascii():
        raise CommandError(f"{text!r} is not the number of a process")
    return int(text)


def _split(operand: str) -> tuple[str, str]:
    """Host and port around the last dot or colon, whichever comes later."""
    at = max(operand.rfind("."), operand.rfind(":"))
    if at < 0 or at + 1 == len(operand):
        raise _UsageError
    return operand[:at], operand[at + 1 :]


def _switch_many(pid: int | None, mode: str, stack: str, *, lists: bool) -> int:
    status = 0
    for snapshot in list(snapshots(pid)):
        for connection in snapshot.connections:
            if stack and connection["stack"] != stack:
                continue
            local, foreign = _endpoint(connection["local"]), _endpoint(connection["foreign"])
            if lists:
                flag = "-i" if mode == "ifnet" else "-s"
                print(f"switch_tls {flag} {_words(local, foreign)}")
            elif connection["state"] == "open":
                status |= _switch_one(snapshot.pid, mode, local, foreign)
    return status


def _switch_named(pid: int | None, mode: str, operands: list[str]) -> int:
    """Every pair of addresses that the names stand for, of equal family."""
    locals_ = _resolved(operands[0], operands[1])
    foreigns = _resolved(operands[2], operands[3])
    pairs = [
        (local, foreign)
        for family, local in locals_
        for other, foreign in foreigns
        if family == other
    ]
    if not pairs:
        raise CommandError(f"{' '.join(operands)}: different address families")
    status = 0
    for local, foreign in pairs:
        status |= _switch_one(pid, mode, local, foreign)
    return status


def _resolved(host: str, port: str) -> list[tuple[int, Endpoint]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        words = error.strerror if isinstance(error, OSError) else str(error)
        raise CommandError(f"getaddrinfo: {host} port {port}: {words}") from None
    ends: list[tuple[int, Endpoint]] = []
    for family, _, _, _, address in found:
        if family in (socket.AF_INET, socket.AF_INET6):
            end = (family, (str(address[0]), int(address[1])))
            if end not in ends:
                ends.append(end)
    return ends


def _switch_one(pid: int | None, mode: str, local: Endpoint, foreign: Endpoint) -> int:
    """Switch in whichever process has the connection, and say so."""
    request = Switch(mode, local, foreign)
    failure = os.strerror(errno.ESRCH)
    for process in chosen(pid):
        try:
            process.ask(request)
        except OSError as error:
            if error.errno == errno.ESRCH:
                continue
            failure = os.strerror(error.errno) if error.errno else reason(error)
            break
        except ProtocolError as error:
            failure = reason(error)
            break
        print(f"{_words(local, foreign)}: switched", flush=True)
        return 0
    _warn(f"{_words(local, foreign)}: {failure}")
    return 1


def _endpoint(named: list[Any]) -> Endpoint:
    return str(named[0]), int(named[1])


def _words(local: Endpoint, foreign: Endpoint) -> str:
    return f"{local[0]} {local[1]} {foreign[0]} {foreign[1]}"


def _warn(message: str) -> None:
    print(f"switch_tls: {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
