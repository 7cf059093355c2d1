"""Guests that hang, and VMs that an operator wants stopped: from the guest to the reset and back to its first record."""

from __future__ import annotations

from typing import Any

import pytest

from .chain import Chain, Run, lab
from .conftest import MakeChain
from .test_faults import alarms

pytestmark = pytest.mark.lab

RUNS = 20  # of the monitor, far more than any of these needs
MONITORING = {"response": "reset", "failure_interval": 5, "io_interval": 40, "min_uptime": 5, "max_resets": 1, "reset_window": 3600}

# No host fails here: times that a busy machine keeps, so that each run is over after its two looks.
PATIENT = {"io_stale": 40, "confirm_after": 60, "fail_on_alarm": "none"}  # a guest that hangs is a critical alarm


def acts(chain: Chain) -> list[tuple[str, str, str, Any]]:
    """(VM, act, phase, whether it went well) of all that was done to VMs."""
    found = [entry["data"] for entry in chain.journal("power")]
    return [(data["vm"].rpartition("/")[2].removesuffix(".vmx"), data["act"], data["phase"], data.get("ok")) for data in found]


def runs_until(chain: Chain, said: str, *options: str, **extra: Any) -> Run:
    """The monitor is run, as a scheduler does, until it says so."""
    for _run in range(RUNS):
        run = chain.play("monitor", *options, **extra)
        assert run.code == 0, run.log
        if said in run.log:
            return run
    raise AssertionError("after %d runs nobody says %r: %s" % (RUNS, said, run.log))


@pytest.mark.prove
def test_a_guest_that_hangs_is_reset_once_and_no_other(chain_of: MakeChain) -> None:
    chain = chain_of("--hosts", "2", "--vms", "4", "--no-tools", "vm02", vm_monitoring=MONITORING, **PATIENT)
    for vm, fault in (("vm01", "guest-hang"), ("vm02", "guest-hang"), ("vm03", "tools-gone")):
        lab("fault", vm, fault)
    seen = runs_until(chain, "reset esx1: guests on esx1 hang; vm01 on esx1 has had no heartbeat", libreha_mode="observe")
    assert "(mode: observe, not carried out)" in seen.log
    chain.play("monitor", "--check")
    assert acts(chain) == []

    done = runs_until(chain, "vm01 on esx1 was reset")
    assert acts(chain) == [("vm01", "reset", "before", None), ("vm01", "reset", "after", True)]
    assert done.changed == 1, done.log
    quiet = chain.play("monitor")
    assert (quiet.code, quiet.changed) == (0, 0), quiet.log
    # vm01 writes again, vm03 never stopped; vm02 still hangs, so nobody touched it.
    problems = [(found["vm"], found["problem"]) for found in chain.referee()["problems"]]
    assert [vm for vm, problem in problems if "has written nothing" in problem] == [vm for vm, _problem in problems] == ["vm02"], problems

    lab("fault", "vm01", "guest-hang")
    runs_until(chain, "not reset: it has been reset 1 times within 3600 s")
    assert "not reset: it has been reset 1 times within 3600 s" in alarms(chain)
    assert len(acts(chain)) == 2, acts(chain)
    for vm in ("vm01", "vm02", "vm03"):
        lab("heal", vm)
    assert chain.play("monitor").code == 0
    assert "vm01" not in alarms(chain)
    assert chain.referee()["ok"], chain.referee()


@pytest.mark.prove
def test_a_vm_that_an_operator_wants_stopped_is_shut_down_by_its_guest_or_switched_off(chain_of: MakeChain) -> None:
    chain = chain_of("--hosts", "2", "--vms", "4", "--no-tools", "vm02", **PATIENT)
    commands = [{"kind": "stop", "subject": vm, "by": "the test", "reason": "stop test"} for vm in ("vm01", "vm02")]
    done = chain.play("monitor", libreha_commands=commands)
    assert (done.code, done.changed) == (0, 1), done.log
    said = "\n".join(entry["text"] for entry in chain.journal("power"))
    assert "vm01 on esx1 was shut down by its guest" in said
    assert "vm02 on esx2 was switched off" in said
    again = chain.play("monitor", libreha_commands=commands)
    assert (again.code, again.changed) == (0, 0), again.log
    verdict = lab("referee", "--off", "vm01,vm02", check=False)
    assert verdict["ok"], verdict
