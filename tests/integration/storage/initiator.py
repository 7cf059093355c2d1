"""An iSCSI initiator that writes numbered records: a real one, on libiscsi (ctypes).

    initiator.py PORTAL TARGET LUN INITIATOR ACKED [--reconnect]

Record n is written to block n (512 bytes, SCSI WRITE(16) with FUA) and then noted in the file ACKED. Without
--reconnect it ends at the first error, printing it; with it, libiscsi logs in again and delivers what it had queued.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

BLOCK = 512
BLOCKS = 1 << 17
MAGIC = b"LHTEST01"


def record(number: int) -> bytes:
    return (MAGIC + struct.pack("<Q", number)).ljust(BLOCK, b"\0")


def main() -> None:
    portal, target, lun, initiator, acked = sys.argv[1:6]
    lib = ctypes.CDLL("libiscsi.so.7")
    pointer = ctypes.c_void_p
    lib.iscsi_create_context.restype = pointer
    lib.iscsi_get_error.restype = ctypes.c_char_p
    lib.iscsi_get_error.argtypes = [pointer]
    for name, arguments in {
        "iscsi_set_targetname": [pointer, ctypes.c_char_p],
        "iscsi_set_session_type": [pointer, ctypes.c_int],
        "iscsi_set_noautoreconnect": [pointer, ctypes.c_int],
        "iscsi_full_connect_sync": [pointer, ctypes.c_char_p, ctypes.c_int],
    }.items():
        getattr(lib, name).argtypes = arguments
    lib.iscsi_write16_sync.restype = pointer
    lib.iscsi_write16_sync.argtypes = [pointer, ctypes.c_int, ctypes.c_uint64, ctypes.c_char_p, ctypes.c_uint32] + [ctypes.c_int] * 6
    lib.scsi_free_scsi_task.argtypes = [pointer]

    iscsi = lib.iscsi_create_context(initiator.encode())
    lib.iscsi_set_targetname(iscsi, target.encode())
    lib.iscsi_set_session_type(iscsi, 2)  # normal
    if "--reconnect" not in sys.argv:
        lib.iscsi_set_noautoreconnect(iscsi, 1)
    if lib.iscsi_full_connect_sync(iscsi, portal.encode(), int(lun)):
        sys.exit("login: %s" % lib.iscsi_get_error(iscsi).decode())
    print("in", flush=True)
    notes = os.open(acked, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in range(BLOCKS):
        while True:
            task = lib.iscsi_write16_sync(iscsi, int(lun), number, record(number), BLOCK, BLOCK, 0, 0, 1, 0, 0)
            # a scsi_task begins with its status; after a new login the first command gets UNIT ATTENTION, and is sent again
            good = bool(task) and not ctypes.cast(task, ctypes.POINTER(ctypes.c_int)).contents.value
            if task:
                lib.scsi_free_scsi_task(task)
            if good:
                break
            if "--reconnect" not in sys.argv:
                sys.exit("write %d: %s" % (number, lib.iscsi_get_error(iscsi).decode()))
        os.write(notes, b"%d\n" % number)


if __name__ == "__main__":
    main()
