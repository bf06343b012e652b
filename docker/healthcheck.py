"""Exit code 0 when the server in this container is ready, 1 otherwise: the image has no curl, and this starts in 50 ms."""

import os
import ssl
import sys
from http.client import OK, HTTPConnection, HTTPSConnection

port = int(os.environ.get("HEADSERVE_PORT", "8000"))
if os.environ.get("HEADSERVE_TLS_CERTIFICATE"):
    # The certificate is for the name that clients use, and this is nobody but the server itself.
    connection: HTTPConnection = HTTPSConnection("127.0.0.1", port, timeout=4, context=ssl._create_unverified_context())  # noqa: S323
else:
    connection = HTTPConnection("127.0.0.1", port, timeout=4)
try:
    connection.request("GET", "/readyz")
    response = connection.getresponse()
    sys.stdout.write(response.read(4096).decode() + "\n")
    sys.exit(response.status != OK)
except OSError as error:
    sys.exit(f"The server does not answer: {error}")
