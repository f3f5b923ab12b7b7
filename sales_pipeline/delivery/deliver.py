"""One delivery from end to end: go on with what was cut short, build the kit, hold it against the limit, send it, settle what came back.

Belongs here: the order of those steps, under the target's lock. Does not belong here: any one of them (`kits`, `channels`, `results`, `state`).
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from sales_pipeline.delivery.channels.base import Channel
from sales_pipeline.delivery.journal import PUBLISHED, Journal
from sales_pipeline.delivery.kit import Kit, ObjectFacts, read_kit
from sales_pipeline.delivery.kits.build import build_kit, build_rollback
from sales_pipeline.delivery.params import KEEP_KITS, MoveLimit
from sales_pipeline.delivery.parcel import Parcel
from sales_pipeline.delivery.results.read import read_results
from sales_pipeline.delivery.retention import drop_old_kits
from sales_pipeline.delivery.state.sent import answers_by_record
from sales_pipeline.delivery.state.settle import confirm_all, delivery_status, discard, hand_over, settle
from sales_pipeline.delivery.state.store import KitStatus, kits_folder, read_state, target_folder
from sales_pipeline.delivery.targets.spec import TargetSpec
from sales_pipeline.errors import ConfigurationError, DeliveryBlocked
from sales_pipeline.lake.durable import remove_leftovers
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.lock import delivery_lock
from sales_pipeline.lake.runs import PublishedRun

Ended = Literal["dry_run", "nothing_to_deliver", "handed_over", "settled", "discarded"]
"""`handed_over`: rows wait for the target's answer; `settled`: the end of every row is known, refused ones among them."""


@dataclass(frozen=True)
class Delivered:
    """What came of a delivery. `status` is None where nothing was handed over."""

    target: str
    kit: Kit
    ended: Ended
    status: KitStatus | None = None

    @property
    def objects(self) -> tuple[ObjectFacts, ...]:
        """Rows per object of the mapping."""
        return self.kit.objects


def deliver(
    lake: Lake,
    run: PublishedRun,
    target: str,
    spec: TargetSpec,
    channel: Channel | None,
    *,
    moves: MoveLimit,
    time_zone: str = "UTC",
    only_changed: bool = True,
    is_dry_run: bool = False,
    accepts_moves: bool = False,
    known_owners: Set[str] | None = None,
    keep_kits: int = KEEP_KITS,
) -> Delivered:
    """Deliver a published run to a target.

    Parameters
    ----------
    channel
        The way there; None where a person imports the kit.
    is_dry_run
        The kit is built, to be looked at; nothing is handed over.
    accepts_moves
        Deliver although more moves than `moves` allows.
    known_owners
        Owners the target would take, by the ids of the published tables; None where nobody says.
    keep_kits
        Settled kits that stay once this delivery is settled.

    A delivery that was cut short is finished first. Raises DeliveryUnderWay when another delivery to the target goes on, ConfigurationError
    for a run older than one delivered before, DeliveryBlocked when too much moves, DeliveryFailed when the target cannot be reached or refuses the
    whole: the next call goes on from there. The published tables stand whatever happens here.
    """
    with delivery_lock(target_folder(lake, target)):
        remove_leftovers(target_folder(lake, target))
        if not is_dry_run:
            _require_not_older(lake, target, run)
            if channel is not None:
                _finish_what_was_cut_short(lake, target, channel)
        kit = build_kit(
            lake,
            run,
            spec,
            target=target,
            moves=moves,
            only_changed=only_changed,
            time_zone=time_zone,
            known_owners=known_owners,
        )
        if is_dry_run:
            return Delivered(target, kit, "dry_run")
        if kit.rows == 0:
            return Delivered(target, kit, "nothing_to_deliver")
        if kit.over_limit and not accepts_moves:
            raise _too_much(kit, spec, moves)
        return _tidied(lake, _send(lake, target, kit, channel), keep_kits)


def roll_back(
    lake: Lake,
    run: str,
    target: str,
    channel: Channel | None,
    *,
    is_dry_run: bool = False,
    keep_kits: int = KEEP_KITS,
) -> Delivered:
    """Give a target back the values it had before a run (or the delivery of that id) was delivered.

    Only the newest delivery that was not rolled back can be: what came later rests on it. Raises ConfigurationError where that is another
    one, else what `deliver` raises.
    """
    with delivery_lock(target_folder(lake, target)):
        remove_leftovers(target_folder(lake, target))
        status = _newest_standing(delivery_status(lake, target), target)
        if run not in (status.run_id, status.delivery_id):
            raise ConfigurationError(
                "only the newest delivery can be rolled back",
                expected=f"{status.run_id} (delivery {status.delivery_id}, as of {status.as_of})",
                found=run,
                where=f"deliveries to {target}",
                fix="roll that one back first, then the one before it",
            )
        kit = build_rollback(lake, target, kit_folder(lake, target, status.delivery_id))
        if is_dry_run:
            return Delivered(target, kit, "dry_run")
        return _tidied(lake, _send(lake, target, kit, channel), keep_kits)


def take_results(
    lake: Lake,
    target: str,
    files: Sequence[Path],
    *,
    delivery_id: str | None = None,
    all_taken: bool = False,
    is_discarded: bool = False,
    keep_kits: int = KEEP_KITS,
) -> Delivered:
    """Take in what a CRM answered to a kit a person imported: its result files, or the word that all or none of it went in.

    Without an id the newest delivery that waits for answers is meant. Raises ConfigurationError when none does, InputRejected for a file
    that does not belong to it; files before that one are taken in.
    """
    with delivery_lock(target_folder(lake, target)):
        kit = read_kit(kit_folder(lake, target, delivery_id or _newest_waiting(lake, target).delivery_id))
        if is_discarded:
            return Delivered(target, kit, "discarded", discard(lake, target, kit.folder))
        status = hand_over(lake, target, kit.folder)
        for path in files:
            status = settle(lake, target, kit.folder, read_results(path, kit.parcel))
        if all_taken:
            status = confirm_all(lake, target, kit.folder)
        done = Delivered(target, kit, "settled" if status.is_settled else "handed_over", status)
        return _tidied(lake, done, keep_kits)


def refusals(lake: Lake, target: str) -> list[dict[str, str | None]]:
    """Rows whose newest end is that they failed or were not come to: delivery_id, object, key (the record's own), outcome, and the target's code and
    words. Records somebody deleted in the target are not among them: they do not come again."""
    state = read_state(lake, target)
    newest: dict[tuple[str, str], dict[str, str | None]] = {}
    for status in state.kits:
        results = state.results_of(status.delivery_id)
        if results is None or status.is_discarded:
            continue
        for row in answers_by_record(results, kit_folder(lake, target, status.delivery_id)).to_pylist():
            place = (row["object"], row["key"])
            newest.pop(place, None)
            if row["outcome"] in ("failed", "unprocessed"):
                told = {name: row[name] for name in ("key", "outcome", "code", "message")}
                newest[place] = {"delivery_id": status.delivery_id, "object": place[0], **told}
    return list(newest.values())


def publish_run(lake: Lake, target: str, parcel: Parcel, channel: Channel) -> dict[str, Any]:
    """Send a whole run to a target that takes runs instead of kits; what its channel noted of it. Raises what `deliver` raises of a channel."""
    with delivery_lock(target_folder(lake, target)):
        journal = journal_of(lake, target, parcel.delivery_id)
        channel.send(parcel, journal)
        return journal.notes(None)[-1]


def publications(lake: Lake, target: str) -> list[tuple[str, dict[str, Any]]]:
    """Whole runs a target took: the delivery's id and what its channel noted last, in the order of their as-of."""
    folder = target_folder(lake, target) / "journals"
    ids = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    noted = [(one, notes[-1]) for one in ids if (notes := journal_of(lake, target, one).notes(None, PUBLISHED))]
    return sorted(noted, key=lambda pair: (_instant(pair[1]["as_of"]), pair[0]))


def kit_folder(lake: Lake, target: str, delivery_id: str) -> Path:
    """A kit by its id; ConfigurationError when there is none."""
    folder = kits_folder(lake, target) / delivery_id
    known = read_state(lake, target).kit(delivery_id)
    if known is not None and known.is_dropped:
        raise ConfigurationError(
            "the kit of this delivery was dropped, so nothing can be done with it any more",
            expected="one of the newest deliveries",
            found=f"{delivery_id}, as of {known.as_of}",
            where=str(folder.parent),
            fix="raise `keep_kits` of the target to keep more of them from now on",
        )
    if not folder.is_dir():
        raise ConfigurationError(
            "there is no such delivery",
            found=delivery_id,
            where=str(folder.parent),
            fix=f"`sales-pipeline deliver status {target}` names them",
        )
    return folder


def journal_of(lake: Lake, target: str, delivery_id: str) -> Journal:
    """The journal of a delivery."""
    return Journal(target_folder(lake, target) / "journals" / delivery_id)


def _send(lake: Lake, target: str, kit: Kit, channel: Channel | None) -> Delivered:
    status = hand_over(lake, target, kit.folder)
    if channel is None:
        return Delivered(target, kit, "settled" if status.is_settled else "handed_over", status)
    results = channel.send(kit.parcel, journal_of(lake, target, kit.parcel.delivery_id))
    status = settle(lake, target, kit.folder, results)
    return Delivered(target, kit, "settled" if status.is_settled else "handed_over", status)


def _tidied(lake: Lake, done: Delivered, keep_kits: int) -> Delivered:
    """Drop old kits once a delivery is settled: not this one, nor the one a rollback would take back."""
    if done.ended == "settled":
        standing = _that_went_in(delivery_status(lake, done.target))
        newest = max(standing, key=lambda one: one.order).delivery_id if standing else done.kit.parcel.delivery_id
        drop_old_kits(lake, done.target, keep_kits, {newest, done.kit.parcel.delivery_id})
    return done


def _finish_what_was_cut_short(lake: Lake, target: str, channel: Channel) -> None:
    for status in delivery_status(lake, target):
        if not status.is_settled:
            _send(lake, target, read_kit(kit_folder(lake, target, status.delivery_id)), channel)


def _require_not_older(lake: Lake, target: str, run: PublishedRun) -> None:
    newest = max((_instant(one.as_of) for one in _standing(delivery_status(lake, target))), default=None)
    if newest is not None and newest > _instant(run.as_of):
        raise ConfigurationError(
            "a newer run was delivered already",
            expected=f"a run as of {newest.isoformat()} or later",
            found=f"{run.run_id}, as of {run.as_of}",
            where=f"deliveries to {target}",
            fix="to go back, `sales-pipeline deliver rollback RUN` undoes the newest delivery",
        )


def _standing(statuses: Sequence[KitStatus]) -> list[KitStatus]:
    """Deliveries that hold: neither thrown away, nor rolled back, nor rollbacks themselves."""
    undone = {one.is_rollback_of for one in statuses if not one.is_discarded and one.succeeded}
    return [
        one for one in statuses if not one.is_discarded and one.is_rollback_of is None and one.delivery_id not in undone
    ]


def _that_went_in(statuses: Sequence[KitStatus]) -> list[KitStatus]:
    """Deliveries that can be rolled back, one after the other; one of which nothing was taken is not in the way."""
    return [one for one in _standing(statuses) if one.succeeded or not one.is_settled]


def _newest_standing(statuses: Sequence[KitStatus], target: str) -> KitStatus:
    standing = _that_went_in(statuses)
    if not standing:
        raise ConfigurationError("nothing of this target can be rolled back", found="no delivery", where=target)
    return max(standing, key=lambda one: one.order)


def _newest_waiting(lake: Lake, target: str) -> KitStatus:
    waiting = [one for one in delivery_status(lake, target) if not one.is_settled]
    if not waiting:
        raise ConfigurationError(
            "no delivery waits for answers",
            where=target,
            fix=f"`sales-pipeline deliver status {target}` tells what became of each; name one with --delivery",
        )
    return max(waiting, key=lambda one: one.order)


def _too_much(kit: Kit, spec: TargetSpec, moves: MoveLimit) -> DeliveryBlocked:
    figures = {one.name: one.moves for one in spec.objects}
    lines = [
        f"{facts.name}: {facts.moved:,} of {facts.known:,} rows ({facts.moved_share:.1%}) "
        + (f"move by {moves.at_least:g} or more" if figures[facts.name] else "change")
        for facts in kit.over_limit
    ]
    return DeliveryBlocked(
        "the delivery would move too much; nothing was sent",
        expected=f"at most {moves.max_share:.0%} of the rows the target holds",
        found="\n    ".join(lines),
        where=str(kit.folder),
        fix="look at review.xlsx there; if it is right (a new model, say), deliver again with --accept-moves, else mend the cause",
    )


def _instant(as_of: str) -> datetime:
    return datetime.fromisoformat(as_of)
