# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which virtual hardware a hypervisor runs: the highest VM version of each release.

A release runs every older version as far as it matters here, so one number for each is enough. A release that this table
does not know gets 0, "not known": a host is refused only for what is certain.
"""

from __future__ import annotations

# Broadcom's knowledge base article 315655 (formerly VMware KB 1003746), newest first: (release, highest version).
ESXI = (
    ((9, 0), 22),
    ((8, 0, 2), 21),
    ((8, 0), 20),
    ((7, 0, 2), 19),
    ((7, 0, 1), 18),
    ((7, 0), 17),
    ((6, 7), 14),
    ((6, 5), 13),
    ((6, 0), 11),
    ((5, 5), 10),
    ((5, 1), 9),
    ((5, 0), 8),
    ((4, 0), 7),
    ((3, 0), 4),
)
SERVER = (((2, 0), 7), ((1, 0), 4))
NEWEST_ESXI = (9, 0)  # later ones may run more
# ESXi 6.7 Update 2 calls itself 6.7.0 as well; its build tells it apart.
ESXI_67_U2_BUILD, ESXI_67_U2 = 13006603, 15


def highest_hardware(product: str, version: str, build: str = "") -> int:
    """The highest VM hardware version that this product runs, 0 when it is not known.

    >>> highest_hardware("VMware ESXi", "7.0.3")
    19
    """
    release = _numbers(version)
    name = product.lower()
    if not release:
        return 0
    if "esx" in name:
        if release[:2] == (6, 7) and (not build.isdigit() or int(build) >= ESXI_67_U2_BUILD):
            return ESXI_67_U2
        return 0 if release[:2] > NEWEST_ESXI else _highest(ESXI, release)
    if "vmware server" in name:
        return _highest(SERVER, release)
    return 0


def hardware_number(text: str) -> int:
    """19 of ``vmx-19``; 0 when there is none."""
    number = text.partition("-")[2]
    return int(number) if number.isdigit() else 0


def _highest(table: tuple[tuple[tuple[int, ...], int], ...], release: tuple[int, ...]) -> int:
    return next((highest for first, highest in table if release >= first), 0)


def _numbers(version: str) -> tuple[int, ...]:
    parts = version.split(".")
    return tuple(int(part) for part in parts) if all(part.isdigit() for part in parts) else ()
