"""Findings are pure functions of what was read: each fault has its finding, and what was not read is never ok."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.answers import ApiAnswer
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decide import decide
from ansible_collections.libreha.vmware.plugins.module_utils.decide.machine import Machine
from ansible_collections.libreha.vmware.plugins.module_utils.decide.memory import Memory
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import (
    HostObservation,
    Observation,
    Power,
    StorageObservation,
)
from ansible_collections.libreha.vmware.plugins.module_utils.entry.preflight_info import result_of
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.host_survey import HostSurvey, Licence, OtherSession, SurveyedVm
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.privileges import NEEDED_NAMES
from ansible_collections.libreha.vmware.plugins.module_utils.instant import Instant
from ansible_collections.libreha.vmware.plugins.module_utils.libraries import LIBRARIES
from ansible_collections.libreha.vmware.plugins.module_utils.libraries import Finding as LibraryFinding
from ansible_collections.libreha.vmware.plugins.module_utils.policy.reader import read_policy
from ansible_collections.libreha.vmware.plugins.module_utils.preflight import on_arbiter, on_cluster, on_hosts
from ansible_collections.libreha.vmware.plugins.module_utils.preflight.certificates import Certificate
from ansible_collections.libreha.vmware.plugins.module_utils.preflight.finding import Finding, Level, in_order, table, worst
from ansible_collections.libreha.vmware.plugins.module_utils.preflight.on_arbiter import Arbiter, StateFile

ROOT = Path(__file__).resolve().parents[3]
AT = Instant("boot", 100.0)
ALL = frozenset(NEEDED_NAMES)
WELL = HostSurvey(
    "esx1",
    clock_ahead=0.1,
    licences=(Licence("VMware vSphere 8 Standard", "esx.standard"),),
    privileges=ALL,
    autostart=False,
    time_servers=("192.0.2.1",),
    time_service_runs=True,
    vcenter="",
    sessions=(),
    scratch="/vmfs/volumes/5f0c0a1e-5b1d0b4c/.locker",
    cpu="A CPU",
    cpu_features={"cpuid.avx": "1"},
)


def survey(**changes: Any) -> HostSurvey:
    return dataclasses.replace(WELL, **changes)


def levels(findings: Any) -> list[str]:
    return [one.level.value for one in findings]


@pytest.mark.parametrize(
    ("check", "host", "level"),
    [
        (on_hosts.licence, survey(licences=(Licence("VMware vSphere 8 Hypervisor", "esxBasic"),)), "critical"),
        (on_hosts.licence, survey(licences=(Licence("Evaluation Mode", "eval", 48),)), "warning"),
        (on_hosts.licence, survey(licences=(Licence("Evaluation Mode", "eval", 0),)), "critical"),
        (on_hosts.licence, survey(licences=(Licence("Evaluation Mode", "eval"),)), "unknown"),
        (on_hosts.licence, survey(licences=None), "unknown"),
        (on_hosts.licence, survey(licences=()), "unknown"),
        (on_hosts.privileges, survey(privileges=ALL - {"VirtualMachine.Inventory.Register"}), "critical"),
        (on_hosts.privileges, survey(privileges=None), "unknown"),
        (on_hosts.autostart, survey(autostart=True, autostart_vms=("vm01",)), "critical"),
        (on_hosts.autostart, survey(autostart=True), "warning"),
        (on_hosts.autostart, survey(autostart=None), "unknown"),
        (on_hosts.clock, survey(clock_ahead=-90.0), "warning"),
        (on_hosts.clock, survey(clock_ahead=6.0, clock_error=4.0, time_service_runs=True), "ok"),  # asking it took that long
        (on_hosts.clock, survey(time_service_runs=False), "warning"),
        (on_hosts.clock, survey(time_service_runs=None), "unknown"),
        (on_hosts.clock, survey(clock_ahead=None), "unknown"),
        (on_hosts.scratch, survey(scratch="/tmp/scratch"), "warning"),
        (on_hosts.scratch, survey(scratch=None), "unknown"),
    ],
)
def test_each_thing_wrong_with_a_host_has_its_level_and_a_remedy(check: Any, host: HostSurvey, level: str) -> None:
    (finding,) = check(host)
    assert finding.level.value == level
    assert finding.remedy or level == "ok"
    (well,) = check(WELL)
    assert well.level is Level.OK


def test_a_licence_key_has_no_place_in_a_finding() -> None:
    assert "key" not in {field.name for field in dataclasses.fields(Licence)}


def host_with(name: str, *networks: str) -> HostObservation:
    return HostObservation(name, AT, ApiAnswer.ANSWERED, networks=networks)


def test_a_port_group_that_one_host_lacks_is_named() -> None:
    first, second = on_hosts.port_groups([host_with("esx1", "LAN"), host_with("esx2", "LAN", "DMZ")])
    assert first.level is Level.WARNING and "DMZ" in first.text
    assert second.level is Level.OK


def test_cpu_features_are_compared_and_a_host_that_lists_none_is_not_known() -> None:
    other = dataclasses.replace(WELL, name="esx2", cpu_features={"cpuid.avx": "1", "cpuid.avx512f": "1"})
    silent = dataclasses.replace(WELL, name="esx3", cpu_features=None)
    assert [(one.subject, one.level.value) for one in on_hosts.cpu([WELL, other, silent])] == [
        ("esx1", "info"),
        ("esx2", "ok"),
        ("esx3", "unknown"),
    ]


@pytest.mark.parametrize(
    ("certificate", "level"),
    [
        (Certificate("a:443", days_left=400.0), "ok"),
        (Certificate("a:443", days_left=20.0), "warning"),
        (Certificate("a:443", days_left=3.0), "critical"),
        (Certificate("a:443", problem="its certificate has expired", days_left=0.0), "critical"),
        (Certificate("a:443", problem="its certificate is not trusted: self-signed", days_left=400.0), "critical"),
        (Certificate("a:443", False, "its certificate is not verified (validate_certs: false)", 400.0), "warning"),
        (Certificate("a:443", False, "its certificate is not verified (validate_certs: false)", -1.0), "critical"),
        (Certificate("a:443"), "unknown"),
    ],
)
def test_certificates(certificate: Certificate, level: str) -> None:
    for judge in (on_hosts.certificate, on_hosts.bmc_certificate):
        (finding,) = judge("esx1", certificate)
        assert (finding.check, finding.level.value) == (judge.__name__, level)
        assert level == "ok" or finding.remedy


def test_other_hands_are_named() -> None:
    assert levels(on_hosts.other_hands(WELL, "ha")) == ["ok"]
    assert levels(on_hosts.other_hands(survey(vcenter="192.0.2.9"), "ha")) == ["critical"]
    assert levels(on_hosts.other_hands(survey(vcenter=None, sessions=None), "ha")) == ["unknown", "unknown"]
    strangers = (
        OtherSession("vpxuser", "192.0.2.9", ""),
        OtherSession("veeam", "192.0.2.8", "Veeam"),
        OtherSession("ha", "192.0.2.7", ""),
        OtherSession("dcui", "127.0.0.1", ""),
    )
    found = list(on_hosts.other_hands(survey(sessions=strangers), "ha"))
    assert levels(found) == ["critical", "info"] and "backup software" in found[1].text
    vm = SurveyedVm("app", "", (), ("VEEAM BACKUP TEMPORARY SNAPSHOT",))
    assert any("a backup is at work on app" in one.text for one in on_hosts.other_hands(survey(vms=(vm,)), "ha"))


SERVICES = {"mail relay": ["192.0.2.25"], "awx": [], "ups client": []}


def circles(arbiter: Arbiter, vms: tuple[SurveyedVm, ...], whole: bool = True, **services: Any) -> dict[str, Finding]:
    found = on_arbiter.circles(arbiter, {**SERVICES, **services}, [survey(vms=vms)], whole, ["iqn.a:san"])
    return {one.subject: one for one in found}


def test_a_circle_is_found_by_uuid_by_address_and_by_its_own_lun() -> None:
    arbiter = Arbiter("u-1", ("192.0.2.2",), ("192.0.2.53",))
    mail = SurveyedVm("mail", "u-2", ("192.0.2.25",), ())
    assert {name: one.level.value for name, one in circles(arbiter, ()).items()} == {
        "arbiter": "ok", "name server": "ok", "mail relay": "ok", "awx": "ok", "ups client": "ok",
    }  # fmt: skip
    found = circles(arbiter, (SurveyedVm("ha", "u-1", (), ()), mail))
    assert found["arbiter"].level is Level.CRITICAL and "VM ha" in found["arbiter"].text
    assert found["mail relay"].level is Level.WARNING and "192.0.2.25 is VM mail" in found["mail relay"].text
    by_address = circles(arbiter, (SurveyedVm("ha", "other", ("192.0.2.2",), ()),))
    assert by_address["arbiter"].level is Level.CRITICAL
    assert circles(dataclasses.replace(arbiter, targets=("iqn.a:san",)), ())["arbiter"].level is Level.WARNING


def test_a_service_with_a_second_address_outside_is_no_circle() -> None:
    arbiter = Arbiter("u-1", ("192.0.2.2",), ("192.0.2.53", "198.51.100.53"))
    names = SurveyedVm("ns", "u-2", ("192.0.2.53",), ())
    assert circles(arbiter, (names,))["name server"].level is Level.OK
    only = dataclasses.replace(arbiter, name_servers=("192.0.2.53",))
    assert circles(only, (names,))["name server"].level is Level.WARNING


def test_what_cannot_be_told_about_circles_is_not_ok() -> None:
    silent = SurveyedVm("no-tools", "u-3", (), ())
    found = circles(Arbiter("u-1", (), ("192.0.2.53",)), (silent,))
    assert (found["mail relay"].level, found["name server"].level, found["arbiter"].level) == (Level.UNKNOWN, Level.UNKNOWN, Level.OK)
    off = dataclasses.replace(silent, running=False)  # it answers at no address now
    assert circles(Arbiter("u-1", (), ("192.0.2.53",)), (off,))["mail relay"].level is Level.OK
    assert circles(Arbiter("", (), ()), ())["arbiter"].level is Level.UNKNOWN
    assert circles(Arbiter("u-1", (), None), (), whole=False)["arbiter"].level is Level.UNKNOWN
    unnamed = list(on_arbiter.circles(Arbiter("u-1"), {}, [WELL], True, []))
    assert {one.subject for one in unnamed if one.level is Level.UNKNOWN} == {"name server", "mail relay", "awx", "ups client"}


def test_the_state_databases_backup() -> None:
    def level(state: StateFile) -> str:
        (finding,) = on_arbiter.state_backup(state, 7.0)
        return finding.level.value

    assert level(StateFile(True, "p", "p-1", 2.0)) == "ok"
    assert level(StateFile(True, "p", "p-1", 9.0)) == "warning"
    assert level(StateFile(True, "p")) == "warning"
    assert level(StateFile(False, "p")) == "warning"
    assert level(StateFile(None)) == "unknown"


def test_a_library_that_will_not_do_is_critical() -> None:
    first = LIBRARIES[0]
    found = on_arbiter.libraries([LibraryFinding(first, "1.0", "too old"), LibraryFinding(first, "", ""), LibraryFinding(first, "9", "")])
    assert levels(found) == ["critical", "unknown", "ok"]


def test_power_fencing_is_told_apart() -> None:
    machine = Machine("u-1")
    hosts = [
        HostObservation("a", AT),
        HostObservation("b", AT, has_bmc=True, power=Power.UNKNOWN, power_reason="no answer"),
        HostObservation("c", AT, has_bmc=True, power=Power.ON),
        HostObservation("d", AT, has_bmc=True, power=Power.ON, behind_bmc=(machine,)),
    ]
    assert levels(on_cluster.power_fencing(Observation(AT, tuple(hosts)))) == ["warning", "unknown", "info", "ok"]


def test_what_rests_on_a_host_that_was_not_read_is_not_ok() -> None:
    host = HostObservation("esx1", AT, ApiAnswer.TIMED_OUT)
    look = Observation(AT, (host,), storage=(StorageObservation("san1", AT),))
    policy = read_policy({"hosts": {"esx1": {"initiator": "iqn.2026-01.a:b"}}, "storage": {"san1": {}}})
    found = list(on_cluster.of_decision(decide(policy, Memory(), look, AT, "run"), look))
    assert {check.name for check in on_cluster.CHECKS} <= {one.check for one in found}
    assert not [one for one in found if one.level is Level.OK]


def test_the_worst_is_first_and_decides_by_the_policy() -> None:
    found = [Finding("a", "x", level, "text", "remedy") for level in (Level.OK, Level.UNKNOWN, Level.CRITICAL, Level.INFO, Level.WARNING)]
    assert levels(in_order(found)) == ["critical", "warning", "unknown", "info", "ok"]
    assert worst(found) is Level.CRITICAL
    assert worst(found[:2]) is Level.UNKNOWN
    counted = {
        name: len(result_of(found, read_policy({"fail_on_alarm": name}))["failing"]) for name in ("none", "critical", "warning", "info")
    }
    assert counted == {"none": 0, "critical": 1, "warning": 3, "info": 4}
    assert table(in_order(found))[0] == "critical  a  x  text -> remedy"


def test_the_page_has_every_check() -> None:
    page = (ROOT / "docs" / "preflight.md").read_text(encoding="utf-8")
    folder = ROOT / "plugins" / "module_utils"
    sources = [path.read_text(encoding="utf-8") for path in sorted((folder / "preflight").glob("on_*.py"))]
    checks = {name for text in sources for name in re.findall(r'Finding\(\s*"(\w+)"|_finding\(\s*"(\w+)"', text) for name in name if name}
    checks |= {check.name for check in on_cluster.CHECKS}
    assert len(checks) > 15
    assert not [name for name in sorted(checks) if "| `%s` |" % name not in page]
