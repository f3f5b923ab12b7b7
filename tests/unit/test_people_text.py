"""`sales-pipeline team` and `account` on the published tables of a small company."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from dagster_project.people_text import tell_account, tell_team
from sales_pipeline.contracts.published import FOLLOW_UP_QUEUE, PUBLISHED_TABLES
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.errors import ConfigurationError
from sales_pipeline.lake.runs import PublishedRun
from sales_pipeline.lake.tables import write_table
from tests.support.managed import AS_OF, Company, change, opportunity
from tests.support.published_run import queue_row
from tests.support.scored_rows import rows_of

ACCOUNT = "001D0000000000DIAQ"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PublishedRun]:
    folder: Path = tmp_path_factory.mktemp("company")
    due = {
        "due_at": AS_OF.instant + timedelta(days=1),
        "expires_at": AS_OF.instant + timedelta(days=5),
        "as_of": AS_OF.instant,
    }
    with DuckDBEngine(threads=1) as engine:
        company = Company(
            folder,
            engine,
            versioned=("stage",),
            owners=[
                {"owner_id": "u", "team": "North"},
                {"owner_id": "v", "team": "South"},
                {"owner_id": "w", "team": None},
            ],
            opportunities=[
                opportunity("o", account_id=ACCOUNT),
                opportunity("p", 50, 20, "won", account_id=ACCOUNT, owner_id="v"),
                opportunity("q", 50, 20, "lost", owner_id="v"),
                opportunity("r", owner_id="w", account_id="other"),
            ],
            opportunity_changes=[change("o", 60, "Talk", is_creation=True), change("o", 40, "Offer")],
        )
        tables: dict[str, pa.Table] = {
            "scored_opportunities": company.scored,
            "team_performance": company.tables.performance,
            "stage_times": company.tables.stage_times,
            "account_insights": company.account_table(),
            "follow_up_queue": rows_of(FOLLOW_UP_QUEUE, [queue_row("o", account_id=ACCOUNT, owner_id="u", **due)]),
        }
        for name, table in tables.items():
            write_table(table, folder / f"{name}.parquet", PUBLISHED_TABLES[name])
    yield PublishedRun("run-1", AS_OF.isoformat(), folder, {})


def test_the_team_table_shows_company_and_teams_with_intervals(run: PublishedRun) -> None:
    told = tell_team(run, level=None, team=None)
    text = "\n".join(told.texts())
    assert [row["key"] for row in told.tables[0][2]] == ["company", "North", "South", "unassigned"]
    assert "80 % low" in text
    assert "not told apart" in text
    assert "Talk" in text
    assert "Too little has closed for a model of the mix" in text
    assert "rank" not in text
    assert told.to_dict()["pipeline"][0]["open_count"] == 2


@pytest.mark.parametrize(
    ("level", "team", "keys"),
    [
        ("owner", None, ["w", "u", "v"]),
        ("company", None, ["company"]),
        (None, "North", ["North", "u"]),
        ("owner", "South", ["v"]),
        (None, "unassigned", ["unassigned", "w"]),
    ],
)
def test_rows_are_chosen_by_level_and_team_in_the_order_of_their_names(
    run: PublishedRun, level: str | None, team: str | None, keys: list[str]
) -> None:
    assert [row["key"] for row in tell_team(run, level=level, team=team).tables[0][2]] == keys


def test_unknown_levels_and_teams_are_named(run: PublishedRun) -> None:
    with pytest.raises(ConfigurationError, match="no such level"):
        tell_team(run, level="boss", team=None)
    with pytest.raises(ConfigurationError, match="no such team") as caught:
        tell_team(run, level=None, team="Mars")
    assert "North" in str(caught.value)


@pytest.mark.parametrize("name", [ACCOUNT, ACCOUNT[:15]])
def test_an_account_shows_its_figures_open_ones_queue_and_care(run: PublishedRun, name: str) -> None:
    text = "\n".join(tell_account(run, name).texts())
    for part in (
        f"account {ACCOUNT}, owner u, team North, money in USD",
        "occasional",
        "\nopen\n",
        "\nin the queue\n",
        "The last contact was 35 days ago.",
        "next: none.",
    ):
        assert part in text
    assert "contact and satisfaction" not in text


def test_an_account_that_is_not_there_is_named(run: PublishedRun) -> None:
    with pytest.raises(ConfigurationError, match="no such account") as caught:
        tell_account(run, "nobody")
    assert "one of 2 accounts" in str(caught.value)
    assert ACCOUNT in str(caught.value)
