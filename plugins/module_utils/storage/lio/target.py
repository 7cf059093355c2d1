# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The LIO driver: the Linux kernel's own target, its rights in node ACLs, its saved configuration in saveconfig.json.

**Progress.** ``num_cmds`` of an initiator's LUNs counts its commands over all sessions, the octets those of its newest session;
the number of its last response (StatSN) grows with each answer that the initiator asked for, an answered NOP among them, and not with
what the target sends by itself. LIO shows one session an initiator and portal group, the newest; with several paths the others are
not listed, and the commands of all of them are counted.

**CHAP.** The account is part of the node ACL, so each initiator has its own. A live session is not ended by a new secret,
which is why a fence deletes the ACL.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any, Callable

from ... import clock
from ...decide.instant import Instant
from ...decide.observations import Session, TargetAccess
from ...errors import LibrehaError
from ..interface import StorageTarget
from . import kernel, saved
from .kept import KeptAcls


class LioTarget(StorageTarget):
    """LIO on this machine.

    Args:
        saved_config: The file that is restored at boot.
        kept: The file beside the fence list that keeps the ACLs of fenced initiators.
        timeout: Seconds to wait for the kernel to end an initiator's sessions.
        now: The clock of this machine.
    """

    driver = "lio"

    def __init__(self, saved_config: str, kept: str, *, timeout: float = 5.0, now: Callable[[], Instant] = clock.now) -> None:
        self._saved_config = saved_config
        self._kept = KeptAcls(kept)
        self._timeout = timeout
        self._now = now

    def up_for(self) -> float | None:
        since = kernel.serving_since()
        return None if since is None else max(0.0, self._now().seconds - since)

    def sessions(self) -> list[Session]:
        found = []
        for acl in _acls():
            session = kernel.session_of(acl)
            if session is not None:
                sid, address, answered = session
                found.append(
                    Session(
                        initiator=acl.node_wwn,
                        target=acl.parent_tpg.parent_target.wwn,
                        sid=sid,
                        address=address,
                        commands_done=kernel.commands_of(acl),
                        bytes_done=kernel.octets_of(acl) + answered,
                    )
                )
        return found

    def access(self) -> list[TargetAccess]:
        found: dict[str, TargetAccess] = {}
        for tpg in kernel.portal_groups():
            open_to_all = tpg.get_attribute("generate_node_acls") == "1"
            names = [acl.node_wwn for acl in tpg.node_acls]
            saved.merge(found, tpg.parent_target.wwn, names, open_to_all, [lun.lun for lun in tpg.luns])
        return list(found.values())

    def saved_access(self) -> list[TargetAccess]:
        return saved.access(self._saved_config)

    def revoke(self, initiator: str) -> bool:
        """Removes the ACLs even if they cannot be kept: that only makes letting the initiator in again harder."""
        acls = _acls(initiator)
        trouble: LibrehaError | None = None
        try:
            self._kept.keep([(acl.parent_tpg.parent_target.wwn, acl.parent_tpg.tag, acl.dump()) for acl in acls])
        except LibrehaError as error:
            trouble = error
        for acl in acls:
            kernel.remove_acl(acl, self._timeout, lambda acl=acl: self._cut(acl))  # type: ignore[misc]
        if trouble is not None:
            raise trouble
        return bool(acls)

    def revoke_saved(self, initiator: str) -> bool:
        content = saved.read(self._saved_config)
        taken = saved.take_acls(content, initiator)
        if not taken:
            return False
        # What runs is what the initiator had; the saved one is kept only where there is none.
        running = {(acl.parent_tpg.parent_target.wwn, acl.parent_tpg.tag) for acl in _acls(initiator)}
        self._kept.keep([item for item in taken if item[:2] not in running])
        saved.write(self._saved_config, content)
        return True

    def end_sessions(self, initiator: str) -> int:
        """Sessions end with their ACL (:meth:`revoke`). What is listed all the same is of an ACL that somebody made since."""
        live = [acl for acl in _acls(initiator) if kernel.session_of(acl) is not None]
        for acl in live:
            self._cut(acl)
        return len(live)

    def in_flight(self, initiator: str) -> int:
        """The kernel does not count them. None is left when the ACL is gone (see ``kernel``); before that each session may have one."""
        return sum(1 for acl in _acls(initiator) if kernel.session_of(acl) is not None)

    def logins(self) -> frozenset[str]:
        """Empty: removing an ACL waits for the logins that passed its check (see ``kernel``)."""
        return frozenset()

    def end_logins(self, logins: frozenset[str]) -> int:
        return 0

    def admit(self, initiator: str, targets: Iterable[str], chap_secret: str | None) -> bool:
        wanted = sorted(set(targets))
        back = self._kept.of(initiator, wanted)
        missing = sorted(set(wanted) - {iqn for iqn, _tag, _acl in back} - {acl.parent_tpg.parent_target.wwn for acl in _acls(initiator)})
        if missing:
            raise LibrehaError(
                "it is not known what %s may use of %s: the ACL that the fence took away is not in %s"
                % (initiator, ", ".join(missing), self._kept.path),
                remedy="run the module iscsi_target with that ACL (it is kept there while the host is fenced), then run this again",
            )
        renewed = [(iqn, tag, _with_secret(acl, chap_secret)) for iqn, tag, acl in back]
        content = saved.read(self._saved_config)
        changed = bool([True for iqn, tag, acl in renewed if saved.put_acl(content, iqn, tag, acl)])
        if changed:
            saved.write(self._saved_config, content)
        groups = {(tpg.parent_target.wwn, tpg.tag): tpg for tpg in kernel.portal_groups()}
        for iqn, tag, acl in renewed:
            if (iqn, tag) in groups:
                changed |= _create(groups[iqn, tag], acl)
        self._kept.forget(initiator, wanted)
        return changed

    def _cut(self, acl: Any) -> None:
        """Cut the connections from the initiator's address, unless another initiator's session comes from there."""
        session = kernel.session_of(acl)
        others = {found[1] for other in _acls() if other.path != acl.path for found in [kernel.session_of(other)] if found is not None}
        if session is not None and session[1] and session[1] not in others:
            kernel.cut_connections([session[1]], [portal.port for portal in acl.parent_tpg.network_portals])


def _acls(initiator: str | None = None) -> list[Any]:
    """rtslib's node ACLs, of one initiator or of all."""
    acls = [acl for tpg in kernel.portal_groups() for acl in tpg.node_acls]
    return [acl for acl in acls if initiator is None or saved.same(acl.node_wwn, initiator)]


def _with_secret(acl: dict[str, Any], secret: str | None) -> dict[str, Any]:
    """*acl* with its new secret. Raises LibrehaError where it has a CHAP account and *secret* is none, or the old one."""
    if not acl.get("chap_password"):
        return acl
    if not secret:
        raise LibrehaError(
            "%s logs in with CHAP: it is admitted again only with a new secret" % acl["node_wwn"],
            remedy="give chap_secret a new random one, and set the same on the host",
        )
    if secret == acl["chap_password"]:
        raise LibrehaError("the CHAP secret for %s is the old one" % acl["node_wwn"], remedy="give chap_secret a new random one")
    return {**acl, "chap_password": secret}


def _create(tpg: Any, acl: dict[str, Any]) -> bool:
    """The ACL as it was; the kernel refuses logins to one that should have a CHAP account and does not have it yet."""
    if any(saved.same(other.node_wwn, acl["node_wwn"]) for other in tpg.node_acls):
        return False
    from rtslib_fb import NodeACL

    errors: list[str] = []
    NodeACL.setup(tpg, copy.deepcopy(acl), errors.append)
    if errors:
        raise LibrehaError(
            "%s is admitted to %s only in part: %s" % (acl["node_wwn"], tpg.parent_target.wwn, "; ".join(errors)),
            remedy="see to the LUNs that are named (targetcli ls), then run this again",
        )
    return True
