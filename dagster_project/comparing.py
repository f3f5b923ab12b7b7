"""`compare`: two models of the registry on the same rows.

Belongs here: finding the models and the features they are compared on, and saying what came of it. Does not belong here: the comparison
(models.promotion), changing the registry (`promoting`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sales_pipeline.errors import ConfigurationError, EnvironmentProblem
from sales_pipeline.lake.layout import Lake
from sales_pipeline.models.registry import in_force

if TYPE_CHECKING:
    from sales_pipeline.adapters.mlflow_store import MlflowStore
    from sales_pipeline.models.promotion import Comparison
    from sales_pipeline.models.store import ModelRef
    from sales_pipeline.settings import Settings

Progress = Callable[[str], None]


@dataclass(frozen=True)
class CompareReport:
    """Two registered models on the same rows."""

    champion: "ModelRef"
    challenger: "ModelRef"
    names: tuple[str, str]
    result: "Comparison"

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return {
            "schema_version": 1,
            "champion": named(self.champion) | {"family": self.names[0], "scored": self.result.how[0]},
            "challenger": named(self.challenger) | {"family": self.names[1], "scored": self.result.how[1]},
            "rows_from": self.result.rows_from,
            "rows_to": self.result.rows_to,
            **self.result.verdict.to_dict(),
        }

    def figures(self) -> list[dict[str, Any]]:
        """One row per figure."""
        from sales_pipeline.models.recording import comparison_rows

        return comparison_rows(self.result.verdict)

    def heading(self) -> list[str]:
        """Who is compared, and on what."""
        found = self.result.verdict.figures
        lines = [
            f"{role}: version {ref.registry_version} ({ref.version[:8]}), {family}, trained through {ref.trained_through.isoformat()[:10]}; {how}"
            for role, ref, family, how in zip(
                ("champion", "challenger"),
                (self.champion, self.challenger),
                self.names,
                self.result.how,
                strict=True,
            )
        ]
        return [
            *lines,
            f"on the same {found['rows']:,} landmark rows of {found['groups']:,} accounts, {self.result.rows_from} to {self.result.rows_to}:",
        ]

    def verdict(self) -> list[str]:
        """The verdict with its reasons."""
        found = self.result.verdict
        return [
            "verdict: the challenger " + ("passes" if found.is_promoted else "does not pass"),
            *(f"  {reason}" for reason in found.reasons),
        ]


def compare_models(
    settings: "Settings", first: str, second: str, *, dates: int = 0, progress: Progress
) -> CompareReport:
    """Compare two models of the registry on the newer one's training features: the last window, or `dates` past dates. Reads only.

    Raises ConfigurationError for names that are no models, or when both are the same; EnvironmentProblem when they cannot be compared.
    """
    from dagster_project.opening import open_store

    store = open_store(settings)
    return compare_refs(settings, find_model(store, first), find_model(store, second), progress, dates)


def find_model(store: "MlflowStore", name: str) -> "ModelRef":
    """The model of an alias or version (`MlflowStore.find`); ConfigurationError says why there is no champion or challenger."""
    if name in ("champion", "challenger"):
        line = in_force(store.story())
        ref = store.challenger() if name == "challenger" else store.find(line.version) if line else None
        if ref is None:
            other = "every model was promoted" if name == "challenger" else "no model was promoted yet"
            raise ConfigurationError(
                f"there is no {name}: {other}",
                where=f"{store.model_name} in {store.tracking_uri}",
                fix="name two versions (they are listed in the MLflow UI), or train with `sales-pipeline train`",
            )
        return ref
    return store.find(name)


def compare_refs(
    settings: "Settings", champion: "ModelRef", challenger: "ModelRef", progress: Progress, dates: int = 0
) -> CompareReport:
    """As `compare_models`, of models that were found."""
    from dagster_project.training import trained_on
    from sales_pipeline.models.bundle import read_bundle
    from sales_pipeline.models.promotion import compare

    if champion.version == challenger.version:
        raise ConfigurationError(
            "that is one model, not two",
            found=f"versions {champion.registry_version} and {challenger.registry_version} have the same content {champion.version}",
            fix="name two different versions",
        )
    newer = max(champion, challenger, key=lambda ref: ref.trained_through)
    progress(f"on the training features of version {newer.registry_version}; recipes are fitted where needed")
    first, second = read_bundle(champion.path), read_bundle(challenger.path)
    card = second.card if newer is challenger else first.card
    features, params = trained_on(Lake(settings.lake), card, _training_features(settings, newer), settings.training)
    result = compare(first, second, features, params, dates=dates)
    return CompareReport(
        champion, challenger, (str(first.card["win"]["choice"]), str(second.card["win"]["choice"])), result
    )


def _training_features(settings: "Settings", ref: "ModelRef") -> Any:
    """The feature set a registered model was trained on, as its training left it in the lake."""
    import dagster as dg

    from dagster_project.io_managers import RefIOManager
    from dagster_project.opening import LakeResource

    day = ref.trained_through.day(settings.time_zone).isoformat()
    features = RefIOManager(LakeResource(settings).refs).read(dg.AssetKey("training_features"), day)
    if not Path(features.spine.path).is_file():
        raise EnvironmentProblem(
            "the training features of that day are gone",
            where=features.spine.path,
            fix=f"run `sales-pipeline train --as-of {day}` again",
        )
    return features


def named(ref: "ModelRef") -> dict[str, Any]:
    """A model in JSON."""
    return {
        "name": ref.name,
        "registry_version": ref.registry_version,
        "version": ref.version,
        "trained_through": ref.trained_through.isoformat(),
        "link": ref.link,
    }
