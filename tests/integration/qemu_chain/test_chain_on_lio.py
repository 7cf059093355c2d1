"""The whole chain on the real thing: kernel LIO, the kernel's initiators, machines with clocks, memory and power of their own."""

from __future__ import annotations

import time

import pytest
from chain.chain import lab
from cluster import HANG_GUARD, SETTLE_SECONDS, Cluster

pytestmark = pytest.mark.qemu
NEW_SECRET = "a-new-secret-of-node1"
CLOCK_ERROR = 0.5  # s; what the referee orders and adds up is true to within this


def test_a_killed_guests_vms_come_back_on_the_other(cluster: Cluster) -> None:
    cluster.first_look()
    before = cluster.hosts.referee()
    assert sorted(vm["host"] for vm in before["vms"].values()) == ["esx1", "esx1", "esx2", "esx2"]
    assert max(cluster.hosts.clock_error_s(name) for name in ("esx1", "esx2")) < CLOCK_ERROR
    lab("fault", "node1", "kill")

    run = cluster.play("monitor")

    assert run.code == 0 and "network duplicate possible" in run.log, run.log  # nothing proves a host without a BMC off
    verdict = cluster.hosts.wait_ok(SETTLE_SECONDS)
    cluster.print_timeline(verdict)
    assert verdict["ok"], verdict
    for name, vm in verdict["vms"].items():
        assert vm["host"] == "esx2", name
        assert (vm["records_lost"], vm["overlapping_writers"], vm["overlapping_execution_s"]) == (0, 0, 0.0), vm
    moved = [name for name, vm in before["vms"].items() if vm["host"] == "esx1"]
    written = cluster.written_by("esx2")
    for name in moved:
        assert written[name], "nothing was written elsewhere"
        assert cluster.written_by("esx1")[name], "the test proves nothing: the killed host had written nothing"
    assert not [name for name in cluster.admitted() if name.endswith("node1")], "the dead host's initiator is still admitted"
    assert cluster.hosts.clock_error_s("esx2") < CLOCK_ERROR


def test_a_guest_that_hung_and_wakes_up_writes_nothing_and_is_let_in_after_a_restart(cluster: Cluster) -> None:
    first = cluster.play("site")
    assert first.code == 0, first.log
    lab("fault", "node1", "hang")
    run = cluster.play("monitor")
    assert run.code == 0 and "network duplicate possible" in run.log, run.log
    assert {vm["host"] for vm in cluster.hosts.wait_ok(SETTLE_SECONDS)["vms"].values()} == {"esx2"}
    assert "network duplicate possible" in "\n".join(entry["text"] for entry in cluster.journal() if entry["kind"] == "alarm")
    landed, alive = cluster.written_by("esx1"), cluster.heartbeat("esx1")

    lab("heal", "node1")
    cluster.guests.wait(["node1"])
    time.sleep(60)  # its kernel tries to log in every few seconds, with all that it had queued

    assert cluster.written_by("esx1") == landed
    assert cluster.heartbeat("esx1") == alive
    for vm in cluster.hosts.referee()["vms"].values():
        assert (vm["records_lost"], vm["overlapping_writers"]) == (0, 0), vm

    # It is let in again: after a restart, with a new secret, and empty.
    lab("fault", "node1", "kill")
    lab("heal", "node1", seconds=HANG_GUARD)
    cluster.set_chap_secret("node1", NEW_SECRET)
    (cluster.folder / "new-secret.yml").write_text("libreha_chap_secret: %s\n" % NEW_SECRET)
    back = cluster.play("rejoin", "-e", "host=esx1", "-e", "@%s" % (cluster.folder / "new-secret.yml"))
    assert back.code == 0, back.log
    texts = "\n".join(entry["text"] for entry in cluster.journal())
    assert "esx1 was let in again at storage: it has been running for" in texts
    assert "esx1 was not given its new CHAP secret" in texts, "what could not be set through its API is asked of a person"
    assert NEW_SECRET not in texts + back.log
    assert [name for name in cluster.admitted() if name.endswith("node1")]
    assert cluster.heartbeat("esx1") != alive, "it has no session"
    assert cluster.written_by("esx1") == landed, "what it had queued before the fence has landed"
    assert {vm["host"] for vm in cluster.hosts.wait_ok(SETTLE_SECONDS)["vms"].values()} == {"esx2"}
    registered = [vm.name for vm in cluster.registered_on("esx1")]
    assert registered == [], "what runs on esx2 is registered on esx1 as well"
