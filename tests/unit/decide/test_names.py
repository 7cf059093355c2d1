"""Names that the policy uses and nothing bears, names that several VMs bear, and VMs and sensors of which nothing is to be had."""

from __future__ import annotations

import dataclasses

from ansible_collections.libreha.vmware.plugins.module_utils.decide.answers import ApiAnswer
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Observation, Sensor
from decide_world import Host, Vm, World

APART = {"type": "vm_affinity", "vms": ["vm1", "app/1"], "together": False, "name": "apart"}


def two_hosts(**policy: object) -> World:
    vms = {"vm1": Vm("vm1", "esx1"), "vm2": Vm("vm2", "esx2")}
    return World({name: Host(name) for name in ("esx1", "esx2")}, vms, dict(policy))


def alarm_texts(cluster: World) -> list[str]:
    return [alarm.text for alarm in cluster.last.alarms]


def names(cluster: World) -> list[str]:
    """The keys of the alarms about names after another look."""
    found = cluster.step(3).alarms
    return [alarm.key for alarm in found if alarm.key.split(":")[0] in ("no_such_vm", "no_such_host", "no_such_sensor", "same_name")]


def test_each_name_of_a_vm_that_nothing_bears_is_an_alarm_with_its_place() -> None:
    cluster = two_hosts(rules=[APART], vms={"VM1": {"priority": "high", "start_after": ["db"]}, "vm2": {}})
    assert names(cluster) == ["no_such_vm:VM1", "no_such_vm:app/1", "no_such_vm:db"]
    texts = " ".join(alarm_texts(cluster))
    assert "VM VM1 (vms), and no host has such a VM (but 'vm1')" in texts
    assert "VM app/1 (rule apart)" in texts and "VM db (vms.VM1.start_after)" in texts
    cluster.vms["vm2"].name = "app/1"
    assert "no_such_vm:app/1" not in names(cluster)


def test_an_id_names_a_vm_too() -> None:
    cluster = two_hosts(vms={"ds-shared:vm1/vm1.vmx": {}, "ds-shared:gone/gone.vmx": {}})
    assert names(cluster) == ["no_such_vm:ds-shared:gone/gone.vmx"]


def test_what_was_not_asked_is_not_missing() -> None:
    cluster = two_hosts(rules=[APART])
    cluster.hosts["esx2"].api = ApiAnswer.TIMED_OUT
    assert names(cluster) == []
    cluster.hosts["esx2"].api = ApiAnswer.ANSWERED
    cluster.hosts["esx2"].looked_at = False
    assert names(cluster) == []
    cluster.hosts["esx2"].looked_at = True
    cluster.change = lambda look: dataclasses.replace(look, vms_read=("esx1",))
    assert names(cluster) == []
    cluster.change = lambda look: look
    assert names(cluster) == ["no_such_vm:app/1"]


def test_hosts_that_the_inventory_does_not_have() -> None:
    rule = {"type": "host_affinity", "vms": ["vm1"], "hosts": {"esx1": 1, "ESX2": 0}, "name": "home"}
    cluster = two_hosts(rules=[rule], admission_control={"form": "failover_hosts", "failover_hosts": ["esx9"]})
    cluster.hosts["esx2"].api = ApiAnswer.TIMED_OUT  # it is there, answering or not
    assert names(cluster) == ["no_such_host:ESX2", "no_such_host:esx9"]
    assert any("host ESX2 (rule home), and the inventory has no such host (but 'esx2')" in text for text in alarm_texts(cluster))


def test_two_protected_vms_of_one_name_are_an_alarm_in_peace() -> None:
    cluster = two_hosts()

    def same_name(look: Observation) -> Observation:
        return dataclasses.replace(look, vms=tuple(dataclasses.replace(vm, name="vm1") for vm in look.vms))

    assert names(cluster) == []
    cluster.change = same_name
    assert names(cluster) == ["same_name:vm1"]
    cluster.policy = {"vms": {"ds-shared:vm2/vm2.vmx": {"protection": "unprotected"}}}
    assert names(cluster) == []


def test_a_vm_first_seen_without_its_files_is_an_alarm_until_they_are_there() -> None:
    cluster = two_hosts()

    def without_files(look: Observation) -> Observation:
        return dataclasses.replace(
            look, vms=tuple(dataclasses.replace(vm, accessible=False) if vm.name == "vm2" else vm for vm in look.vms)
        )

    cluster.change = without_files
    texts = [alarm.text for alarm in cluster.step().alarms if alarm.key.startswith("vm_inaccessible:")]
    assert len(texts) == 1 and "vm2 is registered on esx2, which cannot read its files" in texts[0]
    cluster.change = lambda look: look
    assert not [alarm for alarm in cluster.step(3).alarms if alarm.key.startswith("vm_inaccessible:")]
    cluster.change = without_files  # known by now: its files are known, and it is protected
    assert not [alarm for alarm in cluster.step(3).alarms if alarm.key.startswith("vm_inaccessible:")]

    def by_another_id(look: Observation) -> Observation:
        return dataclasses.replace(
            look,
            vms=tuple(dataclasses.replace(vm, id=":vm2/vm2.vmx", accessible=False) if vm.name == "vm2" else vm for vm in look.vms),
        )

    cluster.change = by_another_id
    assert not [alarm for alarm in cluster.step(3).alarms if alarm.key.startswith("vm_inaccessible:")]


def test_a_sensor_that_is_red_for_no_reason_can_be_excepted() -> None:
    cluster = two_hosts()
    cluster.hosts["esx1"].sensors = (Sensor("Chassis intrusion", "red"), Sensor("Fan 1", "green"))
    degraded = [alarm.key for alarm in cluster.step().alarms if alarm.key.startswith("degraded:")]
    assert degraded == ["degraded:esx1"]
    hosts = cluster.full_policy()["hosts"]
    hosts["esx1"]["ignored_sensors"] = ["Chassis intrusion"]
    cluster.policy = {"hosts": hosts}
    assert not [alarm for alarm in cluster.step(3).alarms if alarm.key.startswith("degraded:")]
    cluster.hosts["esx1"].sensors = (Sensor("Chassis intrusion", "red"), Sensor("Fan 1", "red"))
    assert ["sensors red: Fan 1" in alarm.text for alarm in cluster.step(3).alarms if alarm.key == "degraded:esx1"] == [True]
    cluster.hosts["esx1"].sensors = (Sensor("Chassis Intrusion", "red"),)
    assert names(cluster) == ["no_such_sensor:esx1:Chassis intrusion"]
