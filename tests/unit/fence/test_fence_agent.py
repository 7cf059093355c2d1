"""Power fencing through real fence agents: fence_ipmilan at an IPMI simulator, fence_redfish at a Redfish emulator."""

from __future__ import annotations

import os
import socket
import stat
import threading
from pathlib import Path

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils import clock
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Power
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LeaseLost, LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.fence.agent_metadata import read_metadata
from ansible_collections.libreha.vmware.plugins.module_utils.fence.agent_process import mask
from ansible_collections.libreha.vmware.plugins.module_utils.fence.fence_agent import FenceAgentPower
from ansible_collections.libreha.vmware.plugins.module_utils.fence.interface import PowerDevice
from ansible_collections.libreha.vmware.plugins.module_utils.fence.power_state import fence_power, read_power
from ansible_collections.libreha.vmware.plugins.module_utils.lease.deadman import Permit
from ipmi_simulator import PASSWORD
from redfish_emulator import ONE

WAIT = 90.0  # the Redfish emulator's machines need a second or two to change


def permit(seconds: float = 300.0) -> Permit:
    return Permit(clock.now().seconds + seconds)


def agent(name: str, **changes: object) -> PowerDevice:
    given = {"name": "esx1", "address": "127.0.0.1", "username": "ha", "password": PASSWORD, "timeout": 15.0}
    return PowerDevice(**{**given, "driver": "fence_agent", "agent": name, **changes})  # type: ignore[arg-type]


def said(device: PowerDevice, state: str = "") -> str:
    """The error, which never holds the password and always a remedy."""
    with pytest.raises(LibrehaError) as error:
        fence_power([device], state, permit(), timeout=10.0) if state else read_power([device])
    text = str(error.value)
    assert error.value.host == "esx1" and error.value.remedy
    assert device.password not in text and device.password not in repr(error.value.details)
    return text


# the whole way, by both agents


def test_ipmi_switches_off_on_and_cycles_and_each_is_proved(ipmi):
    off = fence_power([ipmi.device()], "off", permit(), timeout=WAIT)
    assert (off["changed"], off["power_before"], off["power"], off["confirmed_off"], off["level"]) == (True, "on", "off", True, 1)
    assert not ipmi.is_on
    again = fence_power([ipmi.device()], "off", permit(), timeout=WAIT)
    assert (again["changed"], again["confirmed_off"]) == (False, True)
    assert fence_power([ipmi.device()], "on", permit(), timeout=WAIT)["power"] == "on"
    cycled = fence_power([ipmi.device()], "cycled", permit(), timeout=WAIT)
    assert (cycled["power"], cycled["confirmed_off"]) == ("on", True)
    assert ipmi.asked == ["0", "1", "0", "1"]


def test_redfish_by_its_fence_agent(start_emulator):
    emulator = start_emulator(ONE)
    options = {"ipport": str(emulator.port), "systems_uri": "/redfish/v1/Systems/%s" % ONE, "ssl_insecure": "1"}
    device = agent("fence_redfish", password=emulator.bmc().password, options=options)
    off = fence_power([device], "off", permit(), timeout=WAIT)
    assert (off["power_before"], off["power"], off["confirmed_off"]) == ("on", "off", True)
    assert fence_power([device], "on", permit(), timeout=WAIT)["power"] == "on"


def test_check_mode_only_reads(ipmi):
    result = fence_power([ipmi.device()], "off", permit(), timeout=WAIT, check_mode=True)
    assert result["changed"] and not result["confirmed_off"] and result["diff"]["after"] == {"power": "off"}
    assert ipmi.asked == []


def test_an_agent_does_not_tell_whose_machine_it_switches(ipmi):
    assert "identity unproven" in read_power([ipmi.device()])["reason"]


def test_what_an_agent_says_of_its_success_is_not_believed(ipmi):
    """The BMC accepts the order and the machine ignores it."""
    ipmi.stick()
    text = said(ipmi.device(options={"power_timeout": "1"}), "off")
    assert "fence_ipmilan 127.0.0.1" in text
    assert ipmi.asked[0] == "0" and ipmi.is_on


# what is given wrongly, and what does not answer


def test_a_wrong_password_is_an_error_without_it(ipmi):
    assert "failed (exit code 1)" in said(ipmi.device(password="wrong horse"))


def test_a_wrong_port_is_given_up_in_time(ipmi):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        began = clock.now().seconds
        device = ipmi.device(timeout=2.0, options={"ipport": str(silent.getsockname()[1])})
        assert "was ended after 2 s without an answer" in said(device)
        assert clock.now().seconds - began < 10.0


def test_an_agent_that_is_not_installed_is_named_with_its_package():
    text = said(agent("fence_ipmilann"))
    assert "fence_ipmilann is not installed" in text and "there is fence_ipmilan" in text and "fence-agents" in text


def test_only_fence_agents_are_run():
    assert "is no name of a fence agent" in said(agent("rm"))


@pytest.mark.parametrize(
    ("options", "said_"),
    [
        ({"lanpluss": "1"}, "fence_ipmilan has no option lanpluss; did you mean lanplus"),
        ({"lanplus": "perhaps"}, "bmc.options.lanplus of fence_ipmilan is neither true nor false"),
        ({"privlvl": "root"}, "bmc.options.privlvl of fence_ipmilan is none of callback, user, operator, administrator"),
        ({"ipport": "ipmi"}, "bmc.options.ipport of fence_ipmilan is no whole number"),
        ({"action": "off"}, "bmc.options.action cannot be used"),
        ({"help": "1"}, "bmc.options.help cannot be used"),
        ({"verbose": "1"}, "the agent would write passwords to its log"),
        ({"cipher": "3\naction=off"}, "bmc.options.cipher of fence_ipmilan holds a line break"),
        ({"ipmitool_path": "/no/ipmitool"}, "needs ipmitool, which is not at /no/ipmitool"),
    ],
)
def test_a_wrong_option_is_named_before_the_device_is_asked(ipmi, options, said_):
    ipmi.stop()  # nothing is there to be asked
    assert said_ in said(ipmi.device(options=options), "off")


def test_a_missing_option_is_named():
    assert "fence_apc needs the option plug" in said(agent("fence_apc"))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("fence_scsi", "fences a path to storage or network and not power"),
        ("fence_brocade", "fences a path to storage or network and not power"),
        ("fence_kdump", "cannot read the power"),
        ("fence_rcd_serial", "cannot read the power"),
    ],
)
def test_an_agent_that_proves_no_power_off_is_refused(name, why):
    assert why in said(agent(name), "off")


def test_an_action_that_an_agent_lacks_is_refused_before_anything_is_changed(tmp_path):
    device = agent(parrot(tmp_path, "off", "reboot", "status"))
    assert "does not know the action on, only off, reboot, status" in said(device, "cycled")
    assert not (tmp_path / "asked").exists() or "action=off" not in (tmp_path / "asked").read_text()


# secrets


def parrot(folder: Path, *actions: str) -> str:
    """An agent that repeats on its error output all that it was given, as real ones do in their warnings."""
    known = "".join(
        '<parameter name="%s"><content type="string"/></parameter>' % name for name in ("action", "ip", "username", "password", "token")
    )
    described = "".join('<action name="%s"/>' % action for action in actions)
    xml = '<resource-agent name="p"><parameters>%s</parameters><actions>%s</actions></resource-agent>' % (known, described)
    path = folder / "fence_parrot"
    path.write_text(
        "#!/bin/sh\nif [ $# -gt 0 ]; then echo '%s'; exit 0; fi\ntee -a %s/asked >&2\nexit ${LIBREHA_PARROT_EXIT:-1}\n" % (xml, folder)
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_what_an_agent_repeats_is_shown_without_secrets(tmp_path):
    device = agent(parrot(tmp_path, "on", "off", "reboot", "status"), secret_options={"token": "open sesame"})
    text = said(device)
    assert "open sesame" not in text and "token=********" in text
    assert "password=%s" % PASSWORD in (tmp_path / "asked").read_text()  # the agent itself got it


def test_secrets_are_masked_in_every_form():
    assert mask("a 'b\"c' d b%22c e b\\\"c", ['b"c']) == "a ******** d ******** e ********"


def test_neither_arguments_nor_environment_hold_the_password(ipmi, tmp_path):
    """ipmitool overwrites the argument of -P some moments after it has begun: what counts is what it is begun with."""
    recorder = tmp_path / "ipmitool"
    recorder.write_text('#!/bin/sh\n{ echo "$0" "$@"; env; } >>%s/seen\nexec /usr/bin/ipmitool "$@"\n' % tmp_path)
    recorder.chmod(0o755)
    seen: set[bytes] = set()
    over = threading.Event()
    watcher = threading.Thread(target=_watch_processes, args=(seen, over))
    watcher.start()
    fence_power([ipmi.device(options={"ipmitool_path": str(recorder)})], "off", permit(), timeout=WAIT)
    over.set()
    watcher.join()
    began_with = (tmp_path / "seen").read_bytes()
    assert b"chassis power off" in began_with and b"-f /proc/" in began_with
    assert any(b"fence_ipmilan" in text for text in seen) and any(b"ipmitool" in text for text in seen)
    assert PASSWORD.encode() not in began_with
    assert not [text for text in seen if PASSWORD.encode() in text]


def _watch_processes(seen: set[bytes], over: threading.Event) -> None:
    while not over.wait(0.005):
        for pid in filter(str.isdigit, os.listdir("/proc")):
            for name in ("cmdline", "environ"):
                try:
                    seen.add(Path("/proc", pid, name).read_bytes())
                except OSError:  # it has just ended
                    continue


@pytest.mark.parametrize("password", [" blanks ", '"quoted"', "a=b#c", "ü"])
def test_a_strange_password_arrives_as_it_is(tmp_path, password):
    """By fencing.py's own reading, which strips blanks and quotation marks."""
    reader = (
        "import sys; sys.path.insert(0, '/usr/share/fence'); import fencing; print(fencing._parse_input_stdin(['passwd'])['--password'])"
    )
    path = tmp_path / "fence_reader"
    path.write_text('#!/bin/sh\ngrep -v ^action= | /usr/bin/python3 -c "%s" >%s/got\nexit 0\n' % (reader, tmp_path))
    path.chmod(0o755)
    from ansible_collections.libreha.vmware.plugins.module_utils.fence.agent_process import run_agent

    assert run_agent(str(path), {"passwd": password, "action": "status"}, 20.0).code == 0
    assert (tmp_path / "got").read_text() == password + "\n"


# the end of the time to act


def test_no_agent_is_started_without_time_left(ipmi):
    with pytest.raises(LeaseLost):
        fence_power([ipmi.device()], "off", permit(-1.0), timeout=WAIT)
    assert ipmi.asked == []


def test_waiting_for_the_power_to_go_may_outlast_the_lease(ipmi):
    """The agent is ended with the lease, but it had asked by then: what the reads say counts."""
    fence = FenceAgentPower(ipmi.device())
    read_metadata("fence_ipmilan")
    fence.permit = permit(300.0)
    real = fence.switch

    def late(wanted: Power, seconds: float) -> None:
        real(wanted, seconds)
        fence.permit = permit(-1.0)

    fence.switch = late  # type: ignore[method-assign]
    fence.bring(Power.OFF, WAIT)
    assert fence.power() is Power.OFF
