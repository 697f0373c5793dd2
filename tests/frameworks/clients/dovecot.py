"""Dovecot: IMAP and POP3, each with STARTTLS and with TLS from the start, and one mailbox."""

import grp
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .processes import directory_of, free_port, running

USER, PASSWORD = "reader", "secret"

# The user of the tests runs all of it: nothing here is worth a second one.
_CONFIGURATION = """
base_dir = {directory}/run
state_dir = {directory}/state
log_path = /dev/stderr
protocols = imap pop3
listen = 127.0.0.1
default_internal_user = {user}
default_login_user = {user}
default_internal_group = {group}
first_valid_uid = 0
first_valid_gid = 0
mail_uid = {user}
mail_gid = {group}
mail_home = {directory}/home/%u
mail_location = maildir:~/mail
mail_max_userip_connections = 100
ssl = required
ssl_min_protocol = TLSv1.2
ssl_cert = <{certificates}/unnamed.pem
ssl_key = <{certificates}/unnamed.pem
local_name localhost {{
  ssl_cert = <{certificates}/server.pem
  ssl_key = <{certificates}/server.pem
}}
ssl_ca = <{certificates}/ca.pem
ssl_require_crl = no
ssl_verify_client_cert = yes
auth_ssl_require_client_cert = yes
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={directory}/home/%u
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
  }}
}}
service pop3-login {{
  chroot =
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = {pop3s}
  }}
}}
"""


@dataclass(frozen=True)
class Ports:
    """Where it listens."""

    imap: int
    imaps: int
    pop3: int
    pop3s: int


@contextmanager
def dovecot(certificates: Path) -> Iterator[Ports]:
    """Serve an empty mailbox to who shows a certificate and the password.

    server.pem is for who asks for localhost, unnamed.pem for all others.
    """
    account = pwd.getpwuid(os.geteuid())
    ports = Ports(*(free_port() for _ in range(4)))
    # The names of its sockets have to be short.
    with directory_of(None) as directory:
        configuration = directory / "dovecot.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                directory=directory,
                certificates=certificates,
                user=account.pw_name,
                group=_group(account.pw_gid),
                password=PASSWORD,
                **vars(ports),
            )
        )
        command = ["/usr/sbin/dovecot", "-F", "-c", configuration]
        with running(command, list(vars(ports).values()), directory / "log"):
            yield ports


def _group(gid: int) -> str:
    return grp.getgrgid(gid).gr_name
