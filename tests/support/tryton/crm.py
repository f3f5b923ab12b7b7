"""A Tryton CRM for tests: set up, filled, served on 127.0.0.1, asked through its own export and its own RPC, stopped by its process id.

The server and the two scripts run in `.venv-tryton`; this module runs with the tests and talks to them by command line and HTTP alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from tests.support.cli import ROOT

BIN = ROOT / ".venv-tryton" / "bin"
HERE = Path(__file__).parent
DATABASE, USER = "crm", "admin"
START_SECONDS = 60

OPPORTUNITY_FIELDS = (
    "number",
    "reference",
    "party/code",
    "employee/party/code",
    "state",
    "start_date",
    "end_date",
    "amount",
    "currency/code",
    "conversion_probability",
    "description",
    "comment",
    "create_date",
    "write_date",
)
PARTY_FIELDS = ("code", "name", "active", "create_date", "write_date")


def is_installed() -> bool:
    """Whether the environment is there (`make .venv-tryton/.ready`)."""
    return (BIN / "trytond").is_file()


@dataclass(frozen=True)
class Moment:
    """An instant as Tryton's JSON writes it."""

    instant: datetime

    @property
    def json(self) -> dict[str, Any]:
        parts = ("year", "month", "day", "hour", "minute", "second", "microsecond")
        return {"__class__": "datetime", **{part: getattr(self.instant, part) for part in parts}}


class TrytonCrm:
    """A CRM in a folder. `build` makes and fills it; inside `with` it is served."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.folder = folder
        self.password = secrets.token_urlsafe(12)
        self._server: subprocess.Popen[bytes] | None = None
        self._http = httpx.Client(base_url=f"{self.url}", auth=(USER, self.password), timeout=60)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/{DATABASE}/"

    def build(self, opportunities: int, parties: int) -> tuple[str, str]:
        """Set up and fill; the first and the last day it lived through."""
        secret = self.folder / "password"
        secret.write_text(self.password, encoding="utf-8")
        secret.chmod(0o600)
        self._script("set_up.py", str(self.folder), str(self.port), TRYTONPASSFILE=str(secret))
        secret.unlink()
        told = self._script("load.py", str(self.folder), str(opportunities), str(parties))
        first, last = told.splitlines()[-1].split()
        return first, last

    def _script(self, name: str, *arguments: str, **environment: str) -> str:
        done = subprocess.run(
            [BIN / "python", HERE / name, *arguments],
            env={**os.environ, "PYTHONPATH": "", **environment},
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, f"{name}: {done.stdout[-1_000:]}\n{done.stderr[-4_000:]}"
        return done.stdout

    def __enter__(self) -> TrytonCrm:
        with (self.folder / "server.log").open("ab") as log:
            self._server = subprocess.Popen(
                [BIN / "trytond", "-c", self.folder / "trytond.conf", "-d", DATABASE],
                env={**os.environ, "PYTHONPATH": "", "TZ": "UTC"},
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            assert self._server.poll() is None, (self.folder / "server.log").read_text()[-4_000:]
            # The port opens, and addresses are unknown, while the modules are still being loaded.
            with contextlib.suppress(httpx.TransportError):
                if self._http.get("r/base/data/ir.lang", params={"f": "code"}).status_code == 200:
                    return self
            time.sleep(0.3)
        self.__exit__()
        raise AssertionError(f"the server does not answer: {(self.folder / 'server.log').read_text()[-4_000:]}")

    def __exit__(self, *_: object) -> None:
        self._http.close()
        if self._server is not None:
            self._server.terminate()
            try:
                self._server.wait(20)
            except subprocess.TimeoutExpired:
                # Where the shell that began it all ignores the signal, so does the server.
                self._server.kill()
                self._server.wait(20)

    def export(
        self,
        model: str,
        fields: Sequence[str],
        *,
        at: datetime | None = None,
        domain: Sequence[Any] = (),
        header: bool = True,
    ) -> str:
        """The CRM's own export, as of an instant where one is given."""
        context = {"_datetime": Moment(at).json} if at else {}
        answer = self._http.get(
            f"r/base/data/{model}",
            params={"f": list(fields), "d": json.dumps(list(domain)), "c": json.dumps(context), "h": int(header)},
        )
        assert answer.status_code == 200, f"{answer.status_code} {answer.text[:500]}"
        return answer.content.decode("utf-8")

    def call(self, method: str, *params: Any) -> Any:
        """The result of a remote procedure call with Basic authentication, for what a test asks itself."""
        body = self.answer(method, *params)
        assert "error" not in body, body["error"]
        return body["result"]

    def answer(self, method: str, *params: Any) -> dict[str, Any]:
        """The same, with `error` in place of `result` where the call is refused."""
        answer = self._http.post("rpc/", json={"id": 1, "method": method, "params": [*params, {}]})
        assert answer.status_code == 200, f"{answer.status_code} {answer.text[:500]}"
        body: dict[str, Any] = answer.json()
        return body
