"""Salesforce by Bulk API 2.0: one ingest job a part, its results matched row by row.

    create ─► journal `job` ─► upload ─► journal `uploaded` ─► journal `closing` ─► close ─► poll ─► results ─► journal.finish

A delivery that was killed goes on by the last note: a job without `uploaded` is aborted and another made (nothing of an open job is processed);
an uploaded one is closed; one that was being closed is looked at, and closed only where it is still open; then its end is waited for. So no row
is processed twice, whatever moment the process or the connection dies at.

httpx rather than simple-salesforce: that has https wired in and splits files of its own accord, so that the notes between the steps above, and a test
against this machine, would each need a patch of it.

Belongs here: the order of the steps. Does not belong here: HTTP (`salesforce_jobs`, `remote`), what a job's end means (`salesforce_results`).
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pyarrow as pa

from sales_pipeline.delivery.channels.credentials import secret_of
from sales_pipeline.delivery.channels.remote import NoAnswer, Remote
from sales_pipeline.delivery.channels.salesforce_jobs import DELIMITERS, ENDED, LINE_ENDS, Info, Jobs
from sales_pipeline.delivery.channels.salesforce_results import job_results
from sales_pipeline.delivery.journal import Journal
from sales_pipeline.delivery.params import SalesforceChannel
from sales_pipeline.delivery.parcel import Parcel, Part
from sales_pipeline.delivery.results.ends import Ends
from sales_pipeline.delivery.results.sent import sent_keys
from sales_pipeline.delivery.results.tables import joined
from sales_pipeline.errors import ConfigurationError, DeliveryFailed

MAX_BYTES = 100_000_000
_GO_ON = "deliver again: it goes on where it stopped"


class Salesforce:
    """A channel to one Salesforce instance. `sleep` and `clock` are for tests."""

    def __init__(
        self,
        params: SalesforceChannel,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._params = params
        self._sleep = sleep
        self._clock = clock

    def send(self, parcel: Parcel, journal: Journal) -> pa.Table:
        """Send what is not finished yet, part by part in the parcel's order; see `Channel.send`.

        Nothing is sent when a file is above 100 MB (Salesforce takes 150 MB after base64), is not what the manifest says, or asks for what Bulk
        API 2.0 has not.
        """
        params = self._params
        kept = {part.name: journal.results(part) for part in parcel.parts}
        keys = {part.name: _sendable(parcel, part) for part in parcel.parts if kept[part.name] is None}
        if not keys:
            return joined([table for table in kept.values() if table is not None])
        secret = _bearer(params)
        with Remote(
            params.url,
            timeout_seconds=params.timeout_seconds,
            attempts=params.attempts,
            requests_per_second=params.requests_per_second,
            headers={"Authorization": f"Bearer {secret}"},
            secrets=(secret,),
            sleep=self._sleep,
            clock=self._clock,
        ) as remote:
            jobs = Jobs(remote, params.api_version, params.attempts)
            tables = []
            for part in parcel.parts:
                done = kept[part.name]
                if done is None:
                    results = self._part_results(jobs, parcel, part, journal, keys[part.name])
                    done = journal.finish(part, results)
                tables.append(done)
        return joined(tables)

    def _part_results(self, jobs: Jobs, parcel: Parcel, part: Part, journal: Journal, keys: list[str]) -> pa.Table:
        ends = Ends(part, keys)
        if not keys:
            return ends.table()
        job = self._handed_over(jobs, parcel, part, journal)
        info = self._ended(jobs, job)
        if info is None:
            return ends.table("unknown", error=f"Salesforce knows job {job} no more; it keeps jobs for 7 days")
        results = job_results(jobs, job, info, ends, parcel.delimiter)
        if results is None:
            journal.note(part, "given_up", job=job)
            raise DeliveryFailed(
                "a job failed as a whole, and Salesforce does not say why",
                expected="an error message, or results",
                found="neither; no row was processed",
                where=f"{part.name}, job {job}",
                fix="look at the job under Setup, Bulk Data Load Jobs; delivering again makes a new one",
            )
        return results

    def _handed_over(self, jobs: Jobs, parcel: Parcel, part: Part, journal: Journal) -> str:
        """The job that has the part's data and was closed: the one of an earlier attempt where there is one, else a new one."""
        job = self._earlier(jobs, part, journal)
        for _ in range(self._params.attempts):
            if job is None:
                job = jobs.create(parcel, part)
                journal.note(part, "job", job=job, url=self._params.url)
                try:
                    jobs.upload(job, parcel.path(part))
                except NoAnswer:
                    jobs.abort(job)
                    job = None
                    continue
                journal.note(part, "uploaded", job=job)
            return self._closed(jobs, job, part, journal)
        raise DeliveryFailed(
            "a file could not be uploaded",
            expected="an answer to the upload",
            found=f"none, {self._params.attempts} times; those jobs were aborted, nothing of them is processed",
            where=part.name,
            fix=_GO_ON,
        )

    def _earlier(self, jobs: Jobs, part: Part, journal: Journal) -> str | None:
        """An earlier attempt's job that has the data; one that has not is aborted."""
        begun = journal.notes(part, "job")
        if not begun:
            return None
        job, url = begun[-1]["job"], begun[-1]["url"]
        if url != self._params.url:
            raise DeliveryFailed(
                "this delivery was begun at another address",
                expected=url,
                found=self._params.url,
                where=part.name,
                fix="set the address back and deliver again, or discard the kit if it was never imported there",
            )
        events = {note["event"] for note in journal.notes(part) if note.get("job") == job}
        if "given_up" in events:
            return None
        if "closing" in events:
            return str(job)
        info = jobs.look(job)
        state = info["state"] if info is not None else "Aborted"
        if state == "Open" and "uploaded" not in events:
            jobs.abort(job)
            state = "Aborted"
        return None if state == "Aborted" else str(job)  # a state beyond Open: somebody closed it, so it counts

    def _closed(self, jobs: Jobs, job: str, part: Part, journal: Journal) -> str:
        if not any(note["job"] == job for note in journal.notes(part, "closing")):
            journal.note(part, "closing", job=job)
        elif (jobs.look(job) or {}).get("state") != "Open":
            return job
        refusal = jobs.close(job)
        if refusal:
            jobs.abort(job)
            journal.note(part, "given_up", job=job)
            raise DeliveryFailed(
                "Salesforce did not take a job's data; the job was aborted",
                found=refusal,
                where=f"{part.name}, job {job}",
                fix="deliver again: a new job is made",
            )
        return job

    def _ended(self, jobs: Jobs, job: str) -> Info | None:
        """The job at its end; None when Salesforce knows it no more."""
        deadline = self._clock() + self._params.job_timeout_seconds
        while True:
            info = jobs.look(job)
            if info is None or info["state"] in ENDED:
                return info
            if self._clock() >= deadline:
                raise DeliveryFailed(
                    "a job did not come to its end in time",
                    expected=f"an end within {self._params.job_timeout_seconds:g} s",
                    found=f"state {info['state']}, {info.get('numberRecordsProcessed', 'unknown')} rows processed",
                    where=f"job {job}",
                    fix="deliver again later: it goes on waiting, and sends nothing anew",
                )
            self._sleep(self._params.poll_seconds)


def _sendable(parcel: Parcel, part: Part) -> list[str]:
    """The part's keys, when Bulk API 2.0 can take it."""
    problems = [
        (part.operation in ("update", "upsert", "insert"), "operation update, upsert or insert", part.operation),
        (part.operation != "update" or part.key_field == "Id", "updates by Id; upsert for another key", part.key_field),
        (parcel.delimiter in DELIMITERS, f"a delimiter of {' '.join(DELIMITERS)}", repr(parcel.delimiter)),
        (parcel.line_end in LINE_ENDS, "lines that end in LF or CRLF", repr(parcel.line_end)),
        (part.name.endswith(".csv"), "a CSV file", part.name),
    ]
    for is_right, expected, found in problems:
        if not is_right:
            raise ConfigurationError(
                "Bulk API 2.0 cannot take this file",
                expected=expected,
                found=found,
                where=part.name,
                fix="mend the mapping",
            )
    size = parcel.path(part).stat().st_size if parcel.path(part).is_file() else 0
    if size > MAX_BYTES:
        raise ConfigurationError(
            "a file is too large for Bulk API 2.0",
            expected=f"at most {MAX_BYTES} bytes (150 MB after base64)",
            found=f"{size} bytes",
            where=part.name,
            fix="set format.max_bytes in the mapping, so that the kit is split",
        )
    return sent_keys(parcel, part)


def _bearer(params: SalesforceChannel) -> str:
    secret = secret_of(params)
    if not secret.isascii() or " " in secret:
        raise ConfigurationError(
            "the token is no Salesforce access token", expected="ASCII without spaces", found="others"
        )
    return secret
