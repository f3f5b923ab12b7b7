"""One way to tell people: a webhook where the settings name one, a log line otherwise.

Told are failed steps (the hooks on the jobs) and data that has stopped coming (the schedule).
Belongs here: the message and its way out. Does not belong here: when data is stale.
"""

import json
import logging
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from dagster_project.opening import LakeResource

if TYPE_CHECKING:
    from sales_pipeline.settings import Settings

TIMEOUT_SECONDS = 10.0
logger = logging.getLogger("sales_pipeline.alerts")


def alert(settings: "Settings", subject: str, facts: Mapping[str, Any]) -> None:
    """Post `{subject, facts}` as JSON to the webhook, or log it; a webhook that fails is logged and never fails the run."""
    webhook = settings.alerts.webhook_url
    line = f"{subject}: {json.dumps(dict(facts), sort_keys=True, default=str)}"
    if webhook is None:
        logger.error(line)
        return
    address = webhook.get_secret_value()
    if not address.startswith(("https://", "http://")):
        logger.error("alerts.webhook_url is no http(s) address; %s", line)
        return
    body = json.dumps({"subject": subject, "text": line, "facts": dict(facts)}, default=str).encode()
    request = urllib.request.Request(address, data=body, headers={"Content-Type": "application/json"}, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS):
            pass
    except (urllib.error.URLError, OSError) as error:
        logger.error("the alert webhook failed (%s); %s", type(error).__name__, line)


def _tell(context: dg.HookContext, lake: LakeResource) -> None:
    """Note what a step raised for the caller of the run, where there is one (it says so itself), and tell people of it."""
    error = context.op_exception
    if lake.failures is not None:
        if error is not None:
            lake.failures.append(error)
        if lake.settings.alerts.webhook_url is None:
            return
    alert(
        lake.settings,
        "sales pipeline: a step failed",
        {
            "step": context.step_key,
            "job": context.job_name,
            "dagster_run_id": context.run_id,
            "error": type(error).__name__ if error is not None else "unknown",
            "message": str(error) if error is not None else "",
        },
    )


@dg.failure_hook(name="tell_of_failure", required_resource_keys={"lake"})
def tell_of_failure(context: dg.HookContext) -> None:
    """Of the jobs that write to the lake."""
    _tell(context, context.resources.lake)


@dg.failure_hook(name="tell_of_failed_delivery", required_resource_keys={"published_lake"})
def tell_of_failed_delivery(context: dg.HookContext) -> None:
    """Of deliveries, which do not hold the lake's lock."""
    _tell(context, context.resources.published_lake)
