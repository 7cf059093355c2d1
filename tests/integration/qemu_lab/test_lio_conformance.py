"""The kernel's target, as iscsi_target configures it, against libiscsi's conformance program in the initiator guest."""

from __future__ import annotations

import shlex
import time

import pytest
from iscsi_test_cu import INITIATORS, argv
from lio import PORTALS, TARGET, Lio, on_volume
from run import SECONDS, judge

pytestmark = [pytest.mark.qemu]
USER, SECRET = "conformance", "secret-of-this-1"


def test_lio_does_no_worse_than_recorded(rig: Lio) -> None:
    rig.volume()
    rig.target(on_volume(acls=[{"initiator": name, "chap": {"user": USER, "secret": SECRET}} for name in INITIATORS]))
    urls = ["iscsi://%s/%s/0" % (portal, TARGET) for portal in PORTALS]
    # it takes user and secret from its environment, so they are in no process list
    words = "LIBISCSI_CHAP_USERNAME=%s LIBISCSI_CHAP_PASSWORD=%s; export LIBISCSI_CHAP_USERNAME LIBISCSI_CHAP_PASSWORD\n" % (USER, SECRET)
    words += "exec timeout %d %s\n" % (SECONDS, shlex.join(argv(*urls)))
    began = time.monotonic()
    said = rig.guests.ssh("node1", "sh", input=words, timeout=SECONDS + 60, check=False)
    seconds = time.monotonic() - began
    versions = "uname -r; dpkg-query -W -f '${Version}' libiscsi-bin"
    kernel, program = rig.guests.ssh("storage", versions).stdout.split()
    about = {
        "version": "LIO of Linux %s" % kernel,
        "configured": "`iscsi_target`: one logical volume, two portals, an ACL with CHAP for each initiator, all else by default",
        "program": "libiscsi %s" % program,
        "seconds": "%.0f" % seconds,
    }
    judge("LIO", said.stdout, about)
