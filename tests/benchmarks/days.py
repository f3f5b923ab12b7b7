"""What a day costs once the first one is done: a whole run, the same day again, and the day after with its delta export.

A full run is the command `sales-pipeline run` on a lake that holds a champion and nothing else. The data stages (collecting, cleaning, validation, scoring
features, prediction) are measured too, in a process of their own on a lake of their own, without the application around them. Training, which makes the
champion, stands beside them and is no part of either: it would only make a day's share smaller.

Belongs here: these runs. Does not belong here: what a stage costs alone (`scale`), the files of a day (`exports`).
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.bench import CONFIG, measured
from tests.benchmarks.exports import Kind
from tests.benchmarks.lines import Line, Results, take

TRAINING = "training, first time"
FULL, UNCHANGED, NEW_DAY = "full run", "unchanged day", "new day"
DATA = "data stages: "
NAMES = (FULL, UNCHANGED, NEW_DAY)
OF_THE_CHAMPION = ("models", "_mlflow", "_dagster")
"""What of a lake a full run may find."""
_NEW_FOLDER = "2026-07-01"


def run_days(size: int, kind: Kind, folder: Path, results: Results, *, is_kept: bool) -> None:
    """Every figure of one size, on the files in `folder/export`. What was measured before in a kept folder is not measured again, but
    the three runs belong together: they are made again unless all are there."""
    landing, whole, data = folder / "landing", folder / "run", folder / "data"
    for place in (landing, whole, data):
        place.mkdir(exist_ok=True)
    for path in (folder / "export").iterdir():
        if not (landing / path.name).is_symlink():
            (landing / path.name).symlink_to(path)
    for place in (whole, data):
        text = CONFIG.replace("exports: export", "exports: ../landing")
        (place / "pipeline.yaml").write_text(text, encoding="utf-8")
    command = str(Path(sys.executable).parent / "sales-pipeline")
    config = ("-c", str(whole / "pipeline.yaml"))
    stages = (sys.executable, "-m", "tests.benchmarks.days")

    def note(stage: str, place: Path, *given: str, again: bool = True) -> None:
        take(results, size, kind, stage, place, lambda: measured(list(given), place), again=again)

    note(TRAINING, whole, command, "train", *config, again=not is_kept)
    if is_kept and all(results.find(size, kind, part + name) for name in NAMES for part in ("", DATA)):
        return
    shutil.rmtree(landing / _NEW_FOLDER, ignore_errors=True)
    forget(whole / "lake", but=OF_THE_CHAMPION)
    shutil.rmtree(data / "lake", ignore_errors=True)
    (data / "lake").mkdir()
    (data / "lake" / "models").symlink_to(whole / "lake" / "models")
    for name in NAMES:
        if name == NEW_DAY:
            measured([sys.executable, "-m", "tests.benchmarks.exports", str(landing / _NEW_FOLDER), str(size), kind, "1"], folder)  # fmt: skip
        note(name, whole, command, "run", *config)
        note(DATA + name, data, *stages)


def forget(lake: Path, *, but: tuple[str, ...]) -> None:
    """Remove everything from a lake but the folders named."""
    for path in lake.iterdir():
        if path.name not in but:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def shares(lines: list[Line]) -> dict[str, float]:
    """CPU of the unchanged and the new day as shares of the full run, for whole runs and for the data stages, where they were measured."""
    cpu = {line.stage: line.cpu for line in lines}
    return {
        part + name: cpu[part + name] / cpu[part + FULL]
        for part in ("", DATA)
        for name in (UNCHANGED, NEW_DAY)
        if part + name in cpu and part + FULL in cpu
    }


def data_stages(folder: Path) -> None:
    """Collect, clean, validate, build scoring features and predict, for the newest day; leaves the CPU seconds of each in `parts.json`."""
    from dagster_project.opening import open_engine
    from dagster_project.validation import validated
    from sales_pipeline.clean.prepare import prepare
    from sales_pipeline.domain.identifiers import digest_of
    from sales_pipeline.domain.time import AsOf
    from sales_pipeline.features.build import build
    from sales_pipeline.ingest.exports import collect, newest_recorded_instant, visible
    from sales_pipeline.lake.layout import Lake
    from sales_pipeline.models.predict import write_predictions
    from sales_pipeline.settings import load_settings

    spent = {"start": time.process_time()}

    @contextmanager
    def part(name: str) -> Iterator[None]:
        before = time.process_time()
        yield
        spent[name] = time.process_time() - before

    settings = load_settings(folder / "pipeline.yaml")
    lake = Lake(settings.lake)
    with open_engine(settings) as engine:
        with part("collect"):
            exports = collect(lake, settings.exports, settings.mapping, engine)
            as_of = AsOf.end_of_day(AsOf(newest_recorded_instant(exports)).day())
        with part("clean"):
            canonical = prepare(lake, visible(exports, as_of), settings.mapping, settings.clean, engine)
        with part("validation"):
            validated(lake, canonical)
        with part("features"):
            scoring = build(lake, canonical, as_of, purpose="scoring", params=settings.features, engine=engine)
        with part("prediction"):
            model = next(lake.models.iterdir())
            key = digest_of("predictions", scoring.key, model.name)
            lake.step(
                "predictions", key, lambda target: {"rows": write_predictions(model, scoring, target, engine).rows}
            )
    (folder / "parts.json").write_text(json.dumps(spent), encoding="utf-8")


if __name__ == "__main__":
    data_stages(Path(os.environ["BENCH_FOLDER"]))
