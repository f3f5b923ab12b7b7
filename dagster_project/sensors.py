"""The landing-folder sensor: starts a run when a complete export has arrived.

Complete means: a marker file says so, or two looks in a row see the same files of the same sizes and every ZIP opens.
Belongs here: the two looks. Does not belong here: what a complete export calls for (`arrivals`).
"""

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from dagster_project.arrivals import look, run_requests
from dagster_project.hooks import alert
from sales_pipeline.domain.identifiers import digest_of
from sales_pipeline.errors import LakeLocked, SalesPipelineError

if TYPE_CHECKING:
    from sales_pipeline.settings import Settings

SECONDS_BETWEEN_LOOKS = 60


def build_sensor(load: "Callable[[], Settings]", jobs: Sequence[Any]) -> dg.SensorDefinition:
    """The sensor over the landing folder the settings name; off until switched on in the UI."""

    @dg.sensor(
        name="landing_folder",
        jobs=list(jobs),
        minimum_interval_seconds=SECONDS_BETWEEN_LOOKS,
        description="Starts a run when a complete export has arrived in the landing folder.",
    )
    def landing_folder(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        from sales_pipeline.ingest.landing import is_complete, sizes

        settings = load()
        if not settings.exports.is_dir():
            return dg.SkipReason(f"there is no landing folder {settings.exports}")
        before = json.loads(context.cursor) if context.cursor else {}
        seen = sizes(settings.exports)
        state = {"sizes": seen, "handled": before.get("handled")}
        if not seen:
            return _skip("the landing folder is empty", state)
        if digest_of(seen) == before.get("handled"):
            return _skip("nothing new has arrived", state)
        if not is_complete(settings.exports, before.get("sizes")):
            return _skip("files are arriving: the next look will tell whether they are complete", state)
        try:
            arrival = look(settings)
        except LakeLocked:
            return _skip("a run is under way: the export waits for the next look", state)
        except SalesPipelineError as error:
            alert(settings, "sales pipeline: an export was refused", {"message": str(error)})
            return _skip(str(error), state | {"handled": digest_of(seen)})
        requests = run_requests(context.instance, settings, arrival)
        done = json.dumps(state | {"handled": digest_of(seen)})
        if not requests:
            return _skip(f"{arrival.day} was asked for with these exports already", json.loads(done))
        return dg.SensorResult(run_requests=requests, cursor=done)

    return landing_folder


def _skip(reason: str, state: dict[str, object]) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=dg.SkipReason(reason), cursor=json.dumps(state))
