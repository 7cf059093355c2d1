"""Write every module, filter and role that version 0.1.0 brings into changelogs/changelog.yaml, and CHANGELOG.rst from that.

antsibull-changelog lists what was there when the release was prepared. Until 0.1.0 is published, what is added since belongs to it.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from antsibull_docs_parser.parser import Context, parse
from antsibull_docs_parser.rst import to_rst_plain

ROOT = Path(__file__).resolve().parents[3]
VERSION = "0.1.0"


def described(path: Path) -> str:
    found = re.search(r'DOCUMENTATION = r?"""\n(.*?)"""', path.read_text(encoding="utf-8"), re.DOTALL)
    if found is None:
        raise SystemExit("%s has no DOCUMENTATION" % path)
    return in_rst(yaml.safe_load(found.group(1))["short_description"])


def in_rst(text: str) -> str:
    """As antsibull-changelog keeps it: reStructuredText, an option without the module that it belongs to."""
    return str(to_rst_plain(parse(re.sub(r"O\([^)]*#module:(\w+)\)", r"O(\1)", text), Context())))


def entries(folder: str, namespace: str | None) -> list[dict[str, Any]]:
    paths = sorted(ROOT.glob("plugins/%s/*.py" % folder))
    return [{"description": described(path), "name": path.stem, "namespace": namespace} for path in paths]


def roles() -> list[dict[str, Any]]:
    found = []
    for path in sorted(ROOT.glob("roles/*/meta/argument_specs.yml")):
        main = yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]["main"]
        found.append({"description": in_rst(main["short_description"]), "name": path.parents[1].name, "namespace": None})
    return found


def main() -> None:
    path = ROOT / "changelogs/changelog.yaml"
    changelog = yaml.safe_load(path.read_text(encoding="utf-8"))
    release = changelog["releases"][VERSION]
    release["modules"] = entries("modules", "")
    release["plugins"] = {kind: entries(kind, None) for kind in ("filter", "inventory")}
    release["objects"] = {"role": roles()}
    path.write_text(yaml.safe_dump(changelog, allow_unicode=True), encoding="utf-8")
    subprocess.run([str(Path(sys.executable).with_name("antsibull-changelog")), "generate"], cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
