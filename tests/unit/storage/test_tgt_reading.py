"""What tgtd prints, read into values."""

from __future__ import annotations

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.addresses import same_address
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.storage.tgt.reading import Nexus, read_session_counters, read_targets

SHOWN = """Target 3: iqn.2026-01.t:one
    System information:
        Driver: iscsi
        State: ready
    I_T nexus information:
        I_T nexus: 12
            Initiator: iqn.a:esx1 alias: Target 9: iqn.x alias: y
            Connection: 0
                IP Address: 10.214.0.11
        I_T nexus: 13
            Initiator: iqn.a:esx2 alias: none
            Connection: 0
                IP Address: 10.214.0.12
    LUN information:
        LUN: 0
            Type: controller
        LUN: 4
            Type: disk
            Backing store path: /dev/x
    Account information:
        chapuser
        other (outgoing)
    ACL information:
        ALL
        255.255.255.255
        10.0.0.0/8
        iqn.a:esx1
"""


def test_a_target_is_read_with_its_sessions_luns_accounts_and_rules():
    (target,) = read_targets(SHOWN)
    assert (target.tid, target.name, target.driver, target.luns, target.accounts) == (3, "iqn.2026-01.t:one", "iscsi", [4], ["chapuser"])
    assert target.nexuses == [Nexus(12, "iqn.a:esx1", "10.214.0.11"), Nexus(13, "iqn.a:esx2", "10.214.0.12")]
    assert target.names == ("iqn.a:esx1",)
    assert target.open_rules == ("ALL", "10.0.0.0/8")


def test_a_target_over_iser_is_unfenceable():
    assert read_targets(SHOWN)[0].unfenceable == ""
    assert "over iSER" in read_targets(SHOWN.replace("Driver: iscsi", "Driver: iser"))[0].unfenceable


def test_text_that_is_none_of_tgtds_is_an_error():
    with pytest.raises(LibrehaError, match="cannot be read"):
        read_targets("Welcome\n")


def test_counters_are_summed_over_luns_and_connections():
    text = (
        "tgt lun sid rd_subm(bytes,cmds) rd_done(bytes,cmds) wr_subm(bytes,cmds) wr_done(bytes,cmds) errs\n"
        "  1   1   2          512      1          512      1         1024      3          512      2    0\n"
        "  1   0   2           10      1           10      1            0      0            0      0    0\n"
        "\nsid cid rxdata_octets txdata_octets dataout_pdus datain_pdus cmd_pdus rsp_pdus\n"
        "  2   0          1000          2000            0           0        5        5\n"
    )
    counters = read_session_counters(text)
    assert (counters.commands_submitted, counters.commands_done) == (5, 4)
    assert (counters.bytes_done, counters.bytes_received) == (1034, 1000)


def test_one_address_has_one_spelling():
    assert same_address("::ffff:10.0.0.1") == "10.0.0.1"
    assert same_address("fe80::1%eth0") == "fe80::1"


@pytest.mark.parametrize("text", ["", "Target Lun Session rd_subm rd_done\n\nsession connection\n"])
def test_counters_that_are_not_told_do_not_stand_still(text: str) -> None:
    with pytest.raises(LibrehaError, match="no counters"):
        read_session_counters(text)
