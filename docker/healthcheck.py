"""Exit code 0 when the server in this container is ready, 1 otherwise: the image has no curl, and this starts in 50 ms."""

import http.client
import os
import sys

try:
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ.get("HEADSERVE_PORT", "8000")), timeout=4)
    connection.request("GET", "/readyz")
    response = connection.getresponse()
    sys.stdout.write(response.read(4096).decode())
    sys.exit(response.status != http.client.OK)
except OSError as error:
    sys.exit(f"The server does not answer: {error}")
