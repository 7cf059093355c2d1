# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the kernel's target (LIO) shows in configfs, read into values. It needs no library and changes nothing.

What was found on Linux 6.1 and is relied upon here:

* ``acls/INITIATOR/info`` shows one session, the newest, whatever number the initiator has (multipath: one for each portal);
  when that one ends it shows the next. ``fabric_statistics/iscsi_instance/sessions`` counts all of a target's.
* ``scsi_auth_intr/num_cmds`` of a mapped LUN counts the commands of all of the initiator's sessions;
  ``iscsi_sess_stats`` counts octets of the newest session. A NOP is in neither.
* In demo mode an initiator without an ACL gets a dynamic one, which is in no folder: only ``dynamic_sessions`` names it.
"""

from __future__ import annotations

import errno
import glob
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from ...errors import LibrehaError

ROOT = "/sys/kernel/config/target"
_NOT_A_TARGET = frozenset(("discovery_auth", "lio_version", "cpus_allowed_list"))
_MEGABYTE = 1 << 20
# What the kernel answers of an attribute that is gone meanwhile, or that has nothing to tell.
_NOTHING_TO_TELL = (errno.ENOENT, errno.ENOTDIR, errno.ENODEV, errno.ENXIO, errno.EINVAL, errno.EOPNOTSUPP)
_NO_SESSION = "No active iSCSI Session"


@dataclass(frozen=True)
class SessionReading:
    """The newest session of one initiator at one TPG. ``commands`` is of all its sessions, ``octets`` of this one."""

    sid: str
    state: str
    address: str = ""
    commands: int = 0
    octets: int = 0


@dataclass(frozen=True)
class AclReading:
    initiator: str
    session: SessionReading | None = None


@dataclass(frozen=True)
class TpgReading:
    """One target portal group at run time. ``attributes`` has only those that say who is admitted."""

    target: str
    tag: int
    enabled: bool
    acls: tuple[AclReading, ...] = ()
    dynamic: tuple[str, ...] = ()  # initiators with a session and no ACL of their own
    luns: tuple[int, ...] = ()
    portals: tuple[str, ...] = ()
    attributes: dict[str, str] = field(default_factory=dict)

    @property
    def open_rules(self) -> tuple[str, ...]:
        return open_rules(self.tag, self.attributes, self.dynamic)


def open_rules(tag: int, attributes: dict[str, str], dynamic: tuple[str, ...] = ()) -> tuple[str, ...]:
    """What lets initiators in, or let them in, that no ACL names. *attributes* are values as text."""
    rules = []
    if attributes.get("generate_node_acls", "0") != "0":
        rules.append("demo mode (generate_node_acls=1) in TPG %d" % tag)
    if attributes.get("cache_dynamic_acls", "0") != "0":
        rules.append("initiators once admitted in demo mode are remembered (cache_dynamic_acls=1) in TPG %d" % tag)
    if dynamic:
        rules.append("sessions without an ACL in TPG %d: %s" % (tag, ", ".join(dynamic)))
    return tuple(rules)


def acl_folders(root: str = ROOT) -> list[str]:
    """The folders that hold node ACLs; none where the kernel has no iSCSI target."""
    return glob.glob("%s/iscsi/*/tpgt_*/acls" % glob.escape(root))


def read_tpgs(root: str = ROOT) -> list[TpgReading]:
    """All TPGs of all iSCSI targets, in order. None when the kernel has no iSCSI target at all. Raises LibrehaError."""
    found = []
    try:
        for target in _folders("%s/iscsi" % root):
            for name in _folders("%s/iscsi/%s" % (root, target)) if target not in _NOT_A_TARGET else ():
                if name.startswith("tpgt_"):
                    found.append(_tpg(root, target, name))
    except PermissionError as error:
        raise LibrehaError("cannot read %s: %s" % (error.filename, error.strerror), remedy="run the task as root (become: true)") from error
    except OSError as error:
        raise LibrehaError("cannot read the kernel's target in %s: %s" % (root, error), remedy="see the kernel's log (dmesg)") from error
    return sorted(found, key=lambda tpg: (tpg.target, tpg.tag))


def _tpg(root: str, target: str, name: str) -> TpgReading:
    path = "%s/iscsi/%s/%s" % (root, target, name)
    return TpgReading(
        target=target,
        tag=int(name[len("tpgt_") :]),
        enabled=_text(path + "/enable") not in ("", "0"),
        acls=tuple(_acl("%s/acls/%s" % (path, initiator), initiator) for initiator in _folders(path + "/acls")),
        dynamic=tuple(_text(path + "/dynamic_sessions").replace("\0", "\n").split()),
        luns=_numbers(path + "/lun"),
        portals=tuple(_folders(path + "/np")),
        attributes={key: _text("%s/attrib/%s" % (path, key)) for key in ("generate_node_acls", "cache_dynamic_acls")},
    )


def _acl(path: str, initiator: str) -> AclReading:
    info = _text(path + "/info")
    sid = re.search(r"^LIO Session ID:\s*(\d+)", info, re.MULTILINE)
    if sid is None:
        if info and not info.startswith(_NO_SESSION):
            raise LibrehaError(
                "%s/info tells neither a session nor that there is none: %r" % (path, info[:60]),
                remedy="this kernel may be newer than this collection: compare with what is said of Linux 6.1 in lio/configfs.py",
            )
        return AclReading(initiator)
    state = re.search(r"TARG_SESS_STATE_(\w+)", info)
    address = re.search(r"^\s*Address (\S+) ", info, re.MULTILINE)
    counters = [path + "/fabric_statistics/iscsi_sess_stats/" + name for name in ("rxdata_octs", "txdata_octs")]
    moved = _MEGABYTE * sum(_number("%s/%s" % (folder, name)) for folder in _statistics(path) for name in ("read_mbytes", "write_mbytes"))
    return AclReading(
        initiator,
        SessionReading(
            sid=sid.group(1),
            state=state.group(1) if state else "",
            address=address.group(1).strip("[]") if address else "",
            commands=sum(_number(folder + "/num_cmds") for folder in _statistics(path)),
            octets=sum(_number(counter) for counter in counters) + moved,
        ),
    )


def _statistics(acl: str) -> Iterator[str]:
    return glob.iglob(glob.escape(acl) + "/lun_*/statistics/scsi_auth_intr")


def _numbers(path: str) -> tuple[int, ...]:
    return tuple(sorted(int(name[len("lun_") :]) for name in _folders(path) if name.startswith("lun_")))


def _folders(path: str) -> list[str]:
    """Names of the sub-folders; none when the folder itself is gone meanwhile."""
    try:
        with os.scandir(path) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []


def _text(path: str) -> str:
    """An attribute's text, "" when it is gone meanwhile or has none to tell. Raises OSError when it could not be read: that a
    session is not seen for want of a file descriptor does not mean that there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as source:
            return source.read().strip()
    except OSError as error:
        if error.errno in _NOTHING_TO_TELL:
            return ""
        raise


def _number(path: str) -> int:
    text = _text(path)
    return int(text) if text.isdigit() else 0
