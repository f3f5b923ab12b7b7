"""A publisher that is killed at a named point: `python -m tests.support.postgres_victim FOLDER URL PASSWORD POINT`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sales_pipeline.delivery.postgres import publish

POINTS = ("before_copy", "inside_copy", "after_copy", "before_commit", "after_commit")


def die(*_: Any, **__: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def inside(copy_text: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    def texts(*arguments: Any) -> Iterator[Any]:
        for text in copy_text(*arguments):
            yield text
            die()

    return texts


def lie_in_wait(point: str) -> None:
    """Replace one step by death."""
    if point == "before_copy":
        publish.tables.copy_in = die
    elif point == "inside_copy":
        publish.copy_text = inside(publish.copy_text)
    elif point == "after_copy":
        publish.tables.add_key = die
    elif point == "before_commit":
        show = publish.ledger.show
        publish.ledger.show = lambda *arguments: (show(*arguments), die())  # type: ignore[assignment]
    else:
        assert point == "after_commit"
        publish.drop_old_runs = die


if __name__ == "__main__":
    folder, url, password, point = sys.argv[1:]
    lie_in_wait(point)
    publish.publish_to_postgres(Path(folder), url, password, keep_runs=1, reader_role=None)
