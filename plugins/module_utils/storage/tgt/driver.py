# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The tgt driver: tgtd on this machine, and the targets.conf(5) that it is started with.

**Why no session means nothing in flight** (read in tgt 1.0.85 and 1.0.97, and tested with a frozen disk). tgtd hands a
command to a thread or to the kernel's AIO and goes on, so a write may still be under way when its connection is gone.
But each command's task holds a reference on its connection (``iscsi_alloc_task`` -> ``conn_get``), a
connection holds one on its session (``conn_add_to_session`` -> ``session_get``). Closing a connection
(``conn_close``) frees the tasks that wait for data and leaves those that are with the back end ("We need to wait for
I/O completion"); they are freed by the completion (``iscsi_scsi_cmd_done``), in the main thread, after the
back end's thread has returned from its write. The session's I_T nexus, which is what ``show`` lists and what the
counters are part of, is destroyed with the last reference (``session_destroy`` -> ``it_nexus_destroy``). So a nexus
that is listed no more has no command in the back end, queued or under way, and nothing was left that could submit
one. The counters (submitted minus done) tell how many are left while a nexus is draining.

After ``tgtadm --op delete --mode conn`` tgtd reads no more command from that connection: the event handler closes it
before it looks at another request. It needs an event for that, which a frozen initiator with a full receive
window never causes; so the socket is shut down from outside as well (sockets.py).

**CHAP.** A CHAP account of tgt is a user and a secret, bound to targets; it is not bound to an initiator name. So
one initiator can get a new secret only if it has an account of its own: by convention the one whose user name is the
initiator's name, which is what ESXi uses by default, or the one given as ``chap_user``. With an account that hosts
share, its secret cannot be changed for one of them; then only the initiator's name is taken and given back.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Callable

from ... import clock
from ...addresses import same_address
from ...decide.observations import Session, TargetAccess
from ...errors import LibrehaError
from ...instant import Instant
from ..interface import NEW_SECRET, StorageTarget
from . import release, saved, sockets
from .control import Code, Control, Mode, NotServing, Op
from .reading import TargetReading, read_session_counters, read_targets
from .sockets import DaemonConnection

DEFAULT_SAVED_CONFIG = "/etc/tgt/targets.conf"
_WRAP = 1 << 32  # tgtd counts commands in 32 bits


class TgtTarget(StorageTarget):
    """One tgtd.

    Args:
        control: Its control socket.
        saved_config: The file that ``tgt-admin -e -c`` loads at its start.
        chap_user: CHAP account of the initiator that is admitted again, if it is not named like the initiator.
        now: The clock of this machine.
    """

    driver = "tgt"

    def __init__(
        self,
        control: Control,
        saved_config: str = DEFAULT_SAVED_CONFIG,
        *,
        chap_user: str = "",
        now: Callable[[], Instant] = clock.now,
    ) -> None:
        self._control = control
        self._saved_config = saved_config
        self._chap_user = chap_user
        self._now = now

    def require_fenceable(self) -> None:
        for version in self._releases():
            release.require(version)

    def up_for(self) -> float | None:
        try:
            pid = self._control.ask(Mode.TARGET, Op.SHOW).pid
        except NotServing:
            return None
        with contextlib.suppress(OSError, ValueError, IndexError):
            with open("/proc/%d/stat" % pid, encoding="ascii", errors="replace") as source:
                started = int(source.read().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
            return max(0.0, self._now().seconds - started)
        raise LibrehaError("cannot read from /proc when tgtd (process %d) was started" % pid, remedy="run the task as root (become: true)")

    def sessions(self) -> list[Session]:
        found = []
        for target in self._targets():
            for nexus in target.nexuses:
                answer = self._control.ask(Mode.SESSION, Op.STATS, tid=target.tid, sid=nexus.sid, lld=target.driver)
                if answer.code == Code.NO_SESSION:  # ended between the two questions
                    continue
                counters = read_session_counters(self._control.must("tell the counters of session %d" % nexus.sid, answer).text)
                found.append(
                    Session(
                        initiator=nexus.initiator,
                        target=target.name,
                        sid=str(nexus.sid),
                        address=same_address(nexus.address),
                        commands_done=counters.commands_done,
                        # what the commands moved, and every octet received: an answered NOP is progress too
                        bytes_done=counters.bytes_done + counters.bytes_received,
                        in_flight=(counters.commands_submitted - counters.commands_done) % _WRAP,
                    )
                )
        return found

    def access(self) -> list[TargetAccess]:
        show = self._control.ask(Mode.TARGET, Op.SHOW)
        targets = read_targets(self._control.must("list its targets", show).text)
        old = release.lacking(release.running(show.pid)) if targets else ""
        return [
            TargetAccess(
                target=target.name,
                initiators=target.names,
                anybody=bool(target.open_rules),
                reason="admitted by address: %s" % ", ".join(target.open_rules) if target.open_rules else "",
                luns=tuple(target.luns),
                unfenceable=old or target.unfenceable,
            )
            for target in targets
        ]

    def saved_access(self) -> list[TargetAccess]:
        old = "".join(map(release.lacking, self._releases()[-1:]))
        return [replace(access, unfenceable=old or access.unfenceable) for access in saved.access(self._saved_config)]

    def revoke(self, initiator: str) -> bool:
        changed = False
        for target in self._targets():
            for name in target.names:
                if name.casefold() == initiator.casefold():
                    changed |= self._bind(Op.UNBIND, target, name)
        return changed

    def revoke_saved(self, initiator: str) -> bool:
        return saved.revoke(self._saved_config, initiator)

    def end_sessions(self, initiator: str) -> int:
        ended = 0
        show = self._control.ask(Mode.TARGET, Op.SHOW)
        targets = read_targets(show.text)
        addresses: dict[str, set[str]] = {}
        for target in targets:
            for nexus in target.nexuses:
                addresses.setdefault(same_address(nexus.address), set()).add(nexus.initiator.casefold())
            for sid, cid in self._connections(target, initiator):
                answer = self._control.ask(Mode.CONNECTION, Op.DELETE, tid=target.tid, sid=sid, cid=cid, lld=target.driver)
                # a session that began since we looked has another id, and is met by the next look
                self._control.must("end session %d of %s" % (sid, initiator), answer, Code.NO_SESSION, Code.NO_CONNECTION)
                ended += answer.code == Code.SUCCESS
        own = {address for address, initiators in addresses.items() if initiators == {initiator.casefold()}}
        if own:
            sockets.cut(show.pid, [connection for connection in sockets.accepted(show.pid) if connection.peer in own])
        return ended

    def in_flight(self, initiator: str) -> int:
        return sum(session.in_flight or 0 for session in self.sessions() if session.initiator.casefold() == initiator.casefold())

    def logins(self) -> frozenset[str]:
        """Connections from addresses that have more of them than listed sessions. Which one of an address is the
        login under way cannot be seen, so all of that address are returned."""
        show = self._control.ask(Mode.TARGET, Op.SHOW)
        listed: Counter[str] = Counter()
        for target in read_targets(show.text):
            connections = Counter(sid for sid, _cid in self._connections(target))
            for nexus in target.nexuses:
                listed[same_address(nexus.address)] += max(1, connections[nexus.sid])
        accepted = sockets.accepted(show.pid)
        there = Counter(connection.peer for connection in accepted)
        return frozenset(_login(connection) for connection in accepted if there[connection.peer] > listed[connection.peer])

    def end_logins(self, logins: frozenset[str]) -> int:
        pid = self._control.ask(Mode.TARGET, Op.SHOW).pid
        return sockets.cut(pid, [connection for connection in sockets.accepted(pid) if _login(connection) in logins])

    def admit(self, initiator: str, targets: Iterable[str], chap_secret: str | None, spellings: Collection[str] = ()) -> bool:
        """The host is known by *initiator*, and gets in by the spelling that it logs in with: the one that the target had."""
        wanted = set(targets)
        running = self._targets()
        changed = self._renew_secret(self._own_account(initiator, running), initiator, running, chap_secret)
        changed |= saved.admit(self._saved_config, initiator, wanted, spellings)
        next_start = {access.target: access.initiators for access in self.saved_access()}
        for target in running:
            if target.name in wanted:
                again = [name for name in next_start.get(target.name, ()) if name.casefold() == initiator.casefold()]
                for name in dict.fromkeys((*spellings, *again)) or (initiator,):
                    if name not in target.names:
                        changed |= self._bind(Op.BIND, target, name)
        return changed

    def has_own_secret(self, initiator: str, targets: Iterable[str]) -> bool:
        return bool(self._own_account(initiator, self._targets()))

    def _own_account(self, initiator: str, running: list[TargetReading]) -> str:
        """The CHAP user of this initiator alone, "" where it has none."""
        if self._chap_user:
            return self._chap_user
        for account in (account for target in running for account in target.accounts):
            if account.casefold() == initiator.casefold():
                return account
        return ""

    def _renew_secret(self, user: str, initiator: str, running: list[TargetReading], secret: str | None) -> bool:
        if not user:
            return False
        if not secret:
            raise LibrehaError(
                "%s logs in with the CHAP account %s: it is admitted again only with a new secret" % (initiator, user),
                remedy=NEW_SECRET,
            )
        if secret in saved.account_secrets(self._saved_config, user):
            raise LibrehaError("the CHAP secret for %s is the old one" % user, remedy=NEW_SECRET)
        bound = [target for target in running if user in target.accounts]
        saved.change_secret(self._saved_config, user, secret)
        # tgtd cannot change a secret: the account goes, with its bindings, and comes again
        answer = self._control.ask(Mode.ACCOUNT, Op.DELETE, parameters="user=%s" % user)
        self._control.must("delete the CHAP account %s" % user, answer, Code.NO_USER)
        answer = self._control.ask(Mode.ACCOUNT, Op.NEW, parameters="user=%s,password=%s" % (user, secret))
        self._control.must("create the CHAP account %s" % user, answer)
        for target in bound:
            answer = self._control.ask(Mode.ACCOUNT, Op.BIND, tid=target.tid, lld=target.driver, parameters="user=%s" % user)
            self._control.must("bind the CHAP account %s to %s" % (user, target.name), answer, Code.USER_EXIST)
        return True

    def _releases(self) -> list[str]:
        """The versions of the daemon that runs and of the one that the next start runs, as far as there are any."""
        try:
            pid = self._control.ask(Mode.TARGET, Op.SHOW).pid
        except LibrehaError:  # it is down, or hangs
            found = [release.installed()]
        else:
            found = [release.running(pid), release.next_start(pid)]
        return [version for version in found if version is not None]

    def _targets(self) -> list[TargetReading]:
        answer = self._control.ask(Mode.TARGET, Op.SHOW)
        return read_targets(self._control.must("list its targets", answer).text)

    def _connections(self, target: TargetReading, initiator: str | None = None) -> list[tuple[int, int]]:
        """(session, connection) pairs of a target's sessions, of one initiator or of all."""
        of = {nexus.sid for nexus in target.nexuses if initiator is None or nexus.initiator.casefold() == initiator.casefold()}
        if not of:
            return []
        answer = self._control.ask(Mode.CONNECTION, Op.SHOW, tid=target.tid, lld=target.driver)
        found, sid = [], -1
        for line in self._control.must("list the connections of %s" % target.name, answer, Code.NO_TARGET).text.splitlines():
            key, _colon, value = line.strip().partition(": ")
            if key == "Session" and value.isdigit():
                sid = int(value)
            elif key == "Connection" and value.isdigit() and sid in of:
                found.append((sid, int(value)))
        return found

    def _bind(self, op: Op, target: TargetReading, initiator: str) -> bool:
        act = "%s %s on %s" % ("admit" if op == Op.BIND else "revoke", initiator, target.name)
        answer = self._control.ask(Mode.TARGET, op, tid=target.tid, lld=target.driver, parameters="initiator-name=%s" % initiator)
        self._control.must(act, answer, Code.ACL_EXIST, Code.ACL_NOEXIST, Code.NO_TARGET)
        return answer.code == Code.SUCCESS


def _login(connection: DaemonConnection) -> str:
    return "%s (socket %d)" % (connection, connection.inode)
