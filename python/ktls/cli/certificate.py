"""The server's certificate: the user's own, or a throw-away one that no file keeps.

Not a certificate authority: a throw-away certificate is for trying things out on one machine.
"""

import socket
import ssl
import tempfile
from pathlib import Path

from ktls.cli.failure import CommandError


def load(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    """Put a certificate chain and its key into `context`: PEM files, or one file without `key`."""
    for path in (certificate, key):
        if path is not None and not path.is_file():
            raise CommandError(f"{path} is not a file; --cert and --key name PEM files")
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (ssl.SSLError, OSError, ValueError) as error:
        raise CommandError(
            f"no certificate with a private key in {certificate}"
            f"{'; name the file of its key with --key' if key is None else f' and {key}'}: {error}"
        ) from error


def load_throwaway(context: ssl.SSLContext, host: str) -> None:
    """Make a certificate for `host` and this machine's loopback names and put it into `context`.

    The private key is on disk only while OpenSSL reads it, in a directory with mode 0700.
    """
    try:
        import trustme
    except ImportError:
        raise CommandError(
            "a throw-away certificate needs the package trustme: pip install trustme; "
            "or bring your own with --cert FILE --key FILE"
        ) from None
    names = dict.fromkeys(["localhost", "127.0.0.1", "::1", socket.gethostname(), host])
    names.pop("", None)
    for wildcard in ("0.0.0.0", "::"):  # noqa: S104 -- taken out of the names, not bound
        names.pop(wildcard, None)
    issued = trustme.CA(organization_name="ktls throw-away").issue_cert(*names)
    with tempfile.TemporaryDirectory(prefix="ktls-") as directory:
        path = Path(directory, "certificate.pem")
        issued.private_key_and_cert_chain_pem.write_to_path(path)
        context.load_cert_chain(path)


def _no_password() -> str:
    """OpenSSL would ask on the terminal and wait; a served key has to be readable as it is."""
    raise ValueError("the private key is encrypted; decrypt it first (openssl pkey)")
