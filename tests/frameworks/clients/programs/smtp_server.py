"""aiosmtpd with STARTTLS and with TLS from the start; prints both ports.

A message is answered with its SHA-256 and what was seen of the connection.  Arguments: PEM,
authority.
"""

import asyncio
import hashlib
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

certificate, authority = sys.argv[1:]
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority)
context.load_cert_chain(certificate)
context.verify_mode = ssl.CERT_REQUIRED


def note_name(ssl_object: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
    ssl_object.asked_for = name


context.sni_callback = note_name


class Handler:
    """Keeps nothing."""

    async def handle_DATA(self, server: SMTP, _: Session, envelope: Envelope) -> str:
        ssl_object = server.transport.get_extra_info("ssl_object")
        seen = {
            "sha256": hashlib.sha256(envelope.content).hexdigest(),
            "size": len(envelope.content),
            "version": ssl_object.version(),
            "client": dict(part[0] for part in ssl_object.getpeercert()["subject"])["commonName"],
            "name": ssl_object.asked_for,
            "user": server.session.auth_data,
        }
        return "250 " + json.dumps(seen)


def authenticate(*arguments: object) -> AuthResult:
    login = arguments[-1]
    is_right = (login.login, login.password) == (b"user", b"secret")
    return AuthResult(success=is_right, auth_data=login.login.decode())


def new_server(**options: object) -> SMTP:
    return SMTP(
        Handler(),
        data_size_limit=1 << 30,
        authenticator=authenticate,
        auth_required=True,
        **options,
    )


async def main() -> None:
    loop = asyncio.get_running_loop()
    later = await loop.create_server(
        lambda: new_server(tls_context=context, require_starttls=True), "127.0.0.1", 0
    )
    at_once = await loop.create_server(
        lambda: new_server(auth_require_tls=False), "127.0.0.1", 0, ssl=context
    )
    print(*(each.sockets[0].getsockname()[1] for each in (later, at_once)), flush=True)
    await asyncio.to_thread(sys.stdin.read)


asyncio.run(main())
