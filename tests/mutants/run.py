"""Put one deliberate bug at a time into a copy of the collection, and see a test fail for each.

    .venv/bin/python tests/mutants/run.py            # all of mutants.yml
    .venv/bin/python tests/mutants/run.py skip_the_fence no_brake

Prints one line a bug: caught, by which test and after how long, or SURVIVED. Exit 1 when one survived or does not apply any
more: then the code has changed, and the bug has to be written anew.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
COPIED = ("plugins", "roles", "tests", "playbooks", "docs", "meta", "galaxy.yml", "conftest.py", "pyproject.toml")
HANG_GUARD = 900  # s


def main(names: list[str]) -> int:
    mutants = yaml.safe_load((HERE / "mutants.yml").read_text(encoding="utf-8"))
    unknown = sorted(set(names) - {mutant["name"] for mutant in mutants})
    if unknown:
        print("no mutant %s; the names are in %s" % (", ".join(unknown), HERE / "mutants.yml"), file=sys.stderr)
        return 2
    survived = 0
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy = Path(folder)
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__", "esxsim", "output"))
            else:
                shutil.copy2(source, copy / name)
        tests = sorted({test for mutant in mutants if not names or mutant["name"] in names for test in mutant["tests"]})
        whole = _run(tests, copy)
        if whole.returncode:
            print("without any bug the tests fail already:\n%s" % whole.stdout[-2000:], file=sys.stderr)
            return 1
        for mutant in mutants:
            if not names or mutant["name"] in names:
                survived += not _caught(mutant, copy)
    print("%d survived" % survived)
    return 1 if survived else 0


def _caught(mutant: dict[str, Any], copy: Path) -> bool:
    path = copy / "plugins" / "module_utils" / mutant["file"]
    text = path.read_text(encoding="utf-8")
    if text.count(mutant["old"]) != 1:
        print("%-36s does not apply: its text is %d times in %s" % (mutant["name"], text.count(mutant["old"]), mutant["file"]), flush=True)
        return False
    path.write_text(text.replace(mutant["old"], mutant["new"]), encoding="utf-8")
    began = time.monotonic()
    try:
        done = _run(mutant["tests"], copy)
    finally:
        path.write_text(text, encoding="utf-8")
    failed = re.findall(r"^FAILED (\S+)", done.stdout, re.MULTILINE)
    took = time.monotonic() - began
    if done.returncode == 1 and failed:
        print("%-36s caught in %5.1f s by %s" % (mutant["name"], took, failed[0]), flush=True)
        return True
    print("%-36s SURVIVED (pytest ended with %d after %.1f s)" % (mutant["name"], done.returncode, took), flush=True)
    if done.returncode not in (0, 1):
        print(done.stdout[-2000:] + done.stderr[-2000:], flush=True)
    return False


def _run(tests: list[str], copy: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False, timeout=HANG_GUARD)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
