"""Acts end with their deadline: the timer in the kernel, the check before each act, and the options that set them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.act.deadman import Deadman, Permit
from ansible_collections.libreha.vmware.plugins.module_utils.arguments.deadline import DEFAULT, read_permit
from ansible_collections.libreha.vmware.plugins.module_utils.decide.instant import Instant
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LeaseLost, LibrehaError

ROOT = Path(__file__).resolve().parents[3]
NOW = Instant("boot", 1000.0)


def child(code: str) -> subprocess.Popen[bytes]:
    script = "import sys, time; sys.path.insert(0, '.cache/collections')\n"
    script += "from ansible_collections.libreha.vmware.plugins.module_utils.act.deadman import Deadman\ndeadman = Deadman()\n"
    process = subprocess.Popen([sys.executable, "-c", script + code], cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"armed\n"
    return process


def test_a_process_that_sleeps_through_its_deadline_executes_not_one_more_instruction():
    process = child("deadman.arm(0.5); print('armed', flush=True)\nwhile True: print(time.monotonic(), flush=True)")
    process.send_signal(signal.SIGSTOP)
    time.sleep(0.8)
    woken = time.monotonic()
    process.send_signal(signal.SIGCONT)
    said = process.stdout.read().split()
    assert process.wait(20) == -signal.SIGALRM
    whole = [float(number) for number in said[:-1]]  # the last one may be cut off
    assert all(number < woken for number in whole)


def test_a_disarmed_process_lives_on():
    process = child("deadman.arm(0.2); deadman.disarm(); print('armed', flush=True); time.sleep(0.6); print('alive')")
    assert process.communicate(timeout=20)[0] == b"alive\n" and process.returncode == 0


def test_a_handler_or_a_mask_set_before_does_not_keep_it_alive():
    code = "import signal; signal.signal(signal.SIGALRM, signal.SIG_IGN); signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])\n"
    process = child(code + "deadman.arm(0.2); print('armed', flush=True); time.sleep(20)")
    assert process.wait(20) == -signal.SIGALRM


def test_arming_without_time_left_is_refused():
    with pytest.raises(LeaseLost):
        Deadman().arm(0)


def test_an_act_after_the_deadline_is_refused_and_named():
    permit = Permit(999.0, now=lambda: NOW, host="esx1")
    with pytest.raises(LeaseLost, match="esx1: .*1.0 s ago: revoke"):
        permit.check("revoke")
    Permit(1001.0, now=lambda: NOW).check("revoke")


@pytest.mark.parametrize(
    ("options", "deadline"),
    [
        ({}, 1000.0 + DEFAULT),
        ({"lease_remaining": 20.0}, 1020.0),
        ({"deadline": {"boot_id": "boot", "seconds": 1015.0}}, 1015.0),
        ({"deadline": {"boot_id": "boot", "seconds": 1015.0}, "lease_remaining": 20.0}, 1015.0),
        ({"deadline": {"boot_id": "boot", "seconds": 1015.0}, "lease_remaining": 5.0}, 1005.0),
        ({"deadline": {"boot_id": "another", "seconds": 9.0}, "lease_remaining": 5.0}, 1005.0),
    ],
)
def test_the_earlier_of_deadline_and_lease_counts(options, deadline):
    assert read_permit(options, now=lambda: NOW).deadline == deadline


@pytest.mark.parametrize("deadline", [{"boot_id": "another", "seconds": 9.0}, {"seconds": 9.0}, {"boot_id": "boot", "seconds": "soon"}])
def test_a_deadline_that_cannot_be_compared_is_refused(deadline):
    with pytest.raises(LibrehaError):
        read_permit({"deadline": deadline}, now=lambda: NOW)
