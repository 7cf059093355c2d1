"""Runs the parts of tests/tools/prove.yml one after the other, and goes on where it was interrupted.

    make prove                        # every part that has not passed on the present sources
    make prove PARTS="sim-1 mutants"  # these, whether they have passed or not
    make prove PARTS=--list           # what passed when, how long it took, and its last line

A part has passed for as long as the sources stay the same: documentation may change, code and tests may not. Results and logs lie in
.cache/prove. Exit status 0 when every part that was asked for has passed.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / ".cache" / "prove"
PROSE = ":(exclude)*.md"


def git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def sources() -> str:
    """Names the present content of all files but prose, committed or not."""
    everything = git("ls-files", "--stage", "--", ".", PROSE) + git("diff", "HEAD", "--", ".", PROSE)
    return subprocess.run(["git", "hash-object", "--stdin"], input=everything, capture_output=True, text=True, check=True).stdout.strip()


def result_of(name: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads((RESULTS / ("%s.json" % name)).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return found


def run(name: str, command: str) -> dict[str, Any]:
    log = RESULTS / ("%s.log" % name)
    began = time.monotonic()
    with log.open("w", encoding="utf-8") as sink:
        shell = ["bash", "-c", command]
        done = subprocess.run(shell, cwd=ROOT, stdout=sink, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False)
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    result = {
        "passed": done.returncode == 0,
        "seconds": round(time.monotonic() - began),
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "commit": git("describe", "--always", "--dirty").strip(),
        "sources": sources(),
        "last_line": re.sub(r"^=+ | =+$", "", lines[-1]) if lines else "",
    }
    (RESULTS / ("%s.json" % name)).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return result


def table(parts: dict[str, list[str]]) -> str:
    """As docs/tested.md has it."""
    rows = ["| part | shows | result | s | when, on what |", "|---|---|---|---|---|"]
    for name, (shows, _command) in parts.items():
        result = result_of(name)
        if result is None:
            rows.append("| `%s` | %s | not run | | |" % (name, shows))
        else:
            said = "%s: %s" % ("passed" if result["passed"] else "**failed**", result["last_line"])
            rows.append("| `%s` | %s | %s | %d | %s, %s |" % (name, shows, said, result["seconds"], result["date"], result["commit"]))
    return "\n".join(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="*")
    parser.add_argument("--list", action="store_true", help="print the table and run nothing")
    options = parser.parse_args()
    parts: dict[str, list[str]] = yaml.safe_load((ROOT / "tests" / "tools" / "prove.yml").read_text(encoding="utf-8"))
    if options.list:
        print(table(parts))
        return 0
    unknown = sorted(set(options.part) - set(parts))
    if unknown:
        parser.error("no part %s; there are %s" % (", ".join(unknown), ", ".join(parts)))
    RESULTS.mkdir(parents=True, exist_ok=True)
    os.environ["PATH"] = "%s:%s" % (ROOT / ".venv" / "bin", os.environ["PATH"])
    failed = []
    for name in options.part or parts:
        earlier = result_of(name)
        if not options.part and earlier is not None and earlier["passed"] and earlier["sources"] == sources():
            print("%-16s passed already, on %s" % (name, earlier["date"]), flush=True)
            continue
        print("%-16s " % name, end="", flush=True)
        result = run(name, parts[name][1])
        print("%s after %d s: %s" % ("passed" if result["passed"] else "FAILED", result["seconds"], result["last_line"]), flush=True)
        if not result["passed"]:
            failed.append(name)
    if failed:
        print("failed: %s; logs in %s" % (", ".join(failed), RESULTS), file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
