# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What tells one physical machine from all others, and whether two descriptions are of the same one.

Compared is SMBIOS' system UUID (DMTF DSP0134, type 1), which ESXi gives as ``hardware.systemInfo.uuid`` and Redfish as
``ComputerSystem.UUID``. Firmware and operating systems do not agree in which byte order its first three fields are
written (DSP0134, 7.2.1), so both count as the same. Some boards leave the factory with a placeholder, and those tell nothing.
A serial number proves a match only: where the host says the service tag, a BMC may well say the board's number.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Optional

# What vendors of boards leave in; one of the UUIDs is there in both byte orders.
NO_UUIDS = ("03000200040005000006000700080009", "00020003000400050006000700080009", "12345678123456789012345678901234")
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
    if same_uuid(one, other) or (_serial(one.serial) and _serial(one.serial) == _serial(other.serial)):
        return True
    return False if _uuid(one.uuid) and _uuid(other.uuid) else None


def same_uuid(one: Machine, other: Machine) -> bool:
    mine, its = _uuid(one.uuid), _uuid(other.uuid)
    return bool(mine and its) and mine in (its, _swapped(its))


def text_of(machine: Machine) -> str:
    parts: Iterable[str] = ("UUID " + machine.uuid if machine.uuid else "", "serial number " + machine.serial if machine.serial else "")
    return ", ".join(part for part in parts if part) or "nothing"


def _uuid(text: str) -> str:
    """Its 32 digits in lower case; empty for none, and for a placeholder."""
    digits = "".join(sign for sign in text.lower() if sign in "0123456789abcdef")
    return digits if len(digits) == 32 and len(set(digits)) > 1 and digits not in NO_UUIDS else ""


def _swapped(digits: str) -> str:
    """The same with the bytes of the first three fields in the other order."""
    fields = (digits[0:8], digits[8:12], digits[12:16])
    return "".join("".join(reversed([field[at : at + 2] for at in range(0, len(field), 2)])) for field in fields) + digits[16:]


def _serial(text: str) -> str:
    plain = "".join(sign for sign in text.lower() if sign.isalnum())
    return plain if len(plain) >= SHORTEST_SERIAL and len(set(plain)) > 1 and plain not in NO_SERIALS else ""
