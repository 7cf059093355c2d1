"""Whatever happens in whatever order: the guarantees of docs/safety.md, as far as one decision can break them."""

from __future__ import annotations

import os

from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import Decision, HostVerdict
from ansible_collections.libreha.vmware.plugins.module_utils.decide.verdict import Verdict
from decide_world import ApiAnswer, Evidence, Host, Power, Vm, World
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

# `make prove` repeats them more often (part properties); in `make test` the schedules of `make sim` break the same guarantees if they can.
EXAMPLES = 12 * int(os.environ.get("LIBREHA_REPEAT", "1"))
CONFIRM_AFTER = 15.0  # the default
Look = tuple[tuple[str, str], float, Decision]  # run and boot, when, what was decided
HOSTS = ("esx1", "esx2", "esx3", "esx4", "esx5")
FAULTS = ("kill", "power_off", "partition", "cut_storage", "heal", "reboot", "hang_agent", "login_refused", "maintenance", "blind")
GLOBAL = ("target_restart", "target_down", "target_up", "target_unreachable", "new_run", "new_boot", "lose_memory", "old_memory", "anybody")

events = st.one_of(
    st.tuples(st.sampled_from(FAULTS), st.sampled_from(HOSTS)),
    st.tuples(st.sampled_from(GLOBAL), st.just("")),
    st.tuples(st.just("wait"), st.sampled_from(("3", "9", "30", "60", "400"))),
    st.tuples(st.sampled_from(("confirm", "unconfirm", "admit", "rejoin", "bmc_off")), st.sampled_from(HOSTS)),
)
LEAVES_RUNNING = {"isolation_response": "leave_running", "max_dead_fraction": 0.2}
policies = st.fixed_dictionaries(
    {
        "isolation_response": st.sampled_from(("leave_running", "failover")),
        "isolation_mode": st.sampled_from(("conservative", "aggressive")),
        "agent_hung_response": st.sampled_from(("alarm", "failover")),
        "allow_unstopped_source": st.sampled_from(([], ["esx1", "esx2"])),
        "max_dead_fraction": st.sampled_from((0.2, 0.5, 0.7)),
    }
)


def apply(world: World, what: str, arg: str, memories: list) -> None:  # type: ignore[type-arg]
    if what == "wait":
        seconds = float(arg)
        if seconds > 100:
            world.step(seconds)
        else:
            world.run(seconds)
    elif what == "hang_agent":
        world.hosts[arg].api = ApiAnswer.TIMED_OUT
    elif what == "login_refused":
        world.hosts[arg].api = ApiAnswer.LOGIN_REFUSED
    elif what == "maintenance":
        world.hosts[arg].maintenance = not world.hosts[arg].maintenance
    elif what == "blind":
        world.hosts[arg].looked_at = not world.hosts[arg].looked_at
    elif what == "target_restart":
        world.target_started = world.now
        for host in world.hosts.values():
            host.session = "s-%d" % world.now if host.writes else None
    elif what in ("target_down", "target_up", "target_unreachable"):
        world.serving = {"target_down": False, "target_up": True, "target_unreachable": None}[what]
    elif what == "anybody":
        world.anybody = "" if world.anybody else "demo mode"
    elif what == "new_run":
        world.run_id = "run-%d" % world.now
    elif what == "new_boot":
        world.boot = "boot-%d" % world.now
    elif what == "lose_memory":
        world.memory = type(world.memory)()
    elif what == "old_memory":
        world.memory = memories[len(memories) // 2]
    elif what == "confirm" and arg in world.fenced:
        world.fence(arg)
    elif what == "unconfirm" and arg in world.fenced:
        world.fenced[arg] = False
    elif what == "admit" and arg in world.fenced:
        world.admitted_again ^= {arg}
    elif what == "rejoin" and arg in world.fenced:
        del world.fenced[arg]
        world.admitted_again.discard(arg)
        world.reboot(arg)
    elif what == "bmc_off" and world.hosts[arg].bmc:
        world.power_off(arg)
    elif what in ("kill", "power_off", "partition", "cut_storage", "heal", "reboot") and arg not in world.fenced:
        getattr(world, what)(arg)


def cluster(policy: dict) -> World:  # type: ignore[type-arg]
    hosts = {name: Host(name, bmc=name in ("esx1", "esx3")) for name in HOSTS}
    vms = {"vm%d" % number: Vm("vm%d" % number, HOSTS[number % 5], memory=2048) for number in range(10)}
    vms["local"] = Vm("local", "esx1", datastores=("ds-shared", "ds-local-esx1"))
    world = World(hosts, vms, policy)
    world.isolation = {"192.0.2.1": True}
    world.run(9)
    return world


def check_look(world: World, looks: list[Look]) -> None:
    """What must hold of every single decision, checked against the world's own truth at that moment."""
    for action in world.last.actions:
        if action.kind == "failover":
            confirmed = world.fenced.get(action.host) and action.host not in world.admitted_again and world.serving is not None
            assert confirmed, "a failover without a confirmed fence"
            host = world.hosts[action.host]
            listed_off = host.api is ApiAnswer.ANSWERED and host.looked_at
            if host.bmc and action.vms and host.power is not Power.OFF:
                assert listed_off, "power fencing exists and neither it nor the host's API says that the VMs stopped"
            assert not world.anybody
            assert "local" not in {vm.name for vm in action.vms}
            for vm in action.vms:
                destination = world.hosts[vm.destination]
                assert vm.destination not in world.fenced and vm.destination != action.host
                assert destination.api is ApiAnswer.ANSWERED and not destination.maintenance and destination.accessible
                assert world.vms[vm.name].power is not Power.ON or world.vms[vm.name].host not in _readable(world), "it runs already"
    for name in HOSTS:
        planned = [vm for action in world.failovers().values() for vm in action.vms if vm.destination == name and vm.power_on]
        running = [vm for vm in world.vms_on(name) if vm.power is Power.ON]
        assert sum(vm.memory for vm in planned) <= max(0, world.hosts[name].memory - sum(vm.memory for vm in running))
    for name, fence in world.fences().items():
        if name not in world.fenced:
            assert world.hosts[name].looked_at
            verdict = next(host for host in world.last.hosts if host.host == name)
            assert verdict.confirmed and fence.reasons
            if verdict.verdict is Verdict.FENCING:
                assert ordered_before(looks, name), "a fence goes on that no look had ordered"
            else:
                assert verdict.row == 2 or silent_long_enough(looks, name), "confirmed by fewer probes than docs/safety.md asks for"


def ordered_before(looks: list[Look], name: str) -> bool:
    return any(action.kind == "fence" and action.host == name for _run, _now, decision in looks[:-1] for action in decision.actions)


def silent_long_enough(looks: list[Look], name: str) -> bool:
    """Whether each path to the host that the newest verdict calls failed was silent for confirm_after, in three probes at least half
    that time apart, by what this run saw: counted anew from the looks themselves, without the record that decide keeps."""
    run, _now, decision = looks[-1]
    newest = next(host for host in decision.hosts if host.host == name)
    failed = [path for path in ("api", "ping") if getattr(newest, path) is Evidence.FAILED] or ["word"]
    for path in failed:
        life, probes = None, []
        for other, now, seen in reversed(looks):
            host = next((host for host in seen.hosts if host.host == name and host.api is not Evidence.UNKNOWN), None)
            found = None if host is None else _answer(host, path)
            if other != run or (probes and found is not None and probes[-1] - now > CONFIRM_AFTER):
                break
            if found is Evidence.OK:
                life = now
                break
            if found is Evidence.FAILED and now not in probes:
                probes.append(now)
        began = probes[-1] if life is None or path == "word" else life
        if len(probes) < 3 or probes[0] - probes[-1] < CONFIRM_AFTER / 2 or probes[0] - began < CONFIRM_AFTER:
            return False
    return True


def _answer(host: HostVerdict, path: str) -> Evidence:
    if path != "word":
        return host.api if path == "api" else host.ping
    lost = any(target.accessible is False for target in host.storage)
    return Evidence.FAILED if host.api is Evidence.OK and lost else Evidence.OK


def _readable(world: World) -> set[str]:
    return {
        host.name for host in world.hosts.values() if host.api is ApiAnswer.ANSWERED and host.looked_at and host.name not in world.fenced
    }


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(policies, st.lists(events, max_size=25), st.booleans())
@example(LEAVES_RUNNING, [("target_unreachable", ""), ("bmc_off", "esx1"), ("wait", "9")], False)  # ordered once, then repeated
def test_no_schedule_of_faults_breaks_a_guarantee(policy: dict, schedule: list, obey: bool) -> None:  # type: ignore[type-arg]
    world = cluster(policy)
    memories = [world.memory]
    looks: list[Look] = [((world.run_id, world.boot), seen.taken_at.seconds, seen) for seen in world.decisions]
    plain_step = world.step

    def step(after: float = 0.0, look=None):  # type: ignore[no-untyped-def]
        decision = plain_step(after, look)
        looks.append(((world.run_id, world.boot), world.now, decision))
        check_look(world, looks)
        memories.append(world.memory)
        if obey:
            for name, fence in world.fences().items():
                if world.serving:
                    world.fence(name)
                    world.admitted_again.discard(name)
                if fence.power and world.hosts[name].bmc:
                    world.power_off(name)
        return decision

    world.step = step  # type: ignore[method-assign]
    for what, arg in schedule:
        apply(world, what, arg, memories)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from((0.2, 0.5, 0.7)),
    st.lists(st.tuples(st.sampled_from(("kill", "cut_storage", "heal", "wait")), st.sampled_from(HOSTS)), max_size=30),
)
def test_no_more_hosts_than_the_brake_allows_are_fenced_within_its_window(fraction: float, schedule: list) -> None:  # type: ignore[type-arg]
    world = cluster({"max_dead_fraction": fraction})
    fenced_at: dict[str, float] = {}
    for what, name in schedule:
        if what == "wait":
            for _look in range(6):
                world.step(4)
                for host in world.fences():
                    if host not in world.fenced:
                        fenced_at[host] = world.now
                    world.fence(host)
                within = [host for host, at in fenced_at.items() if world.now - at <= 120]
                earlier = [host for host, at in fenced_at.items() if world.now - at > 120]
                assert len(within) <= fraction * (len(HOSTS) - len(earlier))
        elif name not in world.fenced:
            getattr(world, what)(name)
            if what != "heal":
                world.hosts[name].ping = Evidence.FAILED
