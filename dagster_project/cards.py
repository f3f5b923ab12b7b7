"""Model cards: which replay speaks for a model, and the card as the two documents of a run.

Belongs here: finding the parts in the lake. Does not belong here: what a card says (models.model_card), how it looks (delivery.card_page).
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sales_pipeline.lake.layout import Lake

if TYPE_CHECKING:
    from sales_pipeline.models.params import TrainingParams

MODEL_CARD = "model_card.json"
MODEL_CARD_PAGE = "model_card.html"
REPLAYS = "replays"
PROOFS = "proofs"
REPLAY_FACTS = "facts.json"
REPLAY_ROWS = "replay.parquet"


@dataclass(frozen=True)
class StoredReplay:
    """A replay in the lake: its key, its folder and its facts."""

    key: str
    path: Path
    facts: dict[str, Any]

    @property
    def end(self) -> datetime:
        """The instant through which its outcomes are known."""
        return datetime.fromisoformat(self.facts["end"])


def stored_replay(lake: Lake, key: str) -> StoredReplay | None:
    """The replay of that key; None when it is not there."""
    path = lake.step_path(REPLAYS, key)
    if not (path / REPLAY_FACTS).is_file():
        return None
    return StoredReplay(key, path, json.loads((path / REPLAY_FACTS).read_text(encoding="utf-8")))


def newest_replay(lake: Lake, as_of: datetime) -> StoredReplay | None:
    """The replay whose outcomes are known through the latest instant not after `as_of`; of several the longest, then the last by key.

    A card of a past day so never shows what came after that day.
    """
    folder = lake.root / REPLAYS
    found = [stored_replay(lake, path.name) for path in sorted(folder.iterdir())] if folder.is_dir() else []
    known = [replay for replay in found if replay is not None and replay.end <= as_of]
    return max(known, key=lambda replay: (replay.end, len(replay.facts["dates"]), replay.key), default=None)


def replay_proof(lake: Lake, replay: StoredReplay, params: "TrainingParams") -> dict[str, Any]:
    """What the replay's rows prove; computed once per replay and way of computing it."""
    from sales_pipeline.domain.identifiers import digest_of
    from sales_pipeline.lake.tables import read_table
    from sales_pipeline.models.proof import SCHEMA_VERSION, proof

    def build(_: Path) -> dict[str, Any]:
        rows = read_table(replay.path / REPLAY_ROWS)
        return proof(rows, rounds=params.bootstrap_rounds, seed=params.seed, end=replay.end)

    key = digest_of("proof", replay.key, SCHEMA_VERSION, params.bootstrap_rounds, params.seed)
    return lake.step(PROOFS, key, build)[1]


def card_of(
    lake: Lake, name: str, version: str, replay: StoredReplay | None, params: "TrainingParams"
) -> dict[str, Any]:
    """The card of a model in the lake, with the figures of a replay where one is given."""
    from sales_pipeline.models.bundle import read_bundle
    from sales_pipeline.models.model_card import model_card

    return model_card(
        read_bundle(lake.models / version).card,
        name=name,
        version=version,
        proof=replay_proof(lake, replay, params) if replay else None,
        replay=replay.facts if replay else None,
        drift=replay.facts.get("meaning_drift", ()) if replay else (),
    )


def card_documents(card: dict[str, Any]) -> dict[str, bytes]:
    """The card as JSON and as a page; the same card gives the same bytes."""
    from sales_pipeline.delivery.card_page import card_page

    text = json.dumps(card, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    return {MODEL_CARD: text.encode(), MODEL_CARD_PAGE: card_page(card).encode()}


def write_card(
    lake: Lake, params: "TrainingParams", folder: Path | None, *, progress: Callable[[str], None]
) -> dict[str, Any]:
    """The card of the current run's model with the newest replay; written into `folder` where one is given.

    Unlike the card published with a run, which stays as it was, it takes every replay made since into account.
    Raises ConfigurationError when nothing is published yet.
    """
    from sales_pipeline.lake.runs import require_current_run

    current = require_current_run(lake)
    replay = newest_replay(lake, datetime.fromisoformat(current.as_of))
    progress(
        f"replay {replay.key}: {len(replay.facts['dates'])} dates, outcomes through {replay.facts['end'][:10]}"
        if replay
        else "no replay by that day: figures of the untouched last window (make one with `sales-pipeline replay`)"
    )
    model = current.manifest["model"]
    card = card_of(lake, model["name"], model["version"], replay, params)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in card_documents(card).items():
            (folder / name).write_bytes(content)
            progress(f"written: {folder / name}")
    return card
