# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What tgtd says about itself, read into values (``--op show --mode target``, ``--op stat --mode session``)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from ...errors import LibrehaError

# tgt-admin admits everybody to a saved target without an initiator-address line, names or not (see targets_conf.py).
# This address can be no TCP peer's, so a line with it admits nobody. It must not be 0.0.0.0: tgtd compares the first
# four bytes after the port, which are the (zero) flow label when the peer came by IPv6.
NOBODY_ADDRESS = "255.255.255.255"

ISER = "it is served over iSER, and a login under way over RDMA can be neither seen nor cut"
"""Why a fence there would prove nothing (sockets.py). Besides, before 1.0.95 its login needs name *and* address (release.py), and
its discovery still does, so a host would not find the target by SendTargets."""

_INDENT = 4
_NAME = re.compile(r"^(iqn|eui|naa)\.", re.IGNORECASE)


@dataclass(frozen=True)
class Nexus:
    """An I_T nexus: a session, or one that ended and still has commands in the back end."""

    sid: int
    initiator: str
    address: str = ""


@dataclass(frozen=True)
class UnitReading:
    """A LUN as tgtd serves it. ``megabytes`` are of 10**6 bytes: tgtd tells no more, and it looks at a disk's size only
    when it opens it."""

    path: str = ""
    serial: str = ""
    megabytes: int = 0


@dataclass
class TargetReading:
    """One target as tgtd shows it."""

    tid: int
    name: str
    driver: str = "iscsi"
    state: str = ""
    nexuses: list[Nexus] = field(default_factory=list)
    luns: list[int] = field(default_factory=list)
    units: dict[int, UnitReading] = field(default_factory=dict)  # those of luns, by number
    nop_interval: int = 0
    nop_count: int = 0
    accounts: list[str] = field(default_factory=list)  # CHAP users that may log in
    acl: list[str] = field(default_factory=list)

    @property
    def names(self) -> tuple[str, ...]:
        """Initiators admitted by name."""
        return tuple(rule for rule in self.acl if is_initiator_name(rule))

    @property
    def unfenceable(self) -> str:
        """Why a fence at it proves nothing, whoever is admitted; "" when it does."""
        return ISER if self.driver == "iser" else ""

    @property
    def open_rules(self) -> tuple[str, ...]:
        """Rules that admit whoever comes from an address, which is no identity: ALL, addresses, networks."""
        return tuple(rule for rule in self.acl if not is_initiator_name(rule) and rule != NOBODY_ADDRESS)


@dataclass(frozen=True)
class SessionCounters:
    """Sums over the LUNs and connections of one session."""

    commands_submitted: int
    commands_done: int
    bytes_done: int
    bytes_received: int


def is_initiator_name(rule: str) -> bool:
    """Whether an ACL entry is an iSCSI name (RFC 7143, 4.2.7.2). tgtd lists names and addresses in one unmarked list;
    what does not look like a name is taken for an address, the less trusted of the two."""
    return _NAME.match(rule) is not None


def read_targets(text: str) -> list[TargetReading]:
    """Read the output of ``tgtadm --op show --mode target``.

    Its depth is its indentation, four spaces a level; nothing else is relied on, since an initiator chooses its alias.
    Raises LibrehaError on text that is none of that.
    """
    targets: list[TargetReading] = []
    section = ""
    sid, initiator, lun = 0, "", -1
    for line in text.splitlines():
        depth = (len(line) - len(line.lstrip(" "))) // _INDENT
        content = line.strip()
        if not content:
            continue
        key, _colon, value = content.partition(": ")
        if depth == 0:
            match = re.match(r"^Target (\d+): (\S+)$", content)
            if match is None:
                raise LibrehaError(
                    "tgtd's list of targets cannot be read, a line begins with %r" % content[:60],
                    remedy="compare with `tgtadm --op show --mode target`; this tgt may be newer than this collection",
                )
            targets.append(TargetReading(int(match.group(1)), match.group(2)))
            section = ""
        elif not targets:
            continue
        elif depth == 1:
            section = content.rstrip(":")
        elif section == "System information" and depth == 2:
            if key == "Driver":
                targets[-1].driver = value
            elif key == "State":
                targets[-1].state = value
            elif key == "Nop interval" and value.isdigit():
                targets[-1].nop_interval = int(value)
            elif key == "Nop count" and value.isdigit():
                targets[-1].nop_count = int(value)
        elif section == "I_T nexus information":
            if depth == 2 and key == "I_T nexus" and value.isdigit():
                sid, initiator = int(value), ""
                targets[-1].nexuses.append(Nexus(sid, ""))
            elif depth == 3 and key == "Initiator" and targets[-1].nexuses and not initiator:
                initiator = value.partition(" alias: ")[0].strip()
                targets[-1].nexuses[-1] = Nexus(sid, initiator)
            elif depth == 4 and key == "IP Address" and targets[-1].nexuses and not targets[-1].nexuses[-1].address:
                targets[-1].nexuses[-1] = Nexus(sid, initiator, value)
        elif section == "LUN information":
            if depth == 2 and key == "LUN" and value.isdigit():
                lun = int(value)
            elif depth == 3 and key == "Type" and value != "controller":  # LUN 0 is tgt's own controller
                targets[-1].luns.append(lun)
                targets[-1].units[lun] = UnitReading()
            elif depth == 3 and lun in targets[-1].units:
                targets[-1].units[lun] = _unit(targets[-1].units[lun], key, value)
        elif section == "Account information" and depth == 2:
            if not content.endswith(" (outgoing)"):
                targets[-1].accounts.append(content)
        elif section == "ACL information" and depth == 2:
            targets[-1].acl.append(content)
    return targets


def _unit(unit: UnitReading, key: str, value: str) -> UnitReading:
    """*unit* with what one line says of it."""
    if key == "Backing store path":
        return replace(unit, path=value)
    if key == "SCSI SN":
        return replace(unit, serial=value)
    size = re.match(r"(\d+) MB\b", value)
    return replace(unit, megabytes=int(size.group(1))) if key == "Size" and size else unit


def read_portals(text: str) -> list[str]:
    """Read the output of ``tgtadm --op show --mode portal``: where tgtd listens, ``ADDRESS:PORT`` or ``[ADDRESS]:PORT``."""
    found = (re.match(r"^Portal: (.+),\d+$", line.strip()) for line in text.splitlines())
    return [one.group(1) for one in found if one]


def read_accounts(text: str) -> list[str]:
    """Read the output of ``tgtadm --op show --mode account``: the users' names."""
    return [line.strip() for line in text.splitlines() if line.startswith(" ")]


def read_session_counters(text: str) -> SessionCounters:
    """Read the output of ``tgtadm --op stat --mode session``: one line for each LUN (target, LUN, session, then bytes
    and commands of reads submitted, reads done, writes submitted, writes done, and errors), an empty line, and one
    line for each connection (session, connection, octets received, ...). Raises LibrehaError when it has neither."""
    submitted = done = moved = received = read = 0
    luns, _empty, connections = text.partition("\n\n")
    for line in luns.splitlines()[1:]:
        numbers = [int(number) for number in line.split()]
        if len(numbers) < 11:
            continue
        read += 1
        submitted += numbers[4] + numbers[8]
        done += numbers[6] + numbers[10]
        moved += numbers[5] + numbers[9]
    for line in connections.splitlines()[1:]:
        numbers = [int(number) for number in line.split()]
        if len(numbers) >= 3:
            read += 1
            received += numbers[2]
    if not read:  # counters that are not there do not stand still
        raise LibrehaError(
            "tgtd tells no counters of a session: %r" % text[:60],
            remedy="compare with `tgtadm --op stat --mode session`; this tgt may be newer than this collection",
        )
    return SessionCounters(submitted, done, moved, received)
