"""A user's Debian 12: a guest with nothing of this collection on it, which reaches package servers, and a user who may use sudo.

What the collection's roles install is taken away first, so that they do it themselves.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests" / "lab"))

from liblab import build  # noqa: E402
from liblab.qemu import Guests  # noqa: E402

GUEST, USER, HOME = "user", "admin", "/home/admin"
HANG_GUARD = 2400.0  # s; an emulated machine on a busy one
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")  # by which this machine trusts package servers
PURGED = "tgt targetcli-fb python3-rtslib-fb python3-apt libiscsi7 lvm2"  # each costs an emulated machine long
# lan0 has the addresses of a range that the machine's own network may use. -y and the quiet frontend: the user's Enter.
PREPARE = r"""
set -eu
ip address flush dev lan0
ip route add default via 10.0.2.2
echo nameserver 10.0.2.3 >/etc/resolv.conf
echo update_initramfs=no >/etc/initramfs-tools/update-initramfs.conf
rm /etc/systemd/system/rtslib-fb-targetctl.service.d/lab.conf
printf 'APT::Get::Assume-Yes "true";\nAcquire::Languages "none";\n' >/etc/apt/apt.conf.d/90user
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get purge -q --autoremove PURGED
apt-get install -q --no-install-recommends sudo ca-certificates
cp /root/certificates /etc/ssl/certs/ca-certificates.crt
printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\ntimeout = 180\nno-compile = true\n' >/etc/pip.conf
useradd --create-home --shell /bin/bash USER
echo 'USER ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/user
"""


class Machine:
    """The guest: as its user, and as root where a test looks beside the product."""

    def __init__(self, folder: Path) -> None:
        self.guests = Guests(folder)

    def up(self) -> None:
        self.guests.up([GUEST])
        self.guests.put(GUEST, CERTIFICATES, "/root/certificates")
        self.guests.ssh(GUEST, PREPARE.replace("PURGED", PURGED).replace("USER", USER), timeout=HANG_GUARD)

    def give(self, source: Path) -> None:
        """A file into the user's home."""
        path = "%s/%s" % (HOME, source.name)
        self.guests.put(GUEST, source, path)
        self.guests.ssh(GUEST, "chown %s: %s" % (USER, path))

    def write(self, path: str, content: str) -> None:
        """What the user's editor does."""
        self.guests.ssh(GUEST, "runuser -u %s -- tee %s >/dev/null" % (USER, shlex.quote(path)), input=content)

    def attempt(self, command: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        """A command in a new shell of the user, as README says: with the virtualenv, once that is there."""
        shell = "[ ! -e ~/libreha ] || . ~/libreha/bin/activate; " + command
        words = "cd; export ANSIBLE_NOCOLOR=1; runuser --login %s --whitelist-environment=ANSIBLE_NOCOLOR --command %s"
        print("\n$ " + command, flush=True)
        done = self.guests.ssh(GUEST, words % (USER, shlex.quote(shell)), input=typed, timeout=HANG_GUARD, check=False)
        print(done.stdout + done.stderr, flush=True)
        return done

    def run(self, command: str, typed: str = "") -> str:
        done = self.attempt(command, typed)
        assert done.returncode == 0, command
        return done.stdout

    def root(self, command: str, text: str | None = None) -> str:
        """What the machine itself says."""
        return self.guests.ssh(GUEST, command, input=text, timeout=HANG_GUARD).stdout


def tarball(folder: Path) -> Path:
    """The collection as it is published."""
    command = [str(Path(sys.executable).with_name("ansible-galaxy")), "collection", "build", str(ROOT), "--output-path", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    (found,) = folder.glob("libreha-vmware-*.tar.gz")
    return found


def simulator() -> Path:
    if build.outdated():
        build.build()
    return build.BINARY
