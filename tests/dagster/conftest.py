"""Fixtures of the Dagster tests: settings over a temporary lake, and a library whose stages are replaced by small stand-ins.

The stand-ins give real hand-over dataclasses, so that assets, IO manager, jobs and hooks run as they do in production.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from dagster_project.assets.manage import FORECAST_CHECKS
from dagster_project.assets.people import PEOPLE_CHECKS
from dagster_project.instance import open_instance
from sales_pipeline.clean.validate import CheckResult
from sales_pipeline.contracts.canonical import CANONICAL_TABLES
from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.forecast import FORECAST_TABLES
from sales_pipeline.contracts.internal import LEAK_LEDGER
from sales_pipeline.domain.time import AsOf
from sales_pipeline.follow_up.check_names import EFFECT_CHECKS, QUEUE_CHECKS
from sales_pipeline.follow_up.checks import QueueCheck
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import TableRef, write_table
from sales_pipeline.models.store import ModelRef
from sales_pipeline.monitoring.verdicts import Verdict
from sales_pipeline.monitoring.watches import WATCHES
from sales_pipeline.sales_management import checks
from sales_pipeline.settings import Settings

DAY = date(2026, 6, 30)
CHAMPION = ModelRef("win-probability", "version-1", Path("version-1"), AsOf(datetime(2026, 6, 2, tzinfo=UTC)), "1")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of an empty lake and an empty landing folder."""
    (tmp_path / "exports").mkdir()
    return Settings(
        exports=tmp_path / "exports",
        lake=tmp_path / "lake",
        start_date=date(2026, 6, 1),
        mapping={"dialect": "salesforce"},
    )


@dataclass
class Library:
    """What the stand-ins were asked for, and how they are to behave."""

    settings: Settings
    newest: datetime = datetime(2026, 6, 30, 12, tzinfo=UTC)
    export_ids: list[str] = field(default_factory=lambda: ["export-1"])
    failing_check: tuple[str, str] | None = None
    failing_watches: set[str] = field(default_factory=set)
    failing_forecasts: set[str] = field(default_factory=set)
    failing_queue_checks: set[str] = field(default_factory=set)
    failing_people: set[str] = field(default_factory=set)
    publish_errors: list[Exception] = field(default_factory=list)
    champion: Any = None
    published: list[str] = field(default_factory=list)
    trained: list[str] = field(default_factory=list)

    def ref(self, name: str, rows: int = 3) -> TableRef:
        return TableRef(name, str(self.settings.lake / f"{name}.parquet"), rows, "0" * 64)


@pytest.fixture(scope="session")
def dagster_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An instance's files, made once: creating its databases takes seconds, copying them does not."""
    lake = Lake(tmp_path_factory.mktemp("home"))
    with open_instance(lake):
        return lake.dagster_home


@pytest.fixture
def library(settings: Settings, dagster_home: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    """Every stage of the library replaced, over a lake with a Dagster instance."""
    shutil.copytree(dagster_home, Lake(settings.lake).dagster_home)
    from dagster_project import (
        applying,
        arrivals,
        contact_effects,
        lineage,
        managing,
        monitoring,
        people,
        publication,
        queueing,
        resources,
        run,
        validation,
    )
    from sales_pipeline.clean import prepare, validate
    from sales_pipeline.clean.ledger import RowLedger
    from sales_pipeline.features import build, leaks
    from sales_pipeline.ingest import exports
    from sales_pipeline.models import bundle, promotion, store, train

    double = Library(settings)

    def collected(*_: Any) -> list[Any]:
        facts = {
            "files": {"opportunities.csv": {"records": 3, "accepted": 3}},
            "warnings": [],
            "newest_recorded_at": double.newest.isoformat(),
        }
        return [
            exports.IngestedExport(
                exports.Export(one, double.newest, ()),
                {"raw_opportunities": (double.ref("raw"),)},
                double.ref("row_ledger"),
                facts,
            )
            for one in double.export_ids
        ]

    def canonical(*_: Any) -> Any:
        return prepare.Canonical(
            key="canonical-key",
            path=settings.lake / "canonical",
            tables={name: double.ref(name) for name in CANONICAL_TABLES},
            ledger=RowLedger((double.ref("row_ledger"),), double.ref("row_verdicts", 0)),
            cell_issues=double.ref("cell_issues", 0),
            rules=(),
            facts={"tables": {"opportunities": {"quarantined_share": 0.0}}},
        )

    def verdicts(*_: Any) -> tuple[dict[str, list[CheckResult]], Path]:
        return {
            table: [
                CheckResult(
                    name, (table, name) != double.failing_check, True, True, {"rows": 3}, "3 of 3 rows at fault"
                )
                for name in names(table)
            ]
            for table in CANONICAL_TABLES
        }, settings.lake / "docs"

    def names(_: str) -> tuple[str, ...]:
        return ("key_unique",)

    def features(_: Any, __: Any, as_of: AsOf, *, purpose: Any, **___: Any) -> Any:
        return build.FeatureSet(
            key=f"{purpose}-key",
            as_of=as_of,
            purpose=purpose,
            mode="scoring",
            spine=double.ref("spine"),
            features=double.ref("features"),
            attributes=double.ref("attributes"),
            outcomes=double.ref("outcomes"),
            absent={"activity_count": "no activities"},
            has_history=True,
            versioned=("stage",),
        )

    def ledger(*_: Any) -> TableRef:
        return write_table(
            pa.Table.from_pylist([], schema=arrow_schema(LEAK_LEDGER)),
            settings.lake / "leak_ledger.parquet",
            LEAK_LEDGER,
        )

    def trained(features: Any, *_: Any, **__: Any) -> Any:
        double.trained.append(features.as_of.isoformat())
        return train.TrainedModel("version-1", settings.lake / "models" / "version-1", CARD, None, None)

    def learnt(_: Any, __: Any, features: Any, *___: Any) -> Any:
        from sales_pipeline.follow_up.effects import nothing_claimed

        return "effect-1", nothing_claimed("a double", features.as_of)

    class Store:
        def champion(self, as_of: AsOf) -> Any:
            return double.champion if double.champion and double.champion.trained_through <= as_of else None

        def register(self, path: Path, card: Any, *, as_of: AsOf, run_id: str | None) -> Any:
            return store.ModelRef("win-probability", "version-1", path, as_of, "1")

        def promote(self, ref: Any, *, as_of: AsOf, reason: str) -> None:
            double.champion = ref

        def note(self, ref: Any, judgement: Any) -> None:
            assert judgement.reasons

    def watched(*_: Any, **__: Any) -> Any:
        found = [
            Verdict(watch.name, not is_failing, "What to do: look.", {"alerts": int(is_failing)}, [])
            for watch in WATCHES
            for is_failing in [watch.name in double.failing_watches]
        ]
        return monitoring.MonitoringTable(double.ref("model_monitoring"), found, {"stage": {"new": ["Pilot"]}})

    def checked(*_: Any) -> list[Any]:
        return [
            managing.ForecastVerdict(name, name not in double.failing_forecasts, "2026-Q3") for name in FORECAST_CHECKS
        ]

    def queued(*_: Any) -> Any:
        return queueing.QueueTables(
            *(double.ref(table.name) for table in queueing.QUEUE_TABLES),
            {"gap_to_bound": 0.0},
            [
                QueueCheck(name, name not in double.failing_queue_checks, "owner s has 20 minutes of 0")
                for name in QUEUE_CHECKS
            ],
        )

    def people_checked(*_: Any) -> dict[str, list[checks.Verdict]]:
        return {
            table: [checks.Verdict(name, name not in double.failing_people, "owner u", {"rows": 3}) for name in names]
            for table, names in PEOPLE_CHECKS.items()
        }

    def publish(_: Any, __: Any, plan: Any, *___: Any, **____: Any) -> Any:
        if double.publish_errors:
            raise double.publish_errors.pop(0)
        is_new = plan.run_id not in double.published
        double.published.append(plan.run_id)
        return publication.Publication(
            plan.run_id, plan.as_of, str(settings.lake / "runs" / plan.run_id), is_new, True, plan.model_name, plan.model_version,
            {"accepted": 3}, {"scored_opportunities": 3}, 0.0, 0.02,
        )  # fmt: skip

    monkeypatch.setattr(exports, "collect", collected)
    monkeypatch.setattr(prepare, "prepare", canonical)
    monkeypatch.setattr(validate, "check_names", names)
    monkeypatch.setattr(validation, "validated", verdicts)
    monkeypatch.setattr(
        lineage, "canonical_lineage", lambda _: {"accounts": {"account_id": [("raw_accounts", "account_id")]}}
    )
    monkeypatch.setattr(lineage, "feature_lineage", lambda _: {})
    monkeypatch.setattr(build, "build", features)
    monkeypatch.setattr(leaks, "leak_ledger", ledger)
    monkeypatch.setattr(train, "train", trained)
    monkeypatch.setattr(contact_effects, "learn", learnt)
    monkeypatch.setattr(contact_effects, "record", lambda *_: None)
    monkeypatch.setattr(promotion, "decide", lambda *_: promotion.Decision(True, "first model"))
    monkeypatch.setattr(bundle, "read_bundle", lambda _: SimpleNamespace(card=CARD, win=None, amount=None))
    monkeypatch.setattr(applying, "predict_table", lambda *_: double.ref("predictions"))
    monkeypatch.setattr(applying, "scored_table", lambda *_: double.ref("scored_opportunities"))
    monkeypatch.setattr(applying, "scored_figures", lambda *_: {})
    monkeypatch.setattr(queueing, "queue_tables", queued)
    monkeypatch.setattr(queueing, "effect_table", lambda *_: double.ref("queue_effect"))
    no_evidence = [QueueCheck(name, True, "", {"win_rate": "no causal evidence yet"}) for name in EFFECT_CHECKS]
    monkeypatch.setattr(queueing, "effect_checks", lambda *_: no_evidence)
    monkeypatch.setattr(applying, "count_by", lambda *_: {})
    monkeypatch.setattr(monitoring, "monitoring_table", watched)
    monkeypatch.setattr(
        managing, "forecast_tables", lambda *_: tuple(double.ref(table.name) for table in FORECAST_TABLES)
    )
    monkeypatch.setattr(managing, "forecast_figures", lambda _: {})
    monkeypatch.setattr(managing, "forecast_verdicts", checked)
    monkeypatch.setattr(people, "people_tables", lambda *_: {name: double.ref(name) for name in PEOPLE_CHECKS})
    monkeypatch.setattr(people, "people_verdicts", people_checked)
    monkeypatch.setattr(publication, "publish_tables", publish)
    for module in (resources, arrivals):
        monkeypatch.setattr(module, "open_store", lambda _: Store())
    assert run.LAST_ASSET["scoring"] == "published"
    return double


CARD: dict[str, Any] = {
    "data": {},
    "trained_through": "2026-07-01T00:00:00Z",
    "win": {
        "choice": "shrunken_rates",
        "why": "no skill",
        "has_skill": False,
        "evidence_level": "rates",
        "candidates": [
            {"name": "base_rate", "setting": "", "is_chosen": False, "validation": {"log_loss": 0.69}, "test": {}}
        ],
        "test": {"log_loss": 0.6, "rows": 3},
    },
    "amount": {"candidates": []},
    "statements": ["No skill."],
}
