"""Delivery, after apply: one asset per target the configuration names. What fails here leaves the published tables as they are."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from dagster_project.assets.apply import PUBLISHED
from dagster_project.build import check_specs, figures_metadata, markdown_table
from dagster_project.opening import LakeResource
from sales_pipeline.errors import DeliveryFailed

if TYPE_CHECKING:
    from sales_pipeline.delivery.params import TargetParams

GROUP = "deliver"
ALL_TAKEN = "all_rows_taken"
RETRIES = 2
SECONDS_BETWEEN_RETRIES = 300.0


def asset_name(target: str) -> str:
    """The asset of a target's deliveries."""
    return f"delivery_{target}"


def build(days: dg.PartitionsDefinition, targets: "Mapping[str, TargetParams]") -> list[dg.AssetsDefinition]:
    """One asset per target, in the order of their names."""
    return [_delivery(days, target) for target in sorted(targets)]


def _delivery(days: dg.PartitionsDefinition, target: str) -> dg.AssetsDefinition:
    name = asset_name(target)

    @dg.multi_asset(
        name=name,
        specs=[
            dg.AssetSpec(
                name,
                description=f"The current run, delivered to {target}: what changed since the last delivery.",
                group_name=GROUP,
                partitions_def=days,
                deps=[PUBLISHED],
            )
        ],
        check_specs=check_specs(
            name, [ALL_TAKEN], days=days, descriptions={ALL_TAKEN: "The target took every row that was sent."}
        ),
        required_resource_keys={"published_lake"},
    )
    def delivery(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
        from dagster_project.delivering import deliver_day

        lake: LakeResource = context.resources.published_lake
        try:
            done = deliver_day(lake.settings, target, context.partition_key)
        except DeliveryFailed as error:
            # What was confirmed is in the journal: trying again goes on from there.
            raise dg.RetryRequested(RETRIES, SECONDS_BETWEEN_RETRIES) from error
        yield dg.MaterializeResult(
            asset_key=name,
            metadata=figures_metadata(done.figures())
            | {"objects": markdown_table(done.object_rows(), done.OBJECT_COLUMNS)}
            | ({"kit": dg.MetadataValue.path(str(done.folder))} if done.folder is not None else {}),
            check_results=[
                dg.AssetCheckResult(
                    asset_key=name,
                    check_name=ALL_TAKEN,
                    passed=not done.refused,
                    severity=dg.AssetCheckSeverity.WARN,
                    description=done.refusal() if done.refused else None,
                )
            ],
        )

    return delivery
