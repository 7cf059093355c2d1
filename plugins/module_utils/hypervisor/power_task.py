# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Waiting for the host's tasks, and the one dialogue within them: the moved-or-copied question at power-on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .. import clock
from ..decide.observations import Question
from .faults import REMEDIES, fault_kind, fault_text
from .interface import FaultKind, HypervisorFault, PowerOnOutcome
from .properties import PropertyReader
from .pyvmomi import vim
from .questions import is_moved_or_copied, moved_choice, question_of
from .session import Session

POLL_SECONDS = 0.2
VM_STATE = ("runtime.question", "runtime.powerState")

BeforeWrite = Callable[[], None]


class TaskRunner:
    """Starts tasks on one host and waits for them, one round trip a poll however many there are."""

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

    def wait(self, task: Any, tried: str, timeout: float) -> Any:
        """The task's result. Raises HypervisorFault when it fails or does not end in time."""
        deadline = clock.now().seconds + timeout
        while True:
            with self.session.acting(tried):
                info = self.reader.objects([(task, ("info",))])[task._moId]["info"]
            if ended(info, tried, self.session.connection.name):
                return info.result
            self._pause(tried, deadline, timeout)

    def power_on(self, vm: Any, timeout: float, answer_moved: bool) -> tuple[PowerOnOutcome, Question | None]:
        """See Hypervisor.power_on. A power-on that an earlier run left waiting for an answer is taken up again."""
        tried = "powering on VM %s" % vm._moId
        deadline = clock.now().seconds + timeout
        answered: set[str] = set()
        with self.session.acting(tried):
            state = self.reader.objects([(vm, VM_STATE)])[vm._moId]
        waiting = self._settle(vm, state, answered, answer_moved)
        if waiting is not None:
            return PowerOnOutcome.QUESTION, waiting
        task, ours = self._start(vm, tried)
        while True:
            with self.session.acting(tried):
                found = self.reader.objects([(task, ("info",)), (vm, VM_STATE)])
            info, state = found[task._moId]["info"], found[vm._moId]
            if ours and isinstance(info.error, vim.fault.TaskInProgress) and info.error.task is not None:
                task, ours = info.error.task, False  # some hosts refuse in the task, others in the call
                continue
            if ours and ended(info, tried, self.session.connection.name):
                return PowerOnOutcome.DONE, None
            if not ours and info.state in (vim.TaskInfo.State.success, vim.TaskInfo.State.error):
                if state.get("runtime.powerState") == vim.VirtualMachine.PowerState.poweredOn:
                    return PowerOnOutcome.DONE, None
                task, ours = self._start(vm, tried)  # whatever it was busy with, it is not on
            waiting = self._settle(vm, state, answered, answer_moved)
            if waiting is not None:
                return PowerOnOutcome.QUESTION, waiting
            self._pause(tried, deadline, timeout)

    def suspend(self, vm: Any, timeout: float) -> None:
        """See Hypervisor.suspend. A task that the VM is busy with is waited for: what it has done, a look at the VM tells."""
        tried = "suspending VM %s" % vm._moId
        with self.session.writing(tried, self.before_write):
            try:
                task = vm.SuspendVM_Task()
            except vim.fault.TaskInProgress as fault:
                if fault.task is None:
                    raise
                task = fault.task
        self.wait(task, tried, timeout)

    def answer(self, vm: Any, question: Question, choice: str) -> None:
        with self.session.writing("answering %s of VM %s" % (question.message_id or "a question", vm._moId), self.before_write):
            vm.Answer(question.id, choice)

    def _settle(self, vm: Any, state: Mapping[str, Any], answered: set[str], answer_moved: bool) -> Question | None:
        """Answer "moved" if that is what is asked; any other question is returned and left alone."""
        question = question_of(state.get("runtime.question"))
        if question is None or question.id in answered:
            return None
        choice = moved_choice(question) if answer_moved and is_moved_or_copied(question) else None
        if choice is None:
            return question
        self.answer(vm, question, choice)
        answered.add(question.id)
        if self.on_answer is not None:
            self.on_answer(vm._moId, question)
        return None

    def _start(self, vm: Any, tried: str) -> tuple[Any, bool]:
        """The power-on's task, or the task that the VM is busy with already and False."""
        with self.session.writing(tried, self.before_write):
            try:
                return vm.PowerOn(), True
            except vim.fault.TaskInProgress as fault:
                if fault.task is None:
                    raise
                return fault.task, False

    def _pause(self, tried: str, deadline: float, timeout: float) -> None:
        if clock.now().seconds >= deadline:
            raise HypervisorFault(
                "%s: not finished after %g s" % (tried, timeout),
                kind=FaultKind.TIMED_OUT,
                host=self.session.connection.name,
                remedy="the task still runs on the host: look at the VM before acting again",
            )
        clock.sleep(POLL_SECONDS)


def ended(info: Any, tried: str, host: str) -> bool:
    """Whether a task is done. Raises HypervisorFault when it failed."""
    if info.state == vim.TaskInfo.State.success:
        return True
    if info.state == vim.TaskInfo.State.error:
        kind = fault_kind(info.error)
        raise HypervisorFault("%s: %s" % (tried, fault_text(info.error)), kind=kind, host=host, remedy=REMEDIES.get(kind, ""))
    return False
