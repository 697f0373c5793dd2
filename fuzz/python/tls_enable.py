"""Any fields as a ``TLSEnable``: taken, or refused as documented, in words without a key.

Run by ``make fuzz``; the engine's own check of the keys must agree with the one made here.
"""

import errno
import sys

import atheris

with atheris.instrument_imports(include=["ktls.params"]):
    from ktls import params

import ktls
from ktls import _core

NUMBERS = [0, 1, 2, 3, 4, 5, 11, 21, 25, 26, 34, 35, 41, 255, -1, 1 << 40]
LENS = [0, 1, 4, 8, 12, 13, 16, 17, 20, 24, 32, 48, 1024, 1025]
KINDS = [bytes, bytearray, memoryview, repr]
REFUSALS = {errno.EINVAL, errno.EOPNOTSUPP}
SECRET = ("cipher_key", "iv", "auth_key")


def refused(en: ktls.TLSEnable, cbc_enable: bool) -> str:
    """Why, or an empty string."""
    try:
        params.check_lengths(en)
        params.check(en, cbc_enable=cbc_enable)
        params.check_key_len(en.cipher_algorithm, len(en.cipher_key))
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        return str(error)
    return ""


def check(data: bytes) -> None:
    given = atheris.FuzzedDataProvider(data)

    def number() -> int:
        return given.PickValueInList(NUMBERS)

    def some_bytes() -> object:
        value = given.ConsumeBytes(given.PickValueInList(LENS))
        return KINDS[given.ConsumeIntInRange(0, 3)](value) if value else b""

    fields = {
        "cipher_algorithm": number(),
        "cipher_key": some_bytes(),
        "iv": some_bytes(),
        "auth_algorithm": number(),
        "auth_key": some_bytes(),
        "tls_vmajor": 3 if given.ConsumeBool() else number(),
        "tls_vminor": number(),
        "rec_seq": bytes(8) if given.ConsumeBool() else some_bytes(),
        "flags": 0 if given.ConsumeBool() else number(),
    }
    try:
        en = ktls.TLSEnable(**fields)
    except TypeError:
        assert any(isinstance(value, str) for value in fields.values())
        return
    key = en.cipher_key
    # What is shown depends on the lengths of the keys alone.
    blank = {name: bytes(len(fields[name])) for name in SECRET}
    other = ktls.TLSEnable(**(fields | blank))
    assert repr(en) == repr(other)
    cbc_enable = given.ConsumeBool()
    refusal = refused(en, cbc_enable)
    assert refusal == refused(other, cbc_enable)
    if refusal:
        return
    assert en.sequence == int.from_bytes(en.rec_seq, "big")
    if en.cipher_algorithm != ktls.CRYPTO_AES_CBC:
        # What passes here is taken by the engine, and opens again.
        keys = _core.Keys(en.tls_vminor, en.cipher_algorithm, key, en.iv)
        sequence = min(en.sequence, 2**64 - 2)
        record = _core.Sealer(keys, sequence).seal(data)
        if len(data) <= 16384:
            assert _core.Opener(keys, sequence).open(record) == (23, data)


if __name__ == "__main__":
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()
