# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A recording (``looks``) without the names of hosts, VMs, files, networks and people, that decides the same.

Every word of a name becomes a made-up one, the same everywhere, and in the same order: decide breaks ties by name. Texts for people are
left out. What stays: UUIDs and serial numbers, versions, times, amounts, and words that the program itself uses.

Invariant: what is returned was decided again, look by look, and came out as the original did, names and texts apart. If it does not,
nothing is returned.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

from ..decide.decide import decide
from ..decide.decision import Decision
from ..decide.inputs import DecisionInputs
from ..decide.json_form import from_dict, to_dict
from ..errors import LibrehaError
from .looks import Look, decided_form, write


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Fields that have names, and mappings whose keys are names.
NAMES = _words(
    """name host hosts vm vms id path uuid datastore datastore_uuid datastores target targets server storage initiator initiators address
    networks user subject home wanted_host came_from registered admits label device run_id only_host sid attached_disks moid key last_key
    failed doubtful released fence_scope fenced_at vms_read isolation_addresses source start_after allow_unstopped_source failover_hosts
    ignored_sensors vm_name hosts_down hosts_up"""
)
#: Fields that have a person's name or words; that there is one may count.
PERSONS = _words("by word released_by disarmed confirmed_off rebalance")
#: Fields that have words for people only; that there are some may count.
TEXTS = _words(
    """text reason reasons api_reason ping_reason power_reason why_not anybody unfenceable wrong_bmc blocked proves_no_off reading note
    remedy refused failback_left ended hindrances"""
)
#: Fields whose words stay: the program's own, the hypervisor's, versions, times, and UUIDs and serial numbers of machines.
KEPT = _words(
    """able alive_in at boot_id boot_time build capabilities cold_start driver going_down guest hardware_version health heartbeat
    instance_uuid kind maintenance_way message_id needs offers product serial step tools type verdict version wall wanted_way"""
)
SOMEBODY, SOMETHING = "somebody", "something"
_WORD = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}|[\w@-]+")
_UUID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_OF_PATHS = _words("vmx vmdk nvram vswp vmsd log iqn eui naa vmfs volumes from was its word on api ping")


def redacted(looks: Sequence[Look]) -> bytes:
    """The recording. Raises LibrehaError when it would not be decided as the original was."""
    forms = [to_dict(look.inputs) for look in looks]
    words: set[str] = set()
    for form in forms:
        _collect(form, False, words)
    change = _changer(words)
    found: list[tuple[DecisionInputs, Decision]] = []
    for number, (look, form) in enumerate(zip(looks, forms), 1):
        inputs: DecisionInputs = from_dict(DecisionInputs, _changed(form, change), "look %d" % number)
        if found and found[-1][1].memory == inputs.memory:  # then the recording need not repeat it
            inputs = dataclasses.replace(inputs, memory=found[-1][1].memory)
        if found and found[-1][0].policy == inputs.policy:
            inputs = dataclasses.replace(inputs, policy=found[-1][0].policy)
        decision = inputs.decide(decide)
        _verify(number, _changed(look.decided, change), decided_form(decision))
        found.append((inputs, decision))
    return write(found, redacted=True)


def _verify(number: int, original: Mapping[str, Any], decided: Mapping[str, Any]) -> None:
    differs = sorted(name for name in {*original, *decided} if _facts(original.get(name)) != _facts(decided.get(name)))
    if differs:
        raise LibrehaError(
            "without its names look %d would be decided differently (%s)" % (number, ", ".join(differs)),
            remedy="export it with --with-names, and look through it before you give it away",
        )


def _facts(value: Any) -> Any:
    """Without what is said for people."""
    if isinstance(value, Mapping):
        return {key: _facts(item) for key, item in value.items() if key not in TEXTS and key not in PERSONS}
    if isinstance(value, list):
        return [_facts(item) for item in value]
    return value


def _collect(value: Any, named: bool, words: set[str]) -> None:
    """Add the words of all names in a JSON form; *named*: the value itself is one."""
    if isinstance(value, str):
        words.update(found for found in _WORD.findall(value) if named and _tells(found))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if key not in _reserved():
                _collect(key, True, words)
            if key not in TEXTS and key not in PERSONS:
                _collect(item, key in NAMES or (named and key not in _reserved()), words)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _collect(item, named, words)


def _tells(word: str) -> bool:
    return not (word.isdigit() or word in _reserved() or word.lower() in _OF_PATHS or _UUID.fullmatch(word))


def _changer(words: Iterable[str]) -> Callable[[str], str]:
    order = sorted({word.lower() for word in words})
    numbers = {word: number for number, word in enumerate(order, 1)}
    digits = len(str(len(order)))

    def change_word(found: re.Match[str]) -> str:
        word = found.group()
        number = numbers.get(word.lower()) if _tells(word) else None
        if number is None:
            return word
        return "%s%0*d" % ("x" if word == word.lower() else "X", digits, number)

    return lambda text: _WORD.sub(change_word, text)


def _changed(value: Any, change: Callable[[str], str], key: str = "") -> Any:
    if isinstance(value, str):
        if key in PERSONS or key in TEXTS:
            return value and (SOMEBODY if key in PERSONS else SOMETHING)
        return change(value)
    if isinstance(value, Mapping):
        return {name if name in _reserved() else change(name): _changed(item, change, name) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_changed(item, change, key) for item in value]
    return value


@cache
def _reserved() -> frozenset[str]:
    """Names of fields, and values of enums, of everything that a recording has: the program's own words."""
    found: set[str] = set()
    _reserve(DecisionInputs, found, set())
    _reserve(Decision, found, set())
    return frozenset(found)


def _reserve(kind: Any, found: set[str], seen: set[Any]) -> None:
    if get_origin(kind) is not None:
        for argument in get_args(kind):
            _reserve(argument, found, seen)
    elif isinstance(kind, type) and kind not in seen:
        seen.add(kind)
        if issubclass(kind, Enum):
            found.update(str(member.value) for member in kind)
        elif dataclasses.is_dataclass(kind) or hasattr(kind, "_fields"):
            for name, hint in get_type_hints(kind).items():
                found.add(name)
                _reserve(hint, found, seen)
