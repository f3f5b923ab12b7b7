"""Scoring against bare prediction: rows per CPU second of the whole way from features at rest to predictions at rest, and of the bundle's models alone.

*Bare prediction* is what one would call of the same models on the same rows: encoding, the win model with its calibration, timing and amount, on matrices that
are in memory already, in the same batches. *Scoring* reads and joins the rows, does that, and adds intervals, abstentions, reasons in words and what a contract asks
(casts, rounding, order), and writes the file. Both on the lake of `BENCH_FOLDER`, in which everything before is done.

    BENCH_FOLDER=folder python -m tests.benchmarks.scoring bare|scoring

Belongs here: these two. Does not belong here: training (`scale --stages all`), how right the scores are (`scores`).
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

SCORING, BARE = "scoring", "bare prediction"
"""Lines whose parts have the `rows` done and the CPU `seconds` they took."""


def run(which: str, folder: Path) -> None:
    """One of the two; leaves rows and CPU seconds in `parts.json`."""
    import pyarrow.parquet as pq

    from dagster_project.opening import open_engine
    from sales_pipeline.clean.prepare import prepare
    from sales_pipeline.domain.time import AsOf
    from sales_pipeline.engines.machine import one_core
    from sales_pipeline.features.build import build
    from sales_pipeline.ingest.exports import collect, newest_recorded_instant, visible
    from sales_pipeline.lake.layout import Lake
    from sales_pipeline.models.bundle import read_bundle
    from sales_pipeline.models.matrix import joined_matrix
    from sales_pipeline.models.predict import (
        BATCH_ROWS,
        needed_columns,
        win_probabilities,
        write_predictions,
    )
    from sales_pipeline.models.scoring_rows import found_columns, write_scoring_rows
    from sales_pipeline.settings import load_settings

    start = time.process_time()
    settings = load_settings(folder / "pipeline.yaml")
    lake = Lake(settings.lake)
    place = folder / "predicted"
    place.mkdir(exist_ok=True)
    with open_engine(settings) as engine:
        exports = collect(lake, settings.exports, settings.mapping, engine)
        as_of = AsOf.end_of_day(AsOf(newest_recorded_instant(exports)).day())
        canonical = prepare(lake, visible(exports, as_of), settings.mapping, settings.clean, engine)
        scoring = build(lake, canonical, as_of, purpose="scoring", params=settings.features, engine=engine)
        model = next(lake.models.iterdir())
        if which == SCORING:
            before = time.process_time()
            rows = write_predictions(model, scoring, place, engine).rows
        else:
            bundle = read_bundle(model)
            columns = needed_columns(bundle)
            found = found_columns(scoring, [column.name for column in columns], engine)
            ref = write_scoring_rows(scoring, found, place / "rows.parquet", engine)
            table = pq.read_table(ref.path)
            parts = [table.slice(first, BATCH_ROWS) for first in range(0, ref.rows, BATCH_ROWS)]
            matrices = [joined_matrix(part, found, columns) for part in parts]
            rows = ref.rows
            before = time.process_time()
            with one_core():
                for matrix in matrices:
                    if bundle.win is not None:
                        p = win_probabilities(bundle.win, matrix)
                        if bundle.timing is not None:
                            bundle.timing.predict(matrix, p)
                    if bundle.amount is not None:
                        bundle.amount.predict(matrix)
    spent = {"start": start, "rows": rows, "seconds": time.process_time() - before}
    (folder / "parts.json").write_text(json.dumps(spent), encoding="utf-8")


if __name__ == "__main__":
    run(sys.argv[1], Path(os.environ["BENCH_FOLDER"]))
