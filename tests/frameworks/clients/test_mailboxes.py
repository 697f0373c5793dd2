"""`imaplib` and `poplib` over a context of ours, against Dovecot."""

import imaplib
import poplib

import pytest

import ktls

from .conftest import Seen
from .content import SIZE, sha256
from .dovecot import PASSWORD, USER, Ports

TIMEOUT_S = 50


def require_ours(sock: object) -> None:
    assert isinstance(sock, ktls.TLSSocket)
    assert (sock.mode, sock.rx_mode) == (ktls.Mode.SW, ktls.Mode.SW)
    # By SNI: who does not ask for localhost is shown another one.
    names = sock.getpeercert()["subjectAltName"]
    assert ("DNS", "localhost") in names


def imap(context: ktls.SSLContext, ports: Ports, *, at_once: bool) -> imaplib.IMAP4:
    if at_once:
        return imaplib.IMAP4_SSL("localhost", ports.imaps, ssl_context=context, timeout=TIMEOUT_S)
    client = imaplib.IMAP4("localhost", ports.imap, timeout=TIMEOUT_S)
    assert client.starttls(ssl_context=context)[0] == "OK"
    return client


def pop(context: ktls.SSLContext, ports: Ports, *, at_once: bool) -> poplib.POP3:
    if at_once:
        return poplib.POP3_SSL("localhost", ports.pop3s, context=context, timeout=TIMEOUT_S)
    client = poplib.POP3("localhost", ports.pop3, timeout=TIMEOUT_S)
    assert client.stls(context).startswith(b"+OK")
    return client


@pytest.fixture(params=[False, True], ids=["STARTTLS", "at once"])
def at_once(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def user(version: str, at_once: bool) -> str:
    """A mailbox of the test's own."""
    return f"{USER}-{version}-{at_once}".lower()


def test_imap_message_goes_there_and_back(
    context: ktls.SSLContext,
    mailbox: Ports,
    at_once: bool,
    user: str,
    mail: bytes,
    all_ours: list[Seen],
) -> None:
    """100 MB there and back by TLS from the start, a little message by STARTTLS."""
    message = mail if at_once else b"Subject: small\r\n\r\nsmall\r\n"
    with imap(context, mailbox, at_once=at_once) as client:
        require_ours(client.sock)
        assert client.login(user, PASSWORD)[0] == "OK"
        assert client.append("INBOX", None, None, message)[0] == "OK"
        assert client.select("INBOX") == ("OK", [b"1"])
        kind, [(_, found), _] = client.fetch("1", "(BODY[])")
        assert kind == "OK"
        assert sha256(found) == sha256(message)
        assert client.noop()[0] == "OK"
        client.store("1", "+FLAGS", r"(\Deleted)")
        client.expunge()
        require_ours(client.sock)
    assert len(all_ours) == 1


def test_pop_message_comes(
    context: ktls.SSLContext,
    mailbox: Ports,
    at_once: bool,
    user: str,
    mail: bytes,
    all_ours: list[Seen],
) -> None:
    """100 MB by TLS from the start, a little message by STARTTLS; `imaplib` puts it there."""
    message = mail if at_once else b"Subject: small\r\n\r\n.small\r\n"
    with imap(context, mailbox, at_once=at_once) as client:
        client.login(user, PASSWORD)
        client.append("INBOX", None, None, message)
    client = pop(context, mailbox, at_once=at_once)
    require_ours(client.sock)
    client.user(user)
    client.pass_(PASSWORD)
    assert client.stat()[0] == 1
    _, lines, _ = client.retr(1)
    assert sha256(b"\r\n".join(lines) + b"\r\n") == sha256(message)
    client.dele(1)
    require_ours(client.sock)
    assert client.quit().startswith(b"+OK")
    assert len(all_ours) == 2


def test_the_certificate_is_asked_for(
    context: ktls.SSLContext, certificates: object, mailbox: Ports, version: str
) -> None:
    """So that the tests above say something: without one the password does not help."""
    bare = ktls.create_default_context(cafile=f"{certificates}/ca.pem")
    bare.minimum_version = bare.maximum_version = context.maximum_version
    client = imap(bare, mailbox, at_once=True)
    with pytest.raises(imaplib.IMAP4.error, match="certificate"):
        client.login(USER, PASSWORD)
    client.shutdown()


def test_message_is_large(mail: bytes) -> None:
    assert len(mail) >= SIZE
