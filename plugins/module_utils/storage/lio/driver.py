# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The LIO driver: the kernel's own iSCSI target on this machine, and the saved configuration that it is restored from.

Reading is done in configfs itself (configfs.py), changes go through rtslib-fb (library.py).

**Why a deleted ACL means no session, no login and nothing in flight** (as we know drivers/target of Linux. Seen on
6.1: a fence of a writing, frozen or killed initiator, and a removal that waits for a backend that hangs, or for a login half way).
rmdir of the folder ``acls/INITIATOR`` returns only when the last reference to the ACL is gone
(``core_tpg_del_initiator_node_acl`` waits for ``acl_free_comp``):

* each session holds one, from the first request of its login on (``core_tpg_get_initiator_node_acl``) to its release, and
  the rmdir closes those that are complete (``target_shutdown_sessions``). So a login that was under way when the right was
  taken is either a session that was closed, or it keeps the rmdir waiting until its connection ends (on 6.1 ``login_timeout`` does not end
  it, so its connection is cut); meanwhile the fence is not confirmed, which is safe. That is why :meth:`LioTarget.logins` has nothing to
  tell;
* the release of a session waits for its commands (``target_wait_for_sess_cmds``), those that the back end has
  begun included. So after the rmdir nothing is in flight. With a back end that hangs the rmdir hangs with it, and a fence
  is then not confirmed, which is the truth;
* the mapped LUNs are removed before (rtslib does), so from that moment on no command of any of its sessions finds a LUN.

**CHAP** belongs to the ACL, so each initiator has its own account, and a new secret is always possible.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable
from functools import partial
from typing import Any, Callable

from ... import clock
from ...decide.observations import Session, TargetAccess
from ...errors import LibrehaError
from ...instant import Instant
from ..interface import NEW_SECRET, StorageTarget
from . import configfs, library, removal, saved
from .configfs import TpgReading
from .connections import octets_received
from .fenced_acls import FencedAcls

LISTENER = "iscsi_np"
_KTHREADD = 2


class LioTarget(StorageTarget):
    """The kernel's target.

    Args:
        saved_config: rtslib's save file.
        kept: Where the ACLs of fenced initiators are kept.
        chap_user: CHAP user of the initiator that is admitted again, if it is to be another than before.
        timeout: Seconds to wait for the kernel to end an initiator's sessions.
        now: The clock of this machine.
    """

    driver = "lio"

    def __init__(
        self, saved_config: str, kept: FencedAcls, *, chap_user: str = "", timeout: float = 5.0, now: Callable[[], Instant] = clock.now
    ) -> None:
        self._saved_config = saved_config
        self._kept = kept
        self._chap_user = chap_user
        self._timeout = timeout
        self._now = now

    def require_fenceable(self) -> None:
        """Every release admits by the name of an ACL."""

    def up_for(self) -> float | None:
        """Seconds since the first of the portals that are open now was opened; None without an enabled TPG and a portal.

        The kernel's target is no process that starts. What comes and goes with the service is the kernel thread
        that listens at each portal (``iscsi_np``): stopping the service, or a restart, ends them all. The age of folders in configfs
        would tell the wall clock's time, and that of the systemd unit nothing of a target that was configured by hand.
        """
        if not any(tpg.enabled and tpg.portals for tpg in self._tpgs()):
            return None
        started = [seconds for seconds in map(_listening_since, os.listdir("/proc")) if seconds is not None]
        if not started:
            raise LibrehaError(
                "the kernel's target has open portals, and no thread %s is in /proc" % LISTENER,
                remedy="run the task as root and not in a container",
            )
        return max(0.0, self._now().seconds - min(started))

    def sessions(self) -> list[Session]:
        """One for each initiator and TPG, the newest: LIO shows no other. Its commands are those of all of them."""
        tpgs = self._tpgs()
        live = [(tpg.target, acl.initiator, acl.session) for tpg in tpgs for acl in tpg.acls if acl.session]
        received = octets_received(_ports(tpgs)) if live else {}
        owners: dict[str, set[str]] = {}
        for _target, initiator, session in live:
            owners.setdefault(session.address, set()).add(initiator)
        found = []
        for target, initiator, session in live:
            # octets from an address are a sign of life of the one initiator that it belongs to
            life = received.get(session.address, 0) if len(owners[session.address]) == 1 else 0
            found.append(
                Session(
                    initiator=initiator,
                    target=target,
                    sid=session.sid,
                    address=session.address,
                    commands_done=session.commands,
                    bytes_done=session.octets + life,
                )
            )
        return found + [Session(initiator=name, target=tpg.target, sid="dynamic-%d" % tpg.tag) for tpg in tpgs for name in tpg.dynamic]

    def access(self) -> list[TargetAccess]:
        found: dict[str, TargetAccess] = {}
        for tpg in self._tpgs():
            this = TargetAccess(
                target=tpg.target,
                initiators=tuple(acl.initiator for acl in tpg.acls),
                reason="; ".join(tpg.open_rules),
                luns=tpg.luns,
            )
            found[tpg.target] = saved.merged(found.get(tpg.target), this)
        return list(found.values())

    def saved_access(self) -> list[TargetAccess]:
        return saved.access(self._saved_config)

    def revoke(self, initiator: str) -> bool:
        trouble: LibrehaError | None = None
        changed = False
        cut = self._connections_of(initiator)
        for tpg in self._library_tpgs():
            with library.words("revoke %s" % initiator):
                acl = library.node_acl(tpg, initiator)
                if acl is None:
                    continue
                try:
                    self._kept.keep(initiator, {(tpg.parent_target.wwn, tpg.tag): acl.dump()})
                except LibrehaError as error:  # the fence matters more than its way back
                    trouble = error
                removal.remove_acl(acl, self._timeout, cut)
                changed = True
        if trouble is not None:
            raise trouble
        return changed

    def revoke_saved(self, initiator: str) -> bool:
        return saved.revoke(self._saved_config, initiator, partial(self._kept.keep, initiator))

    def end_sessions(self, initiator: str) -> int:
        """Sessions end with the ACL, and in no other way: so this takes the right as well, should it be there (again)."""
        ended = [session for session in self.sessions() if session.initiator.casefold() == initiator.casefold()]
        if ended:
            self.revoke(initiator)
            self._end_dynamic(initiator)
        return len(ended)

    def in_flight(self, initiator: str) -> int:
        """0 when no session is listed (see above why). LIO does not count what a session has in flight: 1 for each."""
        return sum(session.initiator.casefold() == initiator.casefold() for session in self.sessions())

    def logins(self) -> frozenset[str]:
        return frozenset()

    def end_logins(self, logins: frozenset[str]) -> int:
        return 0

    def admit(self, initiator: str, targets: Iterable[str], chap_secret: str | None, spellings: Collection[str] = ()) -> bool:
        """Saved configuration first, then run time, then the kept ACLs are forgotten; each step may be repeated.

        *spellings* make no difference: rtslib makes ACLs in lower case, and the kernel takes what an initiator says in lower case.
        """
        wanted = set(targets)
        running = [tpg for tpg in self._library_tpgs() if tpg.parent_target.wwn in wanted]
        kept = {place: acl for place, acl in self._kept.of(initiator).items() if place[0] in wanted}
        present = {(tpg.parent_target.wwn, tpg.tag) for tpg in running if library.node_acl(tpg, initiator) is not None}
        lost = wanted - {target for target, _tag in (*kept, *present)}
        if lost:
            raise LibrehaError(
                "it is not known how %s was admitted to %s: nothing of it is in %s" % (initiator, ", ".join(sorted(lost)), self._kept.path),
                remedy="run the module iscsi_target with this initiator among its ACLs, then unfence it",
            )
        acls = {place: self._renewed(acl, initiator, chap_secret) for place, acl in kept.items() if acl is not None}
        changed = saved.admit(self._saved_config, acls)
        for tpg in running:
            acl = acls.get((tpg.parent_target.wwn, tpg.tag))
            if acl is not None:
                library.set_up_acl(tpg, acl)
                changed = True
        self._kept.drop(initiator, wanted)
        return changed

    def has_own_secret(self, initiator: str, targets: Iterable[str]) -> bool:
        """By its kept ACL, or by the one that it has already, where an earlier run was interrupted."""
        wanted = set(targets)
        kept = [acl for place, acl in self._kept.of(initiator).items() if place[0] in wanted and acl is not None]
        present = [library.node_acl(tpg, initiator) for tpg in self._library_tpgs() if tpg.parent_target.wwn in wanted]
        return any(acl.get("chap_userid") for acl in kept) or any(acl is not None and acl.chap_userid for acl in present)

    def _tpgs(self) -> list[TpgReading]:
        removal.require_answer(configfs.acl_folders(), self._timeout)
        return configfs.read_tpgs()

    def _library_tpgs(self) -> list[Any]:
        """As rtslib's objects."""
        removal.require_answer(configfs.acl_folders(), self._timeout)
        return library.iscsi_tpgs()

    def _connections_of(self, initiator: str) -> Callable[[], None]:
        """Cuts the connections that may keep a removal waiting: those from the initiator's addresses, and those from addresses without any
        session, since a login that stands still half way may be the initiator's. Never one from where another initiator has a session; a
        host whose login it hits logs in again. To be made before a removal begins: while the kernel waits the target tells nothing more."""
        tpgs = self._tpgs()
        live = [(acl.initiator.casefold(), acl.session.address) for tpg in tpgs for acl in tpg.acls if acl.session]
        others = {address for name, address in live if name != initiator.casefold()}
        ports = _ports(tpgs)

        def cut() -> None:
            own = {address for name, address in live if name == initiator.casefold()} - {""}
            with contextlib.suppress(LibrehaError):
                own |= set(octets_received(ports))
            for address in sorted(own - others):
                removal.cut_connections(address, ports)

        return cut

    def _renewed(self, acl: dict[str, Any], initiator: str, secret: str | None) -> dict[str, Any]:
        """The ACL with its new CHAP secret."""
        if not acl.get("chap_userid"):
            return acl
        if not secret:
            raise LibrehaError(
                "%s logs in with CHAP: it is admitted again only with a new secret" % initiator,
                remedy=NEW_SECRET,
            )
        if secret in (acl.get("chap_password"), acl.get("chap_mutual_password")) or self._kept.retired().has(initiator, secret):
            raise LibrehaError("the CHAP secret for %s is an old one" % initiator, remedy=NEW_SECRET)
        return {**acl, "chap_userid": self._chap_user or acl["chap_userid"], "chap_password": secret}

    def _end_dynamic(self, initiator: str) -> None:
        """A session without an ACL gets one, and ends with it. (In demo mode the initiator may log in again.)"""
        rtslib = library.need_library()
        for tpg in self._tpgs():
            if initiator.casefold() in (name.casefold() for name in tpg.dynamic):
                with library.words("end the session of %s" % initiator):
                    target = rtslib.Target(rtslib.FabricModule("iscsi"), tpg.target, "lookup")
                    acl = rtslib.NodeACL(rtslib.TPG(target, tpg.tag, "lookup"), initiator)
                    removal.remove_acl(acl, self._timeout, self._connections_of(initiator))


def _ports(tpgs: Iterable[TpgReading]) -> set[int]:
    return {int(portal.rpartition(":")[2]) for tpg in tpgs for portal in tpg.portals}


def _listening_since(pid: str) -> float | None:
    """Seconds after boot at which the kernel thread *pid* began, None when it is no listener of the target."""
    if not pid.isdigit():
        return None
    with contextlib.suppress(OSError, ValueError, IndexError):
        with open("/proc/%s/stat" % pid, encoding="ascii", errors="replace") as source:
            before, _paren, rest = source.read().rpartition(")")
        fields = rest.split()
        if before.endswith("(" + LISTENER) and int(fields[1]) == _KTHREADD:
            return int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return None
