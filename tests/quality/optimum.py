# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The best plan of an instance by OR-Tools CP-SAT, from the policy's rules and not from our own reading of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

from ansible_collections.libreha.vmware.plugins.module_utils.decide.placement.place import Room, Wish
from ansible_collections.libreha.vmware.plugins.module_utils.decide.policy import HostAffinity
from instances import Instance
from ortools.sat.python import cp_model

WEIGHT = 8  # as in the placement: one preference of a priority is worth that many of the next
LOAD_SCALE = 100_000


class Model:
    """One 0/1 variable for each VM and host; VMs that run already are fixed."""

    def __init__(self, instance: Instance) -> None:
        self.instance, self.model = instance, cp_model.CpModel()
        self.hosts = sorted(instance.rooms)
        self.wishes: dict[str, Wish] = {wish.vm.name: wish for wish in instance.wishes}
        self.on: dict[tuple[str, str], Any] = {}  # (VM name, host) -> 0, 1 or a variable
        for vm in instance.vms:
            for host in self.hosts:
                at = instance.running.get(vm.id)
                fixed = None if vm.name in self.wishes else int(host == at)
                self.on[vm.name, host] = self._variable(vm.name, host) if fixed is None else fixed
        for name in self.wishes:
            self.model.add(self.placed(name) <= 1)
        for host in self.hosts:
            room = instance.rooms[host]
            self.model.add(self._taken(host, "memory") <= room.memory)
            self.model.add(self._taken(host, "cpu_reserved") <= room.cpu)
        self.costs: list[Any] = []
        for rule in instance.policy.rules:
            if isinstance(rule, HostAffinity):
                self._host_affinity(rule)
            elif rule.required:
                self._required_group(rule.vms, rule.together)
            else:
                self._preferred_group(rule.vms, rule.together)

    def _variable(self, name: str, host: str) -> Any:
        if not all(item.datastore_uuid in self.instance.rooms[host].datastores for item in self.wishes[name].vm.files):
            return 0
        return self.model.new_bool_var("%s on %s" % (name, host))

    def placed(self, name: str) -> Any:
        return sum(self.on[name, host] for host in self.hosts)

    def _taken(self, host: str, what: str) -> Any:
        return sum(getattr(wish.vm, what) * self.on[name, host] for name, wish in self.wishes.items())

    def weight(self, name: str) -> int:
        return int(WEIGHT ** (5 - self.wishes[name].priority.rank)) if name in self.wishes else 0

    def _host_affinity(self, rule: HostAffinity) -> None:
        steps = sorted(set(rule.hosts.values()), reverse=True)
        for name in rule.vms:
            if name not in self.wishes:
                continue
            for host in self.hosts:
                if host in rule.hosts:
                    self.costs.append(self.weight(name) * steps.index(rule.hosts[host]) * self.on[name, host])
                elif rule.required:
                    self.model.add(self.on[name, host] == 0)
                else:
                    self.costs.append(self.weight(name) * len(steps) * self.on[name, host])

    def _required_group(self, vms: tuple[str, ...], together: bool) -> None:
        """A pair that runs already may break the rule; what is placed may not, against any other one."""
        for index, one in enumerate(vms):
            for other in vms[index + 1 :]:
                if one not in self.wishes and other not in self.wishes:
                    continue
                for host in self.hosts:
                    if not together:
                        self.model.add(self.on[one, host] + self.on[other, host] <= 1)
                    for elsewhere in self.hosts:
                        if together and host != elsewhere:
                            self.model.add(self.on[one, host] + self.on[other, elsewhere] <= 1)

    def _preferred_group(self, vms: tuple[str, ...], together: bool) -> None:
        """A wrong pair costs the preference of its most important VM, pairs in the plan that of the whole group's."""
        among = max([self.weight(name) for name in vms], default=0)
        for index, one in enumerate(vms):
            for other in vms[index + 1 :]:
                if one not in self.wishes and other not in self.wishes:
                    continue
                weight = among if one in self.wishes and other in self.wishes else max(self.weight(one), self.weight(other))
                wrong = self.model.new_bool_var("%s and %s" % (one, other))
                for host in self.hosts:
                    if not together:
                        self.model.add(wrong >= self.on[one, host] + self.on[other, host] - 1)
                    for elsewhere in self.hosts:
                        if together and host != elsewhere:
                            self.model.add(wrong >= self.on[one, host] + self.on[other, elsewhere] - 1)
                self.costs.append(weight * wrong)

    def value(self) -> Any:
        """What the restart priorities say: one VM more of a priority outweighs all VMs of the lower ones."""
        base = len(self.wishes) + 1
        return sum(base ** (5 - wish.priority.rank) * self.placed(name) for name, wish in self.wishes.items())

    def cost(self) -> Any:
        return sum(self.costs)

    def highest_load(self) -> Any:
        """In 1/LOAD_SCALE, of all hosts, memory and CPU."""
        highest = self.model.new_int_var(0, 2 * LOAD_SCALE, "highest load")
        for host in self.hosts:
            room: Room = self.instance.rooms[host]
            for total, free, what in (
                (room.memory_total, room.memory, "memory"),
                (room.cpu_total, room.cpu, "cpu_reserved"),
            ):
                if total:
                    self.model.add(highest * total >= LOAD_SCALE * (total - free + self._taken(host, what)))
        return highest

    def hint(self, plan: Mapping[str, str]) -> None:
        for (name, host), variable in self.on.items():
            if name in self.wishes and not isinstance(variable, int):
                self.model.add_hint(variable, int(plan[name] == host))

    def solve(self, limit: float) -> tuple[str, Optional[float]]:
        """Status (OPTIMAL, FEASIBLE, INFEASIBLE, UNKNOWN) and the objective."""
        solver = cp_model.CpSolver()
        solver.parameters.max_time_in_seconds = limit
        solver.parameters.num_workers = 2
        solver.parameters.random_seed = 1
        status = solver.status_name(solver.solve(self.model))
        return status, solver.objective_value if status in ("OPTIMAL", "FEASIBLE") and self.model.has_objective() else None


def better_value(instance: Instance, plan: Mapping[str, str], limit: float) -> Optional[bool]:
    """Whether a plan places more, by priority, than *plan* (VM name -> host or ""); None: not proved in time."""
    model = Model(instance)
    base = len(model.wishes) + 1
    ours = sum(base ** (5 - wish.priority.rank) for name, wish in model.wishes.items() if plan[name])
    if ours == sum(base ** (5 - wish.priority.rank) for wish in model.wishes.values()):
        return False
    model.model.add(model.value() >= ours + 1)
    status = model.solve(limit)[0]
    return {"OPTIMAL": True, "FEASIBLE": True, "INFEASIBLE": False}.get(status)


def least_cost(instance: Instance, plan: Mapping[str, str], limit: float) -> Optional[int]:
    """The least cost in preferences with the same VMs placed; None: not proved in time."""
    model = Model(instance)
    _same_set(model, plan)
    if not model.costs:
        return 0
    model.hint(plan)
    model.model.minimize(model.cost())
    status, objective = model.solve(limit)
    return round(objective) if status == "OPTIMAL" and objective is not None else None


def least_load(instance: Instance, plan: Mapping[str, str], cost: int, limit: float) -> Optional[float]:
    """The least load of the most loaded host with the same VMs placed and no greater cost; None: not proved in time."""
    model = Model(instance)
    _same_set(model, plan)
    if model.costs:
        model.model.add(model.cost() <= cost)
    model.hint(plan)
    model.model.minimize(model.highest_load())
    status, objective = model.solve(limit)
    return objective / LOAD_SCALE if status == "OPTIMAL" and objective is not None else None


def cost_of(instance: Instance, plan: Mapping[str, str], limit: float = 10.0) -> int:
    """What *plan* costs in preferences, by this module's own reading of the rules; raises ValueError for a forbidden plan."""
    model = Model(instance)
    for name in model.wishes:
        for host in model.hosts:
            model.model.add(model.on[name, host] == int(plan[name] == host))
    model.model.minimize(model.cost() if model.costs else 0)
    status, objective = model.solve(limit)
    if status != "OPTIMAL" or objective is None:
        raise ValueError("seed %d: the plan breaks a rule or a capacity (%s)" % (instance.seed, status))
    return round(objective)


def _same_set(model: Model, plan: Mapping[str, str]) -> None:
    for name in model.wishes:
        model.model.add(model.placed(name) == int(bool(plan[name])))
