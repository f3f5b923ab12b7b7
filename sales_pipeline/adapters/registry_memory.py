"""What the lake's own registry said, remembered beside its database: importing MLflow and opening the database takes longer than most days' scores.

An answer holds while the database's bytes are the same ones, its write-ahead log among them; whatever is registered, promoted or tagged changes
them. Losing the memory costs time and nothing else.

Belongs here: that. Does not belong here: what is asked (`mlflow_store`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sales_pipeline.lake.durable import write_bytes

MEMORY = "remembered.json"
_LOG = "-wal"


def remembered(database: Path, question: str, ask: Callable[[], Any]) -> Any:
    """The answer (JSON-able) to a question about a SQLite database, from memory where it was asked of these bytes before."""
    path, asked_of = database.with_name(MEMORY), _digest(database)
    known = _read(path)
    answers = known["answers"] if known.get("database") == asked_of else {}
    if question in answers:
        return answers[question]
    answer = ask()
    # Of a database that changed meanwhile (asking may have made it, or another process wrote to it) nobody knows which bytes the answer is of.
    if _digest(database) == asked_of:
        write_bytes(path, json.dumps({"database": asked_of, "answers": {**answers, question: answer}}).encode())
    return answer


def _digest(database: Path) -> str:
    """Of the file and its write-ahead log; one that is not there counts as empty."""
    digests = []
    for path in (database, database.with_name(database.name + _LOG)):
        digests.append(hashlib.sha256(path.read_bytes() if path.exists() else b"").hexdigest())
    return " ".join(digests)


def _read(path: Path) -> dict[str, Any]:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) and isinstance(known.get("answers"), dict) else {}
