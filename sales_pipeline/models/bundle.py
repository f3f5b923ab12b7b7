"""A model at rest: `model.json` and the text files of boosted trees, in a folder named by the digest of its content.

No pickle, and nothing that differs from one identical training to the next: the same inputs give the same bytes and so the same version.

Belongs here: writing, reading, the digest. Does not belong here: what the parts mean (their own modules).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sales_pipeline.domain.identifiers import digest_bytes, digest_of
from sales_pipeline.errors import EnvironmentProblem
from sales_pipeline.lake.durable import write_directory
from sales_pipeline.models.amounts import AmountModel
from sales_pipeline.models.calibration import Calibrator, IntervalTable
from sales_pipeline.models.encoding import Encoding
from sales_pipeline.models.estimators import Estimator, estimator_from_dict
from sales_pipeline.models.texts import put_texts, take_texts
from sales_pipeline.models.timing import Timing

MODEL_FILE = "model.json"
FORMAT = 2


@dataclass(frozen=True)
class WinModel:
    """Encoding, estimator and calibrator of the win probability; `evidence_level` is what scores by it rest on."""

    family: str
    evidence_level: str
    encoding: Encoding
    estimator: Estimator
    calibrator: Calibrator
    intervals: IntervalTable
    needs_created_at: bool


@dataclass(frozen=True)
class Bundle:
    """A trained model. `win` is None where no probability can be given; `abstain_reason` then says why."""

    version: str
    path: Path
    win: WinModel | None
    abstain_reason: str | None
    timing: Timing | None
    amount: AmountModel | None
    card: dict[str, Any]


def write_bundle(
    folder: Path,
    *,
    win: WinModel | None,
    abstain_reason: str | None,
    timing: Timing | None,
    amount: AmountModel | None,
    card: Mapping[str, Any],
) -> Bundle:
    """Write the bundle below `folder`, in a folder of its version's name; one that is there already is left as it is."""
    texts: dict[str, str] = {}
    content = {
        "format": FORMAT,
        "abstain_reason": abstain_reason,
        "win": None
        if win is None
        else {
            "family": win.family,
            "evidence_level": win.evidence_level,
            "encoding": win.encoding.to_dict(),
            "estimator": _estimator(win.estimator, "win", texts),
            "calibrator": win.calibrator.to_dict(),
            "intervals": win.intervals.to_dict(),
            "needs_created_at": win.needs_created_at,
        },
        "timing": timing.to_dict() if timing else None,
        "amount": None
        if amount is None
        else amount.to_dict() | {"estimator": _estimator(amount.estimator, "amount", texts)},
        "card": dict(card),
    }
    files = {MODEL_FILE: json.dumps(content, sort_keys=True, ensure_ascii=False, indent=1) + "\n", **texts}
    version = digest_of({name: digest_bytes(text.encode()) for name, text in files.items()})

    def build(target: Path) -> None:
        for name, text in files.items():
            (target / name).write_text(text, encoding="utf-8", newline="\n")

    write_directory(folder / version, build)
    return Bundle(version, folder / version, win, abstain_reason, timing, amount, dict(card))


def read_bundle(path: Path) -> Bundle:
    """The bundle of a folder. EnvironmentProblem when its files are missing, of another format, or not those its name promises.

    A folder that is not named by a version (a copy kept elsewhere) is read without comparing the name.
    """
    if not (path / MODEL_FILE).is_file():
        raise EnvironmentProblem(
            "no model there", expected=f"a folder with {MODEL_FILE}", found="none", where=str(path), fix="train again"
        )
    files = {item.name: item.read_bytes() for item in sorted(path.iterdir()) if item.suffix in (".json", ".txt")}
    version = digest_of({name: digest_bytes(data) for name, data in files.items()})
    content = json.loads(files[MODEL_FILE])
    if content.get("format") != FORMAT:
        raise EnvironmentProblem(
            "a model of another format",
            expected=f"format {FORMAT}",
            found=str(content.get("format")),
            where=str(path),
            fix="train again with this version",
        )
    if len(path.name) == len(version) and path.name != version:
        raise EnvironmentProblem(
            "a model's files were changed", expected=path.name, found=version, where=str(path), fix="train again"
        )
    win = content["win"]
    amount = content["amount"]
    return Bundle(
        version=version,
        path=path,
        win=None
        if win is None
        else WinModel(
            family=win["family"],
            evidence_level=win["evidence_level"],
            encoding=Encoding.from_dict(win["encoding"]),
            estimator=_read_estimator(win["estimator"], files),
            calibrator=Calibrator.from_dict(win["calibrator"]),
            intervals=IntervalTable.from_dict(win["intervals"]),
            needs_created_at=win["needs_created_at"],
        ),
        abstain_reason=content["abstain_reason"],
        timing=Timing.from_dict(content["timing"]) if content["timing"] else None,
        amount=None if amount is None else AmountModel.from_dict(amount, _read_estimator(amount["estimator"], files)),
        card=content["card"],
    )


def _estimator(estimator: Estimator, name: str, texts: dict[str, str]) -> dict[str, Any]:
    return take_texts(estimator.to_dict(), name, texts)


def _read_estimator(data: Mapping[str, Any], files: Mapping[str, bytes]) -> Estimator:
    texts = {name: content.decode("utf-8") for name, content in files.items() if name.endswith(".txt")}
    return estimator_from_dict(put_texts(data, texts))
