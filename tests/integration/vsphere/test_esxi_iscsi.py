"""The module esxi_iscsi on hosts as installed, with a real target: discovery, logins and CHAP are real."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.access import HostAccess
from ansible_collections.libreha.vmware.plugins.module_utils.act.rejoin import REAL
from ansible_collections.libreha.vmware.plugins.module_utils.entry import esxi_iscsi
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError
from real_hosts import TARGET, Host, StorageServer, until

SECRET, MUTUAL = "secret-of-the-host", "secret-of-the-san"


@dataclass
class Bench:
    host: Host
    ca_path: Path
    storage: StorageServer

    @property
    def portal(self) -> dict[str, Any]:
        address, port = self.storage.portal.rsplit(":", 1)
        return {"address": address, "port": int(port)}

    def run(self, check_mode: bool = False, **given: Any) -> dict[str, Any]:
        defaults = {"purge": False, "rescan": False, "require_login": True, "rescan_timeout": 30.0, "login_timeout": 5.0}
        return esxi_iscsi.run({**self.host.parameters, "ca_path": str(self.ca_path), **defaults, **given}, check_mode)

    def require_chap(self, mutual: bool = False) -> None:
        self.storage.admin("--op", "new", "--mode", "account", "--user", self.host.initiator, "--password", SECRET)
        self.storage.admin("--op", "bind", "--mode", "account", "--tid", "1", "--user", self.host.initiator)
        if mutual:
            self.storage.admin("--op", "new", "--mode", "account", "--user", "san", "--password", MUTUAL)
            self.storage.admin("--op", "bind", "--mode", "account", "--tid", "1", "--user", "san", "--outgoing")


def chap(**given: Any) -> dict[str, Any]:
    return {
        "level": "required",
        "user": None,
        "secret": SECRET,
        "mutual_user": None,
        "mutual_secret": None,
        "update_secret": "on_create",
        **given,
    }


@pytest.fixture
def bench(bare_host: Callable[..., Host], ca_path: Path, storage: StorageServer) -> Bench:
    return Bench(bare_host(), ca_path, storage)


def test_from_installed_to_logged_in_and_a_second_run_changes_nothing(bench: Bench) -> None:
    bench.require_chap(mutual=True)
    wish = {
        "initiator": bench.host.initiator,
        "vmkernel_ports": ["vmk1", "vmk2"],
        "chap": chap(mutual_user="san", mutual_secret=MUTUAL),
        "send_targets": [bench.portal],
    }
    would = bench.run(check_mode=True, **wish)
    assert bench.run(check_mode=True, **wish) == would, "check mode changed something"
    assert bench.storage.sessions(bench.host.initiator) == 0
    done = bench.run(**wish)
    assert (done["changed"], done["steps"], done["logged_in"]) == (True, would["steps"], [TARGET])
    assert done["steps"] == [
        "enable the software iSCSI adapter",
        "name the initiator %s" % bench.host.initiator,
        "bind vmk1",
        "bind vmk2",
        "set CHAP",
        "add the send target %s" % bench.storage.portal,
    ]
    assert would["diff"]["after"] == {**done["diff"]["after"], "device": "(new)"}
    assert bench.storage.sessions(bench.host.initiator) == 1
    again = bench.run(**wish)
    assert (again["changed"], again["steps"], again["diff"]["before"]) == (False, [], again["diff"]["after"])
    assert not any(secret in json.dumps([would, done, again]) for secret in (SECRET, MUTUAL))


def test_nothing_is_written_to_a_lun_without_vmfs(bench: Bench) -> None:
    bench.run(send_targets=[bench.portal])
    until(lambda: bench.storage.sessions(bench.host.initiator) == 1, "the session")
    assert not any(bench.storage.content())


def test_a_wrong_secret_fails_the_run_and_the_remedy_works(bench: Bench) -> None:
    bench.require_chap()
    target = {"name": TARGET, **bench.portal}
    with pytest.raises(LibrehaError, match="no path that works to %s.*update_secret=always" % TARGET) as caught:
        bench.run(initiator=bench.host.initiator, chap=chap(secret="not-the-secret-1"), static_targets=[target])
    assert "not-the-secret-1" not in str(caught.value) + json.dumps(caught.value.details)
    with pytest.raises(LibrehaError, match="no path"):  # the host does not tell that it has another one
        bench.run(chap=chap(), static_targets=[target])
    done = bench.run(chap=chap(update_secret="always"), static_targets=[target])
    assert (done["changed"], done["steps"], done["logged_in"]) == (True, ["set the CHAP secret"], [TARGET])


def test_a_host_that_returns_is_given_its_new_secret_and_logs_in_with_it(bench: Bench) -> None:
    """What `rejoin` does before it lets the host in (act/rejoin.py)."""
    bench.require_chap()
    access = HostAccess(bench.host.connection(bench.ca_path), ())
    bench.run()
    assert not REAL.renew_secret(access, SECRET, lambda: None), "an adapter without CHAP has no secret to renew"
    target = {"name": TARGET, **bench.portal}
    with pytest.raises(LibrehaError, match="no path"):
        bench.run(initiator=bench.host.initiator, chap=chap(secret="the-retired-secret"), static_targets=[target])
    asked: list[str] = []
    assert REAL.renew_secret(access, SECRET, lambda: asked.append("may I?"))
    assert asked, "the lease was not asked"
    again = bench.run(chap=chap(), static_targets=[target], rescan=True)
    assert (again["steps"], again["logged_in"]) == ([], [TARGET])
    assert (again["adapter"]["chap"]["level"], again["adapter"]["chap"]["user"]) == ("required", bench.host.initiator)


def test_a_secret_is_not_renewed_where_the_target_proves_itself_as_well(bench: Bench) -> None:
    bench.require_chap(mutual=True)
    wish = {"initiator": bench.host.initiator, "send_targets": [bench.portal]}
    bench.run(**wish, chap=chap(mutual_user="san", mutual_secret=MUTUAL))
    with pytest.raises(LibrehaError, match="only together with the target's own"):
        REAL.renew_secret(HostAccess(bench.host.connection(bench.ca_path), ()), "another-secret-1", lambda: None)
    assert bench.run(rescan=True)["logged_in"] == [TARGET]


def test_the_default_of_the_chap_name_needs_a_name(bench: Bench) -> None:
    with pytest.raises(LibrehaError, match="the default of chap.user"):
        bench.run(chap=chap(), send_targets=[bench.portal])
    assert bench.run(check_mode=True)["steps"] == ["enable the software iSCSI adapter"], "something was changed before"


def test_a_target_that_does_not_know_the_mutual_secret_is_not_used(bench: Bench) -> None:
    bench.require_chap(mutual=True)
    with pytest.raises(LibrehaError, match="no path"):
        bench.run(
            initiator=bench.host.initiator,
            chap=chap(mutual_user="san", mutual_secret="another-than-the-san's"),
            send_targets=[bench.portal],
        )


def test_what_is_not_described_stays_unless_purged(bench: Bench) -> None:
    target = {"name": TARGET, **bench.portal}
    bench.run(send_targets=[bench.portal], static_targets=[target], vmkernel_ports=["vmk1"])
    kept = bench.run(send_targets=[], vmkernel_ports=["vmk2"])
    assert (kept["steps"], kept["undescribed"]) == (["bind vmk2"], ["vmk1", bench.storage.portal])
    purged = bench.run(send_targets=[], vmkernel_ports=["vmk2"], purge=True)
    assert purged["steps"] == ["unbind vmk1", "remove the send target %s" % bench.storage.portal]
    assert purged["adapter"]["static_targets"] == ["%s at %s" % (TARGET, bench.storage.portal)]  # not described: not purged
    assert purged["logged_in"] == [TARGET]


def test_an_initiator_that_is_logged_in_keeps_its_name(bench: Bench) -> None:
    bench.run(send_targets=[bench.portal])
    with pytest.raises(LibrehaError, match="logged in at .*it would have to be renamed to iqn.2026-01.test:other"):
        bench.run(initiator="iqn.2026-01.test:other")
    assert bench.run()["adapter"]["initiator"] == bench.host.initiator


def test_a_name_is_set_before_the_first_login(bench: Bench) -> None:
    bench.storage.admit("iqn.2026-01.test:new")
    done = bench.run(initiator="iqn.2026-01.test:NEW", send_targets=[bench.portal])
    assert done["steps"][:2] == ["enable the software iSCSI adapter", "name the initiator iqn.2026-01.test:new"]
    assert (bench.storage.sessions("iqn.2026-01.test:new"), bench.storage.sessions(bench.host.initiator)) == (1, 0)


def test_what_the_host_refuses_is_said_with_what_was_done_before(bench: Bench) -> None:
    with pytest.raises(LibrehaError, match="binding vmk7 to vmhba64.*done before: enable the software iSCSI adapter, bind vmk1") as caught:
        bench.run(vmkernel_ports=["vmk1", "vmk7"], send_targets=[bench.portal])
    assert caught.value.details == {"steps": ["enable the software iSCSI adapter", "bind vmk1"]}
    assert bench.run(vmkernel_ports=["vmk1"], send_targets=[bench.portal])["logged_in"] == [TARGET]


def test_a_login_that_was_lost_is_found_again_without_a_change(bench: Bench) -> None:
    bench.run(send_targets=[bench.portal])
    bench.storage.fence(bench.host.initiator)
    with pytest.raises(LibrehaError, match="no path that works"):
        bench.run(send_targets=[bench.portal])
    bench.storage.admit(bench.host.initiator)
    assert bench.run(send_targets=[bench.portal])["changed"] is False


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"chap": chap(secret="short")}, "chap.secret is not 12 to 255"),
        ({"chap": chap(mutual_user="san")}, "belong together"),
        ({"chap": chap(mutual_user="san", mutual_secret=SECRET)}, "chap.mutual_secret is chap.secret"),
        ({"chap": chap(level="preferred", mutual_user="san", mutual_secret=MUTUAL)}, "mutual CHAP needs required"),
        ({"chap": chap(level="prohibited")}, "there are a user or secrets"),
        ({"initiator": "esx1"}, "no iSCSI name"),
        ({"send_targets": [{"address": "192.0.2.1:3260", "port": 3260}]}, "send_targets.0..address"),
        (
            {"static_targets": [{"name": TARGET, "address": "192.0.2.1", "port": 0}, {"name": "x", "address": "a", "port": 1}]},
            "static_targets.1",
        ),
    ],
)
def test_a_description_that_makes_no_sense_is_refused_before_the_host_is_asked(given: dict[str, Any], says: str) -> None:
    with pytest.raises(LibrehaError, match=says):
        esxi_iscsi.read_wanted(given)
