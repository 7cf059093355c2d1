"""The saved configuration: read as tgt-admin reads it, edited without touching anything else."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.storage.tgt import saved, targets_conf

A, B, C = ("iqn.1998-01.com.vmware:%s" % name for name in ("a", "b", "c"))
NOBODY = "255.255.255.255"


def admitted_by_tgt_admin(path) -> dict[str, list[str]]:
    """What tgt-admin itself would bind, asked in its pretending mode."""
    if shutil.which("tgt-admin") is None:
        pytest.skip("tgt-admin is missing: install tgt")
    output = subprocess.run(["tgt-admin", "-p", "-e", "-c", str(path), "-C", "31999"], capture_output=True, text=True, check=True).stdout
    rules: dict[str, list[str]] = {}
    names: dict[str, str] = {}
    for line in output.splitlines():
        new = re.search(r"--op new --mode target --tid (\d+) -T (\S+)", line)
        bind = re.search(r"--op bind --mode target --tid (\d+) -[IQ] (.+)$", line)
        if new:
            names[new.group(1)] = new.group(2)
            rules[new.group(2)] = []
        elif bind:
            rules[names[bind.group(1)]].append(bind.group(2).strip())
    return {target: sorted(rule) for target, rule in rules.items()}


def admitted_by_us(path) -> dict[str, list[str]]:
    found = {}
    for target in targets_conf.read(str(path)).targets.values():
        addresses = target.values("initiator-address") or ["ALL"]
        found[target.name] = sorted([*target.values("initiator-name"), *addresses])
    return found


CLOSED = "initiator-address %s\n" % NOBODY
PLAIN = f"""# storage for the hosts
default-driver iscsi

<target iqn.2026-01.t:one>
\tbacking-store /dev/vg/one   # LUN 1
\tinitiator-name {A} # esx a
    initiator-name   {B}
\tinitiator-address {NOBODY}
</target>
"""

SYNTAX = {
    "plain": PLAIN,
    "equal signs and quotes": f'<target "iqn.t:one">\ninitiator-name = "{A}"\ninitiator-name={B}\ninitiator-address {NOBODY}\n</target>\n',
    "blocks of one target": f"<target iqn.t:one>\ninitiator-name {A}\n</target>\n<target iqn.t:one>\n{CLOSED}</target>\n",
    "nested block": f"<target iqn.t:one>\n<backing-store /d>\nscsi_sn x\n</backing-store>\ninitiator-name {A}\n{CLOSED}</target>\n",
    "commented out": f"<target iqn.t:one>\n#initiator-name {A}\n  # initiator-name {B}\ninitiator-name {C}\n</target>\n",
    "c comments": f"<target iqn.t:one>\n/* initiator-name {A} */\n/*\ninitiator-name {B}\n*/\ninitiator-name {C}\n</target>\n",
    "continued": f"<target iqn.t:one>\ninitiator-name \\\n  {A}\ninitiator-address {NOBODY}\n</target>\n",
    "neither": "<target iqn.t:one>\nbacking-store /dev/null\n</target>\n",
    "windows": f"<target iqn.t:one>\r\ninitiator-name {A}\r\ninitiator-address {NOBODY}\r\n</target>\r\n",
    "no end of line": f"<target iqn.t:one>\ninitiator-name {A}\n</target>",
    "here document": f"<target iqn.t:one>\nnote <<END\ninitiator-name {A}\nEND\ninitiator-name {B}\n</target>\n",
    "another kind of block": f"<Target iqn.t:no>\ninitiator-name {A}\n</Target>\n<target iqn.t:one>\ninitiator-name {B}\n</target>\n",
    "words elsewhere": f"initiator-name {A}\n<target iqn.t:one>\ninitiator-name {B}\n</target>\n",
}


@pytest.mark.parametrize("syntax", SYNTAX)
def test_it_reads_what_tgt_admin_reads(tmp_path, syntax):
    path = tmp_path / "targets.conf"
    path.write_bytes(SYNTAX[syntax].encode())
    assert admitted_by_us(path) == admitted_by_tgt_admin(path)


@pytest.mark.parametrize("syntax", [syntax for syntax in SYNTAX if syntax != "continued"])
def test_after_revoking_tgt_admin_admits_the_host_no_more_and_unfencing_restores_the_rights(tmp_path, syntax):
    path = tmp_path / "targets.conf"
    path.write_bytes(SYNTAX[syntax].encode())
    before = admitted_by_tgt_admin(path)
    holders = [target for target, rules in before.items() if A in rules]
    revoked = saved.revoke(str(path), A)
    after = admitted_by_tgt_admin(path)
    assert all(A not in rules for rules in after.values())
    assert all(set(rules) - {A, "ALL", NOBODY} == set(before[target]) - {A, "ALL", NOBODY} for target, rules in after.items())
    assert all("ALL" not in rules for target, rules in after.items() if target in holders)
    assert saved.revoke(str(path), A) is False
    saved.admit(str(path), A, holders)
    assert all((A in rules) is (target in holders) for target, rules in admitted_by_tgt_admin(path).items())
    assert revoked or not holders


def test_what_is_let_in_again_is_spelled_as_the_target_had_it(tmp_path):
    """tgtd compares letter by letter. A line that is there, or comes back, is not written twice."""
    path = tmp_path / "targets.conf"
    one, other = A.replace(":a", ":ESX-a"), A.replace(":a", ":Esx-A")
    path.write_text("<target iqn.t:one>\n  initiator-name %s\n  %s</target>\n" % (one, CLOSED))
    assert saved.revoke(str(path), one.lower())
    saved.admit(str(path), one.lower(), ["iqn.t:one"], [one, other])
    (access,) = saved.access(str(path))
    assert access.initiators == (one, other)
    assert saved.admit(str(path), one.lower(), ["iqn.t:one"], [one, other]) is False
    assert saved.admit(str(path), one.lower(), ["iqn.t:one"]) is False


def test_revoking_comments_out_one_line_and_unfencing_gives_it_back_byte_for_byte(tmp_path):
    path = tmp_path / "targets.conf"
    path.write_text(PLAIN)
    saved.revoke(str(path), A)
    changed = [line for line in path.read_text().splitlines() if line not in PLAIN.splitlines()]
    assert changed == ["#libreha-fenced# \tinitiator-name %s # esx a" % A]
    saved.admit(str(path), A, ["iqn.2026-01.t:one"])
    assert path.read_text() == PLAIN


def test_bytes_that_are_no_text_and_permissions_are_kept(tmp_path):
    path = tmp_path / "targets.conf"
    path.write_bytes(PLAIN.encode() + b"# caf\xe9 \xff\xfe\r\n\x00\n")
    os.chmod(path, 0o640)
    saved.revoke(str(path), B)
    assert path.read_bytes().endswith(b"# caf\xe9 \xff\xfe\r\n\x00\n")
    assert path.stat().st_mode & 0o7777 == 0o640


def test_included_files_are_followed_and_only_those_that_change_are_written(tmp_path):
    (tmp_path / "conf.d").mkdir()
    one, two = tmp_path / "conf.d" / "1.conf", tmp_path / "conf.d" / "2.conf"
    one.write_text(PLAIN)
    two.write_text(PLAIN.replace("t:one", "t:two").replace(A, C).replace("default-driver iscsi\n", ""))
    path = tmp_path / "targets.conf"
    path.write_text("include %s/conf.d/*.conf\n" % tmp_path)
    assert admitted_by_us(path) == admitted_by_tgt_admin(path)
    inodes = [file.stat().st_ino for file in (path, two)]
    saved.revoke(str(path), A)
    assert A not in str(admitted_by_tgt_admin(path))
    assert [file.stat().st_ino for file in (path, two)] == inodes


def test_an_include_inside_a_target_belongs_to_it(tmp_path):
    (tmp_path / "names").write_text("initiator-name %s\ninitiator-name %s\n" % (A, B))
    path = tmp_path / "targets.conf"
    path.write_text("<target iqn.t:one>\ninclude %s/names\ninitiator-address %s\n</target>\n" % (tmp_path, NOBODY))
    assert admitted_by_us(path) == admitted_by_tgt_admin(path)
    saved.revoke(str(path), A)
    assert admitted_by_tgt_admin(path) == {"iqn.t:one": sorted([B, NOBODY])}


def test_a_symbolic_link_stays_one(tmp_path):
    real, link = tmp_path / "real", tmp_path / "targets.conf"
    real.write_text(PLAIN)
    link.symlink_to(real)
    saved.revoke(str(link), A)
    assert link.is_symlink() and "libreha-fenced" in real.read_text()


def test_the_last_name_leaves_a_target_that_nobody_may_enter(tmp_path):
    path = tmp_path / "targets.conf"
    path.write_text("<target iqn.t:one>\n  initiator-name %s\n</target>\n" % A)
    saved.revoke(str(path), A)
    assert admitted_by_tgt_admin(path) == {"iqn.t:one": [NOBODY]}
    assert saved.access(str(path))[0].anybody is False


def test_a_target_open_on_purpose_is_left_alone_and_reported(tmp_path):
    path = tmp_path / "targets.conf"
    path.write_text("<target iqn.t:one>\n  backing-store /dev/null\n</target>\n")
    assert saved.revoke(str(path), A) is False
    (access,) = saved.access(str(path))
    assert access.anybody and "ALL" in access.reason


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<target iqn.t:one>\n", "not closed"),
        ("</target>\n", "closes no block"),
        ("include conf.d/*.conf\n", "relative"),
        ("include /nonexistent/file\n", "cannot read"),
        ("<target iqn.t:one>\ninitiator-name <<X\niqn.a:b\nX\n</target>\n", "here-document"),
    ],
)
def test_what_cannot_be_followed_is_an_error_that_names_the_place(tmp_path, text, why):
    path = tmp_path / "targets.conf"
    path.write_text(text)
    with pytest.raises(LibrehaError, match=why) as error:
        saved.access(str(path))
    assert str(path) in str(error.value) and error.value.remedy


def test_a_name_continued_over_lines_is_refused_before_anything_is_written(tmp_path):
    path = tmp_path / "targets.conf"
    path.write_text(SYNTAX["continued"])
    with pytest.raises(LibrehaError, match="one line"):
        saved.revoke(str(path), A)
    assert path.read_text() == SYNTAX["continued"]
