"""``make -s simulate SCENARIO=PATH``: one JSON object a line on stdout, mistakes on stderr, the exit code of docs/scenario-format.md."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from .scenario import BadScenario, read_scenario
from .simulation import simulate

FINE, VIOLATIONS, BROKEN = 0, 1, 2
ENDINGS = (".yml", ".yaml", ".json")


def scenario_files(path: Path) -> list[Path]:
    """The file itself, or every scenario below the folder; the expectations beside them are none."""
    if not path.is_dir():
        return [path]
    found = (entry for entry in path.rglob("*") if entry.suffix in ENDINGS and entry.is_file())
    return sorted(entry for entry in found if ".expect." not in entry.name)


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 1 or not arguments[0]:
        print("give one scenario file or folder: make -s simulate SCENARIO=PATH", file=sys.stderr)
        return BROKEN
    path = Path(arguments[0])
    if not path.exists():
        print("%s: there is no such file or folder" % path, file=sys.stderr)
        return BROKEN
    worst = FINE
    for file in scenario_files(path):
        try:
            result = simulate(read_scenario(file))
        except BadScenario as error:
            for line in str(error).splitlines():
                print("%s: %s" % (file, line), file=sys.stderr)
            worst = BROKEN
            continue
        except Exception:  # a mistake of the simulator or of the brain; the other files are run all the same
            print("%s:\n%s" % (file, traceback.format_exc()), file=sys.stderr)
            worst = BROKEN
            continue
        print(json.dumps(result, ensure_ascii=False), flush=True)
        if result["violations"]:
            worst = max(worst, VIOLATIONS)
    return worst
