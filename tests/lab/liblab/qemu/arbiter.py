"""The storage guest as a user's: the kernel's target with one LUN for all hosts, and what the collection's modules need where they run."""

from __future__ import annotations

import compileall
import hashlib
import shutil
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

from ..errors import LabError, run
from .guests import Guests
from .image import ROOT, cache

TARGET = "iqn.2026-01.lab.libreha:shared"
LUN = 0
PORT = 3260
DISK = "/dev/disk/by-id/virtio-data1"
MORE = ("ansible-core>=2.15",)  # what the resident monitor needs beside requirements.txt
LIBRARIES = "/usr/local/lib/python3.11/dist-packages"  # the Python of the guests' Debian 12
# Initiators are let in by name and CHAP; a session that gives no sign of life for some seconds is ended.
SERVE = r"""
import rtslib_fb as lio
store = lio.BlockStorageObject("shared", dev=DISK)
group = lio.TPG(lio.Target(lio.FabricModule("iscsi"), TARGET), 1)
group.set_attribute("authentication", 1)
group.set_attribute("generate_node_acls", 0)
lun = lio.LUN(group, NUMBER, store)
for name, secret in INITIATORS.items():
    acl = lio.NodeACL(group, name)
    acl.chap_userid, acl.chap_password = name, secret
    acl.set_attribute("nopin_timeout", 5)
    acl.set_attribute("nopin_response_timeout", 10)
    lio.MappedLUN(acl, NUMBER, lun)
lio.NetworkPortal(group, ADDRESS, PORT)
group.enable = True
lio.RTSRoot().save_to_file()
"""


def serve(guests: Guests, address: str, initiators: Mapping[str, str]) -> None:
    """Export the disk, now and after every boot. *initiators*: name -> CHAP secret."""
    words = (DISK, TARGET, LUN, dict(initiators), address, PORT)
    settings = "DISK, TARGET, NUMBER, INITIATORS, ADDRESS, PORT = %r, %r, %r, %r, %r, %r\n" % words
    prepare = "modprobe -a target_core_mod iscsi_target_mod && blockdev --flushbufs %s && python3 -" % DISK
    guests.ssh("storage", prepare, input=settings + SERVE)


def install_libraries(guests: Guests) -> None:
    """What requirements.txt names, and MORE, into the storage guest, which reaches no package index itself."""
    archive = _libraries()
    guests.put("storage", archive, "/root/libraries.tar.gz")
    guests.ssh("storage", "tar -xf /root/libraries.tar.gz -C %s && rm /root/libraries.tar.gz" % LIBRARIES)


def _libraries() -> Path:
    """Wheels for the guests' Python, unpacked and put into one archive; kept as long as requirements.txt stays as it is."""
    requirements = ROOT / "requirements.txt"
    wanted = requirements.read_bytes() + " ".join(MORE).encode()
    archive = cache() / ("libraries-%s.tar.gz" % hashlib.sha256(wanted).hexdigest()[:16])
    if not archive.exists():
        folder = archive.with_suffix(".building")
        argv = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", "--target", str(folder), "--python-version", "3.11"]
        run(
            [*argv, "--only-binary", ":all:", "--no-compile", "--requirement", str(requirements), *MORE],
            what="fetch the storage guest's Python libraries",
            remedy="pip must reach a package index.",
            timeout=600,
        )
        if sys.version_info[:2] == (3, 11):  # else the guest compiles at first use, which takes it minutes
            compileall.compile_dir(folder, quiet=2)
        unfinished = archive.with_suffix(".new")
        with tarfile.open(unfinished, "w:gz") as tar:
            tar.add(folder, arcname=".")
        unfinished.rename(archive)
        shutil.rmtree(folder)
    if not tarfile.is_tarfile(archive):
        raise LabError("%s is broken. Remove it and try again." % archive)
    return archive
