# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Names of inventory objects as people see them, and as the vSphere API writes them.

The API writes a name's percent sign, slash and backslash as %25, %2f and %5c ("ManagedEntity.name" in the vSphere Web Services
API reference); host client and vSphere Client show the characters. Everything above this room has the names that people see.
Paths of files are no names and are never changed.
"""

from __future__ import annotations

import re

_ESCAPED = {"%": "%25", "/": "%2f", "\\": "%5c"}
_SEEN = {escape: character for character, escape in _ESCAPED.items()}
_ESCAPE = re.compile("%25|%2f|%5c", re.IGNORECASE)


def seen_name(name: str) -> str:
    """The name as people see it. A percent sign that begins no escape sequence is itself.

    >>> seen_name("app%2f1 100%25")
    'app/1 100%'
    """
    return _ESCAPE.sub(lambda match: _SEEN[match.group().lower()], name)


def api_name(name: str) -> str:
    """The name for the API.

    >>> api_name("app/1 100%")
    'app%2f1 100%25'
    """
    return "".join(_ESCAPED.get(character, character) for character in name)
