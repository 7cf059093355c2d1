"""Random clusters with random faults, as scenario dictionaries: what fails is itself a scenario that can be kept and run again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.policy.reader import read_policy
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

Raw = dict[str, Any]
FAULTS_UNTIL = 360.0
CALM = 620.0  # s after the repairs: the longest confirmation, a boot, and recovery_bound

#: ``do`` -> its share
HOST_SWITCHES = ("power", "network", "storage", "api", "hang", "bmc")
DOINGS = (
    *("power",) * 5,
    *("network",) * 4,
    *("storage",) * 4,
    *("hang",) * 4,
    *("api",) * 2,
    *("bmc",) * 2,
    *("monitor",) * 5,
    *("vm",) * 4,
    *("vm_fault",) * 3,
    *("rejoin",) * 3,
    "shutdown",
    "reboot",
    *("maintenance",) * 2,
    "maintenance_mode",
    *("target",) * 2,
    *("fence",) * 2,
    "clock",
    *("stale",) * 2,
    "old_memory",
    "sensor",
    *("name_service",) * 2,
    "operator",
    *("ssh",) * 2,
    *("looks",) * 2,
    *("worker",) * 2,
    *("connection",) * 2,
)


@st.composite
def schedules(draw: st.DrawFn) -> Raw:
    hosts = ["node%d" % number for number in range(1, draw(st.integers(2, 5)) + 1)]
    vms = ["vm%d" % number for number in range(1, draw(st.integers(1, 7)) + 1)]
    servers = ["san", "san2"][: draw(st.sampled_from((1, 1, 1, 2)))]
    entries = [_happening(draw, hosts, vms, servers) for _index in range(draw(st.integers(1, 12)))]
    entries += _seldom(draw, hosts, vms)
    policy = _policy(draw, hosts)
    if any(entry.get("fault") == "guest_hangs" for entry in entries):
        policy["vm_monitoring"] = {"response": "reset"}
    repaired = draw(st.booleans())
    if repaired:
        entries += _repairs(hosts, servers)
    return {
        "name": "random schedule",
        "policy": policy,
        "hosts": {name: _host(draw) for name in hosts},
        "storage": dict.fromkeys(servers),
        "vms": {name: _vm(draw, hosts, servers) for name in vms},
        "rules": _consistent([_rule(draw, hosts, vms) for _index in range(draw(st.sampled_from((0, 0, 1, 1, 2))))]),
        "timeline": entries,
        "until": FAULTS_UNTIL + CALM if repaired else FAULTS_UNTIL + 200.0,
    }


def each_schedule(first_seed: int, wanted: int, run: Callable[[Raw], None]) -> None:
    """*run* with that many schedules, always the same ones for the same seed, and without making those that fail small."""

    @seed(first_seed)
    @settings(
        max_examples=wanted,
        deadline=None,
        database=None,
        derandomize=False,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(schedules())
    def each(raw: Raw) -> None:
        run(raw)

    each()


def _policy(draw: st.DrawFn, hosts: list[str]) -> Raw:
    policy: Raw = {
        "isolation_response": draw(st.sampled_from(("leave_running", "failover"))),
        "isolation_mode": draw(st.sampled_from(("conservative", "aggressive"))),
        "agent_hung_response": draw(st.sampled_from(("alarm", "alarm", "failover"))),
        "storage_grace": draw(st.sampled_from((20, 180))),
        "max_dead_fraction": draw(st.sampled_from((0.5, 0.5, 1.0))),
        "automatic_moves": draw(st.sampled_from(("live", "live", "all", "none"))),
        "degraded_response": draw(st.sampled_from(("alarm", "quarantine", "evacuate"))),
    }
    if draw(st.integers(0, 4)):  # it only reports, and asks "what if" at every look: half of the time that a run takes
        policy["admission_control"] = {"form": "disabled"}
    if draw(st.booleans()):
        policy["vm_monitoring"] = {"response": "reset"}
    if draw(st.booleans()):
        policy["isolation_addresses"] = ["192.0.2.1"]
    if draw(st.integers(0, 4)) == 0:
        policy["allow_unstopped_source"] = [draw(st.sampled_from(hosts))]
    if draw(st.integers(0, 4)) == 0:
        policy["rebalance"] = {"after_failover": True}
    return policy


def _host(draw: st.DrawFn) -> Raw:
    host: Raw = {"bmc": draw(st.sampled_from((True, True, False)))}
    memory = draw(st.sampled_from((None, None, 4096, 6144)))
    if memory:
        host["memory"] = memory
    if draw(st.integers(0, 9)) == 0:
        host["up"] = False
    if draw(st.booleans()):
        host["live_migration"] = False
        host["capabilities"] = draw(st.sampled_from((["cpu_features:a"], ["cpu_features:a"], ["cpu_features:b"], [])))
    if draw(st.integers(0, 7)) == 0:
        host["spare"] = True
    return host


def _vm(draw: st.DrawFn, hosts: list[str], servers: list[str]) -> Raw:
    lies = draw(st.sampled_from((servers[:1], servers[:1], servers[1:], servers))) if len(servers) > 1 else servers
    return {
        "storage": lies,
        "host": draw(st.sampled_from(hosts)),
        "desired": draw(st.sampled_from(("started", "started", "started", "started", "stopped", "ignored", "disabled"))),
        "memory": draw(st.sampled_from((0, 512, 1024, 2048))),
        "cpu": draw(st.sampled_from((0, 1, 2))),
        "priority": draw(st.sampled_from(("highest", "medium", "lowest"))),
    }


def _rule(draw: st.DrawFn, hosts: list[str], vms: list[str]) -> Raw:
    members = draw(st.lists(st.sampled_from(vms), min_size=1, max_size=3, unique=True))
    rule: Raw = {"vms": members, "required": draw(st.sampled_from((True, True, False)))}
    if draw(st.booleans()):
        allowed = draw(st.lists(st.sampled_from(hosts), min_size=1, max_size=3, unique=True))
        return {"type": "host_affinity", "hosts": {name: draw(st.integers(0, 2)) for name in allowed}, **rule}
    return {"type": "vm_affinity", "together": draw(st.booleans()), **rule}


def _consistent(rules: list[Raw]) -> list[Raw]:
    """Rules that contradict each other never reach the brain: the policy's reader refuses them."""
    try:
        read_policy({"rules": rules})
    except LibrehaError:
        return rules[:1]
    return rules


def _seldom(draw: st.DrawFn, hosts: list[str], vms: list[str]) -> list[Raw]:
    """In every other schedule, faults that chance would seldom put together; test_properties.py demands what they reach."""
    first, second = draw(st.permutations(hosts))[:2]
    at = draw(st.integers(20, 200))
    dies: list[Raw] = [{"at": at, "do": "power", "host": first, "to": "off"}]
    kind = draw(
        st.sampled_from(("", "", "", "", "", "apart", "apart", "row 8", "resumed", "lease lost", "reset", "reset", "all power", "moving"))
    )
    if kind == "apart":  # the second one often dies during the failover of the first
        how = draw(st.sampled_from(({"do": "power", "to": "off"}, {"do": "hang", "to": "on"})))
        return [*dies, {"at": at + draw(st.integers(40, 100)) / 4, "host": second, **how}]
    if kind == "moving":  # a host dies while it is emptied
        how = draw(st.sampled_from(({"do": "power", "to": "off"}, {"do": "hang", "to": "on"})))
        empties: Raw = {"at": at, "do": "maintenance", "host": first, "to": "on"}
        return [empties, {"at": at + draw(st.integers(12, 60)) / 4, "host": first, **how}]
    if kind == "row 8":
        return [{"at": at, "do": do, "host": first, "to": "off"} for do in ("api", "storage")]
    if kind == "resumed":
        return [*dies, {"at": at + draw(st.integers(80, 100)) / 4, "do": "monitor", "to": "restarted"}]
    if kind == "lease lost":
        return [{"at": at, "do": "monitor", "to": "frozen"}, {"at": at + 90, "do": "monitor", "to": "thawed"}]
    if kind == "all power":  # each host comes back in its own time, one perhaps not before the repairs
        returns: list[Raw] = [{"at": at, "do": "all_power", "to": "off"}, {"at": at + 30, "do": "all_power", "to": "on"}]
        returns += [{"at": at + 30 + draw(st.integers(0, 120)), "do": "power", "host": host, "to": "on"} for host in hosts[1:]]
        return draw(st.sampled_from((returns, [*_shut_down(at), *returns[2:]], [*_shut_down(at), *_shut_down(at + 9, "cancel_shutdown")])))
    if kind == "reset":
        return [{"at": at, "do": "vm_fault", "vm": draw(st.sampled_from(vms)), "fault": "guest_hangs"}]
    return []


def _shut_down(at: float, command: str = "shutdown") -> list[Raw]:
    return [{"at": at, "do": "operator", "command": command}]


def _happening(draw: st.DrawFn, hosts: list[str], vms: list[str], servers: list[str]) -> Raw:
    do = draw(st.sampled_from(DOINGS))
    at = draw(st.integers(0, int(FAULTS_UNTIL) * 4)) / 4
    host, vm = draw(st.sampled_from(hosts)), draw(st.sampled_from(vms))
    entry: Raw = {"at": at, "do": do}
    if do in ("storage", "target", "fence") and len(servers) > 1:
        entry.update(draw(st.sampled_from(({}, {"server": servers[0]}, {"server": servers[1]}))))
    if do == "ssh":
        return (
            {**entry, "server": servers[1], "to": draw(st.sampled_from(("off", "off", "on")))}
            if len(servers) > 1
            else {**entry, "do": "looks", "by": 8}
        )
    if do == "looks":
        return {**entry, "by": draw(st.sampled_from((0, 3, 8, 30)))}
    if do == "worker":
        return {**entry, "by": draw(st.sampled_from((0.3, 1, 2.5)))}
    if do == "connection":
        return {**entry, "host": host, "to": draw(st.sampled_from(("fails", "strange", "works")))}
    if do in HOST_SWITCHES:
        return {**entry, "host": host, "to": draw(st.sampled_from(("off", "off", "on") if do != "hang" else ("on", "on", "off")))}
    if do in ("shutdown", "reboot", "rejoin"):
        return {**entry, "host": host}
    if do in ("maintenance", "maintenance_mode"):
        return {**entry, "host": host, "to": draw(st.sampled_from(("on", "off")))}
    if do == "sensor":
        return {**entry, "host": host, "to": draw(st.sampled_from(("red", "green")))}
    if do == "name_service":
        return {**entry, "to": draw(st.sampled_from(("off", "off", "on"))), **draw(st.sampled_from(({}, {"host": host})))}
    if do == "fence":
        return {**entry, "host": host, "to": draw(st.sampled_from(("fails", "works")))}
    if do == "target":
        return {**entry, "to": draw(st.sampled_from(("restart", "restart", "off", "on")))}
    if do == "monitor":
        return {**entry, "to": draw(st.sampled_from(("killed", "isolated", "restarted", "restarted", "frozen", "thawed")))}
    if do == "clock":
        return {**entry, "by": draw(st.sampled_from((-86400, -30, 3600)))}
    if do in ("stale", "old_memory"):
        return {**entry, "by": draw(st.sampled_from((5, 30, 120)))}
    if do == "operator":
        return {**entry, "command": draw(st.sampled_from(("release_brake", "rebalance", "arm", "disarm")))}
    if do == "vm_fault":
        fault = draw(st.sampled_from(("crash", "crash", "start_fails", "start_fails", "slow_shutdown")))
        if fault == "crash":
            return {**entry, "vm": vm, "fault": "crash"}
        if fault == "slow_shutdown":
            return {**entry, "vm": vm, "fault": "slow_shutdown", "by": draw(st.sampled_from((30, 110, 130, 240)))}
        return {**entry, "vm": vm, "fault": "start_fails", "host": host, "times": draw(st.integers(1, 4))}
    command = draw(st.sampled_from(("migrate", "migrate", "start", "stop", "ignore", "manage")))
    return {**entry, "vm": vm, "command": command, **({"host": host} if command == "migrate" else {})}


def _repairs(hosts: list[str], servers: list[str]) -> list[Raw]:
    """Faults stop; then the operator lets everybody in again."""
    at = FAULTS_UNTIL + 1.0
    found: list[Raw] = [{"at": at, "do": "target", "to": "on"}, {"at": at, "do": "monitor", "to": "restarted"}]
    found += [{"at": at, "do": "looks", "by": 0}, *({"at": at, "do": "ssh", "server": server, "to": "on"} for server in servers[1:])]
    for host in hosts:
        found.append({"at": at, "do": "connection", "host": host, "to": "works"})
        found += [{"at": at, "do": do, "host": host, "to": "on"} for do in ("network", "storage", "api", "bmc")]
        found += [{"at": at, "do": "hang", "host": host, "to": "off"}, {"at": at, "do": "fence", "host": host, "to": "works"}]
        found += [
            {"at": at + delay, "do": do, "host": host, "to": "off"} for delay, do in ((0.0, "maintenance"), (90.0, "maintenance_mode"))
        ]
        found += [{"at": at, "do": "sensor", "host": host, "to": "green"}]
        found += [{"at": at + 1.0, "do": "power", "host": host, "to": "on"}, {"at": at + 120.0, "do": "rejoin", "host": host}]
    found += [{"at": at, "do": "operator", "command": command} for command in ("arm", "cancel_shutdown")]
    return [*found, {"at": at, "do": "name_service", "to": "on"}]
