"""Fixtures for the hand-over: contexts for both roles, ours and the peer's."""

import ssl
import warnings
from collections.abc import Callable

import pytest
import trustme

import ktls
from handover.memory_pair import assert_nothing_is_left
from ktls import prepare
from ktls.handover import keylog

ContextMaker = Callable[..., ssl.SSLContext]
VERSIONS = {"1.0": "TLSv1", "1.1": "TLSv1_1", "1.2": "TLSv1_2", "1.3": "TLSv1_3"}
OP_NO_ENCRYPT_THEN_MAC = 0x80000
"""An option of OpenSSL that ssl has no name for."""


@pytest.fixture(autouse=True)
def _on() -> None:
    ktls.enable()


@pytest.fixture
def empty_key_log() -> None:
    """Whatever tests before have left in the key log in memory is gone."""
    keylog.process_log().reader.sweep()
    assert_nothing_is_left()


@pytest.fixture(scope="session")
def rsa_certificate(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("localhost", "127.0.0.1", key_type=trustme.KeyType.RSA)


@pytest.fixture(scope="session")
def client_certificate(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("client@example.org")


@pytest.fixture(scope="session")
def make_context(
    authority: trustme.CA, certificate: trustme.LeafCert, rsa_certificate: trustme.LeafCert
) -> ContextMaker:
    """Return a function that makes a context for either role."""

    def make(
        server_side: bool,
        *,
        version: str | None = None,
        ciphers: str | None = None,
        rsa: bool = False,
        prepared: bool = False,
        encrypt_then_mac: bool = True,
    ) -> ssl.SSLContext:
        protocol = ssl.PROTOCOL_TLS_SERVER if server_side else ssl.PROTOCOL_TLS_CLIENT
        context = ssl.SSLContext(protocol)
        if server_side:
            (rsa_certificate if rsa else certificate).configure_cert(context)
        authority.configure_trust(context)
        if version is not None:
            with warnings.catch_warnings():
                # 1.0 and 1.1 are deprecated, and wanted here.
                warnings.simplefilter("ignore", DeprecationWarning)
                number = ssl.TLSVersion[VERSIONS[version]]
                context.minimum_version = context.maximum_version = number
        if ciphers is not None:
            context.set_ciphers(ciphers)
        if not encrypt_then_mac:
            context.options |= OP_NO_ENCRYPT_THEN_MAC
        return prepare(context) if prepared else context

    return make


@pytest.fixture(params=["1.2", "1.3"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[True, False], ids=["server", "client"])
def server_side(request: pytest.FixtureRequest) -> bool:
    """Our role."""
    return bool(request.param)


@pytest.fixture
def contexts(
    make_context: ContextMaker, version: str, server_side: bool
) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Ours, prepared, and the peer's, stock; of one version, in every role."""
    return (
        make_context(server_side, version=version, prepared=True),
        make_context(not server_side, version=version),
    )
