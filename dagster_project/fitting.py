"""`sales-pipeline fit`: one flat table, recorded in a lake's MLflow. Belongs here: opening and printing, no figure's computation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from sales_pipeline.errors import ConfigurationError
from sales_pipeline.lake.layout import Lake

if TYPE_CHECKING:
    from sales_pipeline.models.flat import FlatFit

SHOWN = {
    "classify": ("log_loss", "brier", "auc", "average_precision", "calibration_error", "lift_10"),
    "regress": ("mae", "mse", "rmse", "r2"),
}


@dataclass(frozen=True)
class FitReport:
    """A fit and where it is recorded."""

    file: Path
    lake: Path
    found: "FlatFit"

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        found = self.found
        return {
            "schema_version": 1,
            "file": str(self.file),
            "task": found.task,
            "target": found.target,
            "positive": found.positive,
            "rows": found.rows,
            "rows_without_target": found.dropped_rows,
            "is_time_ordered": found.is_time_ordered,
            "statements": list(found.statements),
            "results": [
                {"columns": one.columns, "family": one.family, "setting": one.setting, "note": one.note, **one.figures}
                for one in found.results
            ],
            "ledger": list(found.ledger),
            "mlflow_run_id": found.run_id,
        }

    def summary(self) -> list[str]:
        """The table people compare: families down, figures across."""
        found = self.found
        what = f"{found.task} {found.target}" + (f" (probability of {found.positive})" if found.positive else "")
        lines = [f"{self.file.name}: {found.rows:,} rows, {what}"]
        if found.dropped_rows:
            lines.append(f"  {found.dropped_rows:,} rows without a target were left out")
        lines += [f"  {statement}" for statement in found.statements]
        lines.append("")
        lines.append(f"columns left out of {len(found.ledger)}:")
        left_out = [row for row in found.ledger if not row["is_used"]]
        lines += [
            f"  {row['column']}: {row['verdict']} ({row['basis']}): {row['reason']}{_worth(row)}" for row in left_out
        ] or ["  none"]
        figures = SHOWN[found.task]
        for label in dict.fromkeys(one.columns for one in found.results):
            lines += ["", f"{label}:", f"  {'family':<22}" + "".join(f"{name:>18}" for name in figures) + "  setting"]
            for one in found.results:
                if one.columns == label:
                    cells = "".join(f"{one.figures.get(name, float('nan')):>18.6g}" for name in figures)
                    note = f"; {one.note}" if one.note else ""
                    lines.append(f"  {one.family:<22}{cells}  {one.setting}{note}")
        lines += ["", f"MLflow run {found.run_id} in {self.lake / '_mlflow'}"]
        return lines


def _worth(row: dict[str, Any]) -> str:
    """What the column would add to those used, where the ledger has measured it."""
    if row["auc_with"] is None:
        return ""
    return f"; AUC of the used columns {row['auc_without']:.3f}, with it {row['auc_with']:.3f}"


def run_fit(
    file: Path,
    target: str,
    *,
    task: str | None,
    time_column: str | None,
    use_anyway: Sequence[str],
    never_use: Sequence[str],
    lake: Path,
    seed: int,
    progress: Callable[[str], None],
) -> FitReport:
    """Fit and record; ConfigurationError for an unknown task or file."""
    if task not in (None, "classify", "regress"):
        raise ConfigurationError("no such task", expected="classify or regress", found=str(task), where="--task")
    if not file.is_file():
        raise ConfigurationError("there is no such file", where=str(file), fix="name a CSV, TSV, Excel or Parquet file")
    from sales_pipeline.adapters.mlflow_store import MlflowStore
    from sales_pipeline.models.flat import fit_flat
    from sales_pipeline.models.params import TrainingParams

    progress(f"fitting {file.name}; this takes a minute on large tables")
    home = Lake(lake)
    recorder = MlflowStore(home=home.mlflow_home, models=home.models, experiment=f"fit {file.stem}")
    found = fit_flat(
        file,
        target=target,
        params=TrainingParams(seed=seed),
        recorder=recorder,
        task=cast("Literal['classify', 'regress'] | None", task),
        time_column=time_column,
        never_use=never_use,
        use_anyway=use_anyway,
    )
    return FitReport(file, lake, found)
