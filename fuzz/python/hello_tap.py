"""A handshake's records, with any bytes in them, past the tap that reads the hellos.

What the peer sent must never raise: OpenSSL judges it.  Run by ``make fuzz``.
"""

import sys

import atheris

with atheris.instrument_imports(include=["ktls.handover.hello", "ktls.handover.records"]):
    from ktls.handover import hello, records

HEADER = b"\x16\x03\x03"


def check(data: bytes) -> None:
    given = atheris.FuzzedDataProvider(data)
    randoms: list[bytes] = []
    tap = hello.HelloTap(given.ConsumeBool(), randoms.append)
    messages = records.MessageReader()
    fed = b""
    for _ in range(given.ConsumeIntInRange(1, 12)):
        outgoing, whole = given.ConsumeBool(), given.ConsumeBool()
        body = given.ConsumeBytes(given.ConsumeIntInRange(0, 600))
        if whole and len(body) > 1:
            # A message of a hello's type whose length is right.
            body = bytes([1 + body[0] % 2]) + len(body[1:]).to_bytes(3, "big") + body[1:]
        header = HEADER if whole else given.ConsumeBytes(3).ljust(3, b"\x17")
        record = header + len(body).to_bytes(2, "big") + body
        (tap.outgoing if outgoing else tap.incoming)(record)
        fed += body
        assert b"".join(messages.feed(body)) == b"" or len(fed) >= 4
        assert list(records.split_records(record + record)) == [record, record]
    assert all(len(random) == 32 for random in randoms)
    if tap.client_hello is not None:
        assert tap.client_hello.random == randoms[-1]
    assert isinstance(tap.refusal, str)


if __name__ == "__main__":
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()
