"""What the chain does about each fault of a host: from the cable to the referee's verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

from .chain import Chain, Run, lab
from .conftest import MakeChain

pytestmark = pytest.mark.lab


def moved(chain: Chain, run: Run, host: str = "esx1", alarm: str = "") -> None:
    """Every VM of *host* runs elsewhere, and nothing bad happened on the way. *alarm* is a critical one that stands after it."""
    ends_as_it_stands(run, alarm)
    verdict = chain.referee()
    assert verdict["ok"], verdict
    for name in chain.vms_of(host):
        assert verdict["vms"][name]["host"] not in (None, host), verdict["vms"][name]
    for vm in verdict["vms"].values():
        assert (vm["records_lost"], vm["overlapping_writers"], vm["overlapping_execution_s"]) == (0, 0, 0.0), vm


def ends_as_it_stands(run: Run, alarm: str) -> None:
    assert (run.code != 0) is bool(alarm), run.log
    assert not alarm or "critical alarm: %s" % alarm in run.log, run.log


def unmoved(chain: Chain, run: Run, before: dict[str, str | None], alarm: str = "") -> None:
    ends_as_it_stands(run, alarm)
    assert chain.where() == before
    assert not chain.journal("step"), "a step of a failover was made"
    assert not chain.module("iscsi_session_info", chain.storage_arguments())["storage"]["fences"]


def alarms(chain: Chain) -> str:
    return chain.alarms()


@pytest.mark.prove
def test_a_hung_host_with_a_bmc_is_switched_off_and_its_vms_move(chain_of: MakeChain) -> None:
    chain = chain_of("--hosts", "3", "--vms", "6")
    lab("fault", "esx1", "hang")
    moved(chain, chain.play("monitor"))
    power = chain.module("host_power_info", {"host": "esx1", "bmc": [chain.variables("esx1")["libreha_bmc"]]})
    assert power["power"] == "off"


def test_a_hung_host_without_a_bmc_cannot_write_one_record_when_it_wakes_up(chain_of: MakeChain) -> None:
    chain = chain_of("--hosts", "3", "--vms", "6", "--no-bmc")
    lab("fault", "esx1", "hang")
    moved(chain, chain.play("monitor"), alarm="network duplicate possible")
    assert "network duplicate possible" in "\n".join(entry["text"] for entry in chain.journal("alarm"))
    lab("heal", "esx1")
    later = chain.play("monitor")
    assert later.code == 0, later.log
    verdict = chain.referee()
    assert {vm["overlapping_writers"] for vm in verdict["vms"].values()} == {0}, verdict
    assert {vm["records_lost"] for vm in verdict["vms"].values()} == {0}, verdict
    uptime = chain.module("host_health_info", {"hosts": [connection(chain, "esx1")]})["hosts"][0]["uptime"]
    refused = chain.module(
        "iscsi_fence",
        {**chain.storage_arguments(), "state": "unfenced", "host": "esx1", "token": 10**6, "uptime": uptime, "uptime_age": 1},
        check=False,
    )
    assert refused["failed"], "let in without a restart"
    assert "esx1" in refused["msg"]
    assert "restart" in refused["msg"] or "fresh start" in refused["msg"], refused["msg"]


@pytest.mark.prove
def test_a_host_that_loses_its_storage_is_fenced_and_its_vms_move(chain_of: MakeChain) -> None:
    chain = chain_of("--hosts", "3", "--vms", "6")
    lab("fault", "esx1", "storage-cut")
    moved(chain, chain.play("monitor"))


@pytest.mark.prove
def test_a_host_whose_power_is_off_is_failed_over_without_confirm_time(chain_of: MakeChain) -> None:
    chain = chain_of("--hosts", "3", "--vms", "6", confirm_after=300)
    lab("fault", "esx1", "power-off")
    moved(chain, chain.play("monitor"))
    assert [entry for entry in chain.journal("verdict") if entry["data"].get("row") == 2]


@pytest.mark.prove
def test_what_is_no_dead_host_moves_nothing_and_says_why(chain_of: MakeChain) -> None:
    """Partition with the default policy, the target restarted, a wrong password, and every host unreachable at once."""
    chain = chain_of("--hosts", "3", "--vms", "6")
    before = chain.where()

    lab("fault", "esx1", "partition")
    unmoved(chain, chain.play("monitor"), before, alarm="esx1 isolated")
    assert "esx1 isolated" in alarms(chain)
    assert "leave_running" in alarms(chain)
    lab("heal", "esx1")

    own = Path(chain.inventory) / "host_vars" / "esx2.yml"
    own.parent.mkdir()
    own.write_text("libreha_password: wrong\n")
    unmoved(chain, chain.play("monitor"), before)
    assert "esx2 lives but refuses the login" in alarms(chain)
    own.unlink()

    lab("fault", "target", "restart")
    unmoved(chain, chain.play("monitor"), before)

    for host in ("esx1", "esx2", "esx3"):
        lab("fault", host, "partition")
        lab("fault", host, "storage-cut")
    held = chain.play("monitor")
    assert held.code != 0 and "critical alarm: " in held.log, held.log
    assert not chain.journal("step")
    assert not chain.module("iscsi_session_info", chain.storage_arguments())["storage"]["fences"]
    assert [entry for entry in chain.journal("alarm") if "brake" in entry["key"] or "held" in entry["key"]] or "target" in alarms(chain)


def connection(chain: Chain, host: str) -> dict[str, object]:
    found = chain.variables(host)
    return {
        "name": host,
        "hostname": found["ansible_host"],
        "port": found["libreha_port"],
        "username": found["libreha_username"],
        "password": found["libreha_password"],
        "ca_path": found["libreha_ca_path"],
    }
