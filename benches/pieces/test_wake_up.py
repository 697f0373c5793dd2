"""What it costs to hand work to a worker that sleeps, beside doing it oneself.

Both tests send one small record and wait until the other end, in this process, has it.
"""

import time

import pytest

import ktls
from ktls.sysctl import PREFIX

INLINE_MAX = PREFIX + "inline_max"
ROUNDS = 500
RECORD_SIZE = 5 + 64 + 17


@pytest.mark.parametrize(("by", "inline_max"), [("the caller", 65536), ("a sleeping worker", 0)])
def test_record_sent_by(benchmark, linked, by: str, inline_max: int) -> None:
    benchmark.group = "send of 64 B until the other end has it"
    stream, far = linked
    stream.settimeout(0.0)
    before = ktls.sysctl[INLINE_MAX]
    ktls.sysctl[INLINE_MAX] = inline_max
    data = bytes(64)

    def there() -> int:
        stream.send(data)
        return len(far.recv(RECORD_SIZE))

    def asleep() -> None:
        # Longer than kern.ipc.tls.spin_us: the worker has stopped to look for work.
        time.sleep(0.002)

    try:
        assert benchmark.pedantic(there, setup=asleep, rounds=ROUNDS) == RECORD_SIZE
    finally:
        ktls.sysctl[INLINE_MAX] = before
