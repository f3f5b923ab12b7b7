"""PostgreSQL as a channel: a parcel is a published run's folder, its parts are the tables, each of which replaces what was shown.

A record of this target is a whole table, so DELIVERY_RESULTS has one row per table, its key the table's name.

Belongs here: the Channel over `delivery.postgres`. Does not belong here: how a run is published there.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from sales_pipeline.delivery.journal import PUBLISHED, Journal
from sales_pipeline.delivery.params import PostgresChannel
from sales_pipeline.delivery.parcel import Parcel, Part
from sales_pipeline.delivery.postgres.publish import PostgresPublication, publish_to_postgres
from sales_pipeline.delivery.postgres.run_folder import read_run
from sales_pipeline.delivery.results.tables import results_table
from sales_pipeline.domain.identifiers import digest_of
from sales_pipeline.lake.runs import read_manifest

KEY_FIELD = "table"


def run_parcel(run_folder: Path, target: str) -> Parcel:
    """A published run's folder as a parcel; raises what `read_run` raises."""
    run = read_run(run_folder)
    files = read_manifest(run_folder)["files"]
    parts = tuple(
        Part(
            name=table.path.name,
            object_name=table.contract.name,
            object=f"published.{table.contract.name}",
            operation="replace",
            key_field=KEY_FIELD,
            fields=tuple(column.name for column in table.columns),
            rows=table.rows,
            bytes=files[table.path.name]["bytes"],
            sha256=files[table.path.name]["sha256"],
        )
        for table in run.tables
    )
    return Parcel(digest_of(target, run.run_id, run.manifest_sha256), target, run.run_id, run.as_of, run_folder, parts)


class PostgresTables:
    """Sends whole runs; the password is one that was read already, never part of the parameters' text."""

    def __init__(self, params: PostgresChannel, password: str | None, *, make_current: bool = False) -> None:
        self._params = params
        self._password = password
        self._make_current = make_current

    def send(self, parcel: Parcel, journal: Journal) -> pa.Table:
        """Publish the run, or learn that it is published, and return one result per table. All tables succeed together or none does.

        What is there is asked of the database each time, whose ledger knows it best; the journal only tells `deliver status`.
        """
        done = publish_to_postgres(
            parcel.folder,
            self._params.url,
            self._password,
            keep_runs=self._params.keep_runs,
            reader_role=self._params.reader_role,
            make_current=self._make_current,
            timeout_seconds=self._params.timeout_seconds,
            attempts=self._params.attempts,
        )
        journal.note(
            None,
            PUBLISHED,
            run_id=parcel.run_id,
            as_of=parcel.as_of,
            rows=sum(done.rows.values()),
            is_new=done.is_new,
            is_current=done.is_current,
            dropped_runs=done.dropped_runs,
            postponed_runs=done.postponed_runs,
            postponed_because=done.postponed_because,
        )
        return pa.concat_tables(
            [
                results_table(part, [part.object_name], "succeeded", messages=[_said(done, part)])
                for part in parcel.parts
            ]
        )


def _said(done: PostgresPublication, part: Part) -> str:
    shown = "shown" if done.is_current else "kept, a newer run is shown"
    return f"{done.rows[part.object_name]} rows, {shown}"
