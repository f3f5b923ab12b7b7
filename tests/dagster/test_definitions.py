"""What the code location declares: it loads without heavy libraries, and its graph is the one written down.

To write the golden file anew after an intended change: `python -m tests.dagster.test_definitions`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_project.assets.prepare import INPUTS, in_order, inputs_of
from dagster_project.assets.select import CANONICAL_INPUTS
from dagster_project.build import column_schema, table_metadata
from dagster_project.definitions import build_definitions
from dagster_project.jobs import SCORING_JOB, TRAINING_JOB
from dagster_project.lineage import CLEAN_MODELS, FEATURE_MODELS, chain, read_models, reads
from dagster_project.partitions import daily, require_partition
from sales_pipeline.contracts.canonical import ACCOUNTS, CANONICAL_TABLES
from sales_pipeline.contracts.raw import RAW_TABLES
from sales_pipeline.errors import ConfigurationError
from sales_pipeline.lake.tables import TableRef

GOLDEN = Path(__file__).parents[1] / "golden" / "asset_graph.json"
HEAVY = ("mlflow", "great_expectations", "pyspark", "sklearn", "pandas", "duckdb", "lightgbm", "matplotlib", "sqlglot")


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    return build_definitions()


def described(definitions: dg.Definitions) -> dict[str, Any]:
    """The graph as plain data: per asset its group, what it depends on and its checks; per job its assets."""
    graph = definitions.resolve_asset_graph()
    assets = {
        key.to_user_string(): {
            "group": graph.get(key).group_name,
            "deps": sorted(parent.to_user_string() for parent in graph.get(key).parent_keys),
            "checks": sorted(check.name for check in graph.get_check_keys_for_assets({key})),
        }
        for key in sorted(graph.get_all_asset_keys())
    }
    jobs = {
        name: sorted(
            key.to_user_string() for key in definitions.resolve_job_def(name).asset_layer.executable_asset_keys
        )
        for name in (SCORING_JOB, TRAINING_JOB)
    }
    return {"assets": assets, "jobs": jobs}


def test_graph_is_the_one_written_down(definitions: dg.Definitions) -> None:
    assert described(definitions) == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_every_asset_and_check_is_partitioned_by_day(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        assert isinstance(graph.get(key).partitions_def, dg.DailyPartitionsDefinition), key
    for check in graph.asset_check_keys:
        assert graph.get(check).partitions_def is not None, check


def test_jobs_share_everything_up_to_the_canonical_tables(definitions: dg.Definitions) -> None:
    jobs = described(definitions)["jobs"]
    shared = set(jobs[SCORING_JOB]) & set(jobs[TRAINING_JOB])
    assert shared >= {"exports", *RAW_TABLES, *CANONICAL_TABLES}
    assert "scoring_features" not in shared
    assert "published" not in jobs[TRAINING_JOB]
    assert "trained_model" not in jobs[SCORING_JOB]


def test_definitions_load_without_heavy_libraries() -> None:
    code = (
        "import sys; from dagster_project.definitions import defs; defs().resolve_asset_graph();"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=GOLDEN.parents[2]
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


IN_MEMORY = {"stage_map": "raw_stages", "attributes": "raw_opportunity_attributes"}
"""Small tables that cleaning makes in memory for its models, by the raw table they are made from."""


def test_declared_inputs_of_canonical_tables_are_those_of_their_sql() -> None:
    models = read_models(CLEAN_MODELS)

    def behind(name: str) -> set[str]:
        found: set[str] = set()
        for table in reads(models[name]):
            if table in RAW_TABLES or (table in CANONICAL_TABLES and table != name):
                found.add(table)
            elif table in IN_MEMORY:
                found.add(IN_MEMORY[table])
            elif table in models and table not in CANONICAL_TABLES:
                found |= behind(table)
        return found

    for name in CANONICAL_TABLES:
        if name in models:
            assert set(inputs_of(name)) == behind(name), name
    assert set(INPUTS) <= set(CANONICAL_TABLES)


def test_canonical_tables_come_after_what_they_are_made_from() -> None:
    order = in_order()
    assert sorted(order) == sorted(CANONICAL_TABLES)
    for name in order:
        assert all(order.index(source) < order.index(name) for source in inputs_of(name) if source in order)


def test_declared_inputs_of_features_are_those_of_their_sql() -> None:
    models = read_models(FEATURE_MODELS)
    assert set(CANONICAL_INPUTS) == {table for tree in models.values() for table in reads(tree)} & set(CANONICAL_TABLES)


def test_lineage_follows_columns_through_models() -> None:
    import sqlglot

    models = {
        "staged": sqlglot.parse_one(
            "SELECT r.account_id AS id, upper(r.country) AS land FROM raw_accounts AS r", read="duckdb"
        ),
        "result": sqlglot.parse_one(
            "SELECT s.id, s.land || m.word AS place FROM staged AS s JOIN mapped AS m ON m.id = s.id", read="duckdb"
        ),
    }
    found = chain(models, ["result"], RAW_TABLES)["result"]
    assert found == {"id": [("raw_accounts", "account_id")], "place": [("raw_accounts", "country")]}


def test_column_schema_says_unit_and_meaning_of_null() -> None:
    columns = {column.name: column for column in column_schema(ACCOUNTS).columns}
    assert columns["account_id"].constraints.unique
    assert not columns["account_id"].constraints.nullable
    assert "[UTC]; NULL: not recorded" in (columns["created_at"].description or "")


def test_table_metadata_shows_rows_and_digest(tmp_path: Path) -> None:
    metadata = table_metadata(TableRef("accounts", str(tmp_path / "a.parquet"), 12, "ab"))
    assert metadata["dagster/row_count"] == 12
    assert metadata["sha256"] == "ab"


def test_partitions_end_with_the_running_day_and_refuse_others() -> None:
    days = daily(date(2026, 6, 1), "Europe/Berlin")
    assert require_partition(days, date(2026, 6, 1)) == "2026-06-01"
    today = date.fromisoformat(days.get_last_partition_key() or "")
    assert require_partition(days, today) == today.isoformat()
    with pytest.raises(ConfigurationError, match="start_date earlier"):
        require_partition(days, date(2026, 5, 31))
    with pytest.raises(ConfigurationError, match="a day that has begun"):
        require_partition(days, date(2999, 1, 1))


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(described(build_definitions()), indent=1, sort_keys=True) + "\n", encoding="utf-8")
