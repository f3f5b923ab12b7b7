"""A small server that answers as Tryton's JSON-RPC does, for faults that a real one does not show on demand.

It keeps what the channel relies on: calls are one transaction, only the first error is told, an `id` of digits is a database id, a blank one
creates a record, every write is a revision. What it cannot prove, the tests of the tier `tryton` do against the real one.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

USER, PASSWORD = "importer", "pass word"
OPPORTUNITY, FOLLOW_UP = "sale.opportunity", "crm.follow_up"


def _told(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "required": False, "readonly": False, **more}


FIELDS: dict[str, dict[str, dict[str, Any]]] = {
    OPPORTUNITY: {
        "id": _told("integer"),
        "number": _told("char", required=True, readonly=True),
        "win_probability": _told("numeric", digits="[1, 6]"),
        "score_band": _told("selection", selection=[[None, ""], ["A", "A"], ["B", "B"]]),
        "scored_at": _told("datetime"),
        "amount": _told("numeric", digits='{"__class__": "Eval", "v": "currency_digits", "d": 2}'),
        "state": _told("selection", readonly=True, selection=[["lead", "Lead"]]),
    },
    FOLLOW_UP: {
        "id": _told("integer"),
        "key": _told("char", required=True),
        "opportunity": _told("many2one", required=True, relation=OPPORTUNITY),
        "due_date": _told("date", required=True),
        "reason": _told("text"),
        "attempt": _told("integer"),
        "is_urgent": _told("boolean"),
    },
}


@dataclass
class Faults:
    """What goes wrong. `refuses` looks at the cells of a row by column; the others are called before or after an import of so many rows."""

    refuses: Callable[[dict[str, str]], str | None] = lambda row: None
    before_import: Callable[[int], None] = lambda count: None
    after_import: Callable[[int], None] = lambda count: None
    error: list[Any] | None = None
    rights: dict[str, bool] = field(
        default_factory=lambda: {"read": True, "write": True, "create": True, "delete": True}
    )


class Broken(Exception):
    """The connection ends here without an answer."""


class FakeTryton:
    """The server; use it as a context manager. `records` by model and database id, `revisions` counts writes by model and id."""

    def __init__(self, opportunities: int = 20) -> None:
        self.faults = Faults()
        self.records: dict[str, dict[int, dict[str, Any]]] = {
            OPPORTUNITY: {place: {"number": str(100 + place)} for place in range(1, opportunities + 1)},
            FOLLOW_UP: {},
        }
        self.revisions: dict[tuple[str, int], int] = {}
        self.sessions: set[str] = set()
        self.calls: list[str] = []
        self.imported: list[int] = []
        self._lock = threading.Lock()

    def __enter__(self) -> FakeTryton:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                try:
                    status, answer = fake._answer(body["method"], body["params"], self.headers.get("Authorization", ""))
                except Broken:
                    self.connection.close()
                    return
                data = json.dumps({"id": body["id"], **answer}).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """A client that went away is one of the faults."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/crm/"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def expire_sessions(self) -> None:
        self.sessions.clear()

    def _answer(self, method: str, params: list[Any], authorization: str) -> tuple[int, dict[str, Any]]:
        self.calls.append(method)
        if method == "common.db.login":
            user, secrets, _language = params
            if (user, secrets.get("password")) != (USER, PASSWORD):
                return 401, {}
            token = f"token{len(self.calls)}"
            self.sessions.add(token)
            return 200, {"result": [7, token, None]}
        kind, _, session = authorization.partition(" ")
        told = base64.b64decode(session).decode().split(":") if kind == "Session" else []
        if len(told) != 3 or told[:2] != [USER, "7"] or told[2] not in self.sessions:
            return 401, {}
        if method == "model.res.user.get_preferences":
            return 200, {"result": {"company": 1}}
        assert params[-1] == {"company": 1}, "the user's context goes with every call"
        if method == "model.ir.model.access.get_access":
            return 200, {"result": {params[0][0]: self.faults.rights}}
        model, _, name = method.removeprefix("model.").rpartition(".")
        if model not in FIELDS:
            return 200, {"error": [f"'{model}'", "Traceback of a KeyError"]}
        if self.faults.error is not None and name == "import_data":
            return 200, {"error": self.faults.error}
        with self._lock:
            return 200, getattr(self, f"_{name}")(model, *params[:-1])

    def _fields_get(self, model: str, _names: list[str]) -> dict[str, Any]:
        return {"result": FIELDS[model]}

    def _search_read(self, model: str, domain: list[Any], *rest: Any) -> dict[str, Any]:
        (field_name, operator, keys) = domain[0]
        assert operator == "in"
        if field_name == "rec_name":
            # A name is searched in numbers and in references, and told as both together.
            found = [
                (place, record)
                for place, record in self.records[model].items()
                if {record.get("number"), record.get("reference")} & set(keys)
            ]
            shown = {
                place: record["number"] + (f" [{record['reference']}]" if "reference" in record else "")
                for place, record in found
            }
            names = rest[-1]
            return {
                "result": [
                    {"id": place, **{name: self._shown(record, name) for name in names}, "rec_name": shown[place]}
                    for place, record in found
                ]
            }
        names = [name.removesuffix(".rec_name") + ("." if "." in name else "") for name in rest[-1]]
        found = [
            {"id": place, **{name: self._shown(record, name) for name in names}}
            for place, record in self.records[model].items()
            if record[field_name] in keys
        ]
        return {"result": found}

    def _shown(self, record: dict[str, Any], name: str) -> Any:
        value = record.get(name.removesuffix("."))
        return {"id": 1, "rec_name": value} if name.endswith(".") and value else value

    def _import_data(self, model: str, columns: list[str], rows: list[list[str]]) -> dict[str, Any]:
        self.faults.before_import(len(rows))
        writes = []
        for number, cells in enumerate(rows, start=1):
            row = dict(zip(columns, cells, strict=True))
            refusal = self.faults.refuses(row)
            if refusal:
                return {"error": ["UserError", [f"{refusal} at row {number}", "", None]]}
            place = int(row.pop("id") or max(self.records[model], default=0) + 1 + len(writes))
            writes.append((place, {name: _value(FIELDS[model][name]["type"], text) for name, text in row.items()}))
        for place, values in writes:
            self.records[model].setdefault(place, {}).update(values)
            self.revisions[model, place] = self.revisions.get((model, place), 0) + 1
        self.imported.append(len(rows))
        self.faults.after_import(len(rows))
        return {"result": len(rows)}


def _value(kind: str, text: str) -> Any:
    """As Tryton keeps and tells it."""
    if not text:
        return None
    if kind == "numeric":
        return {"__class__": "Decimal", "decimal": text}
    if kind == "date":
        return {"__class__": "date", **dict(zip(("year", "month", "day"), map(int, text.split("-")), strict=True))}
    if kind == "datetime":
        parsed = time.strptime(text, "%Y-%m-%d %H:%M:%S")
        parts = ("year", "month", "day", "hour", "minute", "second")
        return {"__class__": "datetime", **dict(zip(parts, parsed, strict=False)), "microsecond": 0}
    if kind == "integer":
        return int(text)
    return text == "1" if kind == "boolean" else text
