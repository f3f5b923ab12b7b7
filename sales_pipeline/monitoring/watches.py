"""What is watched: four things, each with the kinds of figures it rests on and what to do where it fails.

Belongs here: these declarations, with no heavy import, since they are known before anything runs. Does not belong here: judging (`verdicts`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Watch:
    """One thing that is watched: the verdict's name, the kinds of figures it rests on, what it says, and what to do where it fails."""

    name: str
    kinds: tuple[str, ...]
    meaning: str
    what_to_do: str


WATCHES: tuple[Watch, ...] = (
    Watch(
        "inputs_are_stable",
        ("input_drift",),
        "the columns the champion uses look as they did in its training and in the previous run",
        "see whether the CRM or its export changed (a field renamed, a stage added, an import); where the change is meant to last, train again",
    ),
    Watch(
        "scores_are_stable",
        ("score_drift",),
        "win probabilities are spread as in earlier runs, and news since the previous run cancels out",
        "look at the inputs that drifted first; after a new champion compare the two models before people act on the new level",
    ),
    Watch(
        "abstains_as_usual",
        ("abstention",),
        "the share of records without a probability has not risen",
        "read abstain_reason in scored_opportunities: it names what the records lack",
    ),
    Watch(
        "past_scores_hold",
        ("calibration", "coverage"),
        "past probabilities came true as often as they said, and past intervals held four times in five",
        "train again: the newest outcomes recalibrate the model; where it stays, roll back to the model before",
    ),
)
"""In the order they are shown."""
