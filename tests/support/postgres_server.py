"""A PostgreSQL server of its own for tests: a new cluster in a temporary folder, on 127.0.0.1, with passwords, gone at the end.

The server refuses to run as root, so as root it runs as `postgres` or `nobody`. Its folder lies in the system's temporary folder, because
pytest's own may be closed to that user.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "40",
    "autovacuum": "off",
}
MEMORY_NEEDED = 4 << 30


def server_programs() -> Path | None:
    """The folder of initdb and pg_ctl: on the path, or where Debian puts them, newest version first; None where there is none."""
    found = shutil.which("initdb")
    homes = [Path(found).resolve().parent] if found else []
    versions = Path("/usr/lib/postgresql").glob("*/bin")
    homes += sorted(versions, key=lambda path: int(path.parent.name) if path.parent.name.isdigit() else 0, reverse=True)
    return next((home for home in homes if (home / "initdb").is_file() and (home / "pg_ctl").is_file()), None)


def missing() -> str | None:
    """Why no server can be started here, or None."""
    if server_programs() is None:
        return "no PostgreSQL server: neither initdb on the path nor /usr/lib/postgresql (Debian: apt-get install postgresql)"
    if os.getuid() == 0 and _unprivileged() is None:
        return "PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody"
    return None


@dataclass(frozen=True)
class Server:
    """A running server, its superuser and a way to reach it."""

    port: int
    superuser: str
    password: str
    folder: Path

    def url(self, database: str = "postgres", user: str | None = None) -> str:
        """A connection string without a password."""
        return f"postgresql://{user or self.superuser}@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str = "postgres", user: str | None = None, password: str | None = None) -> Any:
        """An autocommit connection."""
        return psycopg.connect(self.url(database, user), password=password or self.password, autocommit=True)

    def new_database(self) -> str:
        """A new empty database."""
        name = f"db_{secrets.token_hex(4)}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return name


@contextmanager
def postgres_server(*, on_disk: bool = False, **settings: str) -> Iterator[Server]:
    """A server with these settings on top; stopped, and its folder removed, at the end.

    The folder lies in memory where there is room, since a cluster per test session is a lot of writing; `on_disk` forbids it.
    """
    programs = server_programs()
    assert programs is not None
    folder = Path(tempfile.mkdtemp(prefix="pg-test-", dir=None if on_disk else _memory()))
    who = _unprivileged() if os.getuid() == 0 else None
    password = secrets.token_hex(12)
    (folder / "password").write_text(password)
    if who is not None:
        for path in (folder, folder / "password"):
            os.chown(path, who.pw_uid, who.pw_gid)

    def run(program: str, *arguments: str) -> None:
        options: dict[str, Any] = {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []} if who else {}
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(folder)}
        command = [str(programs / program), *arguments]
        # A file, since a server that goes on running would hold a pipe open.
        with (folder / "said").open("w") as said:
            result = subprocess.run(command, stdout=said, stderr=said, cwd=folder, env=environment, **options)
        assert result.returncode == 0, f"{program}: {(folder / 'said').read_text()}"

    data, log = str(folder / "data"), str(folder / "log")
    try:
        authority = ["--auth=scram-sha-256", f"--pwfile={folder / 'password'}", "--username=postgres"]
        run("initdb", "-D", data, "--encoding=UTF8", "--locale=C", "--no-sync", *authority)
        port = _free_port()
        given = " ".join(
            f"-c {name}='{value}'" for name, value in ({**SETTINGS, **settings, "port": str(port)}).items()
        )
        run("pg_ctl", "-D", data, "-l", log, "-w", "-t", "60", "-o", given, "start")
        try:
            yield Server(port, "postgres", password, folder)
        finally:
            run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _memory() -> Path | None:
    shared = Path("/dev/shm")
    has_room = shared.is_dir() and os.access(shared, os.W_OK) and shutil.disk_usage(shared).free > MEMORY_NEEDED
    return shared if has_room else None


def _unprivileged() -> pwd.struct_passwd | None:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    return None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
