"""The parts of docs/safety.md that are rendered from the code, so that the page cannot say anything else than what is done.

``write_safety.py`` writes them, ``test_safety_page.py`` compares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from enum import Enum
from pathlib import Path

import yaml
from ansible_collections.libreha.vmware.plugins.module_utils.decide.answers import ALIVE, ApiAnswer, Evidence
from ansible_collections.libreha.vmware.plugins.module_utils.decide.hosts import confirm, silence
from ansible_collections.libreha.vmware.plugins.module_utils.decide.hosts.verdict import NOT_OK, TABLE, Row
from ansible_collections.libreha.vmware.plugins.module_utils.decide.option import options_of
from ansible_collections.libreha.vmware.plugins.module_utils.decide.policy import FailoverPolicy, Policy
from ansible_collections.libreha.vmware.plugins.module_utils.decide.state import leads_to_fence
from ansible_collections.libreha.vmware.plugins.module_utils.decide.verdict import Verdict
from ansible_collections.libreha.vmware.plugins.module_utils.storage import verification
from ansible_collections.libreha.vmware.plugins.modules import iscsi_fence

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs/safety.md"
BEGIN, END = "<!-- %s: written by tests/unit/docs/write_safety.py -->", "<!-- end of %s -->"

INPUTS = ("power", "api", "storage", "ping")
#: What a row demands beside those, in words; a demand that is not here must get its words first.
DEMANDS = {
    ("observer_isolated", (True,)): "the observer is isolated",
    ("accessible", (False,)): "the host itself says that the datastore is inaccessible",
}
#: What is done where no policy answers the verdict with a fence.
NO_FENCE = {
    Verdict.OBSERVER_ISOLATED: "hold everything; alarm",
    Verdict.UNKNOWN: "hold; alarm",
    Verdict.AGENT_HUNG: "alarm",
    Verdict.ISOLATED: "alarm",
}
TIMERS = ("confirm_after", "io_stale", "storage_grace", "brake_window", "reboot_grace", "recovery_bound", "lease")
FAILOVER_TIMERS = ("lock_retry", "lock_retry_interval", "power_on_timeout", "start_bound")


def render(page: str) -> str:
    """*page* with every generated block as the code has it now."""
    for name, block in BLOCKS.items():
        begin, end = BEGIN % name, END % name
        before, begun, rest = page.partition(begin)
        _old, ended, after = rest.partition(end)
        if not (begun and ended) or begin in after:
            raise ValueError("docs/safety.md must have the block %s ... %s exactly once" % (begin, end))
        page = "\n".join((before + begin, block(), end + after))
    return page


def verdicts() -> str:
    rows = [(str(row.number), condition(row), "`%s`" % row.verdict.value, row.meaning, answer(row)) for row in TABLE]
    return _table(("row", "condition", "verdict", "what it says", "answer"), rows)


def condition(row: Row) -> str:
    """ "api failed, storage failed, ping ok" """
    any_value = {field.name: field.default for field in fields(Row)}
    found = ["%s %s" % (name, _value(getattr(row, name))) for name in INPUTS if getattr(row, name) != any_value[name]]
    others = [name for name in any_value if name not in (*INPUTS, "number", "verdict", "meaning", "certain")]
    found += [DEMANDS[name, getattr(row, name)] for name in others if getattr(row, name) != any_value[name]]
    return ", ".join(found) or "everything else"


def answer(row: Row) -> str:
    fence = "fence, then failover%s" % ("; no confirmation time" if row.certain else "")
    if leads_to_fence(row.verdict, Policy()):
        return fence
    if row.verdict.works:
        return "alarm" if Evidence.OK not in row.storage else "none"
    options = ["with `%s: %s`: %s" % (name, value, fence) for name, value in _options_for(row.verdict)]
    return "; ".join([NO_FENCE[row.verdict], *options])


def _options_for(verdict: Verdict) -> list[tuple[str, str]]:
    """The policy's options, and their values, that answer *verdict* with a fence."""
    choices = [(field.name, choice) for field in fields(Policy) if isinstance(field.default, Enum) for choice in type(field.default)]
    return [(name, choice.value) for name, choice in choices if leads_to_fence(verdict, replace(Policy(), **{name: choice}))]


def answers() -> str:
    """What each answer of a host's API is evidence of."""
    rows = [
        ("`%s`" % item.value, "`%s`" % item.evidence.value, "`ok`" if item in ALIVE else "what the ping itself found") for item in ApiAnswer
    ]
    return _table(("answer of the API", "`api`", "`ping`"), rows)


def timers() -> str:
    options, failover = options_of(Policy), options_of(FailoverPolicy)
    margin = yaml.safe_load(iscsi_fence.DOCUMENTATION)["options"]["margin"]["default"]
    rows = [("`%s`" % name, "%g s" % options[name].default, options[name].meaning) for name in TIMERS]
    rows += [("`failover.%s`" % name, "%g s" % failover[name].default, failover[name].meaning) for name in FAILOVER_TIMERS]
    rows += [
        ("fixed", "%d" % silence.PROBES, "Failed probes of each path that a confirmation needs at least."),
        ("fixed", "%d x `confirm_after`" % confirm.LONGEST, "The longest time that flapping leads to."),
        ("fixed", "%d x `confirm_after`" % confirm.FORGET, "Quiet time after which flapping is forgotten."),
        ("fixed", "%g s" % verification.INTERVAL, "Time between the two looks at the target that confirm a fence."),
        ("`margin` of `iscsi_fence`", "%g s" % margin, "How much later than its fence a host must have started."),
    ]
    return _table(("option", "default", "meaning"), rows)


BLOCKS: dict[str, Callable[[], str]] = {"answers": answers, "timers": timers, "verdicts": verdicts}


def _value(allowed: Iterable[Enum]) -> str:
    allowed = tuple(allowed)
    if allowed == NOT_OK:
        return "not ok"
    return " or ".join(str(item.value) for item in allowed)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| %s |" % " | ".join(line) for line in lines)
