"""What trial loads cost: the time from the start of `headserve serve` to the first answer, with and without them.

    python benchmarks/trials.py --models build/test-models --model movies --rounds 7

Starts the server in turn without trials, with a trial of a version that it has never seen, and with a trial that it remembers.
Prints the median of each, its range, and the ratio to the start without, round by round. Every start answers the model's
example with all heads; the answers must be equal.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

CASES = ("without trials", "new version", "known version")
PATIENCE_S = 120


def first_answer(models: Path, model: str, settings: dict[str, str]) -> tuple[float, Any]:
    """Start a server; return the seconds until it has answered, and the answer."""
    with tempfile.TemporaryFile("w+") as log:
        command = [sys.executable, "-m", "service", "serve", "--models", str(models), "--port", "0", "--settle-ms", "0"]
        environment = os.environ | {"HEADSERVE_LOG_FORMAT": "json", "TF_CPP_MIN_LOG_LEVEL": "3"} | settings
        began_s = time.monotonic()
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            while True:
                answer = _answer(log, model)
                if answer is not None:
                    return time.monotonic() - began_s, answer
                if process.poll() is not None or time.monotonic() > began_s + PATIENCE_S:
                    raise SystemExit("The server does not start.")
                time.sleep(0.01)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()


def _answer(log: Any, model: str) -> Any:
    log.seek(0)
    url = next((json.loads(line)["url"] for line in log if '"listening"' in line and line.endswith("\n")), None)
    if url is None:
        return None
    try:
        with urllib.request.urlopen(f"{url}/models/{model}") as described:
            example = json.load(described)["example"]
        body = json.dumps({"instances": [example], "heads": "*"}).encode()
        with urllib.request.urlopen(f"{url}/models/{model}/predict", body) as answer:
            return json.load(answer)["predictions"]
    except (urllib.error.HTTPError, urllib.error.URLError, KeyError):
        return None


def main() -> None:
    """Run the rounds, and print the times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path("build/test-models"))
    parser.add_argument("--model", default="movies")
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    times: dict[str, list[float]] = {case: [] for case in CASES}
    with tempfile.TemporaryDirectory() as folder:
        only = Path(folder) / "models"
        shutil.copytree(given.models / given.model, only / given.model)
        expected = None
        for number in range(-1, given.rounds):  # the first round fills the file cache, and does not count
            for case in CASES:
                cache = Path(folder) / ("known" if case == "known version" else f"{number}")
                settings = {"HEADSERVE_TRIALS": str(case != "without trials"), "HEADSERVE_CACHE": str(cache)}
                taken_s, answer = first_answer(only, given.model, settings)
                expected = answer if expected is None else expected
                if answer != expected:
                    raise SystemExit(f"{case}: {answer}, and not {expected}")
                if number >= 0:
                    times[case].append(taken_s)
    print(f"{os.cpu_count()} CPUs, {given.rounds} rounds; seconds from the start to the first answer of {given.model}")
    for case, taken in times.items():
        ratios = [each / without for each, without in zip(taken, times[CASES[0]], strict=True)]
        print(
            f"{case:15} median {statistics.median(taken):.2f} ({min(taken):.2f}-{max(taken):.2f}), "
            f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
