"""Unfencing on a real tgtd: only after a fresh start, in exactly the targets, and with a new CHAP secret."""

from __future__ import annotations

import subprocess

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils import clock
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError, StaleToken
from ansible_collections.libreha.vmware.plugins.module_utils.instant import Instant
from ansible_collections.libreha.vmware.plugins.module_utils.storage.fence_list import Entry
from ansible_collections.libreha.vmware.plugins.module_utils.storage.unfencing import FreshStart, unfence
from real_storage import ESX1, ESX2, HANG, TARGET

RESTARTED = FreshStart(force="esx1", reason="a test")


def let_in(storage, start=RESTARTED, token=8, **options):
    return unfence(storage.fencer(**options.pop("target", {})), "esx1", [], token, start, **options)


def test_the_saved_configuration_comes_back_byte_for_byte(storage):
    saved = storage.saved.read_bytes()
    storage.fence()
    assert storage.saved.read_bytes() != saved
    assert let_in(storage).changed
    assert storage.saved.read_bytes() == saved
    assert not storage.login_refused(ESX1)
    storage.stop()
    storage.start()
    assert not storage.login_refused(ESX1)


def test_a_second_time_changes_nothing(storage):
    storage.fence()
    let_in(storage)
    assert not let_in(storage).changed


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize(
    ("host", "initiators", "why"),
    [
        ("esx11", [], "this host was never fenced on this storage server; fenced are: esx1"),
        ("esx1", [ESX1 + "0"], "initiator %s0 of this host was never fenced" % ESX1),
    ],
)
def test_a_mistyped_name_is_refused(storage, host, initiators, why, check_mode):
    storage.fence()
    start = FreshStart(force=host, reason="a test")
    with pytest.raises(LibrehaError, match=why):
        unfence(storage.fencer(), host, initiators, 8, start, check_mode=check_mode)
    assert storage.login_refused(ESX1)


def test_it_comes_back_only_where_it_was(new_storage):
    second = "iqn.2026-01.test.libreha:second"
    block = "<target %s>\n  backing-store %s\n  allow-in-use yes\n  initiator-name %s\n  initiator-address 255.255.255.255\n</target>"
    new_storage.save([ESX1, ESX2], extra=block % (second, new_storage.disk, ESX2))
    new_storage.start()
    new_storage.fence()
    let_in(new_storage)
    admitted = {access.target: access.initiators for access in new_storage.target().access()}
    assert admitted == {TARGET: (ESX2, ESX1), second: (ESX2,)}


@pytest.mark.parametrize("saved_anew", [False, True], ids=["", "and the saved configuration was written anew meanwhile"])
def test_a_host_comes_back_under_the_spelling_that_the_target_had(new_storage, saved_anew):
    """tgtd compares names letter by letter; the inventory spells this one another way."""
    spelled = "iqn.1998-01.com.vmware:ESX1-5f"
    new_storage.save([spelled, ESX2])
    storage = new_storage.start()
    assert storage.fence(initiator=spelled.lower()).confirmed and storage.login_refused(spelled)
    if saved_anew:
        storage.save([ESX2])
    outcome = let_in(storage)
    assert outcome.steps[0]["spellings"] == [spelled]
    assert not storage.login_refused(spelled)
    storage.stop()
    storage.start()
    assert not storage.login_refused(spelled)


def test_a_saved_configuration_that_was_written_anew_gets_the_line_back(storage):
    storage.fence()
    storage.save([ESX2])
    let_in(storage)
    (access,) = storage.target().saved_access()
    assert access.initiators == (ESX2, ESX1) and not access.anybody


def test_without_evidence_it_is_refused_and_nothing_changes(storage):
    storage.fence()
    content, saved = storage.list_path.read_bytes(), storage.saved.read_bytes()
    with pytest.raises(LibrehaError, match="nothing tells that the host was started"):
        let_in(storage, FreshStart())
    assert (storage.list_path.read_bytes(), storage.saved.read_bytes()) == (content, saved)
    assert storage.login_refused()


def test_a_host_that_was_not_restarted_is_refused(storage):
    storage.fence()
    with pytest.raises(LibrehaError, match="not restarted since"):
        let_in(storage, FreshStart(uptime=86400.0, age=0.5))


def test_a_host_with_vms_recorded_as_running_is_refused_even_with_force(storage):
    storage.fence()
    with pytest.raises(LibrehaError, match="vm01.*cannot be forced"):
        let_in(storage, running_vms=["vm01"])
    assert storage.login_refused()


def test_a_lower_token_is_refused(storage):
    storage.fence(token=9)
    with pytest.raises(StaleToken):
        let_in(storage, token=8)
    assert storage.login_refused()


def test_check_mode_changes_nothing(storage):
    storage.fence()
    assert let_in(storage, check_mode=True).changed
    assert storage.login_refused()


def chap(storage, user: str) -> None:
    storage.save([ESX1, ESX2], extra="")
    text = storage.saved.read_text().replace("</target>", "  incominguser %s OldSecret1234 # its own\n</target>" % user)
    storage.saved.write_text(text)
    storage.start()


def logs_in(storage, user: str, secret: str) -> bool:
    url = "iscsi://%s%%%s@%s/%s/1" % (user, secret, storage.portal, TARGET)
    return subprocess.run(["iscsi-inq", "-i", ESX1, url], capture_output=True, timeout=HANG, check=False).returncode == 0


def test_a_host_with_a_chap_account_of_its_own_gets_a_new_secret(new_storage):
    chap(new_storage, ESX1)
    assert logs_in(new_storage, ESX1, "OldSecret1234")
    new_storage.fence()
    with pytest.raises(LibrehaError, match="only with a new secret"):
        let_in(new_storage)
    with pytest.raises(LibrehaError, match="is the old one"):
        let_in(new_storage, chap_secret="OldSecret1234")
    assert not logs_in(new_storage, ESX1, "OldSecret1234")
    let_in(new_storage, chap_secret="NewSecret5678")
    assert "NewSecret5678 # its own" in new_storage.saved.read_text()
    for _restart in range(2):
        assert logs_in(new_storage, ESX1, "NewSecret5678")
        assert not logs_in(new_storage, ESX1, "OldSecret1234")
        new_storage.stop()
        new_storage.start()


def test_a_chap_account_that_hosts_share_stays_as_it_is(new_storage):
    chap(new_storage, "everyhost")
    new_storage.fence()
    let_in(new_storage)
    assert logs_in(new_storage, "everyhost", "OldSecret1234")


def test_the_account_can_be_named(new_storage):
    chap(new_storage, "esx1chap")
    new_storage.fence()
    let_in(new_storage, chap_secret="NewSecret5678", target={"chap_user": "esx1chap"})
    assert logs_in(new_storage, "esx1chap", "NewSecret5678")


FENCED_AT = 1000.0
ENTRY = Entry("esx1", ESX1, 7, Instant("boot", FENCED_AT))


@pytest.mark.parametrize(
    ("uptime", "age", "now", "fresh"),
    [
        (100.0, 0.0, FENCED_AT + 200, True),
        (169.0, 0.0, FENCED_AT + 200, True),
        (171.0, 0.0, FENCED_AT + 200, False),  # inside the margin
        (200.0, 0.0, FENCED_AT + 200, False),
        (6.0, 999.0, FENCED_AT + 1000, False),  # an old reading of a host that was up before the fence
        (6.0, 1.0, FENCED_AT + 1000, True),
        (6.0, None, FENCED_AT + 1000, False),
        (6.0, -5.0, FENCED_AT + 1000, False),
        (None, 0.0, FENCED_AT + 1000, False),
    ],
)
def test_fresh_is_what_was_started_after_the_fence(uptime, age, now, fresh):
    assert (FreshStart(uptime=uptime, age=age).lacking(ENTRY, Instant("boot", now)) == "") is fresh


def test_after_a_restart_of_the_storage_server_uptime_proves_nothing():
    later = Instant("another boot", 5000.0)
    assert "itself restarted" in FreshStart(uptime=1.0, age=0.0).lacking(ENTRY, later)
    assert FreshStart(power_cycled=True).lacking(ENTRY, later) == ""
    assert FreshStart(force="esx1", reason="I saw it").lacking(ENTRY, later) == ""


def test_force_takes_the_hosts_own_name_and_a_reason():
    now = clock.now()
    assert "not this host" in FreshStart(force="esx2", reason="oops").lacking(ENTRY, now)
    assert "reason" in FreshStart(force="esx1", reason=" ").lacking(ENTRY, now)
