"""The module esxi_settings on a host as installed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.entry import esxi_iscsi, esxi_settings
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError
from real_hosts import TARGET, Host, StorageServer

WISH: dict[str, Any] = {
    "autostart": True,
    "ntp_servers": ["192.0.2.1", "192.0.2.2"],
    "options": {"Syslog.global.logHost": "udp://192.0.2.10:514", "Misc.APDTimeout": "60", "Misc.APDHandlingEnable": 1},
    "path_policy": "round_robin",
    "targets": [TARGET],
}


@pytest.fixture
def run(bare_host: Callable[..., Host], ca_path: Path, storage: StorageServer) -> Callable[..., dict[str, Any]]:
    host = bare_host()
    reach = {**host.parameters, "ca_path": str(ca_path)}
    address, port = storage.portal.rsplit(":", 1)
    given = {"purge": False, "rescan": False, "require_login": True, "rescan_timeout": 30.0, "login_timeout": 5.0}
    esxi_iscsi.run({**reach, **given, "send_targets": [{"address": address, "port": int(port)}]}, False)
    nothing = {"autostart": None, "ntp_servers": None, "options": {}, "path_policy": None, "targets": []}
    return lambda check_mode=False, **wish: esxi_settings.run({**reach, **nothing, **wish}, check_mode)


def test_what_is_described_is_set_once(run: Callable[..., dict[str, Any]]) -> None:
    would = run(check_mode=True, **WISH)
    assert run(check_mode=True, **WISH) == would, "check mode changed something"
    done = run(**WISH)
    assert done == would
    assert done["steps"][:-1] == [
        "switch autostart on",
        "start the NTP service, now and with the host",
        "take the time from 192.0.2.1, 192.0.2.2",
        "set Misc.APDTimeout to 60",
        "set Syslog.global.logHost to 'udp://192.0.2.10:514'",
    ]
    assert done["steps"][-1].startswith("use VMW_PSP_RR for the paths of naa.")
    again = run(**WISH)
    assert (again["changed"], again["diff"]["before"], again["diff"]["after"]) == (False, done["diff"]["after"], done["diff"]["after"])
    assert run(autostart=False)["steps"] == ["switch autostart off"]


def test_nothing_described_nothing_changed(run: Callable[..., dict[str, Any]]) -> None:
    assert run()["changed"] is False


def test_options_that_cannot_be_set_stop_the_run_before_the_first_change(run: Callable[..., dict[str, Any]]) -> None:
    options = {"Misc.APDTimeout": "soon", "Misc.NoSuchThing": 1, "Syslog.global.logHost": "udp://192.0.2.10:514"}
    with pytest.raises(LibrehaError, match="APDTimeout is 'soon'.*NoSuchThing is no option of this host"):
        run(autostart=True, options=options)
    assert run(autostart=True, check_mode=True)["changed"] is True


def test_a_path_policy_needs_targets(run: Callable[..., dict[str, Any]]) -> None:
    with pytest.raises(LibrehaError, match="no targets"):
        run(path_policy="round_robin")
    assert run(path_policy="round_robin", targets=["iqn.2026-01.test:another"])["changed"] is False
