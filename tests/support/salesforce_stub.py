"""A Salesforce instance on this machine: the ingest jobs of Bulk API 2.0 over HTTP, before the org of `salesforce_org`.

    with SalesforceStub(token="t", org=org) as stub:
        channel = SalesforceChannel(url=stub.url, token="t", …)

Enforced: bearer token, versions from 41.0, content types, the size limit, one upload a job (a second one makes closing fail), states in their order,
results only when a job has ended. Requests are counted from 1; faults that belong to a request name its number.
"""

from __future__ import annotations

import csv
import io
import json
import re
import socket
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from tests.support.salesforce_org import Faults, JobFailure, Org, Outcome

_PATH = re.compile(r"/services/data/v(\d+\.\d)/jobs/ingest(?:/(\w+)(?:/(\w+))?)?/?")
_ENDED = ("JobComplete", "Failed", "Aborted")
_LINE_ENDS = ("LF", "CRLF")
_DELIMITERS = ("COMMA", "SEMICOLON", "TAB", "PIPE", "CARET", "BACKQUOTE")


@dataclass
class Weather:
    """Faults of the way there. `die_before`: the connection breaks before the request does anything; `die_after`: when it has, but no answer
    left; `too_many`: 429 with this Retry-After; `broken`: 500; `slow_seconds`: before every answer; `stuck`: jobs stay InProgress."""

    die_before: set[int] = field(default_factory=set)
    die_after: set[int] = field(default_factory=set)
    too_many: dict[int, str] = field(default_factory=dict)
    broken: set[int] = field(default_factory=set)
    slow_seconds: float = 0.0
    stuck: bool = False


@dataclass
class Job:
    """An ingest job."""

    id: str
    request: dict[str, str]
    state: str = "Open"
    uploads: list[bytes] = field(default_factory=list)
    polls: int = 0
    error: str = ""
    outcome: Outcome = field(default_factory=Outcome)

    def info(self) -> dict[str, Any]:
        done = self.outcome
        told = {"errorMessage": self.error} if self.error else {}
        return {
            **self.request,
            **told,
            "id": self.id,
            "state": self.state,
            "numberRecordsProcessed": len(done.successful) + len(done.failed),
            "numberRecordsFailed": len(done.failed),
        }


class Refusal(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = json.dumps([{"errorCode": code, "message": message}]).encode()


class SalesforceStub:
    """The server; `url` while it runs, `requests` (method, path) as they came, `jobs` by id."""

    def __init__(
        self,
        token: str = "token",
        org: Org | None = None,
        *,
        faults: Faults | None = None,
        weather: Weather | None = None,
        polls_until_done: int = 2,
        max_base64_bytes: int = 150_000_000,
    ) -> None:
        self.token = token
        self.org = org or Org()
        self.faults = faults or Faults()
        self.weather = weather or Weather()
        self.polls_until_done = polls_until_done
        self.max_base64_bytes = max_base64_bytes
        self.jobs: dict[str, Job] = {}
        self.requests: list[tuple[str, str]] = []
        self._guard = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.005})
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def number(self, method: str, path: str) -> int:
        with self._guard:
            self.requests.append((method, path))
            return len(self.requests)

    def handle(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, str, bytes]:
        """Status, content type and body of the answer."""
        with self._guard:
            try:
                return self._route(method, path, headers, body)
            except Refusal as refusal:
                return refusal.status, "application/json", refusal.body

    def _route(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, str, bytes]:
        if headers.get("authorization") != f"Bearer {self.token}":
            raise Refusal(401, "INVALID_SESSION_ID", "Session expired or invalid")
        found = _PATH.fullmatch(path)
        if found is None or float(found[1]) < 41.0:
            raise Refusal(404, "NOT_FOUND", "The requested resource does not exist")
        if found[2] is None:
            if method != "POST":
                raise Refusal(405, "METHOD_NOT_ALLOWED", method)
            return self._create(headers, body)
        job = self.jobs.get(found[2])
        if job is None:
            raise Refusal(404, "NOT_FOUND", "The requested resource does not exist")
        if found[3] == "batches" and method == "PUT":
            return self._upload(job, headers, body)
        if found[3] is None and method == "PATCH":
            return self._change(job, _json(headers, body).get("state", ""))
        if found[3] is None and method == "GET":
            return self._look(job)
        if found[3] in _RESULTS and method == "GET":
            if job.state not in _ENDED:
                raise Refusal(400, "INVALIDJOBSTATE", f"Job is in state {job.state}")
            return 200, "text/csv", _RESULTS[found[3]](job)
        raise Refusal(404, "NOT_FOUND", "The requested resource does not exist")

    def _create(self, headers: dict[str, str], body: bytes) -> tuple[int, str, bytes]:
        asked = {"lineEnding": "LF", "columnDelimiter": "COMMA", **_json(headers, body)}
        is_upsert = asked.get("operation") == "upsert"
        if (
            asked.get("operation") not in ("insert", "update", "upsert")
            or asked.get("contentType") != "CSV"
            or asked["lineEnding"] not in _LINE_ENDS
            or asked["columnDelimiter"] not in _DELIMITERS
            or not asked.get("object")
            or is_upsert != ("externalIdFieldName" in asked)
        ):
            raise Refusal(400, "INVALIDJOB", "InvalidJob : a property of the job is missing or not known")
        if asked["object"] not in self.org.objects:
            raise Refusal(400, "INVALIDJOB", f"InvalidJob : Unable to find object: {asked['object']}")
        job = Job(f"750Hs{len(self.jobs):013d}", asked)
        self.jobs[job.id] = job
        return 200, "application/json", json.dumps(job.info()).encode()

    def _upload(self, job: Job, headers: dict[str, str], body: bytes) -> tuple[int, str, bytes]:
        if not headers.get("content-type", "").startswith("text/csv"):
            raise Refusal(415, "UNSUPPORTED_MEDIA_TYPE", "text/csv expected")
        if job.state != "Open":
            raise Refusal(400, "INVALIDJOBSTATE", f"Job is in state {job.state}")
        if -(-len(body) // 3) * 4 > self.max_base64_bytes:
            raise Refusal(413, "EXCEEDED_MAX_SIZE_REQUEST", "The job's data is too large")
        job.uploads.append(body)
        return 201, "application/json", b""

    def _change(self, job: Job, state: str) -> tuple[int, str, bytes]:
        if state == "Aborted" and job.state not in _ENDED:
            job.state = "Aborted"
        elif state == "UploadComplete" and job.state == "Open":
            if len(job.uploads) != 1:
                raise Refusal(400, "INVALIDJOB", f"Found {len(job.uploads)} contents for job: <{job.id}>")
            job.state = "UploadComplete"
        else:
            raise Refusal(400, "INVALIDJOBSTATE", f"Cannot set {state}: job is in state {job.state}")
        return 200, "application/json", json.dumps(job.info()).encode()

    def _look(self, job: Job) -> tuple[int, str, bytes]:
        if job.state in ("UploadComplete", "InProgress"):
            job.polls += 1
            job.state = "InProgress"
            if job.polls >= self.polls_until_done and not self.weather.stuck:
                self._process(job)
        return 200, "application/json", json.dumps(job.info()).encode()

    def _process(self, job: Job) -> None:
        asked = job.request
        key = asked.get("externalIdFieldName", "Id")
        try:
            name, operation = asked["object"], asked["operation"]
            job.outcome = self.org.process(name, operation, key, job.uploads[0], self.faults, asked)
            if job.outcome.is_stopped:
                job.state, job.error = self.faults.stop_as, self.faults.stop_message
            else:
                job.state = "JobComplete"
        except JobFailure as failure:
            job.state, job.error = "Failed", str(failure)


def _json(headers: dict[str, str], body: bytes) -> dict[str, str]:
    if not headers.get("content-type", "").startswith("application/json"):
        raise Refusal(415, "UNSUPPORTED_MEDIA_TYPE", "application/json expected")
    found: dict[str, str] = json.loads(body)
    return found


def _csv(header: list[str], rows: list[list[str]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()


_RESULTS = {
    "successfulResults": lambda job: _csv(["sf__Id", "sf__Created", *job.outcome.header], job.outcome.successful),
    "failedResults": lambda job: _csv(["sf__Id", "sf__Error", *job.outcome.header], job.outcome.failed),
    "unprocessedrecords": lambda job: (
        job.uploads[0] if job.error and not job.outcome.header else _csv(job.outcome.header, job.outcome.unprocessed)
    ),
}


def _handler(stub: SalesforceStub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def serve(self) -> None:
            number = stub.number(self.command, self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            weather = stub.weather
            if weather.slow_seconds:
                time.sleep(weather.slow_seconds)
            if number in weather.die_before:
                self.cut()
            elif number in weather.too_many:
                self.answer(429, "application/json", b"[]", {"Retry-After": weather.too_many[number]})
            elif number in weather.broken:
                self.answer(500, "text/html", b"<h1>broken</h1>", {})
            else:
                headers = {name.lower(): value for name, value in self.headers.items()}
                answer = stub.handle(self.command, self.path, headers, body)
                if number in weather.die_after:
                    self.cut()
                else:
                    self.answer(*answer, {})

        def answer(self, status: int, kind: str, body: bytes, headers: dict[str, str]) -> None:
            self.send_response_only(status)
            for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                self.wfile.write(body)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # who asked did not wait

        def cut(self) -> None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

        def log_message(self, format: str, *args: Any) -> None: ...

    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        setattr(Handler, f"do_{method}", Handler.serve)
    return Handler
