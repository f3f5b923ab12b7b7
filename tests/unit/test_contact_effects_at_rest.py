from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dagster_project.contact_effects import STAGE, effects_now, learn, newest_effect, record
from sales_pipeline.domain.time import AsOf
from sales_pipeline.follow_up.effect_params import ContactEffectParams
from sales_pipeline.follow_up.effects import FORMAT
from sales_pipeline.lake.layout import STEP_FILE, Lake
from sales_pipeline.lake.tables import TableRef
from sales_pipeline.models.store import NullRecorder

AS_OF = AsOf(datetime(2026, 7, 1, tzinfo=UTC))


def keep(lake: Lake, key: str, trained_through: AsOf, form: int = FORMAT) -> None:
    folder = lake.step_path(STAGE, key)
    folder.mkdir(parents=True)
    facts = {"trained_through": trained_through.isoformat(), "format": form}
    (folder / STEP_FILE).write_text(json.dumps(facts), encoding="utf-8")


def test_the_newest_effect_is_never_from_after_the_as_of(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    assert newest_effect(lake, AS_OF) is None
    keep(lake, "old", AsOf.end_of_day(date(2026, 5, 1)))
    keep(lake, "new", AS_OF)
    keep(lake, "later", AsOf(AS_OF.instant + timedelta(microseconds=1)))
    keep(lake, "other-format", AS_OF, FORMAT + 1)
    assert newest_effect(lake, AS_OF) == "new"
    assert newest_effect(lake, AsOf(AS_OF.instant - timedelta(days=1))) == "old"


@pytest.mark.parametrize(
    ("has_history", "activities", "why"),
    [(False, 5, "no history of stages: who was open when is not known"), (True, 0, "no activities are exported")],
)
def test_without_history_or_activities_nothing_is_claimed(
    tmp_path: Path, has_history: bool, activities: int, why: str
) -> None:
    lake = Lake(tmp_path)
    ref = TableRef("outcomes", "nowhere", 0, "0" * 64)
    features = cast(Any, SimpleNamespace(as_of=AS_OF, has_history=has_history, outcomes=ref))
    tables = {"activities": TableRef("activities", "nowhere", activities, "0" * 64)}
    canonical = cast(Any, SimpleNamespace(key="k", tables=tables))
    key, model = learn(lake, canonical, features, ContactEffectParams(), cast(Any, None))
    assert (model.method, model.why) == ("none", why)
    assert newest_effect(lake, AS_OF) == key
    assert record(NullRecorder(), model, {}) is None
    nothing = cast(Any, None)
    assert effects_now(lake, key, nothing, canonical, features, tmp_path / "w", nothing) == {}
    assert effects_now(lake, None, nothing, canonical, features, tmp_path / "w", nothing) == {}
