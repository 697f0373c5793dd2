"""Dovecot: IMAP and POP3, each with STARTTLS and with TLS from the start, and one mailbox."""

import grp
import os
import pwd
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .processes import directory_of, free_port, give, running, unprivileged

USER, PASSWORD = "reader", "secret"

# One user runs all of it: nothing here is worth a second one.
_CONFIGURATION = """
base_dir = {directory}/run
state_dir = {directory}/state
log_path = /dev/stderr
protocols = imap pop3
listen = 127.0.0.1
default_internal_user = {user}
default_login_user = {user}
default_internal_group = {group}
first_valid_uid = 1
first_valid_gid = 1
mail_uid = {user}
mail_gid = {group}
mail_home = {directory}/home/%u
mail_location = maildir:~/mail
mail_max_userip_connections = 100
ssl = required
ssl_min_protocol = TLSv1.2
ssl_cert = <{directory}/unnamed.pem
ssl_key = <{directory}/unnamed.pem
local_name localhost {{
  ssl_cert = <{directory}/server.pem
  ssl_key = <{directory}/server.pem
}}
ssl_ca = <{directory}/ca.pem
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
    """Serve empty mailboxes to who shows a certificate and the password.

    server.pem is for who asks for localhost, unnamed.pem for all others.
    """
    user = unprivileged()
    account = pwd.getpwuid(os.geteuid()) if user is None else pwd.getpwnam(user)
    ports = Ports(*(free_port() for _ in range(4)))
    # The names of its sockets have to be short.
    with directory_of(user) as directory:
        for path in certificates.glob("*.pem"):
            give(shutil.copy(path, directory), user)
        configuration = directory / "dovecot.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                directory=directory,
                user=account.pw_name,
                group=grp.getgrgid(account.pw_gid).gr_name,
                password=PASSWORD,
                **vars(ports),
            )
        )
        command = ["/usr/sbin/dovecot", "-F", "-c", configuration]
        with running(command, list(vars(ports).values()), directory / "log", user=user):
            yield ports
