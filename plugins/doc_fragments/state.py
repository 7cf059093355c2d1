# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations


class ModuleDocFragment:
    """The option that names the state database (plugins/module_utils/entry/options/state.py)."""

    DOCUMENTATION = r"""
options:
  state_url:
    description:
      - The state database, as an SQLAlchemy URL, seen from the machine that the module runs on.
      - C(sqlite:////absolute/path) for an SQLite file, which must lie on a file system of that machine itself, or
        C(postgresql+psycopg://user:password@server/database) for PostgreSQL.
      - The URL may hold a password; it is never shown. Leave the password out to have the driver read it from C(~/.pgpass).
      - The certificate of a PostgreSQL server on another machine is verified (C(sslmode=verify-full)) unless the URL sets C(sslmode).
      - If not set, the environment variable E(LIBREHA_STATE_URL) is used.
    type: str
    default: sqlite:////var/lib/libreha/state.db
    aliases: [url]
requirements:
  - SQLAlchemy >= 2.0
  - psycopg >= 3.1 (for PostgreSQL only)
"""
