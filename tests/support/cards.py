"""The card a training writes, for tests of the published card and of the report."""

from __future__ import annotations

from typing import Any

IMPORTANCE = [
    {"column": "days_in_stage", "meaning": "days in the stage", "share": 0.6, "is_about_owner": False},
    {"column": "owner_win_rate", "meaning": "share the owner won", "share": 0.4, "is_about_owner": True},
]


def training_card(**win: Any) -> dict[str, Any]:
    candidate = {"name": "logistic_regression", "setting": "C=0.1", "note": "", "is_chosen": True}
    return {
        "trained_through": "2026-07-01T00:00:00Z",
        "data_digest": "d",
        "feature_contract": "f",
        "absent_features": {"product": "no product"},
        "ledger": {
            "used": ["stage"],
            "left_out": [{"column": "Lost_Reason__c", "verdict": "leak", "reason": "filled only at close"}],
        },
        "data": {
            "training_rows": 900,
            "training_opportunities": 300,
            "landmark_rows": 1200,
            "opportunities": 400,
            "won_opportunities": 100,
            "lost_opportunities": 200,
        },
        "splits": {
            "maturity_rule": "matured landmarks only",
            "windows": [{"name": "test", "from": None, "to": None, "rows": 0}],
        },
        "timing": "time to close by stage",
        "amount": {
            "choice": "crm_amount",
            "why": "simplest",
            "target": "log",
            "interval": "conformal",
            "candidates": [],
        },
        "statements": ["landmarks are weighted"],
        "win": {
            "choice": "logistic_regression",
            "setting": "C=0.1",
            "why": "lowest loss",
            "evidence_level": "full_model",
            "has_skill": True,
            "columns_used": ["days_in_stage", "owner_win_rate"],
            "candidates": [candidate | {"validation": {"log_loss": 0.5}, "test": {"log_loss": 0.51, "auc": 0.7}}],
            "test": {"log_loss": 0.51, "auc": 0.7, "calibration_table": [{"predicted": 0.2, "won": 0.25, "rows": 40}]},
            "importance": IMPORTANCE,
        }
        | win,
    }
