"""The takeover: from a finished handshake to keys and a sequence number that are proven to be ours.

`find_candidates` opens our own records with the logged secrets; everything that may be missing is
found there and only means that OpenSSL goes on writing (`NotTakenOver`). `probe` then lets OpenSSL
write one byte that never reaches the wire and opens it; from there on OpenSSL is one record ahead
of the wire, and a failure is final. A client random proves nothing: anybody who saw it can have
secrets logged under it.
"""

import ssl
from dataclasses import dataclass
from typing import Final

from ktls._core import Keys, Opener, Secret
from ktls.errors import BadRecord, HandoverError

from .follower import APPLICATION_DATA, HANDSHAKE, WriteKeys
from .hello import HelloTap
from .records import MessageReader, split_records
from .shadow import Shadow
from .suites import Suite, named

__all__ = ["Candidate", "NotTakenOver", "find_candidates", "max_frame_len", "probe"]

FINISHED: Final = 20

MAX_FRAME_LEN: Final = 16384
MASTER_SECRET_LEN: Final = 48  # RFC 5246 §8.1
_MIN_RECORD_SIZE_LIMIT: Final = 64  # RFC 8449 §4
_HASH_LEN: Final = {"sha256": 32, "sha384": 48}


class NotTakenOver(Exception):
    """OpenSSL keeps writing; the message says why."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """Write keys that open all our encrypted records."""

    write_keys: WriteKeys
    opener: Opener
    """Stands after the last of them."""

    @property
    def explicit_nonce(self) -> int | None:
        """The explicit nonce that follows OpenSSL's last, TLS 1.2 AES-GCM only (RFC 5288 §3)."""
        last = self.opener.explicit_nonce
        return None if last is None else (last + 1) % 2**64


def find_candidates(
    tap: HelloTap, secrets: list[Secret], server_side: bool, cipher: tuple[str, str, int] | None
) -> list[Candidate]:
    """Return the write keys that open our own records: usually one.

    More than one is left only when nothing was sent under the application keys yet; the probe
    decides then. NotTakenOver when there is none, or when the connection uses something that we
    don't support.
    """
    suite = _supported_suite(tap, cipher)
    if not secrets:
        raise NotTakenOver(
            "no secret was logged for this connection: its context was not prepared "
            "(an SNI callback may have put another one in place), or its key log was changed"
        )
    if suite.tls13:
        candidates = _candidates_13(tap, secrets, suite, "SERVER" if server_side else "CLIENT")
    else:
        candidates = _candidates_12(tap, secrets, suite, server_side)
    if not candidates:
        raise NotTakenOver("none of the secrets logged for this connection opens its own records")
    return candidates


def probe(shadow: Shadow, candidates: list[Candidate]) -> Candidate:
    """Let OpenSSL write one byte, throw the record away, and return the candidate that opens it.

    Its opener has then opened that record as well. HandoverError when none does: close the
    connection.
    """
    try:
        records = list(split_records(shadow.write_aside(b"\0")))
    except (ssl.SSLError, ValueError) as error:
        raise HandoverError(f"OpenSSL could not write the probe: {error}") from error
    for candidate in candidates:
        opener = candidate.opener.clone()
        try:
            opened = [opener.open(record) for record in records]
        except BadRecord:
            continue
        # Two records in TLS 1.0, where OpenSSL puts an empty one before the data.
        types = {content_type for content_type, _ in opened}
        if types == {APPLICATION_DATA} and b"".join(data for _, data in opened) == b"\0":
            return Candidate(candidate.write_keys, opener)
    raise HandoverError(
        "the keys found in the key log do not open what OpenSSL writes: the connection was closed"
    )


def max_frame_len(tap: HelloTap, server_side: bool, tls13: bool) -> int:
    """Return how many payload bytes our records may have.

    RFC 6066 §4: in TLS 1.3 the answer is encrypted, so the client's offer is obeyed, which is
    always legal. RFC 8449: OpenSSL does not negotiate it; a server obeys the client's limit as a
    courtesy.
    """
    limit = MAX_FRAME_LEN
    hello = tap.client_hello if tls13 else tap.server_hello
    if hello is not None and hello.max_fragment_len is not None:
        limit = min(limit, hello.max_fragment_len)
    if server_side and tap.client_hello is not None:
        size = tap.client_hello.record_size_limit
        if size is not None and size >= _MIN_RECORD_SIZE_LIMIT:
            limit = min(limit, size - 1 if tls13 else size)
    return limit


def _supported_suite(tap: HelloTap, cipher: tuple[str, str, int] | None) -> Suite:
    if tap.refusal:
        raise NotTakenOver(f"the handshake could not be followed: {tap.refusal}")
    hello = tap.server_hello
    if tap.client_hello is None or hello is None:
        raise NotTakenOver("the handshake could not be followed: no hello was seen")
    if hello.compression_method != 0:
        raise NotTakenOver("TLS compression is in use: set ssl.OP_NO_COMPRESSION on the context")
    name = cipher[0] if cipher else "unknown"
    suite = named(hello.cipher_suite)
    if suite is None or suite.name != name:
        refusal = "it is none of the suites that this library knows"
    elif hello.tls_vminor not in suite.tls_vminors:
        refusal = f"not in TLS version 3.{hello.tls_vminor}"
    else:
        return suite
    raise NotTakenOver(
        f"the cipher suite {name} ({hello.cipher_suite:#06x}) stays with OpenSSL: {refusal}; "
        "choose one with AES-GCM or ChaCha20-Poly1305"
    )


def _candidates_12(
    tap: HelloTap, secrets: list[Secret], suite: Suite, server_side: bool
) -> list[Candidate]:
    client_hello, server_hello = tap.client_hello, tap.server_hello
    assert client_hello is not None and server_hello is not None  # noqa: S101, PT018 - checked by _supported_suite
    found = []
    for secret in secrets:
        if secret.label != "CLIENT_RANDOM" or len(secret) != MASTER_SECRET_LEN:
            continue
        client_write, server_write = secret.key_block(
            server_hello.tls_vminor,
            suite.prf_hash,
            client_hello.random,
            server_hello.random,
            suite.cipher_algorithm,
            suite.key_len,
            suite.auth_algorithm,
            # With an AEAD the extension means nothing, and OpenSSL ignores it (RFC 7366 §3).
            encrypt_then_mac=server_hello.encrypt_then_mac and suite.auth_algorithm != 0,
        )
        keys = server_write if server_side else client_write
        opener = Opener(keys)
        if _opens_finished(opener, tap.own_records):
            if opener.chained_iv is not None:
                # TLS 1.0: the first record of ours follows the last one on the wire.
                keys = keys.with_iv(opener.chained_iv)
            found.append(Candidate(WriteKeys(suite, keys), opener))
    return found[:1]


def _opens_finished(opener: Opener, records: list[bytes]) -> bool:
    """The first record after our ChangeCipherSpec is our Finished (RFC 5246 §7.4.9)."""
    try:
        opened = [opener.open(record) for record in records]
    except BadRecord:
        return False
    return bool(opened) and opened[0][0] == HANDSHAKE and opened[0][1][:1] == bytes([FINISHED])


def _candidates_13(
    tap: HelloTap, secrets: list[Secret], suite: Suite, role: str
) -> list[Candidate]:
    # The length tells the hash (RFC 8446 §7.1); another one belongs to another connection.
    secrets = [secret for secret in secrets if len(secret) == _HASH_LEN[suite.prf_hash]]
    rest = None
    for secret in secrets:
        if secret.label == f"{role}_HANDSHAKE_TRAFFIC_SECRET":
            rest = _after_finished(_traffic_keys(suite, secret), tap.own_records)
            if rest is not None:
                break
    if rest is None:
        return []
    found = []
    for secret in secrets:
        if secret.label == f"{role}_TRAFFIC_SECRET_0":
            keys = _traffic_keys(suite, secret)
            opener = Opener(keys)
            try:
                for record in rest:
                    opener.open(record)
            except BadRecord:
                continue
            found.append(Candidate(WriteKeys(suite, keys, secret), opener))
    return found[:1] if rest else found


def _traffic_keys(suite: Suite, secret: Secret) -> Keys:
    return secret.keys(suite.cipher_algorithm, suite.key_len)


def _after_finished(keys: Keys, records: list[bytes]) -> list[bytes] | None:
    """Return the records after our Finished, those under the application keys; None: wrong keys."""
    opener = Opener(keys)
    messages = MessageReader()
    for number, record in enumerate(records, 1):
        try:
            content_type, payload = opener.open(record)
        except BadRecord:
            return None
        if content_type == HANDSHAKE:
            types = [message[0] for message in messages.feed(payload)]
            if FINISHED in types:
                return records[number:]
    return None
