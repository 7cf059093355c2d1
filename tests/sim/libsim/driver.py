"""A host's API as the production runners know it (hypervisor/interface.py), on simulated requests."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import partial
from typing import NoReturn

from ansible_collections.libreha.vmware.plugins.module_utils.act.runtime import Runtime
from ansible_collections.libreha.vmware.plugins.module_utils.decide.answers import ApiAnswer
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import HostObservation, Question, VmObservation
from ansible_collections.libreha.vmware.plugins.module_utils.decide.vms.transaction import Outcome
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.interface import (
    EventsRead,
    FaultKind,
    HostUnavailable,
    Hypervisor,
    HypervisorFault,
    PowerOnOutcome,
)

from .blocking import drive, wait
from .observe import QUICK, TIMEOUT, Observer
from .requests import Answer, Guard, Hypervisors, ends_well
from .truth.vms import Vm
from .truth.world import World

MOST_AT_ONCE = 100  # requests of one act


class SimulatedHost(Hypervisor):
    """One open connection; a VM's reference is its name. What no runner uses here is not there."""

    def __init__(self, name: str, world: World, observer: Observer, requests: Hypervisors, guard: Guard, runtime: Runtime) -> None:
        self._host = world.hosts[name]
        self._world = world
        self._observer = observer
        self._requests = requests
        self._guard = guard
        self._runtime = runtime

    def __enter__(self) -> SimulatedHost:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def cut_off(self) -> None:
        pass

    def virtual_machines(self) -> list[VmObservation]:
        self._reads()
        return list(self._observer.vms_on(self._host))

    def health(self) -> HostObservation:
        self._reads()
        return self._observer.host(self._host.name)

    def _reads(self) -> None:
        """The way to the host and back. Raises HostUnavailable."""
        answer = self._requests.connects(self._host.name)
        wait(TIMEOUT if answer is ApiAnswer.TIMED_OUT else QUICK)
        answer = self._requests.connects(self._host.name)
        if answer is not ApiAnswer.ANSWERED:
            raise HostUnavailable("%s does not answer (%s)" % (self._host.name, answer.value), answer=answer, host=self._host.name)

    def rescan_storage(self, timeout: float) -> None:
        self._ended(self._ask(self._requests.rescan(self._host), timeout))

    def set_maintenance_mode(self, enter: bool, timeout: float) -> None:
        self._ended(self._ask(self._requests.maintenance_mode(self._host, enter), timeout))

    def shut_down_host(self, timeout: float) -> None:
        self._ended(self._ask(self._requests.shut_down(self._host), timeout))

    def register(self, path: str, name: str) -> str:
        vm = self._world.vms[path.partition("] ")[2].partition("/")[0]]
        self._ended(self._ask(self._requests.register(vm, self._host)))
        return vm.name

    def unregister(self, moid: str) -> None:
        self._ended(self._ask(self._requests.unregister(self._vm(moid), self._host)))

    def power_on(self, moid: str, timeout: float, answer_moved: bool = True) -> tuple[PowerOnOutcome, Question | None]:
        self._ended(self._ask(self._requests.power_on(self._vm(moid), self._host), timeout))
        return PowerOnOutcome.DONE, None

    def _vm(self, moid: str) -> Vm:
        return self._world.vms[moid]

    def _ask(self, work: object, bound: float = 10.0) -> Answer:
        return drive(self._requests.ask(self._host.name, work, self._guard, bound))  # type: ignore[arg-type]

    def _ended(self, answer: Answer) -> None:
        outcome, reason = answer
        if outcome is not Outcome.DONE:
            raise HypervisorFault(reason or outcome.value, kind=FaultKind(outcome.value), host=self._host.name)

    def _not_here(self, *_arguments: object) -> NoReturn:
        raise NotImplementedError("no runner asks a simulated host for this")

    def io_idle(self, vms: Iterable[VmObservation]) -> dict[str, float]:
        self._not_here()

    def events(self, after_key: int = 0, limit: int = 500) -> EventsRead:
        self._not_here()

    def power_off(self, moids: Iterable[str], timeout: float) -> dict[str, str]:
        return self._each(moids, partial(self._requests.stop, host=self._host, in_order=False), timeout)

    def suspend(self, moid: str, timeout: float) -> None:
        self._ended(self._ask(self._requests.suspend(self._vm(moid), self._host), timeout))

    def reset(self, moids: Iterable[str], timeout: float) -> dict[str, str]:
        return self._each(moids, partial(self._requests.reset, host=self._host), timeout)

    def shut_down(self, moids: Iterable[str], timeout: float) -> dict[str, str]:
        return self._each(moids, partial(self._requests.stop, host=self._host, in_order=True), timeout)

    def _each(self, moids: Iterable[str], work: Callable[[Vm], object], timeout: float) -> dict[str, str]:
        """All at the same time; for each why it was not done, or nothing."""
        asked: dict[str, Future[Answer]] = {}
        with self._runtime.workers(MOST_AT_ONCE) as workers:
            for moid in moids:
                asked[moid] = workers.submit(self._ask, work(self._vm(moid)), timeout)
        answers = {moid: future.result() for moid, future in asked.items()}
        return {moid: "" if ends_well(answer) else answer[1] or answer[0].value for moid, answer in answers.items()}

    def answer(self, moid: str, question: Question, choice: str) -> None:
        self._not_here()

    def unregistered(self, datastore: str) -> list[str]:
        return []
