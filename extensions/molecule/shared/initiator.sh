#!/usr/bin/env bash
# What an initiator does, for the scenarios: initiator.sh TARGET ACT [ARGUMENT...]. Secrets come on standard input.
#   login PORTAL...      log in at each; the CHAP secret is the first line of standard input
#   login-as NAME PORTAL the same with another initiator name; what discovery shows it is printed
#   logout
#   disk LUN PORTAL      path of the LUN's disk by that portal
#   size LUN PORTAL      its size in bytes after a rescan
#   write LUN PORTAL     write numbered, fsynced records until the disk fails; the last acknowledged number is in /root/acknowledged
set -euo pipefail
target=$1 act=$2
shift 2
disk() { printf '/dev/disk/by-path/ip-%s:3260-iscsi-%s-lun-%s' "$2" "$target" "$1"; }
case $act in
    login)
        read -r secret
        name=$(sed -n 's/^InitiatorName=//p' /etc/iscsi/initiatorname.iscsi)
        for portal in "$@"; do
            # whoever has no right is shown nothing, and may still try
            iscsiadm -m discovery -t sendtargets -p "$portal" >/dev/null 2>&1 || iscsiadm -m node -T "$target" -p "$portal" -o new >/dev/null
            set_to() { iscsiadm -m node -T "$target" -p "$portal" -o update -n "$1" -v "$2"; }
            set_to node.session.auth.authmethod CHAP
            set_to node.session.auth.username "$name"
            set_to node.session.auth.password "$secret"
            set_to node.session.initial_login_retry_max 1
            set_to 'node.conn[0].timeo.login_timeout' 30
            iscsiadm -m node -T "$target" -p "$portal" --login 2>&1
        done
        udevadm settle
        ;;
    login-as)
        own=/etc/iscsi/initiatorname.iscsi
        cp --preserve "$own" /root/own-name
        trap 'cp --preserve /root/own-name "$own"; systemctl restart iscsid' EXIT
        printf 'InitiatorName=%s\n' "$1" >"$own"
        systemctl restart iscsid
        "$0" "$target" logout
        iscsiadm -m discovery -t sendtargets -p "$2" || true
        "$0" "$target" login "$2" >&2
        ;;
    logout)
        iscsiadm -m node -u >/dev/null 2>&1 || true
        iscsiadm -m node -o delete >/dev/null 2>&1 || true
        ;;
    disk) disk "$@" ;;
    size)
        iscsiadm -m session --rescan >/dev/null
        blockdev --getsize64 "$(disk "$@")"
        ;;
    write)
        rm -f /root/acknowledged
        setsid python3 -c '
import mmap, os, sys
disk = os.open(sys.argv[1], os.O_WRONLY | os.O_DIRECT | os.O_SYNC)
notes = os.open("/root/acknowledged", os.O_WRONLY | os.O_CREAT)
block = mmap.mmap(-1, 4096)
for number in range(1, 1 << 40):
    block[:20] = b"%020d" % number
    os.pwrite(disk, block, number % 4096 * 4096)
    os.pwrite(notes, b"%020d" % number, 0)
' "$(disk "$@")" >/root/write.log 2>&1 </dev/null &
        ;;
    *)
        printf 'unknown act %s\n' "$act" >&2
        exit 2
        ;;
esac
