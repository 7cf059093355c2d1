"""What changes something is sent once, only while this run may act, and its outcome is told truly."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Question
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LeaseLost
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor import bulk_power
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.interface import (
    Connection,
    FaultKind,
    Hypervisor,
    HypervisorFault,
    PowerOnOutcome,
)
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.registry import open_hypervisor
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.transport import HostConnection
from pyVmomi import vim, vmodl
from scripted_host import HangUp, ScriptedHost, Silence, properties, task_info

VM = vim.VirtualMachine("12")
TASK = vim.Task("task-1")
OLD_TASK = vim.Task("task-0")
SENT_BY_US = ("PowerOnVM_Task", "PowerOffVM_Task", "AnswerVM", "UnregisterVM", "RegisterVM_Task", "ResetVM_Task", "ShutdownGuest")


@pytest.fixture
def hypervisor(host: ScriptedHost, connect: Callable[..., Connection]) -> Iterator[Hypervisor]:
    with open_hypervisor(connect(host.port, timeout=1.0)) as opened:
        host.asked.clear()
        yield opened


def writes(host: ScriptedHost) -> list[str]:
    return [method for method in host.asked if method in SENT_BY_US]


def question(message_id: str, *choices: tuple[str, str, str], question_id: str = "7", text: str = "moved or copied?") -> Any:
    """Choices as (key, label, summary)."""
    return vim.vm.QuestionInfo(
        id=question_id,
        text=text,
        choice=vim.option.ChoiceOption(
            choiceInfo=[vim.ElementDescription(key=key, label=label, summary=summary) for key, label, summary in choices], defaultIndex=0
        ),
        message=[vim.vm.Message(id=message_id, text=text)] if message_id else [],
    )


MOVED = question(
    "msg.uuid.altered",
    ("2", "button.uuid.copiedTheVM", "I _Copied It"),
    ("0", "Cancel", "Cancel"),
    ("1", "button.uuid.movedTheVM", "I _Moved It"),
)


def reads(host: ScriptedHost, *answers: Any) -> None:
    """What reading properties answers, in turn; the last one for ever."""
    turns = list(answers)

    def next_turn() -> Any:
        return turns.pop(0) if len(turns) > 1 else turns[0]

    host.replies["RetrievePropertiesEx"] = next_turn


def vm_state(power: str, asked: Any = None) -> tuple[Any, dict[str, Any]]:
    return VM, {"runtime.powerState": vim.VirtualMachine.PowerState(power), "runtime.question": asked}


def with_task(task: Any, state: str, power: str, asked: Any = None, error: Any = None) -> Any:
    return properties((task, {"info": task_info(task, state, error)}), vm_state(power, asked))


def test_a_run_that_may_not_write_sends_nothing(host: ScriptedHost, hypervisor: Hypervisor) -> None:
    def lost() -> None:
        raise LeaseLost("the lease ran out")

    hypervisor.before_write = lost
    reads(host, properties(vm_state("poweredOff")))
    for act in (
        lambda: hypervisor.power_on("12", 1),
        lambda: hypervisor.power_off(["12", "13"], 1),
        lambda: hypervisor.reset(["12", "13"], 1),
        lambda: hypervisor.shut_down(["12", "13"], 1),
        lambda: hypervisor.unregister("12"),
        lambda: hypervisor.answer("12", Question("7", "msg.uuid.altered"), "1"),
    ):
        with pytest.raises(LeaseLost):
            act()
    assert writes(host) == []


def test_a_lease_that_is_lost_while_connecting_again_sends_nothing(
    host: ScriptedHost, hypervisor: Hypervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host closes the connection after its answers; connecting again takes long, and meanwhile the lease runs out."""
    host.closes_after_each = True
    with pytest.raises(HypervisorFault):
        hypervisor.unregister("12")  # not scripted: a fault comes back, and the connection is closed
    host.asked.clear()
    connected: list[bool] = []
    connect_for_real = HostConnection.connect

    def connect_slowly(connection: HostConnection) -> None:
        connect_for_real(connection)
        connected.append(True)

    def lost_once_connected() -> None:
        if connected:
            raise LeaseLost("the lease ran out")

    monkeypatch.setattr(HostConnection, "connect", connect_slowly)
    hypervisor.before_write = lost_once_connected
    host.replies["UnregisterVM"] = None
    with pytest.raises(LeaseLost):
        hypervisor.unregister("12")
    assert connected
    assert writes(host) == []


@pytest.mark.parametrize(("reply", "kind"), [(HangUp, FaultKind.LOST), (Silence, FaultKind.TIMED_OUT)])
def test_a_request_without_an_answer_is_not_sent_again(reply: Any, kind: FaultKind, host: ScriptedHost, hypervisor: Hypervisor) -> None:
    host.replies["UnregisterVM"] = reply
    with pytest.raises(HypervisorFault) as fault:
        hypervisor.unregister("12")
    assert fault.value.kind is kind
    assert "unknown" in fault.value.remedy
    assert writes(host) == ["UnregisterVM"]


def test_the_moved_or_copied_question_is_answered_with_moved_wherever_it_stands(host: ScriptedHost, hypervisor: Hypervisor) -> None:
    asked_for_leave: list[int] = []
    hypervisor.before_write = lambda: asked_for_leave.append(1)
    host.replies["PowerOnVM_Task"] = TASK
    host.replies["AnswerVM"] = None
    reads(
        host,
        properties(vm_state("poweredOff")),
        with_task(TASK, "running", "poweredOff", MOVED),
        with_task(TASK, "running", "poweredOff", MOVED),  # still shown for a moment after the answer
        with_task(TASK, "success", "poweredOn"),
    )
    assert hypervisor.power_on("12", 5) == (PowerOnOutcome.DONE, None)
    assert writes(host) == ["PowerOnVM_Task", "AnswerVM"]
    answer = host.bodies[host.asked.index("AnswerVM") - len(host.asked)]
    assert re.findall(r"<(questionId|answerChoice)[^>]*>(\w+)<", answer) == [("questionId", "7"), ("answerChoice", "1")]
    assert len(asked_for_leave) == 4  # before each request, and again before its bytes


@pytest.mark.parametrize(
    "asked",
    [
        question("msg.cdromdisconnect.locked", ("0", "Yes", "Yes"), ("1", "I moved it", "I moved it")),
        question("msg.uuid.altered", ("0", "button.uuid.copiedTheVM", "I Copied It"), ("1", "Cancel", "Cancel")),
        question("", ("0", "I Moved It", "I Moved It"), text="Something about msg.uuid.altered"),
    ],
    ids=["another question", "no choice says moved", "no message id"],
)
def test_any_other_question_is_returned_unanswered(asked: Any, host: ScriptedHost, hypervisor: Hypervisor) -> None:
    host.replies["PowerOnVM_Task"] = TASK
    reads(host, properties(vm_state("poweredOff")), with_task(TASK, "running", "poweredOff", asked))
    outcome, returned = hypervisor.power_on("12", 5)
    assert outcome is PowerOnOutcome.QUESTION
    assert returned is not None
    assert returned.id == "7"
    assert writes(host) == ["PowerOnVM_Task"]


def test_the_question_is_left_alone_when_told_so(host: ScriptedHost, hypervisor: Hypervisor) -> None:
    host.replies["PowerOnVM_Task"] = TASK
    reads(host, properties(vm_state("poweredOff")), with_task(TASK, "running", "poweredOff", MOVED))
    assert hypervisor.power_on("12", 5, answer_moved=False)[0] is PowerOnOutcome.QUESTION
    assert writes(host) == ["PowerOnVM_Task"]


def test_a_power_on_that_an_earlier_run_left_waiting_is_taken_up(host: ScriptedHost, hypervisor: Hypervisor) -> None:
    host.replies["PowerOnVM_Task"] = vim.fault.TaskInProgress(msg="busy", task=OLD_TASK)
    host.replies["AnswerVM"] = None
    reads(
        host,
        properties(vm_state("poweredOff", MOVED)),
        with_task(OLD_TASK, "running", "poweredOff"),
        with_task(OLD_TASK, "success", "poweredOn"),
    )
    assert hypervisor.power_on("12", 5) == (PowerOnOutcome.DONE, None)
    assert writes(host) == ["AnswerVM", "PowerOnVM_Task"]


def test_another_task_that_ends_is_not_taken_for_a_power_on(host: ScriptedHost, hypervisor: Hypervisor) -> None:
    starts: list[Any] = [vim.fault.TaskInProgress(msg="busy", task=OLD_TASK), TASK]
    host.replies["PowerOnVM_Task"] = lambda: starts.pop(0)
    reads(
        host,
        properties(vm_state("poweredOff")),
        with_task(OLD_TASK, "success", "poweredOff"),
        with_task(TASK, "success", "poweredOn"),
    )
    assert hypervisor.power_on("12", 5) == (PowerOnOutcome.DONE, None)
    assert writes(host) == ["PowerOnVM_Task", "PowerOnVM_Task"]


def test_a_power_on_that_does_not_end_in_time_has_an_unknown_outcome(host: ScriptedHost, hypervisor: Hypervisor) -> None:
    host.replies["PowerOnVM_Task"] = TASK
    reads(host, properties(vm_state("poweredOff")), with_task(TASK, "running", "poweredOff"))
    with pytest.raises(HypervisorFault) as fault:
        hypervisor.power_on("12", 0.1)
    assert fault.value.kind is FaultKind.TIMED_OUT


def test_a_lock_is_recognised_in_the_tasks_detail_messages(host: ScriptedHost, hypervisor: Hypervisor) -> None:
    """As ESXi reports it, here in French: only the message's id tells."""
    locked = vim.fault.GenericVmConfigFault(
        msg="Erreur generale",
        reason="x",
        faultMessage=[vmodl.LocalizableMessage(key="msg.fileio.lock", message="Echec du verrouillage du fichier")],
    )
    host.replies["PowerOnVM_Task"] = TASK
    reads(host, properties(vm_state("poweredOff")), with_task(TASK, "error", "poweredOff", error=locked))
    with pytest.raises(HypervisorFault) as fault:
        hypervisor.power_on("12", 5)
    assert fault.value.kind is FaultKind.FILE_LOCKED
    assert "Echec du verrouillage" in fault.value.message


def test_many_vms_are_powered_off_and_each_tells_its_own_outcome(
    host: ScriptedHost, hypervisor: Hypervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    off = vim.VirtualMachine.PowerState.poweredOff
    replies = {
        "1": vim.Task("task-1"),
        "2": vim.fault.InvalidPowerState(msg="off", existingState=off, requestedState=off),
        "3": vim.fault.NoPermission(msg="denied", object=VM, privilegeId="VirtualMachine.Interact.PowerOff"),
        "4": vim.Task("task-4"),
        "5": vim.Task("task-5"),
    }
    host.replies["PowerOffVM_Task"] = lambda: replies[host.bodies[-1].split('"VirtualMachine">')[1].split("<")[0]]
    ended = vim.fault.InvalidPowerState(msg="off", existingState=off, requestedState=off)
    reads(
        host,
        properties(
            (replies["1"], {"info": task_info(replies["1"], "success")}),
            (replies["4"], {"info": task_info(replies["4"], "error", ended)}),
            (replies["5"], {"info": task_info(replies["5"], "running")}),
        ),
    )
    monkeypatch.setattr(bulk_power, "SUBMITTERS", 1)  # one request at a time, so that the script knows which VM each is about
    outcome = hypervisor.power_off(["1", "2", "3", "4", "5"], 2)
    assert [outcome[moid] for moid in "124"] == ["", "", ""]
    assert "VirtualMachine.Interact.PowerOff" in outcome["3"]
    assert "powering off took more than 2 s" in outcome["5"]
    assert list(outcome) == ["1", "2", "3", "4", "5"]


def test_a_vm_that_is_off_was_not_reset(host: ScriptedHost, hypervisor: Hypervisor) -> None:
    """To a power-off that is the end that was wanted; a reset is not done."""
    power = vim.VirtualMachine.PowerState
    host.replies["ResetVM_Task"] = vim.fault.InvalidPowerState(msg="off", existingState=power.poweredOff, requestedState=power.poweredOn)
    assert "InvalidPowerState" in hypervisor.reset(["12"], 1)["12"]
    host.replies["ResetVM_Task"] = TASK
    reads(host, properties((TASK, {"info": task_info(TASK, "running")})), properties((TASK, {"info": task_info(TASK, "success")})))
    assert hypervisor.reset(["12"], 2) == {"12": ""}


def test_guests_are_shut_down_and_waited_for(host: ScriptedHost, hypervisor: Hypervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_power, "SUBMITTERS", 1)
    power = vim.VirtualMachine.PowerState
    vms = {moid: vim.VirtualMachine(moid) for moid in "1234"}
    replies = {
        "1": None,
        "2": vim.fault.ToolsUnavailable(msg="no tools"),
        "3": None,
        "4": vim.fault.InvalidPowerState(msg="off", existingState=power.poweredOff, requestedState=power.poweredOn),
    }
    host.replies["ShutdownGuest"] = lambda: replies[host.bodies[-1].split('"VirtualMachine">')[1].split("<")[0]]
    on, off = ({"runtime.powerState": state} for state in (power.poweredOn, power.poweredOff))
    reads(host, properties((vms["1"], on), (vms["3"], on)), properties((vms["1"], off), (vms["3"], on)))
    outcome = hypervisor.shut_down(list(vms), 0.5)
    assert (outcome["1"], outcome["4"]) == ("", "")
    assert "no tools" in outcome["2"]
    assert "did not shut down within 0.5 s" in outcome["3"]


LOST = question("msg.hbacommon.locklost", ("0", "button.ok", "OK"), text="The lock protecting vm.vmdk has been lost")


def answers_sent(host: ScriptedHost) -> list[list[tuple[str, str]]]:
    bodies = [host.bodies[index] for index, method in enumerate(host.asked, len(host.bodies) - len(host.asked)) if method == "AnswerVM"]
    return [re.findall(r"<(questionId|answerChoice)[^>]*>(\w+)<", body) for body in bodies]


def test_a_vm_that_lost_its_lock_is_ended_by_the_answer_to_exactly_that_question(host: ScriptedHost, hypervisor: Hypervisor) -> None:
    told: list[tuple[str, str]] = []
    asked_for_leave: list[int] = []
    hypervisor.on_answer = lambda moid, asked: told.append((moid, asked.message_id))
    hypervisor.before_write = lambda: asked_for_leave.append(1)
    host.replies["AnswerVM"] = None
    reads(host, properties(vm_state("poweredOn", LOST)), properties(vm_state("poweredOn")), properties(vm_state("poweredOff")))
    assert hypervisor.power_off(["12"], 5) == {"12": ""}
    assert writes(host) == ["AnswerVM"]
    assert answers_sent(host) == [[("questionId", "7"), ("answerChoice", "0")]]
    assert told == [("12", "msg.hbacommon.locklost")]
    assert len(asked_for_leave) == 2  # before the request, and again before its bytes


def test_the_question_that_comes_while_the_vm_is_switched_off_is_answered_too(host: ScriptedHost, hypervisor: Hypervisor) -> None:
    host.replies["PowerOffVM_Task"] = vim.fault.QuestionPending(msg="a question is pending", text="The lock protecting ... has been lost")
    host.replies["AnswerVM"] = None
    reads(host, properties(vm_state("poweredOn")), properties(vm_state("poweredOn", LOST)), properties(vm_state("poweredOff")))
    assert hypervisor.power_off(["12"], 5) == {"12": ""}
    assert writes(host) == ["PowerOffVM_Task", "AnswerVM"]


@pytest.mark.parametrize(
    "asked",
    [
        question("msg.hbacommon.askonpermanentdeviceloss", ("0", "button.ok", "OK")),
        question("msg.hbacommon.locklost.other", ("0", "button.ok", "OK")),
        question("", ("0", "button.ok", "OK"), text="About msg.hbacommon.locklost"),
        question("msg.hbacommon.locklost", ("0", "button.retry", "Retry"), ("1", "button.cancel", "Cancel")),
        question("msg.hbacommon.locklost", ("0", "button.ok", "OK"), ("1", "button.ok", "OK, later")),
        MOVED,
    ],
    ids=["another", "a longer id", "no id", "no choice says OK", "two say OK", "moved or copied"],
)
def test_no_other_question_is_answered_to_switch_a_vm_off(asked: Any, host: ScriptedHost, hypervisor: Hypervisor) -> None:
    host.replies["PowerOffVM_Task"] = vim.fault.QuestionPending(msg="a question is pending", text="?")
    reads(host, properties(vm_state("poweredOn", asked)))
    assert "QuestionPending" in hypervisor.power_off(["12"], 1)["12"]
    assert writes(host) == ["PowerOffVM_Task"]


def test_a_vm_that_goes_on_after_the_answer_is_switched_off(host: ScriptedHost, hypervisor: Hypervisor) -> None:
    """Its lock was lost, and is had again."""
    host.replies.update({"AnswerVM": None, "PowerOffVM_Task": TASK})

    def state() -> Any:
        asked = LOST if "AnswerVM" not in host.asked else None
        return with_task(TASK, "success" if "PowerOffVM_Task" in host.asked else "running", "poweredOn", asked)

    host.replies["RetrievePropertiesEx"] = state
    assert hypervisor.power_off(["12"], 1) == {"12": ""}
    assert writes(host) == ["AnswerVM", "PowerOffVM_Task"]


@pytest.mark.parametrize(("label", "summary"), [("OK", "OK"), ("button.ok", "Aceptar"), ("_OK", "_OK")])
def test_the_choice_is_known_by_its_id_where_the_host_speaks_another_language(
    label: str, summary: str, host: ScriptedHost, hypervisor: Hypervisor
) -> None:
    host.replies["AnswerVM"] = None
    reads(
        host,
        properties(vm_state("poweredOn", question("msg.hbacommon.locklost", ("3", label, summary)))),
        properties(vm_state("poweredOff")),
    )
    assert hypervisor.power_off(["12"], 5) == {"12": ""}
    assert answers_sent(host)[0][1] == ("answerChoice", "3")
