"""What an operator gets wrong, and what the machine lacks: a clear error or alarm, before anything is changed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Power
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.interface import Connection
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.registry import open_hypervisor
from ansible_collections.libreha.vmware.plugins.module_utils.storage.fence_list import FenceList

from .chain import Chain, Run, lab
from .conftest import MakeChain
from .test_faults import alarms

pytestmark = pytest.mark.lab


def refused(chain: Chain, run: Run, *words: str) -> None:
    """The run failed with a message that has all *words*, and changed nothing."""
    assert run.code != 0, run.log
    assert run.changed == 0
    for word in words:
        assert word in run.log, (word, run.log)
    assert not FenceList(chain.status["target"]["fence_list"]).read().entries


def own_hosts(chain: Chain, **hosts: dict[str, object]) -> Path:
    """One more inventory file beside the lab's own."""
    path = Path(chain.inventory) / "more.yml"
    path.write_text(yaml.safe_dump({"libreha_hosts": {"hosts": hosts}}))
    return path


def test_a_wrong_policy_or_inventory_is_refused_with_its_place(chain: Chain) -> None:
    policy = chain.inventory_policy()
    refused(chain, chain.play("monitor", libreha_policy={**policy, "confirm_aftr": 15}), "libreha_policy", "confirm_aftr", "confirm_after")
    refused(chain, chain.play("monitor", libreha_policy={**policy, "confirm_after": "soon"}), "libreha_policy.confirm_after", "soon")

    first = chain.variables("esx1")
    copied = {key: first[key] for key in ("libreha_username", "libreha_password", "libreha_ca_path")}
    more = own_hosts(chain, esx9={**copied, "ansible_host": first["ansible_host"], "libreha_initiator": "iqn.1998-01.com.vmware:esx9"})
    refused(chain, chain.play("monitor"), "hosts lists hostname and port", "twice")
    more.unlink()

    more = own_hosts(
        chain,
        esx9={**copied, "ansible_host": first["ansible_host"].rpartition(".")[0] + ".99", "libreha_initiator": first["libreha_initiator"]},
    )
    refused(chain, chain.play("monitor"), first["libreha_initiator"], "esx1", "esx9")
    more.unlink()

    refused(chain, chain.play("failover", host="esx7"), "esx1, esx2, esx3")
    refused(chain, chain.play("failover", host="esx1", confirmed_off="esx1"), "reason")


def test_a_state_database_that_cannot_be_used_stops_the_run_before_anything_is_changed(chain: Chain, tmp_path: Path) -> None:
    lab("fault", "esx1", "hang")
    refused(chain, chain.play("monitor", libreha_state_url="postgresql+psycopg://ha:secret@127.0.0.1:9/ha"), "127.0.0.1", "Remedy")
    refused(chain, chain.play("monitor", libreha_state_url="sqlite:////proc/none/state.db"), "/proc/none", "Remedy")
    disk = tmp_path / "full"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], check=True)
    try:
        filled = subprocess.run(["dd", "if=/dev/zero", "of=%s" % (disk / "filler"), "bs=4k"], capture_output=True, check=False)
        assert filled.returncode != 0, "the disk is not full"
        refused(chain, chain.play("monitor", libreha_state_url="sqlite:///%s/state.db" % disk), "full", "Remedy")
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    lab("heal", "esx1")


@pytest.mark.prove
def test_a_storage_server_that_is_down_or_admits_anybody_stops_the_failover(chain_of: MakeChain) -> None:
    chain = chain_of("--hosts", "2", "--vms", "2")
    before = chain.where()
    control = str(chain.storage_arguments()["control_port"])
    admit = ["tgtadm", "-C", control, "--lld", "iscsi", "--op", "bind", "--mode", "target", "--tid", "1", "-I", "ALL"]
    subprocess.run(admit, check=True)
    lab("fault", "esx1", "kill")
    open_to_all = chain.play("monitor")
    assert open_to_all.code != 0 and "critical alarm: a fence at san1 proves nothing" in open_to_all.log, open_to_all.log
    assert "admits anybody" in alarms(chain)
    assert not chain.journal("step")

    lab("fault", "target", "off")
    down = chain.play("monitor")
    assert down.code != 0 and "critical alarm: storage server san1" in down.log, down.log
    assert "does not serve" in alarms(chain) or "could not be asked" in alarms(chain)
    assert not chain.journal("step")
    assert [name for name, host in before.items() if host == "esx1"] == chain.vms_of("esx1")


@pytest.mark.prove
def test_a_vm_with_a_disk_on_a_local_datastore_is_reported_from_the_first_look(chain_of: MakeChain) -> None:
    chain = chain_of("--hosts", "2", "--vms", "2", look=False)
    (name,) = chain.vms_of("esx1")
    vmx = chain.folder / "lab" / "datastore" / name / ("%s.vmx" % name)
    found = chain.variables("esx1")
    user, password = found["libreha_username"], found["libreha_password"]
    access = Connection("esx1", found["ansible_host"], user, password, found["libreha_port"], ca_path=found["libreha_ca_path"])
    with open_hypervisor(access) as esx1:
        (vm,) = (item for item in esx1.virtual_machines() if item.name == name)
        assert esx1.power_off([vm.moid], 20) == {vm.moid: ""}
        esx1.unregister(vm.moid)
        disk = {"present": "TRUE", "deviceType": "scsi-hardDisk", "fileName": "/vmfs/volumes/local1/data/data.vmdk"}
        vmx.write_text(vmx.read_text() + "".join('scsi0:1.%s = "%s"\n' % setting for setting in disk.items()))
        moid = esx1.register(vm.path, name)
        esx1.power_on(moid, 30)
        assert [item.power for item in esx1.virtual_machines() if item.name == name] == [Power.ON]
    chain.play("site")
    assert "%s cannot be failed over" % name in alarms(chain)
    assert "local" in alarms(chain)
    lab("fault", "esx1", "kill")
    run = chain.play("monitor")
    assert run.code != 0, "a VM that should run is down"
    assert "%s is down" % name in run.log
    assert not chain.journal("step")
