"""Linux's catalogue (selftests/net/tls.c) as data: its variants, and a reader.

Written from a description of the catalogue.  Variants with ciphers that FreeBSD does not know are
left out; AES-CBC, which Linux does not know, is put in.
"""

import threading

import pytest

from conformance.catalogue import cbc, chacha20, gcm
from keyed_link import Link
from record_reader import raw_records

VARIANTS = {
    "12_aes_gcm": gcm(128, "1_2"),
    "13_aes_gcm": gcm(128, "1_3"),
    "12_chacha": chacha20("1_2"),
    "13_chacha": chacha20("1_3"),
    "12_aes_gcm_256": gcm(256, "1_2"),
    "13_aes_gcm_256": gcm(256, "1_3"),
    "10_aes_cbc_sha1": cbc(128, "1_0", "sha1"),
    "12_aes_cbc_256_sha384": cbc(256, "1_2", "sha384"),
}

every_variant = pytest.mark.parametrize(
    "suite", [pytest.param(suite, id=name) for name, suite in VARIANTS.items()]
)
RECEIVING_VARIANTS = {name: suite for name, suite in VARIANTS.items() if suite.tls_vminor > 1} | {
    "11_aes_cbc_sha1": cbc(128, "1_1", "sha1")
}
"""Without TLS 1.0, whose records FreeBSD does not receive."""

every_receiving_variant = pytest.mark.parametrize(
    "suite", [pytest.param(suite, id=name) for name, suite in RECEIVING_VARIANTS.items()]
)
two_receiving_variants = pytest.mark.parametrize(
    "suite",
    [
        pytest.param(RECEIVING_VARIANTS[name], id=name)
        for name in ("13_aes_gcm", "12_aes_cbc_256_sha384")
    ],
)
two_variants = pytest.mark.parametrize(
    "suite",
    [pytest.param(VARIANTS[name], id=name) for name in ("13_aes_gcm", "10_aes_cbc_sha1")],
)


class Receiver(threading.Thread):
    """Opens everything that arrives, in the background, up to the end of the stream."""

    def __init__(self, link: Link) -> None:
        super().__init__(daemon=True)
        self._link = link
        self.records: list[tuple[int, bytes]] = []
        self.start()

    def run(self) -> None:
        for record in raw_records(self._link.peer):
            self.records.append(self._link.reader.open(record))

    def data(self) -> bytes:
        """Close our end, and return all application data, for that is all there may be."""
        self._link.sock.close()
        self.join(30)
        assert not self.is_alive()
        assert {content_type for content_type, _ in self.records} <= {23}
        return b"".join(payload for _, payload in self.records)
