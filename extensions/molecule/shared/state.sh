#!/usr/bin/env bash
# Everything of the storage server that a run of the role could change, in one text: what runs, what is saved, volumes, files, settings.
set -euo pipefail
python3 -c '
import json, os, rtslib_fb

def sort(value):
    if isinstance(value, dict):
        return {key: sort(item) for key, item in value.items()}
    return sorted((sort(item) for item in value), key=json.dumps) if isinstance(value, list) else value

def show(content):
    print(json.dumps(sort({key: content.get(key, []) for key in ("storage_objects", "targets")}), sort_keys=True))

saved = "/etc/rtslib-fb-target/saveconfig.json"
show(rtslib_fb.RTSRoot().dump() if os.path.isdir("/sys/kernel/config/target/iscsi") else {})
show(json.load(open(saved)) if os.path.exists(saved) else {})
'
vgs --noheadings --options vg_name,vg_uuid,pv_name
lvs --noheadings --options vg_name,lv_name,lv_uuid,lv_size --select 'lv_name!~^ds1-'
for disk in /dev/disk/by-id/virtio-data?; do wipefs --no-act --noheadings "$disk"; done
find /etc/systemd/system /etc/sysctl.d /etc/modules-load.d /etc/lvm/profile /usr/local/lib /etc/libreha* /var/lib/libreha /var/lib/*.img -type f \
    ! -name '*.lock' -exec sha256sum {} + 2>/dev/null | sort -k 2 | grep -v '/var/lib/.*img' || true
stat --format '%n %s %a' /var/lib/*.img 2>/dev/null || true
sysctl net.ipv4.conf.all.arp_ignore net.ipv4.conf.all.arp_announce kernel.panic
nft list ruleset
systemctl is-enabled rtslib-fb-targetctl.service libreha-iscsi-firewall.service libreha-snapshot.timer 2>&1 || true
