"""AutoGluon on the very rows our model learns from. Run by the Python of `.venv-peers` (`make bench-peers`), never imported.

Rows of one group are kept in one fold; without that it chooses by rows it has seen. Its search for overfitting stacks is left out, as it advises
where the answer is known, so that the whole time limit goes into models. Imports nothing of the project.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path

BUCKETS = 64
"""Groups are handed over as so many hash buckets: AutoGluon keeps the column as a feature, and this one says nothing."""


def main() -> None:
    """Read train.parquet (with `label`) and test.parquet of a folder, write predicted.parquet and facts.json there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--memory-gb", type=float, default=6.0)
    parser.add_argument("--group", default="", help="column rows belong together by")
    given = parser.parse_args()
    import pandas as pd
    from autogluon.tabular import TabularPredictor, __version__

    train, test = (pd.read_parquet(given.folder / f"{name}.parquet") for name in ("train", "test"))
    options = {}
    if given.group:
        for part in (train, test):
            hashed = pd.util.hash_array(part.pop(given.group).astype(str).to_numpy(dtype=object))
            part["fold"] = (hashed % BUCKETS).astype("int64")
        options["validation_structure"] = {"group_on": "fold"}
    started, cpu = time.perf_counter(), time.process_time()
    models = given.folder / "models"
    shutil.rmtree(models, ignore_errors=True)
    predictor = TabularPredictor(
        label="label", problem_type="binary", eval_metric="log_loss", path=str(models), verbosity=2
    ).fit(
        train,
        presets="best_quality",
        time_limit=given.seconds,
        num_cpus=2,
        num_gpus=0,
        memory_limit=given.memory_gb,
        dynamic_stacking=False,
        num_stack_levels=1,
        **options,
    )
    probability = predictor.predict_proba(test)[1]
    facts = {
        "version": __version__,
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - cpu,
        "best_model": predictor.model_best,
        "models": len(predictor.model_names()),
    }
    pd.DataFrame({"probability": probability.to_numpy(dtype="float64")}).to_parquet(given.folder / "predicted.parquet")
    shutil.rmtree(models)
    (given.folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")


if __name__ == "__main__":
    main()
