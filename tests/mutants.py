"""`make mutants`: put single faults into the code, one at a time, and list those that no test of their group finds.

`python -m tests.mutants scan` does so for one group. Each group has a copy of the code in `build/mutants/<group>`. The copy
keeps the results: a second run tests only the functions that have changed.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal, NamedTuple

ROOT = Path(__file__).parents[1]
COPIED = ("service", "heads", "tests", "docs", "examples", "pyproject.toml")


class Group(NamedTuple):
    """Modules that get faults, and the tests that have to find them.

    Attributes:
        modules: patterns of paths.
        tests: files and folders, and options of pytest that leave out tests.
        isolation: `fork` is the fastest, but only for tests that do not import TensorFlow, which hangs in a fork of a process
            that has computed something. `forkserver` forks from a process that has only collected the tests.
    """

    modules: list[str]
    tests: list[str]
    isolation: Literal["fork", "forkserver"]


GROUPS = {
    "auth": Group(
        ["service/auth/*"],
        [
            f"tests/service/auth/test_{name}.py"
            for name in ("gate_checks", "keys", "keys_at_once", "keys_file", "model_access", "rate_limit")
        ],
        "fork",
    ),
    "batching": Group(["service/batching/*"], ["tests/service/batching"], "fork"),
    "lifecycle": Group(
        ["service/lifecycle/manager.py", "service/lifecycle/policy.py"],
        ["tests/service/lifecycle"],
        "fork",
    ),
    "scan": Group(
        ["service/models/scan/*"],
        [
            *(f"tests/service/models/scan/test_{name}.py" for name in ("calls", "files", "rules")),
            "--deselect=tests/service/models/scan/test_calls.py::test_tensorflow_crashes_on_a_function_that_calls_itself",
        ],
        "forkserver",
    ),
    "heads": Group(
        ["heads/labels.py", "heads/losses.py", "heads/metrics.py"],
        [f"tests/heads/test_{name}.py" for name in ("labels", "losses", "metrics")],
        "forkserver",
    ),
}

# mutmut checks that a fault in every function is found; threads of earlier tests, which the pool keeps, meet that fault, too.
CONFIGURATION = """\
[mutmut]
source_paths = service
  heads
also_copy = docs
  examples
pytest_add_cli_args = -p
  no:xdist
  -p
  no:cacheprovider
  --timeout
  60
  --timeout-method
  thread
  -W
  default::pytest.PytestUnhandledThreadExceptionWarning
process_isolation = {isolation}
only_mutate =
  {modules}
pytest_add_cli_args_test_selection =
  {tests}
"""


def run(name: str, group: Group) -> None:
    """Test the faults of a group and print those that survive."""
    folder = ROOT / "build" / "mutants" / name
    for part in COPIED:
        if (ROOT / part).is_dir():
            shutil.rmtree(folder / part, ignore_errors=True)
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / part, folder / part)
    modules, tests = "\n  ".join(group.modules), "\n  ".join(group.tests)
    (folder / "setup.cfg").write_text(CONFIGURATION.format(isolation=group.isolation, modules=modules, tests=tests))
    mutmut = Path(sys.executable).with_name("mutmut")
    for command in ("run", "results"):
        # A path to the repository itself would come before the copy.
        subprocess.run([mutmut, command], cwd=folder, env=os.environ | {"PYTHONPATH": ""}, check=True)


if __name__ == "__main__":
    for name in sys.argv[1:] or GROUPS:
        run(name, GROUPS[name])
