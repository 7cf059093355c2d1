# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module ``preflight_info``: everything that must be so before anybody relies on the cluster, read once and judged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .. import clock, libraries
from ..cycle.judge import events_seen
from ..decide.decide import decide
from ..decide.json_form import to_dict
from ..decide.memory import Memory
from ..decide.policy import FailOnAlarm, Policy
from ..errors import LibrehaError
from ..policy.reader import read_policy
from ..preflight import on_arbiter, on_cluster, on_hosts
from ..preflight.finding import Finding, Level, in_order, table, worst
from ..preflight.reading import Facts, read_facts, read_state_file, resolve_services
from ..record.database import StateDatabase
from .options.hosts import hosts_spec, read_hosts
from .options.site import read_servers, storage_option
from .options.state import state_spec

Result = dict[str, Any]
RUN = "preflight"
#: The policy's fail_on_alarm -> the weight from which on a finding fails the playbook. What is not known weighs as much as a warning.
FAILING = {FailOnAlarm.CRITICAL: Level.CRITICAL, FailOnAlarm.WARNING: Level.WARNING, FailOnAlarm.INFO: Level.INFO}


def argument_spec() -> dict[str, Any]:
    return {
        **hosts_spec(),
        **state_spec(),
        "policy": {"type": "dict", "required": True},
        "storage": storage_option(),
        "services": {"type": "dict", "default": {}},
        "state_backup": {"type": "str"},
        "state_backup_max_age": {"type": "float", "default": 7.0},
    }


def run(params: Mapping[str, Any], check_mode: bool) -> Result:
    """The task's result; raises LibrehaError. It is the same in check mode: nothing is ever changed."""
    policy = read_policy(params["policy"])
    accesses = read_hosts(params)
    servers = read_servers(params, policy)
    services = resolve_services(_services(params["services"]))
    memory = _remembered(params["state_url"])
    facts = read_facts(accesses, list(servers.values()), policy.isolation_addresses, events_seen(memory))
    users = {access.name: access.connection.username for access in accesses}
    found = [*_of_hosts(facts, users), *_of_cluster(facts, policy, memory), *_of_arbiter(facts, params, services, servers)]
    return result_of(in_order(found), policy)


def result_of(findings: list[Finding], policy: Policy) -> Result:
    least = FAILING.get(policy.fail_on_alarm)
    failing = [one for one in findings if least is not None and one.level.rank >= least.rank and one.level is not Level.OK]
    counts = {level.value: sum(one.level is level for one in findings) for level in Level}
    return {
        "changed": False,
        "worst": worst(findings).value,
        "counts": counts,
        "findings": to_dict(tuple(findings)),
        "table": table(findings),
        "failing": ["%s: %s: %s%s" % (one.check, one.subject, one.text, "; " + one.remedy if one.remedy else "") for one in failing],
    }


def _of_hosts(facts: Facts, users: Mapping[str, str]) -> Iterator[Finding]:
    observation = facts.observation
    yield from on_hosts.api_reach(observation)
    for name in sorted(users):
        survey = facts.surveys.get(name)
        if survey is None:
            for check in ("licence", "privileges", "autostart", "clock", "scratch", "cpu_features", "other_hands"):
                yield from on_hosts.unread(check, [name], facts.unsurveyed)
        else:
            for judge in (on_hosts.licence, on_hosts.privileges, on_hosts.autostart, on_hosts.clock, on_hosts.scratch):
                yield from judge(survey)
            yield from on_hosts.other_hands(survey, users[name])
        if name in facts.certificates:
            yield from on_hosts.certificate(name, facts.certificates[name])
        else:
            yield from on_hosts.unread("certificate", [name], facts.uncertified)
        if name in facts.bmc_certificates:
            yield from on_hosts.bmc_certificate(name, facts.bmc_certificates[name])
        elif name in facts.bmcs_uncertified:
            yield from on_hosts.unread("bmc_certificate", [name], facts.bmcs_uncertified)
    yield from on_hosts.cpu(list(facts.surveys.values()))
    answered = [host for host in observation.hosts if host.api_answer.value == "answered"]
    yield from on_hosts.port_groups(answered)
    silent = {host.name: host.api_reason for host in observation.hosts if host not in answered}
    yield from on_hosts.unread("port_groups", sorted(silent), silent)


def _of_cluster(facts: Facts, policy: Policy, memory: Memory) -> Iterator[Finding]:
    decision = decide(policy, memory, facts.observation, clock.now(), RUN)
    yield from on_cluster.of_decision(decision, facts.observation)
    yield from on_cluster.power_fencing(facts.observation)


def _of_arbiter(
    facts: Facts, params: Mapping[str, Any], services: Mapping[str, tuple[str, ...]], servers: Mapping[str, Any]
) -> Iterator[Finding]:
    url = params["state_url"]
    path = url.partition(":///")[2] if url.startswith("sqlite") else ""
    needed = {"lio" if server.driver == "lio" else "" for server in servers.values() if server.ssh is None}
    needed |= {"postgresql"} if url.startswith("postgresql") else set()
    yield from on_arbiter.libraries(libraries.look(needed - {""}))
    state = read_state_file(path, params["state_backup"] or "%s.backup-*" % path)
    yield from on_arbiter.state_backup(state, params["state_backup_max_age"])
    whole = not facts.unsurveyed
    ours = [access.target for server in facts.observation.storage for access in server.access]
    yield from on_arbiter.circles(facts.arbiter, services, list(facts.surveys.values()), whole, ours)


def _services(given: Mapping[str, Any]) -> dict[str, list[str]]:
    found = {}
    for name, addresses in given.items():
        listed = [addresses] if isinstance(addresses, str) else addresses
        if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
            raise LibrehaError(
                "services: %s is %r" % (name, addresses), remedy="give an address, or a list of addresses; an empty list if there is none"
            )
        found[str(name)] = listed
    return found


def _remembered(url: str) -> Memory:
    """The monitor's memory; empty where no monitor has run yet."""
    if StateDatabase.examine(url) is None:
        return Memory()
    with StateDatabase.open(url, create=False) as database:
        return database.memory()
