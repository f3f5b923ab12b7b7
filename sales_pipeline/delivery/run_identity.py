"""What makes a run the run it is: everything its files depend on, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from sales_pipeline.contracts.published import CONTRACT_VERSION
from sales_pipeline.domain.identifiers import digest_of
from sales_pipeline.domain.time import AsOf


def run_id(
    as_of: AsOf,
    *,
    export_ids: Sequence[str],
    settings_digest: str,
    code_version: str,
    model_version: str | None,
    previous_run_id: str | None,
    feedback_digest: str | None,
    replay_key: str | None = None,
    effect_key: str | None = None,
) -> str:
    """The id of a run: `run-` and 16 hexadecimal digits. Equal inputs give equal ids, on any machine and at any time.

    `settings_digest` covers the mapping and every setting that reaches a published byte (no paths, no threads); `replay_key` names the
    replay whose figures the model card shows, `effect_key` the effect of a contact that the queue reckons with. The order of `export_ids` does not matter. The prefix keeps spreadsheets from reading an id as a number.
    """
    digest = digest_of(
        {
            "contract_version": CONTRACT_VERSION,
            "as_of": as_of.isoformat(),
            "export_ids": sorted(export_ids),
            "settings_digest": settings_digest,
            "code_version": code_version,
            "model_version": model_version,
            "previous_run_id": previous_run_id,
            "feedback_digest": feedback_digest,
            "replay_key": replay_key,
            "effect_key": effect_key,
        }
    )
    return f"run-{digest}"
