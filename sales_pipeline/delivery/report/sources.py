"""The report's inputs, gathered from where they rest: the run's tables, the published run before, canonical owners and outcomes.

Belongs here: reading. Does not belong here: what is said of it (`sections`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from sales_pipeline.delivery.report.inputs import ReportInputs
from sales_pipeline.domain.time import AsOf
from sales_pipeline.engines.base import Engine
from sales_pipeline.features.terms import Language
from sales_pipeline.lake.tables import TableRef, read_table

PREVIOUS_TABLES = ("scored_opportunities",)
"""Tables of the run before that the report compares with."""
SCORED = "scored_opportunities"


def report_inputs(
    tables: Mapping[str, pa.Table],
    card: Mapping[str, Any],
    canonical: Mapping[str, TableRef],
    engine: Engine,
    *,
    run_id: str,
    as_of: AsOf,
    previous: tuple[Path, AsOf] | None,
    source_system: str,
    language: Language,
    time_zone: str,
) -> ReportInputs:
    """The inputs of a run's report.

    Parameters
    ----------
    tables
        The run's published tables by name.
    canonical
        `owners` and `opportunities`, as the run saw them.
    previous
        Folder and as-of of the published run before, None for the first.
    """
    earlier: dict[str, pa.Table] = {}
    if previous is not None:
        paths = {name: previous[0] / f"{name}.parquet" for name in PREVIOUS_TABLES}
        earlier = {name: read_table(path) for name, path in paths.items() if path.is_file()}
    owners = read_table(canonical["owners"], ["owner_id", "team"])
    teams = {
        owner: team
        for owner, team in zip(*(owners.column(name).to_pylist() for name in ("owner_id", "team")), strict=True)
        if team
    }
    return ReportInputs(
        tables=tables,
        card=card,
        run_id=run_id,
        as_of=as_of,
        source_system=source_system,
        language=language,
        time_zone=time_zone,
        previous=earlier,
        previous_as_of=previous[1] if previous else None,
        teams=teams,
        outcomes=_outcomes(tables, earlier, canonical["opportunities"], engine),
    )


def _outcomes(
    tables: Mapping[str, pa.Table], earlier: Mapping[str, pa.Table], opportunities: TableRef, engine: Engine
) -> dict[str, str]:
    """What became of opportunities that were open in the run before and are not scored now."""
    if SCORED not in earlier or SCORED not in tables:
        return {}
    before, now = (found[SCORED].column("opportunity_id") for found in (earlier, tables))
    left = before.filter(pc.invert(pc.is_in(before, value_set=now.combine_chunks())))
    wanted = pa.table({"opportunity_id": left})
    if not wanted.num_rows:
        return {}
    is_wanted = exp.column("opportunity_id").isin(query=exp.select("opportunity_id").from_("wanted"))
    query = exp.select("opportunity_id", "state").from_("opportunities").where(is_wanted)
    found = engine.query(query, {"opportunities": opportunities, "wanted": wanted})
    return dict(zip(found.column("opportunity_id").to_pylist(), found.column("state").to_pylist(), strict=True))
