"""Generated worlds for two engines, and the comparison of what they make of them: every key and value, floats within 1e-9 of themselves."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sales_pipeline.clean.params import CleanParams
from sales_pipeline.clean.prepare import Canonical, prepare
from sales_pipeline.domain.time import AsOf
from sales_pipeline.engines.base import Engine
from sales_pipeline.features.build import build
from sales_pipeline.features.leaks import leak_ledger
from sales_pipeline.features.params import FeatureParams, LeakParams
from sales_pipeline.ingest.params import SourceMapping, StageMapping
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import TableRef, read_table
from sales_pipeline.models import predict
from sales_pipeline.models.params import TrainingParams
from sales_pipeline.models.predict import write_predictions
from sales_pipeline.models.store import NullRecorder
from sales_pipeline.models.train import train
from sales_pipeline.models.win import Recipe
from tests.support.frames import make_frames
from tests.support.raw import ingested

MAPPING = SourceMapping(
    dialect="salesforce",
    stages=StageMapping(won=("Closed Won",), lost=("Closed Lost",), open=("New", "Offer", "Talks")),
    time_zone="Europe/Berlin",
)
DAYS = (
    "2026-01-{:02d}T08:00:00.000Z",
    "2026-02-{:02d} 7:42:59",
    "01/{:02d}/2026 2:14 PM",
    "{:02d}.02.2026 14:05",
    "2026-03-{:02d}T01:00:00+0800",
)
AMOUNTS = ("1,234.56", "1.234,56 €", "(500)", "n/a", "$10,000", "-3", "1.0E4", "", None, "12 345,5", "7")
TEXTS = (
    "Retail",
    " retail",
    "RETAIL  ",
    "Größe Ü",
    "日本\u3000語",
    "None",
    'quo"te',
    "it's",
    "tab\there",
    None,
    "a\\b",
)


def differences(one: Any, other: Any, place: str) -> Iterator[str]:
    """Where two values differ: floats by more than 1e-9 of themselves, everything else at all."""
    if isinstance(one, float) and isinstance(other, float):
        if not math.isclose(one, other, rel_tol=1e-9, abs_tol=0.0) and not (math.isnan(one) and math.isnan(other)):
            yield f"{place}: {one!r} and {other!r}"
    elif isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        for key in one:
            yield from differences(one[key], other[key], f"{place}.{key}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, pair in enumerate(zip(one, other, strict=True)):
            yield from differences(*pair, f"{place}[{number}]")
    elif type(one) is not type(other) or one != other:
        yield f"{place}: {one!r} and {other!r}"


def some_world(seed: int, size: int) -> dict[str, list[dict[str, Any]]]:
    """Ties, NULLs, offsets, odd text, 15- and 18-character ids, unknown records; few instants, so that many events share one."""
    rng = random.Random(seed)

    def some_id(prefix: str, number: int) -> str:
        return f"{prefix}0000000000{number:02d}" if rng.random() < 0.5 else f"{prefix}0000000000{number:02d}AAA"

    def instant() -> str | None:
        return None if rng.random() < 0.05 else rng.choice(DAYS).format(rng.randint(1, 31))

    def stage() -> str:
        return rng.choice(("New", "offer", " Talks", "Closed Won", "Closed Lost"))

    opportunities = [
        {
            "opportunity_id": some_id("006", n % max(size - 3, 1)), "account_id": some_id("001", rng.randint(0, 4)), "owner_id": some_id("005", rng.randint(0, 3)),
            "stage": stage(), "amount": rng.choice(AMOUNTS), "crm_close_date": rng.choice(("2026-04-01", "2026-02-31", "04/05/2026", None)),
            "crm_probability": rng.choice(("10", "50%", "100", "140", None)), "lead_source": rng.choice(TEXTS), "created_at": instant(),
            "modified_at": instant(), "is_deleted": rng.choice(("0", "0", "0", "1")), "currency": rng.choice(("EUR", "usd", "Euro", None)),
        }
        for n in range(size)
    ]  # fmt: skip
    return {
        "accounts": [{"account_id": some_id("001", n), "industry": rng.choice(TEXTS), "employees": rng.choice(("10", "1.200", "-1", None))} for n in range(4)],
        "owners": [{"owner_id": some_id("005", n), "team": rng.choice(TEXTS), "is_active": rng.choice(("1", "false", None))} for n in range(3)],
        "opportunities": opportunities,
        "opportunity_attributes": [
            {"source_record": n + 1, "attribute": name, "value": value}
            for n in range(size)
            for name, value in (("Kind__c", rng.choice(TEXTS)), ("Size__c", str(rng.randint(0, 9))), ("Day__c", "2026-01-05"))
            if value is not None
        ],
        "state_history": [
            {"change_id": rng.choice((f"h{n}", "h1", None)), "opportunity_id": some_id("006", rng.randint(0, size)), "changed_at": instant(), "stage": stage(),
             "amount": rng.choice(AMOUNTS), "crm_close_date": "2026-05-01", "crm_probability": "30"}
            for n in range(size * 2)
        ],
        "field_history": [
            {"change_id": f"f{n}", "opportunity_id": some_id("006", rng.randint(0, size)), "changed_at": instant(), "field": rng.choice(("owner_id", "amount", "Other__c")),
             "old_value": some_id("005", 1), "new_value": rng.choice((some_id("005", 2), None))}
            for n in range(size)
        ],
        "activities": [
            {"activity_id": f"t{n % (3 * size - 2)}", "opportunity_id": rng.choice((some_id("006", rng.randint(0, size)), some_id("001", 1), None)),
             "owner_id": some_id("005", 1), "contact_id": rng.choice((some_id("003", 1), None)), "kind": rng.choice(("Call", "Email", "Meeting", "x", None)),
             "direction": rng.choice(("Inbound", "outbound", None)), "occurred_at": instant(), "logged_at": instant(), "due_at": instant(),
             "is_done": rng.choice(("true", "0", "Completed", None))}
            for n in range(size * 3)
        ],
    }  # fmt: skip


def compare(left: TableRef, right: TableRef) -> None:
    """The two tables are one."""
    one, other = read_table(left), read_table(right)
    assert other.schema.names == one.schema.names
    assert list(differences(one.to_pylist(), other.to_pylist(), left.name)) == []


def both(
    folder: Path, tables: dict[str, list[dict[str, Any]]], duck: Engine, spark: Engine
) -> tuple[Canonical, Canonical]:
    params = CleanParams(max_unknown_stage_share=1.0)
    export = ingested(folder / "raw", tables)
    return (
        prepare(Lake(folder / "duck"), [export], MAPPING, params, duck),
        prepare(Lake(folder / "spark"), [export], MAPPING, params, spark),
    )


def compare_cleaned(left: Canonical, right: Canonical) -> None:
    """Canonical tables, ledger, issues and rules are the same."""
    for name in left.tables:
        compare(left.tables[name], right.tables[name])
    compare(left.ledger.verdicts, right.ledger.verdicts)
    compare(left.cell_issues, right.cell_issues)
    assert left.rules == right.rules


def compare_features(folder: Path, left: Canonical, right: Canonical, duck: Engine, spark: Engine) -> None:
    """The features of both purposes and the leak ledger over them are the same."""
    as_of = AsOf(datetime(2026, 3, 20, tzinfo=UTC))
    for purpose in ("scoring", "training"):
        one = build(Lake(folder / "duck"), left, as_of, purpose=purpose, params=FeatureParams(), engine=duck)
        other = build(Lake(folder / "spark"), right, as_of, purpose=purpose, params=FeatureParams(), engine=spark)
        assert one.absent == other.absent
        for part in ("spine", "features", "attributes", "outcomes", *(("touches",) if purpose == "scoring" else ())):
            compare(getattr(one, part), getattr(other, part))
    few = LeakParams(min_rows=5)
    compare(
        leak_ledger(Lake(folder / "duck"), left, one, MAPPING, duck, few),
        leak_ledger(Lake(folder / "spark"), right, other, MAPPING, spark, few),
    )


def compare_predictions(folder: Path, duck: Engine, spark: Engine) -> None:
    """A trained bundle predicts the same on both, where Spark's own Python processes read it and do it in batches."""
    frames = make_frames(folder / "training", opportunities=400)
    recipe = Recipe("logistic_regression", {"C": 1.0})
    params = TrainingParams(amount_families=("median", "linear_regression"), bootstrap_rounds=20, boosting_rounds=10)
    trained = train(frames, frames.ledger, params, models=folder / "models", recorder=NullRecorder(), recipe=recipe)
    scoring = make_frames(folder / "scoring", opportunities=900, purpose="scoring")
    one = write_predictions(trained.path, scoring, folder / "of_duck", duck, batch_rows=16)
    predict._bundle.cache_clear()
    other = write_predictions(trained.path, scoring, folder / "of_spark", spark, batch_rows=16)
    # Asked for once, for the columns; a driver that predicted would ask again for every batch.
    assert predict._bundle.cache_info().hits == 0, "the driver predicted nothing itself"
    table = read_table(one)
    assert table.num_rows > 3 * 16
    assert any(row for row in table.column("reasons_up").to_pylist())
    compare(one, other)
