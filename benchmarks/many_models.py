"""Time to load many models at the start: the ratio to the sum of their load times, with one and with two load threads.

    python benchmarks/many_models.py --models 1000

Starts a real server on copies of one small model, TensorFlow Serving's half_plus_two, and waits until all of them are served.
Prints for each number of load threads: the seconds from the first served model, before which TensorFlow is imported, to the
last one; the sum of the load times of all others over the number of load threads; their ratio; the server's threads and
resident memory at the end; and its processor time while idle. A load time is from the moment when the loader has a place for
the version until the version is served; the next load begins as soon as it is warm, so that the ratio may be below 1.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
IDLE_S = 10
COLUMNS = "| load threads | trials | seconds | sum of load times / load threads | ratio | threads | resident MB | idle CPU |"


def main() -> None:
    """Parse the arguments and run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=1000, help="number of models")
    parser.add_argument("--load-threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--trials", action="store_true", help="load every model in a process with limits first")
    arguments = parser.parse_args()
    print(f"{COLUMNS}\n{'|'.join(['', *[' ---: '] * 8, ''])}")
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder) / "models"
        create(models, arguments.models)
        for threads in arguments.load_threads:
            print(measure(models, threads, arguments.trials), flush=True)


def create(models: Path, count: int) -> None:
    """Export one model in a process of its own, and copy it."""
    export = "import sys, pathlib; from tests.half_plus import *; export_half_plus_two(pathlib.Path(sys.argv[1]))"
    first = models / "model0" / "1"
    first.parent.mkdir(parents=True)
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run([sys.executable, "-c", export, str(first)], env=environment, check=True)
    for number in range(1, count):
        shutil.copytree(first, models / f"model{number}" / "1")


def measure(models: Path, load_threads: int, trials: bool) -> str:
    """Start a server, wait until every model is served, and return a row of the table."""
    options = ["--models", str(models), "--port", "0", "--load-threads", str(load_threads)]
    options += ["--trials" if trials else "--no-trials", "--cache", str(models.parent / f"cache{load_threads}")]
    environment = os.environ | {"HEADSERVE_LOG_FORMAT": "json", "PYTHONPATH": str(REPOSITORY)}
    log = models.parent / f"log{load_threads}"
    with log.open("wb") as stderr:
        command = [sys.executable, "-m", "service", "serve", *options]
        server = subprocess.Popen(command, env=environment, stderr=stderr)
    try:
        return row(server, log, load_threads, trials)
    finally:
        server.terminate()
        server.wait()


def row(server: subprocess.Popen[bytes], log: Path, load_threads: int, trials: bool) -> str:
    """Wait until the server has loaded everything, and return a row of the table."""
    while not (listening := re.search(rb'"url": "([^"]+)".*"listening"|"listening".*"url": "([^"]+)"', log.read_bytes())):
        assert server.poll() is None, log.read_text()
        time.sleep(0.1)
    url = (listening[1] or listening[2]).decode()
    while (answer := get(f"{url}/readyz"))["loading"]:
        time.sleep(1)
    assert not answer["failed"], answer["failed"]
    times = [model["versions"][0]["times"] for model in get(f"{url}/models")["models"]]
    first, *others = sorted(times, key=lambda each: each["available"])
    seconds = others[-1]["available"] - first["available"]
    loads = sum(each["available"] - each["loading"] for each in others) / load_threads
    before = processor_s(server.pid)
    time.sleep(IDLE_S)
    idle = (processor_s(server.pid) - before) / IDLE_S
    status = Path(f"/proc/{server.pid}/status").read_text()
    fields = dict(re.findall(r"^(\w+):\s+(\d+)", status, re.MULTILINE))
    threads, resident_kb = int(fields["Threads"]), int(fields["VmRSS"])
    cells = (load_threads, trials, f"{seconds:.1f}", f"{loads:.1f}", f"{seconds / loads:.2f}", threads, resident_kb // 1024)
    return f"| {' | '.join(map(str, cells))} | {idle:.1%} |"


def get(url: str) -> Any:
    """Return the JSON of a page, also of one with status 503."""
    try:
        with urllib.request.urlopen(url) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)


def processor_s(pid: int) -> float:
    """Return the processor time of a process, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
