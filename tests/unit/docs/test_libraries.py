"""One list of libraries and versions: what is checked, what pip installs and what the documentation says are the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from ansible_collections.libreha.vmware.plugins.module_utils import libraries
from ansible_collections.libreha.vmware.plugins.module_utils.libraries import LIBRARIES, Library

ROOT = Path(__file__).resolve().parents[3]
TABLE = re.compile(r"^\| (\S+) \| (\S+) \| (.+) \|$", re.MULTILINE)
#: "SQLAlchemy >= 2.0" in the requirements of a module or a doc fragment
STATED = re.compile(r"^(\S+) >= ([0-9.]+)")


def test_requirements_txt_names_what_is_always_needed() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    expected = [line for library in LIBRARIES if not library.option for line in library.lines()]
    assert [line for line in lines if line and not line.startswith("#")] == expected


def test_the_roles_readme_has_the_same_table() -> None:
    rows = TABLE.findall((ROOT / "roles/arbiter/README.md").read_text(encoding="utf-8"))
    documented = {name: minimum for name, minimum, _purpose in rows}
    assert documented.items() >= {library.name: library.minimum for library in LIBRARIES}.items()


def test_the_modules_documentation_states_the_same_versions() -> None:
    """Every requirement of a module that is one of the libraries gives its version, and the right one."""
    known = {library.name.lower(): library.minimum for library in LIBRARIES}
    stated = []
    for path in [*ROOT.glob("plugins/modules/*.py"), *ROOT.glob("plugins/doc_fragments/*.py")]:
        documentation = re.search(r'DOCUMENTATION(?:: str)? = r"""\n(.*?)"""', path.read_text(encoding="utf-8"), re.DOTALL)
        assert documentation, path
        for text in yaml.safe_load(documentation.group(1)).get("requirements", []):
            if text.split()[0].lower() in known:
                stated.append((path.name, text, STATED.match(text)))
    assert stated
    wrong = [(name, text) for name, text, match in stated if not match or known[match[1].lower()] != match[2]]
    assert wrong == []


def versions(**found: str | None):
    """Every library as it should be, but those *found*."""
    return lambda library: found.get(library.module, library.minimum)


def problems(version_of, load=lambda name: None, options=libraries.OPTIONS) -> list[str]:
    return [finding.problem for finding in libraries.look(options, version_of=version_of, load=load) if finding.problem]


def test_the_lowest_version_will_do() -> None:
    assert problems(versions()) == []


@pytest.mark.parametrize("version", ["1.4.46", "1.4.46+ds1", "1.9.99.9"])
def test_an_older_version_is_named_with_what_is_needed(version: str) -> None:
    assert problems(versions(sqlalchemy=version)) == ["SQLAlchemy %s is installed, SQLAlchemy>=2.0 is needed" % version]


@pytest.mark.parametrize("version", ["2.0", "2.0.0b1", "2.0.36", "10.0"])
def test_a_newer_version_will_do(version: str) -> None:
    assert problems(versions(sqlalchemy=version)) == []


def test_a_library_without_a_version_counts_when_it_can_be_imported() -> None:
    assert problems(versions(rtslib_fb="")) == []


def missing(name: str) -> None:
    if name in ("icmplib", "sushy"):
        raise (ImportError if name == "icmplib" else RuntimeError)("no module named %s" % name)


def test_everything_that_is_missing_or_damaged_is_named_at_once() -> None:
    found = problems(versions(icmplib=None), missing)
    assert found == ["icmplib is not installed", "sushy 5.0 cannot be imported: RuntimeError: no module named sushy"]


def test_a_feature_that_is_not_used_needs_no_library() -> None:
    assert {finding.library.name for finding in libraries.look(version_of=versions(), load=lambda name: None)} == {
        library.name for library in LIBRARIES if not library.option
    }


def test_a_version_that_this_python_cannot_import_is_too_new() -> None:
    old = next(library for library in LIBRARIES if library.module == "pyVmomi")
    assert old.requirement((3, 9)) == "pyvmomi>=8.0.3.0.1,<9.1" and old.requirement((3, 10)) == "pyvmomi>=8.0.3.0.1"
    always = Library("pyvmomi", "pyVmomi", "8.0", "a test", limit=((99, 0), "9.1"))
    assert libraries._in_range(always, "9.0.0.0") and not libraries._in_range(always, "9.1.0.0")


def test_the_error_of_a_module_says_which_python_and_how_to_mend_it() -> None:
    error = libraries.unusable("sqlalchemy", "no make_url", host="san1")
    assert error.host == "san1" and "SQLAlchemy" in error.message and "the state database" in error.message
    assert "libreha.vmware.arbiter" in error.remedy and "pip install 'SQLAlchemy>=2.0'" in error.remedy
