"""What a scoring run is: its id, and everything that id is a digest of.

A day that was published before with the same exports, settings, code and feedback is repeated with the model, the previous run and the replay
of its manifest, whatever was promoted, published or replayed since; so it gives the same id and the same bytes.

Belongs here: finding those parts in the lake. Does not belong here: the digest itself (`delivery.run_identity`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dagster_project.cards import newest_replay
from dagster_project.contact_effects import newest_effect
from sales_pipeline.domain.time import AsOf
from sales_pipeline.errors import ConfigurationError
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.runs import PublishedRun, previous_run, published_runs

if TYPE_CHECKING:
    from sales_pipeline.settings import Settings


@dataclass(frozen=True)
class RunPlan:
    """One scoring run.

    `previous_run_id` is the published run with the greatest earlier as-of, None for the first; `replay_key` names the replay whose figures its
    model card shows, None where there was none. `effect_key` names the effect of a contact that the queue reckons with, None where none was learnt.
    """

    run_id: str
    as_of: str
    export_ids: tuple[str, ...]
    settings_digest: str
    code_version: str
    model_name: str
    model_version: str
    previous_run_id: str | None
    feedback_digest: str | None
    is_repeat: bool
    replay_key: str | None = None
    effect_key: str | None = None

    def manifest(self) -> dict[str, Any]:
        """The manifest's entries that let the day be repeated."""
        return {
            "as_of": self.as_of,
            "export_ids": list(self.export_ids),
            "settings_digest": self.settings_digest,
            "code_version": self.code_version,
            "model": {"name": self.model_name, "version": self.model_version},
            "previous_run_id": self.previous_run_id,
            "feedback_digest": self.feedback_digest,
            "replay_key": self.replay_key,
            "effect_key": self.effect_key,
        }


def plan_run(
    lake: Lake,
    settings: "Settings",
    as_of: AsOf,
    export_ids: Sequence[str],
    champion: Callable[[], Any],
) -> RunPlan:
    """The plan of a day. `champion` gives the eligible model (`name`, `version`) or None, and is asked only when needed.

    Raises ConfigurationError when there is no eligible champion for the day.
    """
    from sales_pipeline.delivery.run_identity import run_id
    from sales_pipeline.follow_up.feedback import feedback_digest
    from sales_pipeline.follow_up.feedback_ledger import read_ledger
    from sales_pipeline.settings import code_version

    said = feedback_digest(read_ledger(lake), as_of)
    before = _published_alike(lake, as_of, export_ids, settings.result_digest(), code_version(), said)
    if before is not None:
        name, version = before.manifest["model"]["name"], before.manifest["model"]["version"]
        previous_id: str | None = before.manifest["previous_run_id"]
        replay_key: str | None = before.manifest.get("replay_key")
        effect_key: str | None = before.manifest.get("effect_key")
    else:
        model = champion()
        if model is None:
            raise ConfigurationError(
                "no model may be used for this day",
                expected=f"a champion trained and promoted on what was known by {as_of.isoformat()}",
                found="none",
                fix="run the training job for this day first (`sales-pipeline run` does so by itself)",
            )
        name, version = model.name, model.version
        earlier = previous_run(lake, as_of.isoformat())
        previous_id = earlier.run_id if earlier is not None else None
        replay = newest_replay(lake, as_of.instant)
        replay_key = replay.key if replay is not None else None
        effect_key = newest_effect(lake, as_of)
    return RunPlan(
        run_id=run_id(
            as_of=as_of,
            export_ids=export_ids,
            settings_digest=settings.result_digest(),
            code_version=code_version(),
            model_version=version,
            previous_run_id=previous_id,
            feedback_digest=said,
            replay_key=replay_key,
            effect_key=effect_key,
        ),
        as_of=as_of.isoformat(),
        export_ids=tuple(export_ids),
        settings_digest=settings.result_digest(),
        code_version=code_version(),
        model_name=name,
        model_version=version,
        previous_run_id=previous_id,
        feedback_digest=said,
        is_repeat=before is not None,
        replay_key=replay_key,
        effect_key=effect_key,
    )


def _published_alike(
    lake: Lake,
    as_of: AsOf,
    export_ids: Sequence[str],
    settings_digest: str,
    code_version: str,
    feedback_digest: str | None,
) -> PublishedRun | None:
    """The published run of that day with the same inputs, if there is one; the latest by id where there are several."""
    wanted = {
        "as_of": as_of.isoformat(),
        "export_ids": list(export_ids),
        "settings_digest": settings_digest,
        "code_version": code_version,
        "feedback_digest": feedback_digest,
    }
    alike = [
        run for run in published_runs(lake) if all(run.manifest.get(name) == value for name, value in wanted.items())
    ]
    return alike[-1] if alike else None
