"""nginx with HTTP/1.1, HTTP/2, PUT, and a page that says what it saw of the connection."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .processes import free_port, running

_CONFIGURATION = """
daemon off;
worker_processes 1;
error_log stderr;
pid {directory}/nginx.pid;
{user}
events {{}}
http {{
  access_log off;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  client_max_body_size 0;
  keepalive_timeout 60;
  server {{
    listen 127.0.0.1:{port} ssl http2;
    ssl_certificate {certificates}/server.pem;
    ssl_certificate_key {certificates}/server.pem;
    ssl_client_certificate {certificates}/ca.pem;
    ssl_verify_client optional;
    ssl_protocols TLSv1.2 TLSv1.3;
    location = /seen {{
      default_type application/json;
      return 200 '{{"version": "$ssl_protocol", "name": "$ssl_server_name",
        "alpn": "$ssl_alpn_protocol", "http": "$server_protocol",
        "client": "$ssl_client_s_dn", "verified": "$ssl_client_verify",
        "connection": $connection, "request": $connection_requests}}';
    }}
    location / {{
      root {directory}/files;
      dav_methods PUT;
    }}
  }}
}}
"""


@contextmanager
def nginx(directory: Path, certificates: Path) -> Iterator[int]:
    """Serve `directory`/files, and take uploads there; yields the port."""
    port = free_port()
    configuration = directory / "nginx.conf"
    configuration.write_text(
        _CONFIGURATION.format(
            directory=directory,
            certificates=certificates,
            port=port,
            # A directory of the tests is for their own user alone.
            user="user root;" if os.geteuid() == 0 else "",
        )
    )
    (directory / "files").mkdir()
    log = directory / "nginx.log"
    command = ["/usr/sbin/nginx", "-e", "stderr", "-p", directory, "-c", configuration]
    with running(command, [port], log):
        yield port
