"""pyftpdlib over TLS, for both channels; prints its port.  Arguments: PEM, authority, directory."""

import logging
import sys
import threading

from OpenSSL import SSL
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import TLS_FTPHandler
from pyftpdlib.servers import ThreadedFTPServer

certificate, authority, directory = sys.argv[1:]
logging.basicConfig(level=logging.ERROR)

context = SSL.Context(SSL.TLS_SERVER_METHOD)
context.use_certificate_chain_file(certificate)
context.use_privatekey_file(certificate)
context.load_verify_locations(authority)
context.set_session_id(b"ftp")
context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)


class Handler(TLS_FTPHandler):
    """Everything has to be encrypted, and clients show a certificate."""

    ssl_context = context
    tls_control_required = tls_data_required = True


Handler.authorizer = DummyAuthorizer()
Handler.authorizer.add_user("user", "secret", directory, perm="elradfmw")
server = ThreadedFTPServer(("127.0.0.1", 0), Handler)
print(server.address[1], flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
server.close_all()
