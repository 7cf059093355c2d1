# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The tables of the state database, their version, and the steps from each older version to the next.

A column that a release has shipped is never changed in place: a new version of the schema and a step in
:data:`MIGRATIONS` do it. The columns of ``ha_schema`` and ``ha_lease`` are the same in every version, because they are
read before the version is known to be ours (is it newer? does a run hold the lease?).

Moments are three columns: boot id, seconds since that boot, and the wall time for people (``instant.py``).
Documents (JSON) are text, so that what was written is read back exactly and the same on every database.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import LibrehaError
from ..instant import Instant

try:
    import sqlalchemy as sa
except ImportError:  # reported by opening.open_engine, so that modules can be imported and documented without it
    sa = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

SCHEMA_VERSION = 8
PREFIX = "ha_"
_Value = TypeVar("_Value")
_ENCODER = json.JSONEncoder(sort_keys=True, allow_nan=False)  # json.dumps makes one for each call


def _moment(name: str) -> tuple[Any, Any, Any]:
    return (
        sa.Column("%s_boot" % name, sa.Text, nullable=False),
        sa.Column("%s_seconds" % name, sa.Float(53), nullable=False),
        sa.Column("%s_wall" % name, sa.Text, nullable=False),
    )


if sa is not None:
    METADATA = sa.MetaData()

    SCHEMA = sa.Table(
        "ha_schema",
        METADATA,
        sa.Column("id", sa.Integer, sa.CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
        sa.Column("version", sa.Integer, nullable=False),
        *_moment("changed"),
    )

    LEASE = sa.Table(
        "ha_lease",
        METADATA,
        sa.Column("id", sa.Integer, sa.CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
        sa.Column("holder", sa.Text, nullable=True),  # null: free
        sa.Column("token", sa.BigInteger, nullable=False),  # the highest ever given; only grows
        sa.Column("seconds", sa.Float(53), nullable=False),  # from the grant to the end
        sa.Column("renewals", sa.BigInteger, nullable=False),  # grows with every grant and renewal: a sign of life
        *_moment("granted"),
    )

    MEMORY = sa.Table(
        "ha_memory",
        METADATA,
        sa.Column("id", sa.Integer, sa.CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
        # Grows with every save, and with every write to the tables of hosts, VMs and alarms; see recorded.py.
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("document", sa.Text, nullable=False),  # without what RECORDS has
        sa.Column("token", sa.BigInteger, nullable=False),
        *_moment("saved"),
    )

    # The records of the memory, each in a row of its own: so a save writes those that changed.
    RECORDS = sa.Table(
        "ha_memory_records",
        METADATA,
        sa.Column("kind", sa.Text, primary_key=True),  # the memory's field: hosts, vms
        sa.Column("name", sa.Text, primary_key=True),  # a host's name, a VM's id
        sa.Column("document", sa.Text, nullable=False),
    )

    HOSTS = sa.Table(
        "ha_hosts",
        METADATA,
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("verdict", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("fenced", sa.Boolean, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        *_moment("updated"),
    )

    VMS = sa.Table(
        "ha_vms",
        METADATA,
        sa.Column("vm_id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("host", sa.Text, nullable=False, index=True),
        sa.Column("desired", sa.Text, nullable=False),
        sa.Column("power", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        *_moment("updated"),
    )

    TRANSACTIONS = sa.Table(
        "ha_transactions",
        METADATA,
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("vm_id", sa.Text, nullable=False),
        sa.Column("vm_name", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("destination", sa.Text, nullable=False),
        sa.Column("step", sa.Text, nullable=False),
        sa.Column("power_on", sa.Boolean, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("token", sa.BigInteger, nullable=False),  # of the run that wrote last
        sa.Column("reasons", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("closed", sa.Boolean, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        # One count of all writes to this table: no clock orders what several machines, or one before and after its restart, wrote.
        sa.Column("opened_seq", sa.BigInteger, nullable=False),  # of the first write
        sa.Column("updated_seq", sa.BigInteger, nullable=False),  # of the last one
        *_moment("opened"),
        *_moment("updated"),
    )
    # The database itself keeps a VM from being failed over by two transactions at once.
    sa.Index(
        "ha_transactions_open_vm",
        TRANSACTIONS.c.vm_id,
        unique=True,
        sqlite_where=sa.text("closed = 0"),
        postgresql_where=sa.text("NOT closed"),
    )

    sa.Index("ha_transactions_updated", TRANSACTIONS.c.updated_seq)

    JOURNAL = sa.Table(
        "ha_journal",
        METADATA,
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),  # without gaps; see journal.append
        sa.Column("token", sa.BigInteger, nullable=False),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False, index=True),
        sa.Column("subject", sa.Text, nullable=False, index=True),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        *_moment("at"),
    )

    ALARMS = sa.Table(
        "ha_alarms",
        METADATA,
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        *_moment("since"),
        *_moment("journaled"),
    )

    RESULTS = sa.Table(
        "ha_results",
        METADATA,
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),  # grows; see results.append
        sa.Column("key", sa.Text, nullable=False),  # sorts after those of all results before it
        sa.Column("vm_id", sa.Text, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("act", sa.Text, nullable=False),
        sa.Column("ok", sa.Boolean, nullable=False),
        sa.Column("asked", sa.Boolean, nullable=False),
        sa.Column("blocked", sa.Boolean, nullable=False),
        sa.Column("reached", sa.Boolean, nullable=False, server_default=sa.true()),
        sa.Column("reason", sa.Text, nullable=False),
        *_moment("at"),
    )
    sa.Index("ha_results_vm", RESULTS.c.vm_id)

    COMMANDS = sa.Table(
        "ha_commands",
        METADATA,
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),  # in the order in which they were given
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("person", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("valid_for", sa.Float(53), nullable=False),  # seconds
        sa.Column("holds", sa.Float(53), nullable=False, server_default=sa.text("0")),  # seconds for which something is switched off
        sa.Column("way", sa.Text, nullable=False, server_default=sa.text("''")),  # of a migration
        sa.Column("state", sa.Text, nullable=False, index=True),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("token", sa.BigInteger, nullable=False),  # of the run that took it up; 0: none did
        *_moment("given"),
    )


def _number_transactions(connection: Connection) -> None:
    """1 to 2: in the order of the tokens, within one run in that of its clock; the order of opening only the wall clock still knows."""
    for column in ("opened_seq", "updated_seq"):
        connection.execute(sa.text("ALTER TABLE ha_transactions ADD COLUMN %s BIGINT NOT NULL DEFAULT 0" % column))
    for column, order in (("opened_seq", "opened_wall, opened_seconds, id"), ("updated_seq", "token, updated_seconds, id")):
        ids = connection.execute(sa.text("SELECT id FROM ha_transactions ORDER BY %s" % order)).scalars().all()
        numbered = sa.text("UPDATE ha_transactions SET %s = :number WHERE id = :id" % column)
        for number, identity in enumerate(ids, start=1):
            connection.execute(numbered, {"number": number, "id": identity})
    connection.execute(sa.text("CREATE INDEX ha_transactions_updated ON ha_transactions (updated_seq)"))


_RESULTS_OF_VERSION_3 = (
    "CREATE TABLE ha_results (seq BIGINT NOT NULL PRIMARY KEY, key TEXT NOT NULL, vm_id TEXT NOT NULL, host TEXT NOT NULL, "
    "act TEXT NOT NULL, ok BOOLEAN NOT NULL, asked BOOLEAN NOT NULL, blocked BOOLEAN NOT NULL, reason TEXT NOT NULL, "
    "at_boot TEXT NOT NULL, at_seconds FLOAT(53) NOT NULL, at_wall TEXT NOT NULL)"
)
_STARTS_OF_VERSION_2 = (
    "SELECT vm_id, destination AS host, outcome, reasons, detail, token, id, updated_boot AS at_boot, updated_seconds AS at_seconds, "
    "updated_wall AS at_wall FROM ha_transactions WHERE closed AND power_on ORDER BY updated_seq DESC LIMIT 1000"
)
_POWER_OF_VERSION_2 = (
    "SELECT seq, token, data, at_boot, at_seconds, at_wall FROM ha_journal WHERE kind = 'power' ORDER BY seq DESC LIMIT 200"
)


def _make_results(connection: Connection) -> None:
    """2 to 3: as many results as version 2 looked through for them, under the keys that it gave them: those are counted already."""
    connection.execute(sa.text(_RESULTS_OF_VERSION_3))
    connection.execute(sa.text("CREATE INDEX ha_results_vm ON ha_results (vm_id)"))
    found = []
    for row in connection.execute(sa.text(_STARTS_OF_VERSION_2)).mappings():
        found.append(
            {
                **{name: row[name] for name in ("vm_id", "host", "at_boot", "at_seconds", "at_wall")},
                "key": "%012d/%017.3f/%s" % (row["token"], row["at_seconds"], row["id"]),
                "act": "start",
                "ok": row["outcome"] in ("verified", "powered_on"),
                "asked": bool(load(row["detail"], "a failover transaction").get("start_asked", True)),
                "blocked": row["outcome"] == "blocked",
                "reason": "; ".join(load(row["reasons"], "a failover transaction")),
            }
        )
    for row in connection.execute(sa.text(_POWER_OF_VERSION_2)).mappings():
        data = load(row["data"], "journal entry %d" % row["seq"])
        if data.get("phase") == "after":
            found.append(
                {
                    **{name: row[name] for name in ("at_boot", "at_seconds", "at_wall")},
                    **{name: data[name] for name in ("host", "act", "ok", "reason")},
                    "key": "%012d/%017.3f/%d" % (row["token"], row["at_seconds"], row["seq"]),
                    "vm_id": data["vm"],
                    "asked": True,
                    "blocked": False,
                }
            )
    columns = ("seq", "key", "vm_id", "host", "act", "ok", "asked", "blocked", "reason", "at_boot", "at_seconds", "at_wall")
    insert = sa.text("INSERT INTO ha_results (%s) VALUES (%s)" % (", ".join(columns), ", ".join(":%s" % name for name in columns)))
    for seq, result in enumerate(sorted(found, key=lambda item: str(item["key"])), start=1):
        connection.execute(insert, {"seq": seq, **result})


def _make_commands(connection: Connection) -> None:
    """3 to 4."""
    connection.execute(
        sa.text(
            "CREATE TABLE ha_commands (number BIGINT NOT NULL PRIMARY KEY, kind TEXT NOT NULL, subject TEXT NOT NULL, host TEXT NOT NULL, "
            "person TEXT NOT NULL, reason TEXT NOT NULL, valid_for FLOAT(53) NOT NULL, state TEXT NOT NULL, outcome TEXT NOT NULL, "
            "token BIGINT NOT NULL, given_boot TEXT NOT NULL, given_seconds FLOAT(53) NOT NULL, given_wall TEXT NOT NULL)"
        )
    )
    connection.execute(sa.text("CREATE INDEX ix_ha_commands_state ON ha_commands (state)"))


def _split_memory(connection: Connection) -> None:
    """4 to 5: the records of hosts and VMs leave the memory's one document for rows of their own."""
    connection.execute(
        sa.text("CREATE TABLE ha_memory_records (kind TEXT NOT NULL, name TEXT NOT NULL, document TEXT NOT NULL, PRIMARY KEY (kind, name))")
    )
    document = connection.execute(sa.text("SELECT document FROM ha_memory")).scalar_one_or_none()
    if document is None:
        return
    form = load(document, "the memory")
    insert = sa.text("INSERT INTO ha_memory_records (kind, name, document) VALUES (:kind, :name, :document)")
    for kind, key in (("hosts", "name"), ("vms", "id")):
        for record in form.pop(kind, ()):
            connection.execute(insert, {"kind": kind, "name": record[key], "document": dump(record, "the memory")})
    connection.execute(sa.text("UPDATE ha_memory SET document = :document"), {"document": dump(form, "the memory")})


def _let_commands_hold(connection: Connection) -> None:
    """5 to 6: a command that switches something off says for how long."""
    connection.execute(sa.text("ALTER TABLE ha_commands ADD COLUMN holds FLOAT(53) NOT NULL DEFAULT 0"))


def _let_commands_go_a_way(connection: Connection) -> None:
    """6 to 7: a migration may name its way."""
    connection.execute(sa.text("ALTER TABLE ha_commands ADD COLUMN way TEXT NOT NULL DEFAULT ''"))


def _let_results_say_what_was_reached(connection: Connection) -> None:
    """7 to 8: a start that failed since the host could not be connected to is told from one that the host failed."""
    connection.execute(sa.text("ALTER TABLE ha_results ADD COLUMN reached BOOLEAN NOT NULL DEFAULT TRUE"))


MIGRATIONS: dict[int, Callable[[Connection], None]] = {
    1: _number_transactions,
    2: _make_results,
    3: _make_commands,
    4: _split_memory,
    5: _let_commands_hold,
    6: _let_commands_go_a_way,
    7: _let_results_say_what_was_reached,
}
"""Version -> the step that makes the next version of it, inside the transaction that it is given."""


def version_of(connection: Connection) -> int | None:
    """The version of the schema found, or None where there is none. Raises LibrehaError for somebody else's database."""
    names = sa.inspect(connection).get_table_names()
    if "ha_schema" not in names:
        ours = sorted(name for name in names if name.startswith(PREFIX))
        if ours or (names and connection.dialect.name == "sqlite"):
            raise LibrehaError(
                "the database holds tables that are not the state of this collection: %s" % ", ".join(sorted(names)[:8]),
                remedy="name another file or database in state_url; nothing was changed",
            )
        return None
    version = connection.execute(sa.select(SCHEMA.c.version)).scalar_one_or_none()
    if version is None:
        raise LibrehaError(
            "the table ha_schema is empty: the database is damaged",
            remedy="put a backup in its place, or move it away and create a new one",
        )
    return int(version)


def create(connection: Connection, now: Instant) -> None:
    """Make all tables of the present version, the lease free and its token 0."""
    METADATA.create_all(connection, checkfirst=False)
    connection.execute(sa.insert(SCHEMA).values(id=1, version=SCHEMA_VERSION, **moment("changed", now)))
    connection.execute(sa.insert(LEASE).values(id=1, holder=None, token=0, seconds=0.0, renewals=0, **moment("granted", now)))


def migrate(connection: Connection, version: int, now: Instant) -> None:
    """Bring *version* to the present one, step by step."""
    for older in range(version, SCHEMA_VERSION):
        MIGRATIONS[older](connection)
    connection.execute(sa.update(SCHEMA).values(version=SCHEMA_VERSION, **moment("changed", now)))


def moment(name: str, instant: Instant) -> dict[str, Any]:
    """The three columns of *instant* under *name*."""
    return {"%s_boot" % name: instant.boot_id, "%s_seconds" % name: instant.seconds, "%s_wall" % name: instant.wall}


def instant_of(row: Any, name: str) -> Instant:
    return Instant(str(row["%s_boot" % name]), float(row["%s_seconds" % name]), str(row["%s_wall" % name]))


def upsert(connection: Connection, table: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write *rows* (all columns of each), in place of those that have their primary keys."""
    if rows:
        connection.execute(_upsert_text(table), list(rows))


def remove(connection: Connection, table: Any, keys: Sequence[Mapping[str, Any]]) -> None:
    """Delete the rows that have these primary keys."""
    if keys:
        here = " AND ".join('"%s" = :%s' % (name, name) for name in keys[0])
        connection.execute(sa.text("DELETE FROM %s WHERE %s" % (table.name, here)), list(keys))


@cache
def _upsert_text(table: Any) -> Any:
    names = [column.name for column in table.columns]
    keys = [column.name for column in table.primary_key]
    words = {
        "table": table.name,
        "names": ", ".join('"%s"' % name for name in names),
        "values": ", ".join(":%s" % name for name in names),
        "keys": ", ".join('"%s"' % name for name in keys),
        "others": ", ".join('"%s" = excluded."%s"' % (name, name) for name in names if name not in keys),
    }
    return sa.text("INSERT INTO %(table)s (%(names)s) VALUES (%(values)s) ON CONFLICT (%(keys)s) DO UPDATE SET %(others)s" % words)


def dump(value: Any, what: str) -> str:
    """*value* as a JSON document; raises LibrehaError naming *what* when JSON cannot hold it."""
    try:
        return _ENCODER.encode(value)
    except (TypeError, ValueError) as error:
        raise LibrehaError("%s cannot be written as JSON: %s" % (what, error)) from error


def load(document: str, what: str) -> Any:
    """What :func:`dump` wrote; raises LibrehaError naming *what* when it is damaged."""
    try:
        return json.loads(document)
    except ValueError as error:
        raise LibrehaError(
            "%s in the state database is damaged: %s" % (what, error), remedy="put a backup of the state database in its place"
        ) from error


def parts(values: Iterable[_Value]) -> Iterator[list[_Value]]:
    """*values* in lists that one query takes: SQLite before 3.32 has 999 parameters at most."""
    listed = list(values)
    for begin in range(0, len(listed), 500):
        yield listed[begin : begin + 500]


def plain(value: Any) -> str:
    """*value* as text that every database takes: no NUL, nothing that UTF-8 cannot hold."""
    return str(value).replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")
