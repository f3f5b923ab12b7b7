"""The roles a database needs: a publisher that owns the two schemas, a reader that sees the views and nothing else.

Belongs here: the script an administrator runs once. Does not belong here: grants on single views, which each publication gives (`views`).
"""

from __future__ import annotations

from psycopg import sql

_MAKE_ROLES = """\
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {publisher_name}) THEN
        CREATE ROLE {publisher} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {reader_name}) THEN
        CREATE ROLE {reader} NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE;
    END IF;
END"""

_SCRIPT = """\
-- Once per database, by an administrator who is connected to it. Passwords are set apart from this (\\password in psql).
DO {make_roles};
-- The publisher owns what it writes, and may write nowhere else.
CREATE SCHEMA IF NOT EXISTS runs AUTHORIZATION {publisher};
CREATE SCHEMA IF NOT EXISTS published AUTHORIZATION {publisher};
REVOKE ALL ON SCHEMA runs, published FROM PUBLIC;
-- The reader finds the views; each publication lets it read them. It has no right in schema runs.
GRANT USAGE ON SCHEMA published TO {reader};
"""


def roles_sql(publisher: str, reader: str) -> str:
    """The script, with these names quoted as the server wants them. Running it again changes nothing.

    People and programs that read are then given the reader's role by the administrator.
    """
    names = {
        "publisher": sql.Identifier(publisher),
        "reader": sql.Identifier(reader),
        "publisher_name": sql.Literal(publisher),
        "reader_name": sql.Literal(reader),
    }
    # The body is a string of its own: a name with a dollar sign cannot end it.
    body = sql.SQL(_MAKE_ROLES).format(**names).as_string(None)
    return sql.SQL(_SCRIPT).format(**names, make_roles=sql.Literal(body)).as_string(None)
