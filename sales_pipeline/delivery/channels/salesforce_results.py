"""What the end of an ingest job means for each row that was sent with it.

Belongs here: the three result files of a job, matched to the part's keys. Does not belong here: getting a job to its end (`salesforce`).
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow as pa

from sales_pipeline.delivery.channels.salesforce_jobs import Info, Jobs
from sales_pipeline.delivery.results.ends import Ends, Mismatch, coded
from sales_pipeline.delivery.results.files import result_rows
from sales_pipeline.errors import DeliveryFailed, InputRejected
from sales_pipeline.lake.durable import disk_problems

_OUTCOMES = {"successfulResults": "succeeded", "failedResults": "failed", "unprocessedrecords": "unprocessed"}


def job_results(jobs: Jobs, job: str, info: Info, ends: Ends, delimiter: str) -> pa.Table | None:
    """DELIVERY_RESULTS of the rows of a job at its end; None when it failed as a whole and nothing is told of it.

    Rows in none of the three files are unknown. A job that failed before its first row failed for all of them, in its own words. Raises
    DeliveryFailed when the files name a row twice or one that was not sent, or cannot be read.
    """
    error = str(info.get("errorMessage") or "")
    is_whole = info["state"] == "Failed" and info.get("numberRecordsProcessed") == 0
    if is_whole and error:
        return ends.table("failed", error=error)
    count = 0
    with tempfile.TemporaryDirectory() as folder, disk_problems(Path(folder) / "results"):
        for kind, outcome in _OUTCOMES.items():
            path = Path(folder) / kind
            if jobs.results(job, kind, path):
                count += _settle(path, ends, outcome, error, delimiter, job)
    return None if is_whole and count == 0 else ends.table("unknown", error=error)


def _settle(path: Path, ends: Ends, outcome: str, error: str, delimiter: str, job: str) -> int:
    """Take one result file of a job; how many rows it has."""
    count = 0
    key = ""
    try:
        with result_rows(path, delimiter) as found:
            at = {name: place for place, name in enumerate(found.header)}
            remote = at.get("sf__Id")
            key_place = at.get(ends.part.key_field, remote)
            if key_place is None:
                raise Mismatch(f"no column {ends.part.key_field}")
            for _, row in found.rows:
                key = row[key_place]
                code, message = coded(
                    row[at["sf__Error"]] if "sf__Error" in at else "" if outcome == "succeeded" else error
                )
                ends.settle(key, outcome, row[remote] if remote is not None else None, code=code, message=message)
                count += 1
    except (Mismatch, InputRejected) as problem:
        raise DeliveryFailed(
            "a job's results do not fit what was sent",
            expected="each row sent at most once",
            found=f"{problem} ({key!r})" if isinstance(problem, Mismatch) else problem.summary,
            where=f"{ends.part.name}, job {job}, {path.name}",
            fix="look at the job under Setup, Bulk Data Load Jobs; until it is clear, its rows count as without an answer",
        ) from problem
    return count
