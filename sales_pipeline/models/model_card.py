"""The published model card: one JSON document that says what the model is, what it rests on, how right it was, and where it should not be believed.

After Mitchell et al., "Model Cards for Model Reporting" (FAT* 2019): details, intended use, factors, metrics, data, analyses, ethical notes, caveats.
Every entry of the training's own card stays where it was; the card adds to it.

Belongs here: putting the parts together and the sentences on limits. Does not belong here: any figure (`proof`, `stability`), the page (delivery).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sales_pipeline.features.catalogue import FEATURES
from sales_pipeline.models.proof import SCHEMA_VERSION
from sales_pipeline.models.stability import owner_columns, selection_stability

MAX_CALIBRATION_ERROR = 0.02
CALIBRATION_ROWS = 2_000
OBSERVED_EXPECTED = (0.95, 1.05)
MIN_OPPORTUNITIES = 200
MAX_EXPECTED_SHARE = 0.2
OWNER_SHARE = 0.2
"""Share of what moves scores above which owner features are called out."""

INTENDED_USE = (
    "To order and plan the work on open opportunities: which to follow up, what revenue to expect, which close dates to question.",
    "Probabilities name their event: won ever, won within 30 or 90 days of the as-of. They hold for groups; a single opportunity is won or lost.",
    "People decide. A score is one argument; its reasons say which facts of the record it rests on.",
)
NOT_INTENDED = (
    "To judge, rank or pay salespeople: owner features describe territories and past luck as much as skill.",
    "To close, refuse or down-price an opportunity without a person's decision.",
    "To say what would happen if the opportunity were worked differently: the model has learnt what went together, not what causes what.",
)
ETHICAL_NOTES = (
    "The model sees business records by id: no names, addresses, phone numbers or notes of people, and publishes none.",
    "What is scored low is worked less and may be lost for that. A hold-out in the follow-up queue keeps the effect of the queue measurable.",
)


def model_card(
    training: Mapping[str, Any],
    *,
    name: str,
    version: str,
    proof: Mapping[str, Any] | None = None,
    replay: Mapping[str, Any] | None = None,
    drift: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """The card of a registered model, JSON-able; equal parts give equal cards.

    Parameters
    ----------
    training
        The card in the model's bundle (`train`).
    proof, replay
        What `proof` says of a replay's rows, and the replay's facts; None where there is none: then the figures are those of the untouched last window.
    drift
        What `stability.meaning_drift` found.
    """
    win = training["win"]
    stability = selection_stability(replay["dates"]) if replay else []
    card = {
        **training,
        "schema_version": SCHEMA_VERSION,
        "model": {
            "name": name,
            "version": version,
            "family": win["choice"],
            "setting": win.get("setting", ""),
            "evidence_level": win["evidence_level"],
            "trained_through": training.get("trained_through"),
        },
        "intended_use": list(INTENDED_USE),
        "not_intended": list(NOT_INTENDED),
        "ethical_notes": list(ETHICAL_NOTES),
        "method": _method(training),
        "figures": _figures(training, proof, replay),
        "replay": _replay(training, replay),
        "proof": dict(proof) if proof else None,
        "features": _features(win, stability),
        "selection_stability": stability,
        "meaning_drift": [dict(row) for row in drift],
        "owner_effects": _owner_effects(win),
        "tree_rules": list(win.get("tree_rules") or win.get("rules") or ()),
    }
    return card | {"limits": limits(card)}


def _method(training: Mapping[str, Any]) -> dict[str, Any]:
    win, splits = training["win"], training.get("splits", {})
    return {
        "landmarks": "Each training row is an opportunity as it stood at a past instant while it was open; nothing recorded later is seen. "
        "Rows of one opportunity and account stay on one side of every split.",
        "censoring": win.get("censoring")
        or "An opportunity still open has no outcome yet: it is censored, never counted as lost.",
        "maturity": splits.get("maturity_rule"),
        "choice": win.get("why"),
        "calibration": win.get("calibration"),
        "interval": win.get("interval"),
        "timing": training.get("timing"),
        "amount": {key: training["amount"].get(key) for key in ("choice", "why", "target", "interval")},
        "sources": [
            "landmarks: van Houwelingen & Putter, Dynamic Prediction in Clinical Survival Analysis, 2012",
            "what to expect of opportunities still open, competing risks in discrete time: Allison, Sociological Methodology 13, 1982; Tutz & Schmid, "
            "Modeling Discrete Time-to-Event Data, 2016; as stand-in for the outcome: Dempster, Laird & Rubin, JRSS B 39, 1977",
            "choice within one standard error: Breiman et al., Classification and Regression Trees, 1984",
            "calibration error: Naeini, Cooper & Hauskrecht, AAAI 2015; by chance alone: Bröcker & Smith, Weather and Forecasting 22, 2007",
            "time to close as a mixture of won and lost: Larson & Dinse, Applied Statistics 34, 1985",
            "probability calibration: Platt, 1999; level after a shifted base rate: Saerens, Latinne & Decaestecker, Neural Computation 14, 2002",
            "amount intervals: Lei et al., Journal of the American Statistical Association 113, 2018",
        ],
    }


def _figures(
    training: Mapping[str, Any], proof: Mapping[str, Any] | None, replay: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Where the figures a reader should quote come from, and those of the model itself."""
    if proof and proof.get("win"):
        counts = proof["counts"]
        dates = len(replay["dates"]) if replay else counts["dates"]
        return {
            "basis": "replay",
            "note": f"Replay: at each of {dates} past dates from {counts['from']} to {counts['to']} the model was trained on what was known then, "
            f"and what it said is compared with what had come by {proof['end'][:10]}.",
            "win": proof["win"]["model"],
        }
    test = training["win"].get("test")
    if test:
        return {
            "basis": "last_window",
            "note": "No replay yet: figures of the untouched last window, judged once.",
            "win": test,
        }
    return {
        "basis": "none",
        "note": "No replay yet, and no window of later outcomes to judge by: there are no figures out of time.",
        "win": None,
    }


def _replay(training: Mapping[str, Any], replay: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if replay is None:
        return None
    families = sorted({str(date["champion"]["family"]) for date in replay["dates"] if date["champion"]})
    return {
        "from": replay["from"],
        "to": replay["dates"][-1]["as_of"],
        "end": replay["end"],
        "every_days": replay["every_days"],
        "families": families,
        "is_same_family": training["win"]["choice"] in families,
        "dates": [
            {
                "as_of": date["as_of"],
                "model_version": date["model_version"],
                "family": date["champion"]["family"] if date["champion"] else None,
                "is_search": bool(date.get("is_search")),
                "columns": len(date.get("columns_used") or ()),
            }
            for date in replay["dates"]
        ],
    }


def _features(win: Mapping[str, Any], stability: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Used columns, the most important first where importance is known."""
    kept = {row["column"]: row for row in stability}
    meanings = {feature.name: feature.meaning for feature in FEATURES}
    owners = owner_columns()
    rows = win.get("importance") or [
        {"column": name, "meaning": meanings.get(name, ""), "share": None, "is_about_owner": name in owners}
        for name in win.get("columns_used", ())
    ]
    return [
        {
            **row,
            "kept": kept.get(row["column"], {"kept": 0})["kept"] if stability else None,
            "dates": stability[0]["dates"] if stability else None,
        }
        for row in rows
    ]


def _owner_effects(win: Mapping[str, Any]) -> dict[str, Any]:
    rows = win.get("importance")
    return {
        "share": round(sum(row["share"] for row in rows if row["is_about_owner"]), 6) if rows else None,
        "columns": [row["column"] for row in rows if row["is_about_owner"]] if rows else [],
        "owner_free": win.get("owner_free"),
        "note": "Share of the mean absolute contribution to scores that comes from who owns the opportunity; the queue is meant to rest on a variant "
        "without these columns.",
    }


def limits(card: Mapping[str, Any]) -> list[str]:
    """What a reader must not overlook, in plain sentences, the gravest first."""
    said = (*_model_limits(card), *_proof_limits(card), *card.get("statements", ()))
    return list(dict.fromkeys(f"{sentence[0].upper()}{sentence[1:]}" for sentence in said if sentence))


def _model_limits(card: Mapping[str, Any]) -> Iterator[str]:
    win, replay, owners = card["win"], card["replay"], card["owner_effects"]
    if win["choice"] is None:
        yield f"No probability is given: {win['why']}."
    elif card["figures"]["basis"] != "replay":
        yield card["figures"]["note"]
    if replay and not replay["is_same_family"]:
        yield f"The replay used {', '.join(replay['families'])}; this model is {win['choice']}: its figures are those of the way of working, not of this model."
    if owners["share"] is not None and owners["share"] > OWNER_SHARE:
        yield f"{owners['share']:.0%} of what moves the scores is about the owner: do not compare owners by it."
    for row in card["meaning_drift"]:
        yield f"{row['column']}: its tie to the outcome changed between replay dates ({row['kind']})."


def _proof_limits(card: Mapping[str, Any]) -> Iterator[str]:
    proof = card["proof"]
    if not proof:
        return
    if not proof["win"]:
        yield "Of what was scored in the replay nothing has closed yet: there is nothing to compare with."
        return
    counts, model = proof["counts"], proof["win"]["model"]
    for name, figures in proof["win"].items():
        if name == "model":
            continue
        gain, other = figures["gain"], name.replace("_", " ")
        against = f"(log loss {gain['model_log_loss']:.4f} against {figures['log_loss']:.4f} on the same rows)"
        is_clear = gain["is_clear"]
        if gain["log_loss"] < 0 and is_clear:
            yield f"The {other} was clearly better than the model {against}."
        elif name != "challenger" and not is_clear:
            yield f"The model is not clearly better than the {other} {against}."
    error, floor = model.get("calibration_error"), model["calibration_error_if_right"]["high"]
    if error is not None and error > max(MAX_CALIBRATION_ERROR, floor) and model["rows"] >= CALIBRATION_ROWS:
        yield f"Probabilities are off by {error:.3f} on average (calibration error; {MAX_CALIBRATION_ERROR} is wanted, {floor:.3f} would be chance)."
    low, high = OBSERVED_EXPECTED
    if not low <= (model["observed_expected"] or 0.0) <= high:
        yield f"Wins seen were {_times(model['observed_expected'])} those expected ({_range(model)})."
    if counts["judged_opportunities"] < MIN_OPPORTUNITIES:
        yield f"The figures rest on few opportunities: {counts['judged_opportunities']}."
    if (counts["expected_share"] or 0.0) > MAX_EXPECTED_SHARE:
        yield f"{counts['expected_share']:.0%} of the judged rows are still open: their outcomes are expected, not seen."
    if counts["abstained"]:
        reasons = counts["abstain_reasons"]
        why = f" (mostly: {max(sorted(reasons), key=reasons.__getitem__)})" if reasons else ""
        yield f"{counts['abstained']:,} of {counts['rows']:,} rows got no probability{why}; they are in no figure."
    for kind in dict.fromkeys(row["segment"] for row in proof["segments"]):
        rows = [row for row in proof["segments"] if row["segment"] == kind]
        off = [f"{row['value']} {row['observed_expected']:.2f}" for row in rows if row["is_off"]]
        worse = [str(row["value"]) for row in rows if row["is_worse_than_base_rate"]]
        if off:
            yield f"Clearly off in {len(off)} of {len(rows)} segments by {kind.replace('_', ' ')}; wins seen over wins expected: {', '.join(off)}."
        if worse:
            yield f"Clearly worse than the base rate, by {kind.replace('_', ' ')}: {', '.join(worse)}."
    yield from _value_limits(proof)


def _value_limits(proof: Mapping[str, Any]) -> Iterator[str]:
    for part, what in (("amount", "amount"), ("close_date", "close date")):
        found = proof[part]
        interval = found["interval"] if found else None
        if interval and not interval["is_as_promised"]:
            yield f"The 80 % interval of the {what} covered {interval['covered_share']:.0%}."
        if found and found["crm"] and found["crm"]["verdict"] != "better":
            yield f"The predicted {what} is not better than the CRM's own ({found['crm']['verdict']})."
    slip = proof["slip"]
    if slip and not slip["log_loss"] < slip["constant_log_loss"]:
        yield "Slip probabilities tell opportunities apart no better than one constant would."


def _times(value: float | None) -> str:
    return f"{value:.2f} times" if value else "none of"


def _range(row: Mapping[str, Any]) -> str:
    if row["observed_expected_low"] is None:
        return "no interval"
    return f"80 % interval {row['observed_expected_low']:.2f}–{row['observed_expected_high']:.2f}"
