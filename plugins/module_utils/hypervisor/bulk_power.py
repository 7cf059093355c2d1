# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Switching off, resetting and shutting down many VMs of one host at once.

All requests are sent side by side, each with its own check that this run may still act; then all are watched together,
one round trip a poll however many there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .. import clock
from ..decide.observations import Question
from ..errors import as_outcome
from .interface import FaultKind, HypervisorFault
from .power_task import POLL_SECONDS, VM_STATE, BeforeWrite, ended
from .properties import PropertyReader
from .pyvmomi import vim
from .questions import is_lock_lost, question_of, seen_choice
from .session import Session

SUBMITTERS = 8  # requests under way at once
OFF_ALREADY = object()  # in place of a task


class BulkPower:
    """Methods take VM reference -> VM and a time in seconds, and return VM reference -> "" or the reason it failed."""

    def __init__(
        self,
        session: Session,
        reader: PropertyReader,
        before_write: BeforeWrite | None,
        on_answer: Callable[[str, Question], None] | None = None,
    ) -> None:
        self.session = session
        self.reader = reader
        self.before_write = before_write
        self.on_answer = on_answer

    def power_off(self, vms: Mapping[str, Any], timeout: float) -> dict[str, str]:
        """See Hypervisor.power_off. One that is off already is done.

        The question about a lost lock may come at any moment, also while the VM is being switched off: so it is looked for before,
        and again at those that could not be switched off."""
        deadline = clock.now().seconds + timeout
        outcome = self._end_without_lock(vms, deadline - timeout / 2)
        rest = {moid: vm for moid, vm in vms.items() if outcome.get(moid) != ""}
        outcome.update(self._tasks(rest, deadline, timeout, "powering off", lambda vm: vm.PowerOff(), off_is_done=True))
        failed = {moid: vm for moid, vm in rest.items() if outcome[moid]}
        outcome.update(self._end_without_lock(failed, deadline))
        return {moid: outcome[moid] for moid in vms}

    def reset(self, vms: Mapping[str, Any], timeout: float) -> dict[str, str]:
        """See Hypervisor.reset."""
        deadline = clock.now().seconds + timeout
        return self._tasks(vms, deadline, timeout, "resetting", lambda vm: vm.Reset(), off_is_done=False)

    def _end_without_lock(self, vms: Mapping[str, Any], deadline: float) -> dict[str, str]:
        """Answer those of *vms* whose host asks whether it is seen that their locks are lost, which ends them. Of these alone:
        VM reference -> "" or the reason why it is not off."""
        if not vms:
            return {}
        try:
            with self.session.acting("reading the VMs' questions"):
                found = self.reader.objects([(vm, VM_STATE) for vm in vms.values()])
        except Exception as error:
            as_outcome(error, "reading the VMs' questions", self.session.connection.name)
            return {}  # nobody is known to wait; whatever keeps the VMs from being switched off will say so itself
        answers = {}
        for moid in vms:
            question = question_of(found.get(moid, {}).get("runtime.question"))
            choice = seen_choice(question) if question is not None and is_lock_lost(question) else None
            if question is not None and choice is not None:
                answers[moid] = (question, choice)

        def answer(vm: Any) -> Any:
            question, choice = answers[vm._moId]
            vm.Answer(question.id, choice)
            if self.on_answer is not None:
                self.on_answer(vm._moId, question)
            return vm

        doing, late = "answering that the lock is lost of VM", "its lock is lost, that was answered, and it is still on"
        waiting, outcome = self._send({moid: vms[moid] for moid in answers}, deadline, doing, answer, off_is_done=True)
        self._watch_off(waiting, outcome, deadline, doing, late)
        return outcome

    def shut_down(self, vms: Mapping[str, Any], timeout: float) -> dict[str, str]:
        """See Hypervisor.shut_down. The request is no task: the VM's power state tells when its guest is done."""

        def ask(vm: Any) -> Any:
            vm.ShutdownGuest()
            return vm

        deadline = clock.now().seconds + timeout
        waiting, outcome = self._send(vms, deadline, "shutting down the guest of VM", ask, off_is_done=True)
        self._watch_off(waiting, outcome, deadline, "shutting down guests", "its guest did not shut down within %g s" % timeout)
        return {moid: outcome[moid] for moid in vms}

    def _watch_off(self, waiting: dict[str, Any], outcome: dict[str, str], deadline: float, doing: str, late: str) -> None:
        """Until all VMs of *waiting* are off, or the time is up."""

        def look() -> None:
            found = self.reader.objects([(vm, ("runtime.powerState",)) for vm in waiting.values()])
            for moid in list(waiting):
                if found.get(moid, {}).get("runtime.powerState") == vim.VirtualMachine.PowerState.poweredOff:
                    outcome[moid] = ""
                    del waiting[moid]

        self._watch(waiting, outcome, deadline, look, doing, late)

    def _tasks(
        self, vms: Mapping[str, Any], deadline: float, timeout: float, doing: str, request: Callable[[Any], Any], off_is_done: bool
    ) -> dict[str, str]:
        tasks, outcome = self._send(vms, deadline, "%s VM" % doing, request, off_is_done)

        def look() -> None:
            found = self.reader.objects([(task, ("info",)) for task in tasks.values()])
            for moid, task in list(tasks.items()):
                info = found.get(task._moId, {}).get("info")
                try:
                    if info is None:
                        outcome[moid] = "%s VM %s: the host tells nothing of its task; look at the VM" % (doing, moid)
                    elif not ended(info, "%s VM %s" % (doing, moid), self.session.connection.name):
                        continue
                    else:
                        outcome[moid] = ""
                except HypervisorFault as error:
                    outcome[moid] = "" if off_is_done and error.kind is FaultKind.ALREADY else str(error)
                del tasks[moid]

        self._watch(tasks, outcome, deadline, look, doing, "%s: %s took more than %g s" % (self.session.connection.name, doing, timeout))
        return {moid: outcome[moid] for moid in vms}

    def _send(
        self, vms: Mapping[str, Any], deadline: float, doing: str, request: Callable[[Any], Any], off_is_done: bool
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """The tasks that the requests returned, and the outcome of those that are over already."""

        def send(vm: Any) -> Any:
            tried = "%s %s" % (doing, vm._moId)
            if clock.now().seconds >= deadline:
                raise HypervisorFault("%s: not tried, the time was up" % tried, kind=FaultKind.TIMED_OUT, host=self.session.connection.name)
            if self.before_write is not None:
                self.before_write()
            with self.session.acting(tried):
                try:
                    task = request(vm)
                except vim.fault.InvalidPowerState as fault:
                    if off_is_done and fault.existingState == vim.VirtualMachine.PowerState.poweredOff:
                        return OFF_ALREADY
                    raise
            if task is None:
                text = "%s: the host answered without a task; look at the VM" % tried
                raise HypervisorFault(text, kind=FaultKind.LOST, host=self.session.connection.name)
            return task

        self.session.stub.before_bytes = self.before_write
        try:
            with ThreadPoolExecutor(max_workers=SUBMITTERS) as submitters:
                futures = {moid: submitters.submit(send, vm) for moid, vm in vms.items()}
        finally:
            self.session.stub.before_bytes = None
        sent: dict[str, Any] = {}
        outcome: dict[str, str] = {}
        for moid, future in futures.items():
            try:
                task = future.result()
            except Exception as error:
                outcome[moid] = str(as_outcome(error, "%s %s" % (doing, moid), self.session.connection.name))
                continue
            if task is OFF_ALREADY:
                outcome[moid] = ""
            else:
                sent[moid] = task
        return sent, outcome

    def _watch(
        self, waiting: Mapping[str, Any], outcome: dict[str, str], deadline: float, look: Callable[[], None], doing: str, late: str
    ) -> None:
        """*look* until it has taken all out of *waiting*, or the time is up."""
        while waiting:
            try:
                with self.session.acting(doing):
                    look()
            except Exception as error:
                outcome.update(dict.fromkeys(waiting, str(as_outcome(error, doing, self.session.connection.name))))
                return
            if waiting and clock.now().seconds >= deadline:
                outcome.update(dict.fromkeys(waiting, late))
                return
            if waiting:
                clock.sleep(POLL_SECONDS)
