"""`sales-pipeline quarantine`: what the newest visible exports could not give, and files to mend.

Belongs here: handing the ledger and the kept files to `delivery.quarantine`. Does not belong here: what is refused, and why.
"""

import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster_project.freshness import recorded_day
from dagster_project.opening import open_engine
from sales_pipeline.domain.time import AsOf
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.lock import lake_lock

if TYPE_CHECKING:
    from sales_pipeline.settings import Settings


@dataclass(frozen=True)
class QuarantineListing:
    """Rows of the quarantine in file order, and the repairable files by name."""

    rows: list[dict[str, Any]]
    repairable: dict[str, bytes]

    def write_repairable(self, folder: Path) -> list[Path]:
        """One CSV per export file with refused records; returns the paths written."""
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for name, data in sorted(self.repairable.items()):
            path = folder / name
            path.write_bytes(data)
            written.append(path)
        return written


def quarantined(settings: "Settings") -> QuarantineListing:
    """The quarantine of the newest as-of, as the next run would see it."""
    from sales_pipeline.clean.prepare import prepare
    from sales_pipeline.delivery.quarantine import quarantine_table, repairable_file
    from sales_pipeline.ingest.exports import collect, newest_recorded_instant, stored_files, visible
    from sales_pipeline.ingest.params import REPAIR_NAME

    lake = Lake(settings.lake)
    with lake_lock(lake.root), open_engine(settings) as engine:
        exports = collect(lake, settings.exports, settings.mapping, engine)
        as_of = AsOf.end_of_day(recorded_day(newest_recorded_instant(exports), settings), settings.time_zone)
        seen = visible(exports, as_of)
        canonical = prepare(lake, seen, settings.mapping, settings.clean, engine)
        rows = quarantine_table(canonical.ledger, canonical.cell_issues, engine).to_pylist()
        reasons: dict[str, dict[int, str]] = defaultdict(dict)
        for row in rows:
            if row["scope"] == "record" and row["source_record"] > 0:
                reasons[row["source_file"]][row["source_record"]] = row["reason"]
        repairable: dict[str, bytes] = {}
        with tempfile.TemporaryDirectory() as temporary:
            for number, one in enumerate(seen):
                work = Path(temporary) / str(number)
                for file in stored_files(lake, one, settings.mapping, work / "files"):
                    if file.sha256 not in reasons:
                        continue
                    facts = one.facts["files"][file.name]
                    read = work / file.sha256
                    read.mkdir()
                    name = f"{Path(file.base_name).stem}{REPAIR_NAME}_{file.sha256[:8]}.csv"
                    repairable[name] = repairable_file(
                        file.path,
                        reasons[file.sha256],
                        label=file.name,
                        encoding=settings.mapping.encoding,
                        sheet=facts.get("sheet"),
                        folder=read,
                    )
    return QuarantineListing(rows, repairable)
