"""A second storage server takes over from one that died: data, target, fences and token, by the lines of docs/storage-single-point.md."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from liblab.qemu import Guests
from lio import COUNTER, NODE2, SECRETS, TARGET, Lio, run_module

pytestmark = [pytest.mark.qemu]

PAGE = Path(__file__).resolve().parents[3] / "docs" / "storage-single-point.md"
FLOATING = {"stor0": "192.0.2.100", "stor1": "198.51.100.100"}
ENVIRONMENT = "RESOURCE=libreha GROUP=san PORTALS='%s'" % " ".join("%s=%s/24" % item for item in FLOATING.items())
SAVED = "/var/lib/libreha/saveconfig.json"
RESOURCE = """
resource libreha {
  net { protocol C; after-sb-0pri disconnect; after-sb-1pri disconnect; after-sb-2pri disconnect; ping-timeout 20; }
  disk { fencing resource-and-stonith; }
  handlers { fence-peer "/usr/local/sbin/fence-peer"; }
  device /dev/drbd0;
  disk /dev/disk/by-id/virtio-data1;
  meta-disk internal;
  on storage  { address 198.51.100.1:7789; }
  on storage2 { address 198.51.100.2:7789; }
}
"""
# What a cluster manager asks STONITH, a person answers here. 7: the peer is off for certain. 1 is no answer at all; 5 ("unreachable")
# would be taken for "dead".
FENCE_PEER = "#!/bin/sh\n[ -e /run/peer-is-off ] && exit 7\nexit 1\n"
SET_UP = r"""
set -e
install -m 755 /dev/stdin /usr/local/sbin/fence-peer <<'END'
%(fence_peer)sEND
cat >/etc/drbd.d/libreha.res <<'END'
%(resource)sEND
sed -i 's|^devices {|devices {\n\tglobal_filter = [ "r\|/dev/vdb\|", "r\|/dev/disk/by-id/virtio-data1\|" ]|' /etc/lvm/lvm.conf
sysctl -q net.ipv4.ip_nonlocal_bind=1  # as the role iscsi_target sets it for portals that float
modprobe drbd
drbdadm create-md --force libreha >/dev/null
drbdadm up libreha
mkdir -p -m 700 /var/lib/libreha /etc/rtslib-fb-target/pr
""" % {"fence_peer": FENCE_PEER, "resource": RESOURCE}
FIRST = r"""
set -e
drbdadm wait-connect libreha
drbdadm new-current-uuid --clear-bitmap libreha/0
drbdadm primary libreha
pvcreate -q /dev/drbd0
vgcreate -q san /dev/drbd0
lvcreate -q -y -L 64M -n state san
lvcreate -q -y -L 128M -n lun0 san
mkfs.ext4 -q /dev/san/state
mount /dev/san/state /var/lib/libreha
"""
ARRIVE = "".join("ip address add %s/24 dev %s\n" % (address, device) for device, address in FLOATING.items())


def documented() -> str:
    """The lines that the page gives for a takeover."""
    (lines,) = re.findall(r"```sh takeover\n(.*?)```", PAGE.read_text(), re.S)
    return "set -e\n%s" % lines


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("takeover")


@pytest.fixture(scope="module")
def three(folder: Path) -> Iterator[Guests]:
    """Guests of their own: the others' storage server would not come back from this."""
    found = Guests(folder)
    try:
        found.up(["storage", "storage2", "node1"])
        yield found
    finally:
        found.down()


MODEL = {
    "name": TARGET,
    "backstores": [{"name": "lun0", "type": "block", "path": "/dev/san/lun0"}],
    "tpgs": [
        {
            "portals": [{"address": address, "floating": True} for address in FLOATING.values()],
            "luns": [{"number": 0, "backstore": "lun0"}],
            "acls": [{"initiator": name, "chap": {"secret": secret}} for name, secret in SECRETS.items()],
        }
    ],
    "saved_config": SAVED,
}


class Pair(Lio):
    """Two storage servers of which one serves, and an initiator."""

    def on(self, server: str, module: str, **arguments: Any) -> dict[str, Any]:
        answer = run_module(self.guests, self.folder, module, arguments, on=server)
        assert not answer.failed, answer.text
        return answer.result

    def take_over(self, server: str) -> str:
        """ "" when the documented lines went through, otherwise what they said."""
        done = self.guests.ssh(server, "%s bash -s" % ENVIRONMENT, input=documented(), check=False)
        return "" if done.returncode == 0 else done.stdout + done.stderr

    def gets_in(self, initiator: str) -> bool:
        """Whether an initiator of that name is admitted to the LUN: libiscsi's, beside node1's own."""
        url = "iscsi://%s%%%s@%s/%s/0" % (initiator, SECRETS[initiator], FLOATING["stor1"], TARGET)
        command = 'read -r url; timeout 60 iscsi-inq -i %s "$url"' % initiator
        return self.guests.ssh("node1", command, input=url + "\n", check=False).returncode == 0


@pytest.fixture(scope="module")
def pair(three: Guests, folder: Path) -> Pair:
    """storage serves one LUN on DRBD to two initiators, at addresses that float; node1 writes numbered, fsynced records."""
    for server in ("storage", "storage2"):
        three.ssh(server, "bash -s", input=SET_UP)
    three.ssh("storage", "bash -s", input=FIRST)
    made = Pair(three, folder)
    made.on("storage", "iscsi_target", **MODEL)  # complete before its addresses arrive
    three.ssh("storage", "bash -se", input=ARRIVE)
    portal = FLOATING["stor0"]
    assert made.login(portals=(portal,)) == ""
    three.ssh("node1", "for wait in /sys/class/iscsi_session/*/recovery_tmo; do echo 900 >$wait; done")
    made.start_writing(portal=portal)
    return made


def test_a_second_server_takes_over_data_target_and_fences(pair: Pair) -> None:
    guests = pair.guests
    assert pair.gets_in(NODE2)
    fence = {"state": "fenced", "host": "node2", "initiators": [NODE2], "token": 7, "reason": "test"}
    assert pair.on("storage", "iscsi_fence", driver="lio", saved_config=SAVED, **fence)["confirmed"]
    assert not pair.gets_in(NODE2)
    naa = pair.on("storage", "iscsi_target", **MODEL)["naa"]

    assert pair.take_over("storage2") != "", "a second primary beside a living one"
    guests.kill("storage")
    pair.wait_for(lambda: "WFConnection" in guests.ssh("storage2", "drbdadm cstate libreha").stdout, 120, "storage2 misses its peer")
    assert pair.take_over("storage2") != "", "promoted although nobody had proved that the other server is off"
    acknowledged = pair.acked()
    guests.ssh("storage2", "touch /run/peer-is-off")
    began = time.monotonic()
    assert pair.take_over("storage2") == ""
    took = time.monotonic() - began
    pair.wait_for(lambda: pair.acked() > acknowledged, 300, "node1's writes go on")
    print("\ntakeover: its lines %.1f s, node1's next write acknowledged after %.1f s" % (took, time.monotonic() - began))

    guests.ssh("node1", "kill $(cat /root/writer.pid); sleep 1")
    landed = int(guests.ssh("storage2", "blockdev --flushbufs /dev/san/lun0; python3 - /dev/san/lun0", input=COUNTER).stdout)
    assert landed >= pair.acked(), "an acknowledged record is not on the second server"
    look = pair.on("storage2", "iscsi_session_info", driver="lio", saved_config=SAVED, name="storage2")["storage"]
    assert [(one["initiator"], one["token"]) for one in look["fences"]] == [(NODE2, 7)]
    assert look["highest_token"] == 7
    assert not pair.gets_in(NODE2), "the second server let a fenced host back in"
    again = pair.on("storage2", "iscsi_target", **MODEL)
    assert (again["naa"], again["changed"]) == (naa, False), again["steps"]
