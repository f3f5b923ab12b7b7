"""The jobs: scoring (daily) and training (weekly), which share everything up to the canonical tables, and the delivery of what is published.

Belongs here: which assets run together. Does not belong here: when (`schedules`, `sensors`).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import dagster as dg

from dagster_project.hooks import tell_of_failed_delivery, tell_of_failure

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

SCORING_JOB = "scoring_job"
TRAINING_JOB = "training_job"
DELIVERY_JOB = "delivery_job"
PRIORITY_TAG = "dagster/priority"

SHARED_GROUPS = ("collect", "prepare")
SCORING_ASSETS = ("scoring_features",)
SCORING_GROUPS = ("apply",)
TRAINING_ASSETS = ("training_features", "leak_ledger")
TRAINING_GROUPS = ("train", "evaluate")


def build_jobs() -> "list[UnresolvedAssetJobDefinition]":
    """Scoring and training. Of two runs that wait for the same day, training goes first."""
    shared = dg.AssetSelection.groups(*SHARED_GROUPS)
    return [
        dg.define_asset_job(
            SCORING_JOB,
            selection=shared | dg.AssetSelection.assets(*SCORING_ASSETS) | dg.AssetSelection.groups(*SCORING_GROUPS),
            description="Exports in, scored opportunities and follow-up queue published, with the champion of the day.",
            hooks={tell_of_failure},
            tags={PRIORITY_TAG: "0"},
        ),
        dg.define_asset_job(
            TRAINING_JOB,
            selection=shared | dg.AssetSelection.assets(*TRAINING_ASSETS) | dg.AssetSelection.groups(*TRAINING_GROUPS),
            description="All candidates trained, evaluated out of time and compared; the better one promoted.",
            hooks={tell_of_failure},
            tags={PRIORITY_TAG: "1"},
        ),
    ]


def build_delivery_jobs(scheduled: Sequence[str]) -> "list[UnresolvedAssetJobDefinition]":
    """The job of the scheduled deliveries, by their assets' names; none where nothing is scheduled. It shares no step with the others: what fails in it unpublishes nothing."""
    if not scheduled:
        return []
    return [
        dg.define_asset_job(
            DELIVERY_JOB,
            selection=dg.AssetSelection.assets(*scheduled),
            description="What is published, delivered to every target that is scheduled.",
            hooks={tell_of_failed_delivery},
        )
    ]
