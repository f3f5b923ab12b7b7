"""The server's errors in the project's words. Never the password, never the connection string, never a row.

SQLSTATEs: PostgreSQL, "Appendix A. PostgreSQL Error Codes".

Belongs here: what an error means and what to do. Does not belong here: when to try again (`publish`).
"""

from __future__ import annotations

import psycopg

from sales_pipeline.errors import DeliveryFailed, DeliveryUnderWay, SalesPipelineError

_STANDS = "nothing of the run was published; what was shown before still stands"

# Longest prefix first: (SQLSTATE or its class, what happened, what to do).
_MEANINGS = (
    ("28", "PostgreSQL refused the user or the password", "check the user in the url, and the password in the environment or the token file"),
    ("3D000", "PostgreSQL has no such database", "check the database in the url"),
    ("42501", "PostgreSQL refused a right the publication needs", "let an administrator run what `sales-pipeline publish roles` prints"),
    ("42704", "PostgreSQL does not know a role", "let an administrator run what `sales-pipeline publish roles` prints, or mend reader_role"),
    ("25006", "the database is read-only", "name the primary server in the url, not a replica"),
    ("2BP01", "something of others stands on a view that has to change", "drop it, publish again, and make it anew"),
    ("53100", "the disk of PostgreSQL is full", "make room there, then publish again"),
    ("53200", "PostgreSQL is out of memory", "publish again later, or give the server more"),
    ("53300", "PostgreSQL takes no more connections", "publish again later, or raise max_connections"),
    ("53", "PostgreSQL lacks a resource", "mend what it names on the server, then publish again"),
    ("57", "PostgreSQL ended the work", "publish again when the server is up"),
    ("55P03", "readers hold a view that has to change", "end their transactions or publish again later"),
    ("40", "PostgreSQL chose this transaction to give way to another", "publish again"),
    ("23505", "two rows of a table share its key", "the files are not what was audited: run that day again into a new lake"),
    ("23502", "a required value is missing", "the files are not what was audited: run that day again into a new lake"),
    ("22021", "a text holds a character the database cannot store", "the database has to be of encoding UTF8; a zero byte can never be stored"),
    ("22P05", "a text holds a character the database cannot store", "the database has to be of encoding UTF8"),
    ("42P07", "something that is not ours has a name the publication needs", "rename or drop it, then publish again"),
    ("08", "the connection to PostgreSQL broke", "publish again when the server can be reached"),
)  # fmt: skip

_TRANSIENT = ("08", "40", "53300", "57P01", "57P02", "57P03")


def is_transient(error: psycopg.Error) -> bool:
    """Whether doing the same again may help: the connection broke or was refused, the server shut down, or a transaction had to give way."""
    if error.sqlstate is None:
        # A connection that is lost, or not had, has no SQLSTATE; a refused password is told only in words.
        return isinstance(error, psycopg.OperationalError) and not _is_refusal(error)
    return error.sqlstate.startswith(_TRANSIENT)


def delivery_failed(error: psycopg.Error, *, where: str) -> SalesPipelineError:
    """The error to raise for one of the server's. `where` says whom we talked to, without a secret."""
    state = error.sqlstate
    said = error.diag.message_primary or _first_line(error)
    named = [name for name in (error.diag.table_name, error.diag.column_name) if name]
    found = f"{said}{f' ({state})' if state else ''}{f', in {chr(46).join(named)}' if named else ''}"
    for prefix, meaning, fix in _MEANINGS:
        if (state or "").startswith(prefix):
            return DeliveryFailed(f"{meaning}: {_STANDS}", found=found, where=where, fix=fix)
    if state is None and isinstance(error, psycopg.OperationalError):
        fix = "check the url, the password (environment or token file), and that the server takes connections from here"
        return DeliveryFailed(f"{_not_connected(error)}: {_STANDS}", found=found, where=where, fix=fix)
    return DeliveryFailed(f"PostgreSQL refused the publication: {_STANDS}", found=found, where=where)


def under_way(where: str) -> DeliveryUnderWay:
    """Another publisher is at work."""
    return DeliveryUnderWay(
        "another publication to this database is under way",
        where=where,
        fix="wait until it is done, then publish again",
    )


# A connection that is not had carries no SQLSTATE: words of the server or of libpq, and what they mean.
_REFUSALS = (
    ("authentication failed", "PostgreSQL refused the user or the password"),
    ("no password supplied", "PostgreSQL refused the user or the password"),
    ("pg_hba.conf", "PostgreSQL does not let this user in from here"),
    ("not permitted to log in", "PostgreSQL does not let this user in"),
    ("permission denied for database", "PostgreSQL does not let this user in"),
    ("does not exist", "PostgreSQL has no such user or database"),
)


def _is_refusal(error: psycopg.Error) -> bool:
    return any(words in str(error) for words, _ in _REFUSALS)


def _not_connected(error: psycopg.Error) -> str:
    found = (meaning for words, meaning in _REFUSALS if words in str(error))
    return next(found, "PostgreSQL cannot be reached")


def _first_line(error: psycopg.Error) -> str:
    return str(error).strip().split("\n")[0]
