"""Everything is shut down in order, as on a UPS's word, and started again."""

from __future__ import annotations

import pytest

from .chain import lab, wait_for
from .conftest import MakeChain

pytestmark = [pytest.mark.lab, pytest.mark.prove]


def states() -> dict[str, str]:
    return {host["name"]: host["state"] for host in lab("status")["hosts"]}


def test_vms_then_hosts_go_down_and_all_comes_back_without_a_fence(chain_of: MakeChain) -> None:
    chain = chain_of("--hosts", "2", "--vms", "4", vms={"vm01": {"start_after": ["vm02"]}})
    before, ran = states(), chain.where()
    other = chain.play("shutdown", cluster="another", reason="on battery")
    assert other.code != 0 and "-e cluster=san1" in other.log
    plan = chain.play("shutdown", "--check", cluster="san1", reason="on battery")
    assert (plan.code, plan.changed) == (0, 0), plan.log
    assert "waits until vm01 is down" in plan.log
    assert (states(), chain.where()) == (before, ran)

    done = chain.play("shutdown", cluster="san1", reason="on battery")
    assert done.code == 0, done.log
    assert set(states().values()) == {"off"} and not any(chain.where().values())
    stopped = [entry["text"] for entry in chain.journal("power")]
    when = {name: [index for index, text in enumerate(stopped) if name in text] for name in ("vm01", "vm02")}
    assert max(when["vm01"]) < min(when["vm02"]), stopped
    assert len(chain.journal("shutdown")) == 2

    for host in before:
        lab("power", host, "on")
    wait_for("the hosts and their VMs", lambda: chain.play("monitor").code == 0 and chain.where() == ran, every=1)
    assert states() == before and not chain.journal("fence")
    assert chain.referee()["ok"], chain.referee()
