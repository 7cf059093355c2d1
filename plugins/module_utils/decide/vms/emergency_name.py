# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The name under which a VM is registered at a host where another VM has its own: a VM that stays down for its name helps nobody.

Policy and people know it by its own name all the same: it is taken off wherever a host's list is read.
"""

from __future__ import annotations

_MARK = " (libreha: from "
LONGEST_NAME = 80  # characters; Folder.RegisterVM_Task, vSphere Web Services API reference


def emergency_name(name: str, source: str) -> str:
    """The name for VM *name* from host *source*.

    >>> emergency_name("web1", "esx1")
    'web1 (libreha: from esx1)'
    """
    end = "%s%s)" % (_MARK, source)
    return name[: LONGEST_NAME - len(end)] + end


def own_name(name: str) -> str:
    """A VM's own name, out of the *name* that it is registered with.

    >>> own_name("web1 (libreha: from esx1)")
    'web1'
    """
    own, mark, source = name.rpartition(_MARK)
    return own if mark and source.endswith(")") else name
