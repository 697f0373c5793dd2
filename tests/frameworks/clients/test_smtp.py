"""`smtplib` over a context of ours, against aiosmtpd: STARTTLS, and TLS from the start."""

import json
import smtplib

import pytest

import ktls

from .conftest import Seen
from .content import sha256

TIMEOUT_S = 50


def delivered(client: smtplib.SMTP, message: bytes) -> dict[str, object]:
    """Log in, deliver, and return what the server says of it."""
    client.login("user", "secret")
    client.mail("a@example.org")
    client.rcpt("b@example.org")
    code, answer = client.data(message)
    assert code == 250, answer
    assert isinstance(client.sock, ktls.TLSSocket)
    assert (client.sock.mode, client.sock.rx_mode) == (ktls.Mode.SW, ktls.Mode.SW)
    return dict(json.loads(answer))


def opened(context: ktls.SSLContext, smtp: tuple[int, int], *, at_once: bool) -> smtplib.SMTP:
    later_port, at_once_port = smtp
    if at_once:
        return smtplib.SMTP_SSL("localhost", at_once_port, timeout=TIMEOUT_S, context=context)
    client = smtplib.SMTP("localhost", later_port, timeout=TIMEOUT_S)
    assert client.starttls(context=context)[0] == 220
    return client


@pytest.mark.parametrize("at_once", [False, True], ids=["STARTTLS", "SMTP_SSL"])
def test_smtp_messages_are_delivered(
    at_once: bool,
    context: ktls.SSLContext,
    smtp: tuple[int, int],
    mail: bytes,
    all_ours: list[Seen],
    version: str,
) -> None:
    """A hundred megabytes by STARTTLS, little messages by both; on one connection each."""
    small = b"Subject: small\r\n\r\n.a line with a point\r\n"
    messages = [small, small] if at_once else [small, mail, small]
    with opened(context, smtp, at_once=at_once) as client:
        for message in messages:
            if message is not messages[0]:
                client.rset()
            assert delivered(client, message) == {
                "sha256": sha256(message),
                "size": len(message),
                "version": version,
                "client": "client",
                "name": "localhost",
                "user": "user",
            }
    assert len(all_ours) == 1
