"""Any bytes as what a client of the control socket says, and as what a process answers.

Run by ``make fuzz``: lines are the same wherever they are cut, a request is understood as it was
meant or refused in one line, and an answer is one or is refused.
"""

import contextlib
import sys

import atheris

with atheris.instrument_imports(include=["ktls.control.protocol"]):
    from ktls.control import protocol

from ktls.control.protocol import LINE_MAX, LineReader, ProtocolError


def lines_of(*parts: bytes) -> list[bytes] | None:
    """The lines of these parts; None: one is too long."""
    reader = LineReader()
    found = []
    try:
        for part in parts:
            found += reader.feed(part)
            assert reader.pending < LINE_MAX
    except ProtocolError:
        return None
    return found


def check(data: bytes) -> None:
    given = atheris.FuzzedDataProvider(data)
    cut = given.ConsumeIntInRange(0, 2 * LINE_MAX)
    text = given.ConsumeBytes(len(data))
    lines = lines_of(text)
    assert lines == lines_of(text[:cut], text[cut:])
    for line in lines or ():
        try:
            request = protocol.parse_request(line)
        except ProtocolError as error:
            said = protocol.show_error(error)
            assert said.count(b"\n") == 1
            assert len(said) < LINE_MAX
        else:
            shown = protocol.show_request(request).removesuffix(b"\n")
            assert protocol.parse_request(shown) == request
        with contextlib.suppress(ProtocolError):
            protocol.parse_hello(line)
        with contextlib.suppress(ProtocolError, OSError):
            protocol.parse_reply(line)


if __name__ == "__main__":
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()
