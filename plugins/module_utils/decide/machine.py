# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What tells one physical machine from all others, and whether two descriptions are of the same one.

Compared is SMBIOS' system UUID (DMTF DSP0134, type 1), which ESXi gives as ``hardware.systemInfo.uuid`` and Redfish as
``ComputerSystem.UUID``. Firmware and operating systems do not agree in which byte order its first three fields are
written (DSP0134, 7.2.1), so both count as the same.

* Two well-formed UUIDs decide, whatever else is said: all nodes of a multi-node chassis may tell the chassis' serial number.
* Some boards leave the factory with a placeholder as UUID, all of them with the same. It is neither proof nor contradiction, and
  neither is a UUID that two hosts of the cluster tell (:func:`without_shared`).
* Only where the UUIDs tell nothing, an equal serial number is a match. Unequal ones mean nothing: where the host says the service
  tag, a BMC may well say the board's number.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Optional

NO_SERIALS = (
    "tobefilledbyoem",
    "systemserialnumber",
    "defaultstring",
    "notspecified",
    "notapplicable",
    "unknown",
    "0123456789",
    "1234567890",
)
SHORTEST_SERIAL = 5
FEWEST_EMPTY_BYTES = 13  # of 16; a UUID that is zeros and a MAC address, as Supermicro makes them, is one machine's


@dataclass(frozen=True)
class Machine:
    """Empty where it was not told. ``uuid`` is SMBIOS' system UUID."""

    uuid: str = ""
    serial: str = ""


def same_machine(one: Machine, other: Machine) -> Optional[bool]:
    """Whether both are the same machine; None when that cannot be told.

    >>> same_machine(Machine("4c4c4544-0051-3310-8057-b7c04f4a3332"), Machine("44454C4C-5100-1033-8057-B7C04F4A3332"))
    True
    """
    if _uuid(one.uuid) and _uuid(other.uuid):
        return same_uuid(one, other)
    return True if _serial(one.serial) and _serial(one.serial) == _serial(other.serial) else None


def same_uuid(one: Machine, other: Machine) -> bool:
    mine, its = _uuid(one.uuid), _uuid(other.uuid)
    return bool(mine and its) and mine in (its, _swapped(its))


def without_shared(reports: Mapping[str, Machine]) -> tuple[dict[str, Machine], frozenset[str]]:
    """The machines of the hosts without the UUIDs that more than one host tells: no machine's own, but its board vendor's.

    Returns:
        Each host's machine, with ``uuid`` empty where another host tells the same; and those UUIDs in one spelling, for
        :func:`is_one_of`.
    """
    count = Counter(_one_order(machine.uuid) for machine in reports.values())
    shared = frozenset(uuid for uuid, hosts in count.items() if uuid and hosts > 1)
    return {name: replace(machine, uuid="") if is_one_of(machine, shared) else machine for name, machine in reports.items()}, shared


def is_one_of(machine: Machine, uuids: frozenset[str]) -> bool:
    """Whether the UUID of *machine* is one of *uuids* (of :func:`without_shared`)."""
    return _one_order(machine.uuid) in uuids


def text_of(machine: Machine) -> str:
    parts: Iterable[str] = ("UUID " + machine.uuid if machine.uuid else "", "serial number " + machine.serial if machine.serial else "")
    return ", ".join(part for part in parts if part) or "nothing"


@functools.lru_cache(maxsize=4096)  # each look compares every BMC's with every host's
def _uuid(text: str) -> str:
    """Its 32 digits in lower case; empty for none, and for a placeholder."""
    digits = "".join(sign for sign in text.lower() if sign in "0123456789abcdef")
    return digits if len(digits) == 32 and not _placeholder(digits) else ""


def _one_order(text: str) -> str:
    """The same for both byte orders of one UUID; empty for none, and for a placeholder."""
    digits = _uuid(text)
    return min(digits, _swapped(digits)) if digits else ""


def _placeholder(digits: str) -> bool:
    """Whether no generator and no MAC address made this UUID: a short pattern repeated, counting digits, bytes or words, or nearly
    nothing but zeros or ones."""
    if any(digits == digits[:length] * (32 // length) for length in (2, 4, 8, 16)):
        return True
    for ordered in (digits, _swapped(digits)):
        octets = bytes.fromhex(ordered)
        words = [int(ordered[at : at + 4], 16) for at in range(0, 32, 4)]
        if _counts([int(digit, 16) for digit in ordered], 20) or _counts(octets, 11) or _counts(words, 6):
            return True
    return max(octets.count(0x00), octets.count(0xFF)) >= FEWEST_EMPTY_BYTES


def _counts(numbers: Sequence[int], least: int) -> bool:
    """Whether at least *least* steps from one number to the next are the same, and not zero: 0123..., 0011 2233..., 9876..."""
    steps = Counter(after - before for before, after in zip(numbers, numbers[1:]))
    del steps[0]
    return bool(steps) and max(steps.values()) >= least


def _swapped(digits: str) -> str:
    """The same with the bytes of the first three fields in the other order."""
    fields = (digits[0:8], digits[8:12], digits[12:16])
    return "".join("".join(reversed([field[at : at + 2] for at in range(0, len(field), 2)])) for field in fields) + digits[16:]


def _serial(text: str) -> str:
    plain = "".join(sign for sign in text.lower() if sign.isalnum())
    return plain if len(plain) >= SHORTEST_SERIAL and len(set(plain)) > 1 and plain not in NO_SERIALS else ""
