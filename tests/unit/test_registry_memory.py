"""What a registry said holds while its database's bytes do, and no longer."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from sales_pipeline.adapters.registry_memory import MEMORY, remembered


def asked(path: Path) -> tuple[Callable[[], list[str]], list[str]]:
    """A question about a database, and when it was asked."""
    times: list[str] = []

    def ask() -> list[str]:
        times.append("asked")
        with closing(sqlite3.connect(path)) as file:
            file.execute("CREATE TABLE IF NOT EXISTS models (name TEXT)")
            file.commit()
            return [name for (name,) in file.execute("SELECT name FROM models ORDER BY name")]

    return ask, times


def put(path: Path, name: str, *, keep_open: bool = False) -> sqlite3.Connection:
    file = sqlite3.connect(path)
    file.execute("PRAGMA journal_mode = WAL")
    file.execute("INSERT INTO models VALUES (?)", (name,))
    file.commit()
    if not keep_open:
        file.close()
    return file


def test_an_answer_holds_until_the_database_changes(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    ask, times = asked(path)
    assert [remembered(path, "names", ask) for _ in range(3)] == [[], [], []]
    assert len(times) == 2, "the first answer made the database: only what was asked of these very bytes is remembered"
    put(path, "a")
    assert remembered(path, "names", ask) == remembered(path, "names", ask) == ["a"]
    assert len(times) == 3


def test_an_answer_is_not_remembered_where_the_database_changed_while_it_was_asked(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    path.write_bytes(b"before")

    def ask() -> str:
        path.write_bytes(b"after")
        return "of what it was before"

    assert remembered(path, "name", ask) == "of what it was before"
    assert remembered(path, "name", lambda: "of what it is") == "of what it is"


def test_what_lies_in_the_write_ahead_log_alone_is_a_change(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    ask, _ = asked(path)
    assert remembered(path, "names", ask) == []
    put(path, "a")
    before = path.read_bytes()
    with closing(put(path, "b", keep_open=True)):
        assert path.read_bytes() == before
        assert remembered(path, "names", ask) == ["a", "b"]


def test_every_question_has_its_own_answer(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    path.write_bytes(b"as it is")
    assert remembered(path, "one", lambda: 1) == 1
    assert remembered(path, "two", lambda: 2) == 2
    assert (remembered(path, "one", lambda: 0), remembered(path, "two", lambda: 0)) == (1, 2)


def test_a_memory_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    path.write_bytes(b"as it is")
    for text in ("", "[]", '{"database": ""}', '{"answers": 3}'):
        (tmp_path / MEMORY).write_text(text, encoding="utf-8")
        assert remembered(path, "one", lambda: 1) == 1
