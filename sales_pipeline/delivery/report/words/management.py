"""Texts about the forecast, the team and the accounts: English, Chinese."""

from __future__ import annotations

MANAGEMENT: dict[str, tuple[str, str]] = {
    "forecast.title": ("Forecast", "收入预测"),
    "forecast.lead": ("What will be won, by month and quarter.", "按月和季度预计的赢单收入。"),
    "forecast.missing": ("This run holds no forecast.", "本次运行没有收入预测。"),
    "team.title": ("Team", "团队"),
    "team.lead": ("How each team and owner stands.", "各团队和负责人的情况。"),
    "team.missing": ("This run holds no team table.", "本次运行没有团队表。"),
    "accounts.title": ("Accounts", "客户"),
    "accounts.lead": ("Which customers need attention.", "需要关注的客户。"),
    "accounts.missing": ("This run holds no account table.", "本次运行没有客户表。"),
}
