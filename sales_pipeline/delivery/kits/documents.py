"""Texts of a kit for people: the README in the administrator's words, the summary of the difference, Data Loader mappings.

Belongs here: words. Does not belong here: what is imported how, which the mapping says (`set_up`, `import_steps`, `rollback_steps`).
"""

from __future__ import annotations

from collections.abc import Sequence

from sales_pipeline.delivery.kit import ObjectFacts
from sales_pipeline.delivery.parcel import Parcel, Part
from sales_pipeline.delivery.targets.spec import TargetSpec

_VERBS = {
    "update": "update {object} by {key}",
    "upsert": "create or update {object} by {key}",
    "insert": "create {object}; import it once only",
    "replace": "replace {object}",
}


def sdl(part: Part) -> str:
    """A Data Loader mapping: each column of the file goes to the field of the same name."""
    return "".join(f"{name}={name}\n" for name in part.fields)


def diff_summary(target: str, facts: Sequence[ObjectFacts]) -> str:
    """What this delivery changes in the target, in a few lines per object."""
    lines = [f"Difference to what {target} is known to hold"]
    for item in facts:
        lines += [
            "",
            f"{item.name}: {_changes(item)}, {item.gone} gone, {item.not_delivered} not delivered",
            f"  {item.moved} of {item.known} known rows moved ({100 * item.moved_share:.1f} %)"
            + ("; that is more than the settings allow" if item.is_over_limit else ""),
        ]
        if item.cannot_clear:
            lines.append(f"  {item.cannot_clear} rows keep a value that should go: see not_delivered.csv")
        lines += [f"  {move.key}: {move.previous:g} to {move.new:g}" for move in item.moves]
    return "\n".join(lines) + "\n"


def readme(spec: TargetSpec, parcel: Parcel, facts: Sequence[ObjectFacts], is_rollback_of: str | None) -> str:
    """README.txt: what lies here, how to import it, how to take it back."""
    what = "takes back" if is_rollback_of else "brings"
    lines = [
        f"{spec.title}: delivery {parcel.delivery_id}",
        f"It {what} the scores of run {parcel.run_id}, which hold for {parcel.as_of}."
        if not is_rollback_of
        else f"It takes back delivery {is_rollback_of}: the values from before it, for the rows that succeeded.",
        "",
        "Files to import, in this order",
    ]
    lines += [
        f"  {part.name}: {counted(part.rows)}; " + _VERBS[part.operation].format(object=part.object, key=part.key_field)
        for part in parcel.parts
    ] or ["  none: the target holds everything already"]
    lines += ["", "What changes"]
    lines += [
        f"  {item.name}: {_changes(item)}, {item.not_delivered} not delivered (not_delivered.csv says why)"
        for item in facts
    ]
    lines += _numbered("Before the first import", spec.set_up)
    lines += _numbered("Import", spec.import_steps)
    lines += _numbered("Afterwards", _afterwards(parcel))
    lines += _numbered("Taking it back", spec.rollback_steps)
    if is_rollback_of is None:
        lines += [
            f"  Or let `sales-pipeline deliver rollback {parcel.run_id} --target {parcel.target}` write the files for exactly the rows that went in."
        ]
    fields = [(item.object, field) for item in spec.delivered for field in (item.key, *item.fields) if field.note]
    if fields:
        lines += ["", "Fields", *dict.fromkeys(f"  {where}.{field.field}: {field.note}" for where, field in fields)]
    lines += [
        "",
        "Look before importing: review.xlsx, diff_summary.txt. manifest.json has rows, keys and the sha256 of every file.",
        "The files hold ids, numbers, dates, codes and sentences this program wrote; nothing that people typed into the CRM is in them,",
        "and no field that people or the CRM itself keep is touched. Do not open and save them in a spreadsheet before the import.",
    ]
    return "\n".join(lines) + "\n"


def _afterwards(parcel: Parcel) -> list[str]:
    command = f"`sales-pipeline deliver results {parcel.target}"
    return [
        f"Where the target gives files of what it took and refused: {command} FILES`. Refused rows come again with the next delivery.",
        f"If every row went in: {command} --all-taken`. If nothing was imported: {command} --discard`.",
        "Without one of these the next delivery cannot know that this one was imported.",
    ]


def _changes(item: ObjectFacts) -> str:
    cleared = f", {item.cleared} cleared (no score any more)" if item.cleared else ""
    return f"{item.new} new, {item.changed} changed, {item.unchanged} unchanged{cleared}, {item.withdrawn} withdrawn"


def counted(rows: int) -> str:
    """`1 row`, `2 rows`."""
    return f"{rows} row{'' if rows == 1 else 's'}"


def _numbered(title: str, steps: Sequence[str]) -> list[str]:
    return ["", title, *(f"  {number}. {step}" for number, step in enumerate(steps, start=1))] if steps else []
