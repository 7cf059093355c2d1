"""QEMU guests: they boot, reach each other, are broken and healed, and keep what a machine keeps."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from liblab.errors import LabError
from liblab.processes import alive
from liblab.qemu import Guests, clock, record, snapshot

LAB = Path(__file__).resolve().parents[2] / "lab" / "lab"
pytestmark = [pytest.mark.qemu]

TARGET = "iqn.2026-01.lab.libreha:hand-made"
SERVE = r"""
import rtslib_fb as lio
store = lio.BlockStorageObject("lun0", dev="/dev/lab/lun0")
group = lio.TPG(lio.Target(lio.FabricModule("iscsi"), TARGET), 1)
group.set_attribute("authentication", 0)
group.enable = True
lun = lio.LUN(group, 0, store)
for address in ADDRESSES:
    lio.NetworkPortal(group, address, 3260)
lio.MappedLUN(lio.NodeACL(group, INITIATOR), 0, lun)
lio.RTSRoot().save_to_file()
"""


def entry(guests: Guests, name: str) -> dict[str, Any]:
    return next(guest for guest in guests.status() if guest["name"] == name)


def boot_id(guests: Guests, name: str) -> str:
    return guests.ssh(name, "cat /proc/sys/kernel/random/boot_id").stdout


def pings(guests: Guests, name: str, address: str) -> bool:
    return guests.ssh(name, "ping -c 3 -W 2 %s" % address, check=False).returncode == 0


@pytest.fixture(scope="module")
def two(state_folder: Path) -> Iterator[Guests]:
    """Two guests of one role, resumed from one snapshot."""
    found = Guests(state_folder)
    try:
        found.up(["node1", "node2"])
        yield found
    finally:
        found.down()


@pytest.fixture
def healed(guests: Guests) -> Iterator[Guests]:
    """The guests, without faults after the test whatever happened in it."""
    yield guests
    for name in ("storage", "node1"):
        guests.heal(name)


def test_each_guest_is_who_the_command_line_says(guests: Guests) -> None:
    for name in ("storage", "node1"):
        expected = entry(guests, name)
        assert guests.ssh(name, "hostname").stdout.strip() == name
        assert expected["initiator"] in guests.ssh(name, "cat /etc/iscsi/initiatorname.iscsi").stdout
        for network, address in expected["addresses"].items():
            assert "inet %s/24" % address in guests.ssh(name, "ip addr show dev %s" % network).stdout
    assert guests.ssh("storage", "systemctl --failed --no-legend").stdout == ""


@pytest.mark.parametrize(
    "unique",
    [
        "cat /etc/machine-id",
        "cat /proc/sys/kernel/random/boot_id",
        "cat /proc/sys/kernel/random/uuid",
        "cat /etc/ssh/ssh_host_ed25519_key.pub",
        "sha256sum /var/lib/systemd/random-seed",
        "cat /sys/class/net/*/address",
        "ls /var/log/journal",
    ],
)
def test_guests_resumed_from_one_snapshot_are_two_machines(two: Guests, unique: str) -> None:
    said = [two.ssh(name, unique).stdout for name in ("node1", "node2")]
    assert all(said)
    assert said[0] != said[1]


def test_a_resumed_guest_shows_the_host_key_that_it_made(two: Guests) -> None:
    """Not that of the snapshot, with which its sshd had been started."""
    learnt = {line.split()[0]: line.split()[2] for line in (two.path / "known_hosts").read_text().splitlines()}
    for name in ("node1", "node2"):
        assert two.ssh(name, "cat /etc/ssh/ssh_host_ed25519_key.pub").stdout.split()[1] == learnt[name]


def test_the_guests_python_for_ansible_is_a_fork_and_behaves_as_python_does(two: Guests) -> None:
    program = (
        "import os, sys; print(os.getcwd(), os.environ['WORD'], sys.argv, open(f'/proc/{os.getppid()}/cmdline').read().split(chr(0))[1])"
    )
    said = two.ssh("node1", "cd /tmp && WORD=kept lab-python", input=program).stdout
    assert said == "/tmp kept [''] /usr/local/sbin/lab-pythond\n"
    two.ssh("node1", "cat >/root/program.py", input="import sys; print(sys.argv[1:], __name__, file=sys.stderr); sys.exit(7)")
    for python in ("lab-python", "python3"):
        done = two.ssh("node1", "%s /root/program.py a 'b c'" % python, check=False)
        assert (done.returncode, done.stderr) == (7, "['a', 'b c'] __main__\n")
    forks = "import os, sys\nif os.fork() == 0:\n    sys.exit(7)\nos.wait()\nprint('the parent')"
    assert two.ssh("node1", "lab-python", input=forks).stdout == "the parent\n"
    failed = two.ssh("node1", "lab-python", input="raise ValueError(3)", check=False)
    assert failed.returncode == 1
    assert failed.stderr.endswith("ValueError: 3\n")


def test_the_clocks_of_a_resumed_guest_are_right(two: Guests) -> None:
    """The wall clock shows the machine's time, and the boot-time clock goes as fast as the machine's."""
    before = clock.measure(two, "node1")
    began = time.monotonic()
    wall = float(two.ssh("node1", "date +%s.%N").stdout)
    assert abs(wall - time.time()) < 2.0 + (time.monotonic() - began)
    time.sleep(max(0.0, 20 - (time.monotonic() - began)))
    after = clock.measure(two, "node1")
    passed = (time.monotonic() - began) * 1e9
    assert abs(after.offset_ns - before.offset_ns) < before.error_ns + after.error_ns + passed / 1000


def test_a_resumed_guest_keeps_its_identity_through_a_hard_reboot(two: Guests) -> None:
    who = "hostname; cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub /etc/iscsi/initiatorname.iscsi; cat /sys/class/net/stor?/address"
    before = two.ssh("node2", who).stdout
    two.reboot_hard("node2")
    assert two.ssh("node2", who).stdout == before


def test_guests_reach_each_other_on_both_storage_networks_and_nothing_else(guests: Guests) -> None:
    for address in entry(guests, "storage")["addresses"].values():
        assert pings(guests, "node1", address)
    assert guests.ssh("node1", "ip route show default").stdout == ""


def test_an_initiator_uses_a_kernel_target_on_two_paths_across_a_hard_reboot_of_the_server(healed: Guests) -> None:
    guests, addresses = healed, list(entry(healed, "storage")["addresses"].values())
    disk = entry(guests, "storage")["disks"][0]
    guests.ssh("storage", "vgcreate -q lab %s && lvcreate -q -y -L 64M -n lun0 lab" % disk)
    settings = "TARGET, ADDRESSES, INITIATOR = %r, %r, %r" % (TARGET, addresses, entry(guests, "node1")["initiator"])
    guests.ssh("storage", "modprobe -a target_core_mod iscsi_target_mod && python3 -", input=settings + SERVE)
    for address in addresses:
        guests.ssh(
            "node1", "iscsiadm -m discovery -t sendtargets -p %s && iscsiadm -m node -T %s -p %s --login" % (address, TARGET, address)
        )
    guests.ssh("node1", "udevadm settle && dd if=/dev/urandom of=/root/pattern bs=64k count=16 status=none")
    path = "/dev/disk/by-path/ip-%%s:3260-iscsi-%s-lun-0" % TARGET
    guests.ssh("node1", "dd if=/root/pattern of=%s bs=64k oflag=direct,sync status=none" % (path % addresses[0]))
    read = "dd if=%s bs=64k count=16 iflag=direct status=none | cmp - /root/pattern"
    guests.ssh("node1", read % (path % addresses[1]))

    guests.reboot_hard("storage")
    for address in addresses:  # waits as long as the initiator waits for its session (120 s by default)
        guests.ssh("node1", read % (path % address))


def test_a_hard_reboot_is_a_new_boot_with_the_same_files(healed: Guests) -> None:
    before, identity = boot_id(healed, "storage"), healed.ssh("storage", "cat /etc/machine-id").stdout
    healed.ssh("storage", "echo kept | tee /etc/kept >/var/kept && sync")
    disk = entry(healed, "storage")["disks"][1]
    healed.ssh("storage", "mkfs.ext4 -q %s && mount %s /mnt && echo kept >/mnt/kept && sync" % (disk, disk))
    healed.reboot_hard("storage")
    assert boot_id(healed, "storage") != before
    assert healed.ssh("storage", "mount %s /mnt && cat /etc/kept /var/kept /mnt/kept" % disk).stdout.split() == ["kept"] * 3
    assert healed.ssh("storage", "cat /etc/machine-id").stdout == identity
    assert "inet 192.0.2.1/24" in healed.ssh("storage", "ip addr show dev stor0").stdout


def test_a_killed_guest_is_off_until_it_is_healed(healed: Guests) -> None:
    healed.kill("storage")
    assert entry(healed, "storage")["state"] == "off"
    assert not pings(healed, "node1", "192.0.2.1")
    healed.heal("storage")
    assert entry(healed, "storage")["state"] == "on"
    assert pings(healed, "node1", "192.0.2.1")


def test_a_hung_guest_is_silent_and_then_goes_on_as_if_nothing_had_happened(healed: Guests) -> None:
    before = boot_id(healed, "storage")
    healed.stop("storage")
    assert entry(healed, "storage")["state"] == "hung"
    assert not pings(healed, "node1", "192.0.2.1")
    with pytest.raises(LabError, match="gave no answer within 5 s"):
        healed.ssh("storage", "true", timeout=5)
    with pytest.raises(LabError, match="storage hangs: its cables can be changed after 'lab heal storage'"):
        healed.set_cable("storage", "stor0", plugged=False)
    healed.cont("storage")
    assert boot_id(healed, "storage") == before
    assert pings(healed, "node1", "192.0.2.1")


def test_a_pulled_cable_cuts_one_path_and_stays_pulled_through_a_reboot(healed: Guests) -> None:
    healed.set_cable("node1", "stor0", plugged=False)
    assert not pings(healed, "node1", "192.0.2.1")
    assert pings(healed, "node1", "198.51.100.1")
    healed.reboot_hard("node1")
    assert not pings(healed, "node1", "192.0.2.1")
    assert entry(healed, "node1")["pulled"] == ["stor0"]
    healed.heal("node1")
    assert pings(healed, "node1", "192.0.2.1")


def test_files_and_secrets_go_in_without_a_command_line(guests: Guests, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\ncat\n")
    program.chmod(0o755)
    guests.put("node1", program, "/root/program")
    assert guests.ssh("node1", "/root/program", input="secret").stdout == "secret"
    with pytest.raises(LabError, match="On node1 'echo why >&2; exit 3' ended with 3: why"):
        guests.ssh("node1", "echo why >&2; exit 3")


def test_the_command_line_shows_and_reaches_the_same_guests(guests: Guests, shared_folder: Path) -> None:
    ask = command(shared_folder)
    assert [(guest["name"], guest["state"]) for guest in json.loads(ask("status", "--json").stdout)["guests"]] == [
        ("storage", "on"),
        ("node1", "on"),
    ]
    assert ask("ssh", "node1", "hostname").stdout.strip() == "node1"
    inventory = ask("inventory").stdout.strip()
    # molecule's playbooks reach them this way
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible")), "-i", inventory, "lab_storage:lab_initiators", "-m", "ansible.builtin.ping"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and done.stdout.count("pong") == 2, done.stdout + done.stderr


def test_a_guest_that_was_left_without_an_identity_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(*_arguments: Any) -> None:
        raise LabError("before it has an identity")

    guests = Guests(tmp_path)
    try:
        with monkeypatch.context() as patched, pytest.raises(LabError, match="before it has"):
            patched.setattr(snapshot, "take_identity", dies)
            guests.up(["node1"])
        with pytest.raises(LabError, match="left before it had an identity of its own"):
            guests.boot("node1")
        guests.up(["node1"])
        assert guests.ssh("node1", "hostname").stdout == "node1\n"
    finally:
        guests.down()


def test_what_a_crashed_up_left_is_found_and_removed(tmp_path: Path) -> None:
    ask = command(tmp_path)
    crash_while_booting(tmp_path)
    left = record.load(tmp_path / "guests")
    assert left
    process = left.guest("node1").process
    assert alive(process) and left.disks.exists()
    assert ask("down").stdout == "the lab is down\n"
    assert not alive(process) and not left.disks.exists() and not left.path.exists()
    assert ask("down").stdout == "no lab was up\n"


def test_a_guest_that_cannot_boot_shows_the_end_of_its_console(node1_off: Guests) -> None:
    disk = Path(json.loads((node1_off.path / "guests.json").read_text())["disks"]) / "node1.qcow2"
    disk.unlink()
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(disk), "64M"], check=True)
    with pytest.raises(LabError, match=r"(?s)node1 gave up booting\.\nThe end of its console .*node1\.console\.log:\n.*\(initramfs\)"):
        node1_off.boot("node1")


def test_a_guest_whose_port_is_taken_says_what_qemu_said(node1_off: Guests) -> None:
    with (
        socket.create_server(("127.0.0.1", entry(node1_off, "node1")["ssh"]["port"])),
        pytest.raises(LabError, match=r"(?s)QEMU of node1 ended while it booted\..*Could not set up host forwarding rule"),
    ):
        node1_off.boot("node1")
    assert entry(node1_off, "node1")["state"] == "off"


def crash_while_booting(folder: Path) -> None:
    """``lab up`` of node1, killed when QEMU runs."""
    argv = [str(LAB), "up", "--only-qemu", "--guests", "node1"]
    with subprocess.Popen(argv, env=environment(folder), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as up:
        assert up.stderr
        assert any(line.startswith("waiting for node1") for line in up.stderr)
        up.kill()


@pytest.fixture
def node1_off(tmp_path: Path) -> Iterator[Guests]:
    """A node1 with disks and ports that is off."""
    guests = Guests(tmp_path)
    try:
        crash_while_booting(tmp_path)
        guests.kill("node1")
        yield guests
    finally:
        guests.down()


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "LIBREHA_LAB_DIR": str(folder)}


def command(folder: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def ask(*words: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(LAB), *words], env=environment(folder), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, done.stderr
        return done

    return ask
