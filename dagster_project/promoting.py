"""`promote` and `rollback`, and which champion may be used.

Belongs here: changing the registry under the lake's lock, and saying what changed. Does not belong here: the rule (models.verdict), comparing
(`comparing`), the registry (adapters).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dagster_project.comparing import Progress, compare_refs, find_model, named
from sales_pipeline.domain.time import AsOf
from sales_pipeline.errors import AuditBlocked, ConfigurationError, EnvironmentProblem
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.lock import lake_lock
from sales_pipeline.models.registry import Action, before_the_last, in_force

if TYPE_CHECKING:
    from sales_pipeline.adapters.mlflow_store import MlflowStore
    from sales_pipeline.models.promotion import Decision
    from sales_pipeline.models.store import Judgement, ModelRef
    from sales_pipeline.settings import Settings


@dataclass(frozen=True)
class Present:
    """The champion that may be used; `problem` says why the one the registry names may not be (empty: it may, or there is none)."""

    ref: "ModelRef | None"
    problem: str = ""


def usable_champion(store: "MlflowStore", as_of: AsOf) -> "ModelRef | None":
    """The champion of a day; None when there is none. EnvironmentProblem when its files are gone or its features are not those of the code."""
    from sales_pipeline.models.bundle import read_bundle
    from sales_pipeline.models.feature_contract import require_contract

    ref = store.champion(as_of)
    if ref is not None:
        require_contract(read_bundle(ref.path))
    return ref


def present_champion(store: "MlflowStore", as_of: AsOf) -> Present:
    """The same, for a training: it replaces a champion that cannot be used, and says so."""
    try:
        return Present(usable_champion(store, as_of))
    except EnvironmentProblem as problem:
        return Present(None, f"the champion cannot be used ({problem.summary}: {problem.found or problem.where})")


def judgement_of(decision: "Decision", against: "ModelRef | None") -> "Judgement":
    """What the registry's entry says of a decision."""
    from sales_pipeline.models.store import Judgement

    found = decision.verdict
    if found is None:
        reasons: tuple[str, ...] = (decision.reason,)
    else:
        reasons = found.reasons if found.reason in decision.reason else (decision.reason, *found.reasons)
    figures = found.figures if found is not None else {}
    return Judgement(decision.is_promoted, reasons, figures, against.registry_version if against is not None else None)


@dataclass(frozen=True)
class ChangeReport:
    """What a promotion or a rollback changed. `before` is the champion until now; `is_changed` False: it was champion already."""

    action: Action
    champion: "ModelRef"
    before: "ModelRef | None"
    from_as_of: AsOf
    reason: str
    where: str
    link: str
    is_changed: bool
    verdict: "Judgement | None" = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return {
            "schema_version": 1,
            "action": self.action,
            "is_changed": self.is_changed,
            "champion": named(self.champion),
            "before": named(self.before) if self.before else None,
            "from": self.from_as_of.isoformat(),
            "reason": self.reason,
            "where": self.where,
            "link": self.link,
            "verdict": {"is_promoted": self.verdict.is_promoted, "reasons": list(self.verdict.reasons)}
            if self.verdict
            else None,
        }

    def summary(self) -> list[str]:
        """A few lines for people."""
        name = f"version {self.champion.registry_version} ({self.champion.version[:8]})"
        if not self.is_changed:
            return [f"{name} is the champion already: nothing changed"]
        before = f"version {self.before.registry_version} ({self.before.version[:8]})" if self.before else "none"
        return [
            f"champion: {name}, for days from {self.from_as_of.isoformat()} on",
            f"  before: {before}",
            f"  reason: {self.reason}",
            f"  where: {self.where}, {self.link}",
            "  what is published stays; the next day that is scored uses the new champion",
        ]


def promote_model(
    settings: "Settings", name: str, *, reason: str, force: bool, dates: int = 0, progress: Progress
) -> ChangeReport:
    """Make a registered model champion, where the comparison with the present one lets it pass (on the last window, or on `dates` past dates).

    `force` promotes against a verdict, or without one, and says so on the entry; a model that does not tell opportunities apart is refused all the same.
    Raises AuditBlocked when it is refused, EnvironmentProblem when its files are gone or its features are not those of the code,
    ConfigurationError for an unknown name, LakeLocked while a run holds the lake.
    """
    from dagster_project.opening import open_store
    from sales_pipeline.models.bundle import read_bundle
    from sales_pipeline.models.feature_contract import require_contract

    with lake_lock(settings.lake):
        store = open_store(settings)
        ref = find_model(store, name)
        line = in_force(store.story())
        if line is not None and line.version == ref.registry_version:
            return _report(store, "promote", ref, ref, line.as_of, line.reason, is_changed=False)
        bundle = read_bundle(ref.path)
        require_contract(bundle)
        if bundle.win is None or bundle.win.family == "base_rate":
            raise _refused(
                ref, [bundle.abstain_reason or "one rate for every opportunity"], "train on more closed deals"
            )
        before = store.find(line.version) if line is not None else None
        judgement = _judge(settings, before, ref, force, progress, dates)
        given = reason or ("; ".join(judgement.reasons) if judgement and judgement.is_promoted else "promoted by hand")
        if force and not (judgement and judgement.is_promoted):
            given = f"forced: {given}"
        if judgement is not None:
            store.note(ref, judgement)
        as_of = _as_of(settings, store, ref)
        store.promote(ref, as_of=as_of, reason=given, action="promote")
        return _report(store, "promote", ref, before, as_of, given, judgement)


def _judge(
    settings: "Settings", before: "ModelRef | None", ref: "ModelRef", force: bool, progress: Progress, dates: int
) -> "Judgement | None":
    """The verdict on a model about to be promoted; None where nothing can be compared and that is no obstacle (forced, or no champion)."""
    from sales_pipeline.models.store import Judgement

    if before is None:
        return None
    try:
        found = compare_refs(settings, before, ref, progress, dates).result.verdict
    except (EnvironmentProblem, ConfigurationError) as problem:
        if not force:
            reasons = [f"it cannot be compared with version {before.registry_version}: {problem.summary}"]
            raise _refused(
                ref, reasons, f"{problem.fix or 'mend that'}; or promote it unseen with --force"
            ) from problem
        progress(f"not compared: {problem.summary}")
        return None
    if found.is_constant:
        raise _refused(ref, list(found.objections), "a constant model is not promoted by force either; train again")
    if found.objections and not force:
        raise _refused(
            ref, list(found.objections), "train again, or promote it all the same with --force and a --reason"
        )
    return Judgement(found.is_promoted, found.reasons, found.figures, before.registry_version)


def roll_back(settings: "Settings", *, reason: str) -> ChangeReport:
    """Make the champion before the present one champion again; the story keeps both. Raises ConfigurationError when there was none, else as `promote_model`."""
    from dagster_project.opening import open_store
    from sales_pipeline.models.bundle import read_bundle
    from sales_pipeline.models.feature_contract import require_contract

    with lake_lock(settings.lake):
        store = open_store(settings)
        story = store.story()
        present, target = in_force(story), before_the_last(story)
        if present is None or target is None:
            raise ConfigurationError(
                "there is no earlier champion to go back to",
                expected="at least two versions that were champion one after the other",
                found=f"version {present.version} alone" if present else "no champion",
                where=f"{store.model_name} in {store.tracking_uri}",
                fix="promote another version with `sales-pipeline promote VERSION`",
            )
        ref, before = store.find(target.version), store.find(present.version)
        require_contract(read_bundle(ref.path))
        given = reason or f"rolled back from version {present.version}"
        as_of = _as_of(settings, store, ref)
        store.promote(ref, as_of=as_of, reason=given, action="rollback")
        return _report(store, "rollback", ref, before, as_of, given)


def _as_of(settings: "Settings", store: "MlflowStore", ref: "ModelRef") -> AsOf:
    """From when a change by hand holds: the newest as-of there is, of the story, of what is published, and of the model itself.

    Days before it keep the champion they had.
    """
    from datetime import datetime

    from sales_pipeline.lake.runs import current_run

    known = [ref.trained_through, *(line.as_of for line in store.story())]
    if (current := current_run(Lake(settings.lake))) is not None:
        known.append(AsOf(datetime.fromisoformat(current.as_of)))
    return max(known)


def _report(
    store: "MlflowStore",
    action: Action,
    ref: "ModelRef",
    before: "ModelRef | None",
    as_of: AsOf,
    reason: str,
    verdict: "Judgement | None" = None,
    *,
    is_changed: bool = True,
) -> ChangeReport:
    where = f"{store.model_name} in {store.tracking_uri}"
    return ChangeReport(action, ref, before, as_of, reason, where, store.entry_link(ref), is_changed, verdict)


def _refused(ref: "ModelRef", reasons: list[str], fix: str) -> AuditBlocked:
    return AuditBlocked(
        f"version {ref.registry_version} ({ref.version[:8]}) was not promoted; the champion still stands",
        expected="a model that passes the comparison with the champion",
        found="".join(f"\n    {reason}" for reason in reasons),
        where=ref.link or str(ref.path),
        fix=fix,
    )
