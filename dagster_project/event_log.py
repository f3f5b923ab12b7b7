"""Dagster's own SQLite storage, in its own files and tables, with connections that are kept.

Dagster makes an engine and opens a connection for every statement. A run writes some two thousand: learning anew what the dialect can do and compiling
the same statements again took more CPU than executing them. Other processes (the UI, the daemon) use Dagster's classes on the same files.

Belongs here: how long an engine lives. Does not belong here: what is stored (Dagster), how it is synced (`instance`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from sqlalchemy import Connection, Engine, create_engine


class KeptEventLog(SqliteEventLogStorage):
    """The event log with one engine per file."""

    def __init__(self, base_dir: str, inst_data: Any = None) -> None:
        self._engines: dict[str, Engine] = {}
        self._tables: set[str] = set()
        super().__init__(base_dir, inst_data)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        if shard not in self._engines:
            with super()._connect(shard):
                pass
            timeout = {"timeout": SQLITE_BUSY_TIMEOUT_SECONDS}
            self._engines[shard] = create_engine(self.conn_string_for_shard(shard), connect_args=timeout)
        with self._db_lock, self._engines[shard].begin() as connection:
            yield connection

    def has_table(self, table_name: str) -> bool:
        """Whether the index has a table; one that is there stays."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def dispose(self) -> None:
        """Close what is open."""
        for engine in self._engines.values():
            engine.dispose()
        self._engines.clear()
        super().dispose()


class KeptStorage(DagsterSqliteStorage):
    """Dagster's SQLite storage with that event log."""

    def __init__(self, base_dir: str, inst_data: Any = None) -> None:
        super().__init__(base_dir, inst_data)
        self._event_log_storage = KeptEventLog(self._event_log_storage._base_dir)

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> "KeptStorage":
        """As Dagster makes it from a configuration."""
        return cls.from_local(inst_data=inst_data, **config_value)


def kept(ref: InstanceRef) -> InstanceRef:
    """The instance with these connections, where its storage is Dagster's SQLite; any other storage is left alone."""
    data = ref.storage_data
    if data is None or data.class_name != DagsterSqliteStorage.__name__:
        return ref
    return ref._replace(storage_data=data._replace(module_name=__name__, class_name=KeptStorage.__name__))
