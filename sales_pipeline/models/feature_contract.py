"""Whether the features a model has learnt from are those this version of the code builds.

A bundle carries the columns it looks at. A catalogue feature that is gone, or has another type or unit, would reach the estimator as
missing or mean something else, and the score would be wrong without a sign of it. Attributes are the user's columns: an absent one is missing data.

Belongs here: that comparison. Does not belong here: bundles (`bundle`), the catalogue (features).
"""

from __future__ import annotations

from sales_pipeline.errors import EnvironmentProblem
from sales_pipeline.features.catalogue import FEATURES
from sales_pipeline.models.bundle import Bundle
from sales_pipeline.models.matrix import ATTRIBUTE_PREFIX
from sales_pipeline.models.predict import needed_columns


def contract_differences(bundle: Bundle) -> list[str]:
    """What the bundle expects and the code's catalogue does not give, one sentence each; empty when they agree."""
    catalogue = {feature.name: feature for feature in FEATURES}
    found: list[str] = []
    for column in needed_columns(bundle):
        if column.name.startswith(ATTRIBUTE_PREFIX):
            continue
        feature = catalogue.get(column.name)
        if feature is None:
            found.append(f"{column.name} is no feature any more")
        elif feature.type != column.kind:
            found.append(f"{column.name} is a {feature.type}, the model has learnt a {column.kind}")
        elif feature.unit != column.unit:
            found.append(
                f"{column.name} is in {feature.unit or 'no unit'}, the model has learnt {column.unit or 'no unit'}"
            )
    return found


def require_contract(bundle: Bundle) -> None:
    """EnvironmentProblem when the bundle's features are not those of the code."""
    if differences := contract_differences(bundle):
        raise EnvironmentProblem(
            "the model's features are not those this version builds",
            expected="the features the model was trained on, with the same type and unit",
            found="; ".join(differences),
            where=str(bundle.path),
            fix="train again with `sales-pipeline train`; the new model takes its place",
        )
