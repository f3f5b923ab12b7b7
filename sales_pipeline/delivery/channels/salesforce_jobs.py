"""The requests of Salesforce's Bulk API 2.0 for ingest jobs, one function each, and what may be repeated.

Creating a job may: a job without data that nobody closes does nothing and is removed by Salesforce. Uploading may not: a job with two uploads cannot be
closed, and whether a broken upload came whole is not told, so such a job is aborted and another is made. Closing is looked after: the state tells
whether it happened. (developer.salesforce.com, Bulk API 2.0: Create a Job, Upload Job Data, Upload Complete, Get Job Info, Get Job … Record Results)

Belongs here: HTTP. Does not belong here: the order of the steps, the journal (`salesforce`).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from sales_pipeline.delivery.channels.remote import NoAnswer, Remote, json_of
from sales_pipeline.delivery.parcel import Parcel, Part
from sales_pipeline.errors import DeliveryFailed

ENDED = ("JobComplete", "Failed", "Aborted")
DELIMITERS = {",": "COMMA", ";": "SEMICOLON", "\t": "TAB", "|": "PIPE", "^": "CARET", "`": "BACKQUOTE"}
LINE_ENDS = {"\n": "LF", "\r\n": "CRLF"}

_JOB_ID = re.compile(r"[A-Za-z0-9]{15,18}")

Info = dict[str, Any]


class Jobs:
    """Ingest jobs of one instance and version."""

    def __init__(self, remote: Remote, api_version: str, attempts: int) -> None:
        self._remote = remote
        self._base = f"services/data/v{api_version}/jobs/ingest"
        self._attempts = attempts

    def create(self, parcel: Parcel, part: Part) -> str:
        """A new job for a part; its id."""
        asked = {
            "object": part.object,
            "operation": part.operation,
            "contentType": "CSV",
            "lineEnding": LINE_ENDS[parcel.line_end],
            "columnDelimiter": DELIMITERS[parcel.delimiter],
        }
        if part.operation == "upsert":
            asked["externalIdFieldName"] = part.key_field
        answer = json_of(self._remote.request("POST", self._base, json=asked, is_repeatable=True, accept=(200, 201)))
        job = str(answer.get("id")) if isinstance(answer, dict) else ""
        if not _JOB_ID.fullmatch(job):
            raise DeliveryFailed(
                "Salesforce gave no job", expected="an id of 15 or 18 characters", found=repr(job)[:80]
            )
        return job

    def upload(self, job: str, path: Path) -> None:
        """The part's file, once; raises NoAnswer when it is not known whether it came whole."""
        headers = {"Content-Type": "text/csv"}
        self._remote.request(
            "PUT", f"{self._base}/{job}/batches", content=path, headers=headers, is_repeatable=False, accept=(200, 201)
        )

    def close(self, job: str) -> str:
        """Hand the data over for processing, exactly once; what Salesforce said, where it did not take it (the job is open still)."""
        for _ in range(self._attempts):
            said = ""
            try:
                answer = self._change(job, "UploadComplete", is_repeatable=False)
                if answer is None:
                    return ""
                said = answer
            except NoAnswer:
                pass
            state = (self.look(job) or {}).get("state")
            if state != "Open":
                return ""
            if said:
                return said
        raise DeliveryFailed(
            "Salesforce does not say whether it took a job's data",
            found=f"no answer {self._attempts} times, and the job is open still",
            where=job,
            fix="deliver again: it goes on where it stopped",
        )

    def abort(self, job: str) -> None:
        """End a job that was not closed; nothing of it is processed. One that is gone or at its end is left alone."""
        self._change(job, "Aborted", is_repeatable=True)

    def look(self, job: str) -> Info | None:
        """What Salesforce says of a job, or None when it knows it no more."""
        answer = self._remote.request("GET", f"{self._base}/{job}", is_repeatable=True, accept=(200, 404))
        if answer.status_code == 404:
            return None
        info = json_of(answer)
        if not isinstance(info, dict) or not isinstance(info.get("state"), str):
            raise DeliveryFailed("Salesforce does not say how a job stands", expected="a state", where=job)
        return info

    def results(self, job: str, kind: str, to: Path) -> bool:
        """Write `successfulResults`, `failedResults` or `unprocessedrecords` to a file; False when the job has none."""
        answer = self._remote.download(f"{self._base}/{job}/{kind}", to, accept=(200, 204, 400, 404))
        if answer.status_code != 200:
            return False
        with to.open("rb") as handle:
            return bool(handle.read(4096).strip())

    def _change(self, job: str, state: str, *, is_repeatable: bool) -> str | None:
        """None when Salesforce changed the state, else its words."""
        answer = self._remote.request(
            "PATCH",
            f"{self._base}/{job}",
            json={"state": state},
            is_repeatable=is_repeatable,
            accept=(200, 400, 404),
        )
        return None if answer.status_code == 200 else self._remote.readable(answer)
