"""The client: one request to wait for a server and to check it, and wrk for load."""

import re
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from . import binary

JSON = {"Content-Type": "application/json"}
READY_TIMEOUT_S = 180
SCRIPT = """
f = io.open("{body}", "rb"); wrk.method = "POST"; wrk.body = f:read("*a"); f:close()
{headers}
done = function(s, l)
  failed = s.errors.connect + s.errors.status + s.errors.read + s.errors.timeout
  print(string.format("RESULT %d %d %d %d %d", s.requests, s.duration, l:percentile(50), l:percentile(99), failed))
end
"""


def until_answered(process: subprocess.Popen[bytes], ready: str, url: str, body: bytes) -> None:
    """Returns with the first answer to a request, which is not sent before the server says that it is ready."""
    until_s = time.monotonic() + READY_TIMEOUT_S
    with httpx.Client(headers=JSON, timeout=READY_TIMEOUT_S) as client:
        while time.monotonic() < until_s and process.poll() is None:
            try:
                if client.get(ready).is_success and client.post(url, content=body).is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
    raise RuntimeError("it did not answer")


def ask(url: str, body: bytes, headers: Mapping[str, str] = JSON) -> Any:
    """The answer, in JSON or in binary."""
    answer = httpx.post(url, content=body, headers=headers, timeout=60)
    if answer.is_error:
        raise RuntimeError(f"{answer.status_code} {answer.text}")
    length = answer.headers.get(binary.HEADER)
    return binary.answer(answer.content, int(length)) if length else answer.json()


def load(url: str, connections: int, body: Path, seconds: int, headers: Mapping[str, str] = JSON) -> dict[str, float]:
    """What wrk measures: requests, requests per second, and p50 and p99 in milliseconds."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        lines = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items())
        file.write(SCRIPT.replace("{body}", str(body)).replace("{headers}", lines))
        file.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "--timeout", "60", "-s", file.name, url]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+)", output)
    if found is None:
        raise RuntimeError(output)
    requests, duration_us, p50_us, p99_us, failed = map(int, found.groups())
    if failed:
        raise RuntimeError(f"{failed} of {requests} requests failed")
    return {"requests": requests, "per_s": 1e6 * requests / duration_us, "p50_ms": p50_us / 1000, "p99_ms": p99_us / 1000}
