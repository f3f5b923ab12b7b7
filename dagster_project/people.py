"""The team table, its stage times and the account table at rest, computed once per run.

Belongs here: finding inputs and keeping results. Does not belong here: figures and checks (sales_management).
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster_project.applying import previous_table
from dagster_project.plan import RunPlan
from dagster_project.queueing import known_feedback
from sales_pipeline.contracts.management import ACCOUNT_INSIGHTS, STAGE_TIMES, TEAM_PERFORMANCE
from sales_pipeline.contracts.published import FOLLOW_UP_QUEUE
from sales_pipeline.domain.identifiers import digest_of
from sales_pipeline.domain.time import AsOf
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import TableRef, read_table, table_ref, write_table

if TYPE_CHECKING:
    from sales_pipeline.clean.prepare import Canonical
    from sales_pipeline.engines.base import Engine
    from sales_pipeline.features.build import FeatureSet
    from sales_pipeline.sales_management.checks import Verdict
    from sales_pipeline.settings import Settings

STAGE = "people"
PEOPLE_TABLES = (TEAM_PERFORMANCE, STAGE_TIMES, ACCOUNT_INSIGHTS)


def people_tables(
    lake: Lake,
    settings: "Settings",
    scored: TableRef,
    features: "FeatureSet",
    forecast: TableRef,
    canonical: "Canonical",
    as_of: AsOf,
    plan: RunPlan,
    engine: "Engine",
) -> dict[str, TableRef]:
    """PEOPLE_TABLES of the plan's run, by name."""

    def build(folder: Path) -> dict[str, Any]:
        from sales_pipeline.features.standing import stays_of_all
        from sales_pipeline.sales_management.accounts import build_accounts, trend_from
        from sales_pipeline.sales_management.contacts import kept_or_read
        from sales_pipeline.sales_management.seen import look
        from sales_pipeline.sales_management.team import Beside, build_team

        seen = look(
            scored,
            features,
            canonical.tables,
            stays_of_all(lake, canonical, engine),
            as_of=as_of,
            time_zone=settings.time_zone,
            currency=settings.forecast.currency,
            spoken_for=settings.mapping.currency,
            engine=engine,
            contacts=kept_or_read(lake, canonical.tables["activities"], trend_from(as_of), engine),
        )
        try:
            beside = Beside(
                previous_queue=previous_table(lake, plan, FOLLOW_UP_QUEUE),
                feedback=known_feedback(lake, canonical, as_of, plan, engine),
                forecast=read_table(forecast),
            )
            team = build_team(seen, beside, settings.team, run_id=plan.run_id)
            accounts = build_accounts(
                seen,
                settings.accounts,
                source_system=settings.source_system,
                language=settings.scoring.language,
                run_id=plan.run_id,
            )
        finally:
            seen.release()
        made = zip(PEOPLE_TABLES, (team.performance, team.stage_times, accounts), strict=True)
        return {table.name: write_table(data, folder / f"{table.name}.parquet", table).rows for table, data in made}

    key = digest_of(STAGE, plan.run_id, scored.sha256, features.key, forecast.sha256, canonical.key)
    folder, _ = lake.step(STAGE, key, build)
    return {table.name: table_ref(table.name, folder / f"{table.name}.parquet") for table in PEOPLE_TABLES}


def people_verdicts(tables: dict[str, TableRef], scored: TableRef) -> "dict[str, list[Verdict]]":
    """The checks of each table."""
    from sales_pipeline.sales_management.checks import check_accounts, check_stage_times, check_team

    said = read_table(scored)
    checks: dict[str, Callable[[Any], list[Verdict]]] = {
        TEAM_PERFORMANCE.name: lambda data: check_team(data, said),
        STAGE_TIMES.name: check_stage_times,
        ACCOUNT_INSIGHTS.name: lambda data: check_accounts(data, said),
    }
    return {name: checks[name](read_table(ref)) for name, ref in tables.items()}
