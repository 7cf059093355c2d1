"""The documentation holds together: every page is found, every link leads somewhere, every cited page and section is there."""

from __future__ import annotations

import fnmatch
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import KINDS
from ansible_collections.libreha.vmware.plugins.module_utils.decide.policy import Mode
from ansible_collections.libreha.vmware.plugins.module_utils.decide.verdict import Verdict

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
LINK = re.compile(r"(?<!!)\[[^\]\[]*\]\(([^)\s]+)\)")
#: A page as texts and comments name it: "docs/safety.md", "README.md", "tests/sim/README.md". Not the end of an address.
CITED = re.compile(r"(?<![\w/.:{}-])[\w./-]*\w\.md\b")
#: docs/safety.md, "The token"
CITED_SECTION = re.compile(r'(docs/[\w-]+\.md)(?: of this collection)?,\s+\\?"([^"\\]+)\\?"')


@cache
def _files() -> tuple[Path, ...]:
    """What git knows, or will."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return tuple(path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file())


def _texts() -> Iterator[tuple[Path, str]]:
    """All text files but this one, whose examples are wrong on purpose."""
    for path in _files():
        if path == Path(__file__):
            continue
        try:
            yield path, path.read_text(encoding="utf-8")
        except UnicodeDecodeError:  # a recorded answer of a device, say
            continue


def _prose(page: str) -> str:
    """Without code, in which brackets are no links."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"```.*?```", "", page, flags=re.DOTALL))


def _headings(path: Path) -> list[str]:
    page = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    return re.findall(r"^#+ (.+)$", page, re.MULTILINE)


def _anchor(heading: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _broken(page: Path) -> list[str]:
    """The relative links of *page* that lead nowhere."""
    broken = []
    for link in LINK.findall(_prose(page.read_text(encoding="utf-8"))):
        name, _sharp, anchor = link.partition("#")
        if "://" in link or link.startswith("mailto:"):
            continue
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in map(_anchor, _headings(target))):
            broken.append(link)
    return broken


def _lost(path: Path, text: str) -> list[str]:
    """The pages that *text*, of the file *path*, cites and that are neither beside it nor below the repository's top."""
    cited = set(CITED.findall(text.replace('" / "', "/")))
    return sorted(name for name in cited if not any((folder / name).exists() for folder in (path.parent, ROOT)))


PAGES = [path for path in _files() if path.suffix == ".md"]


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.iterdir() if path.name != "README.md"))
def test_the_index_lists_every_page(page: str) -> None:
    assert "](%s)" % page in (DOCS / "README.md").read_text(encoding="utf-8")


def test_the_readme_leads_to_the_index() -> None:
    assert "docs/README.md" in LINK.findall((ROOT / "README.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    assert _broken(page) == []


def test_a_link_that_leads_nowhere_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Here\n[a](#here) [b](page.md#there) [c](gone.md) [d](https://example.com/x.md) `[e](code.md)`\n", encoding="utf-8")
    assert _broken(page) == ["page.md#there", "gone.md"]


def test_every_cited_page_is_in_the_repository() -> None:
    lost = {str(path.relative_to(ROOT)): names for path, text in _texts() if (names := _lost(path, text))}
    assert lost == {}, "write the path from the repository's top, docs/NAME.md, or from the file's own folder"


def test_a_page_that_is_not_in_the_repository_is_noticed() -> None:
    text = 'see safety.md, docs/safety.md, "docs" / "gone.md", README.md, https://example.com/there.md'
    assert _lost(ROOT / "plugins/module_utils/clock.py", text) == ["docs/gone.md", "safety.md"]


def test_every_cited_section_is_there() -> None:
    cited = {(page, section) for _path, text in _texts() for page, section in CITED_SECTION.findall(text)}
    assert ("docs/safety.md", "The token") in cited
    assert [(page, section) for page, section in sorted(cited) if section not in _headings(ROOT / page)] == []


def test_the_pages_that_errors_name_are_installed_with_the_collection() -> None:
    """Without docs/ in the collection, "docs/safety.md of this collection" would send an operator nowhere."""
    ignored = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["build_ignore"]
    for page in DOCS.iterdir():
        names = [str(page.relative_to(ROOT)), "docs", page.name]
        assert [pattern for pattern in ignored if any(fnmatch.fnmatch(name, pattern) for name in names)] == []


def test_what_tools_leave_in_a_checkout_is_not_installed_with_the_collection() -> None:
    ignored = set(yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["build_ignore"])
    untracked = {line.strip("/") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines() if line.startswith("/.")}
    assert ".hypothesis" in untracked
    assert untracked | {".import_linter_cache", ".mypy_cache", ".pytest_cache", ".ruff_cache"} <= ignored


@pytest.mark.parametrize("term", [*(item.value for item in Verdict), *KINDS, *(item.value for item in Mode)])
def test_the_glossary_has_the_words_that_reports_use(term: str) -> None:
    rows = [line.split("|")[1:-1] for line in (DOCS / "glossary.md").read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    assert all(len(row) == 5 for row in rows)
    assert any("`%s`" % term in row[0] for row in rows)
