"""An explanation as text for people, in English and Simplified Chinese.

Belongs here: headings, order, layout. Does not belong here: the explanation itself (`explaining`), the reasons' own texts (`sales_pipeline.models.wording`).
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from dagster_project.explaining import Explanation

WORDS: dict[str, dict[str, str]] = {
    "en": {
        "title": "{id}, as of {as_of}",
        "made": "run {run}, model {model}: {family}",
        "no_family": "none",
        "score": "win probability {p} (80 % of like cases: {low} to {high}), score {score}, grade {grade}, trend: {trend}",
        "abstained": "no win probability: {reason}",
        "evidence": "rests on: {level}",
        "horizons": "won within 30 days: {p30}; within 90 days: {p90}",
        "close": "likely to close {on} ({low} to {high}); the CRM says {crm}; open past that date: {slip}",
        "amount": "amount if won: {amount} {currency} ({low} to {high}); the CRM says {crm}",
        "why": "Why {p}, in log-odds (above 0 speaks for it)",
        "base": "where every score of this model starts ({p})",
        "together": "together ({p})",
        "no_reasons": "there is nothing to take apart without a probability",
        "rules_only": "documented rules gave it; nothing was learnt yet that could be taken apart",
        "changed": "Why it changed since {as_of} ({before} to {after}), in log-odds",
        "change": "Change since the run before",
        "total": "in all",
        "time": "time passed, nothing else",
        "data": "new data",
        "model": "new model",
        "recalibration": "its calibration",
        "details": "of these, the largest:",
        "first_run": "this is the first run",
        "not_scored_before": "the run before did not hold it: new, or not open then",
        "no_probability": "one of the two runs gave no probability",
        "features_unknown": "the features of the run before are not kept, so the change is not taken apart",
        "model_unreadable": "the model of the run before cannot be read any more, so the change is not taken apart",
        "kinds_differ": "a field changed between number and category, so the change is not taken apart",
        "another_version": "the run before was made by another version of the code, so the change is not taken apart",
        "family_changed": "the family changed too: the new model's part holds its calibration",
        "history": "What happened (days in UTC)",
        "no_history": "no changes recorded",
        "move": "{on}  {field}: {before} to {after}",
        "first": "{on}  {field}: {after}",
        "empty": "empty",
        "activities": "activities: {count}",
        "no_activities": "activities: none recorded",
        "activity": "{kind}: {count}, {first} to {last}",
        "planned": "planned: {kind}, due {on}",
        "nothing_planned": "planned: nothing",
        "colon": ": ",
    },
    "zh": {
        "title": "{id}，截至 {as_of}",
        "made": "运行 {run}，模型 {model}：{family}",
        "no_family": "无",
        "score": "赢单概率 {p}（同类商机的 80% 区间：{low} 至 {high}），得分 {score}，等级 {grade}，趋势：{trend}",
        "abstained": "没有赢单概率：{reason}",
        "evidence": "依据：{level}",
        "horizons": "30 天内赢单：{p30}；90 天内赢单：{p90}",
        "close": "预计关闭于 {on}（{low} 至 {high}）；CRM 中为 {crm}；逾期仍未关闭的概率：{slip}",
        "amount": "若赢单的金额：{amount} {currency}（{low} 至 {high}）；CRM 中为 {crm}",
        "why": "为什么是 {p}（对数几率，大于 0 表示有利）",
        "base": "该模型所有得分的起点（{p}）",
        "together": "合计（{p}）",
        "no_reasons": "没有概率，无从分解",
        "rules_only": "由既定规则给出；尚无可分解的学习结果",
        "changed": "自 {as_of} 以来为何变化（{before} 变为 {after}，对数几率）",
        "change": "与上次运行相比的变化",
        "total": "总变化",
        "time": "仅因时间流逝",
        "data": "新的数据",
        "model": "新的模型",
        "recalibration": "模型的重新校准",
        "details": "其中影响最大的：",
        "first_run": "这是第一次运行",
        "not_scored_before": "上次运行中没有该商机：新建，或当时未打开",
        "no_probability": "两次运行中有一次没有给出概率",
        "features_unknown": "上次运行所用的特征没有保留，无法分解变化",
        "model_unreadable": "上次运行的模型已无法读取，无法分解变化",
        "kinds_differ": "有字段在数值与类别之间改变，无法分解变化",
        "another_version": "上次运行由其他版本的代码完成，无法分解变化",
        "family_changed": "模型类型也已改变：新模型部分包含了校准",
        "history": "经过（日期为 UTC）",
        "no_history": "没有变更记录",
        "move": "{on}  {field}：{before} 改为 {after}",
        "first": "{on}  {field}：{after}",
        "empty": "空",
        "activities": "活动：{count} 次",
        "no_activities": "活动：没有记录",
        "activity": "{kind}：{count} 次，{first} 至 {last}",
        "planned": "计划：{kind}，到期 {on}",
        "nothing_planned": "计划：无",
        "colon": "：",
    },
}
NAMES: dict[str, dict[str, str]] = {
    "en": {
        "rules": "rules",
        "rates": "shrunken rates",
        "small_model": "a small model",
        "full_model": "the full model",
        "stage": "stage",
        "crm_close_date": "close date",
        "crm_probability": "CRM probability",
        "owner_id": "owner",
        "inbound": "from the customer",
        "outbound": "to the customer",
    },
    "zh": {
        "improving": "上升",
        "steady": "平稳",
        "declining": "下降",
        "new": "新",
        "rules": "规则",
        "rates": "收缩后的比率",
        "small_model": "小模型",
        "full_model": "完整模型",
        "stage": "阶段",
        "amount": "金额",
        "crm_close_date": "预计成交日",
        "crm_probability": "CRM 概率",
        "owner_id": "负责人",
        "call": "通话",
        "email": "邮件",
        "meeting": "会议",
        "task": "任务",
        "note": "备注",
        "other": "其他",
        "inbound": "客户发起",
        "outbound": "我方发起",
    },
}
MOST_DETAILS = 6
PARTS = ("time", "data", "model", "recalibration")


def to_lines(explanation: Explanation) -> list[str]:
    """The explanation, a line each."""
    return list(_Text(explanation.language).lines(explanation))


class _Text:
    """Lines in one language."""

    def __init__(self, language: str) -> None:
        self.words, self.names = WORDS[language], NAMES[language]

    def say(self, key: str, **values: Any) -> str:
        return self.words[key].format(**{name: self.shown(value) for name, value in values.items()})

    def shown(self, value: Any) -> str:
        return self.words["empty"] if value is None else str(value)

    def name(self, value: Any) -> str:
        return self.names.get(str(value), self.shown(value))

    def lines(self, told: Explanation) -> Iterator[str]:
        row = told.row
        yield self.say("title", id=told.opportunity_id, as_of=told.as_of)
        model = f"{row['model_name']} {row['model_version']}"
        yield "  " + self.say("made", run=told.run_id, model=model, family=told.family or self.words["no_family"])
        yield from (f"  {line}" for line in self._score(row))
        yield ""
        yield self.say("why", p=_share(row["win_probability"]))
        yield from self._reasons(told)
        yield ""
        yield from self._change(told)
        yield ""
        yield self.say("history")
        yield from (f"  {line}" for line in self._history(told.history))

    def _score(self, row: Mapping[str, Any]) -> Iterator[str]:
        if row["win_probability"] is None:
            yield self.say("abstained", reason=row["abstain_reason"])
        else:
            low, high = (_share(row[f"win_probability_{end}"]) for end in ("low", "high"))
            yield self.say(
                "score",
                p=_share(row["win_probability"]),
                low=low,
                high=high,
                score=row["score"],
                grade=row["grade"],
                trend=self.name(row["trend"]),
            )
        yield self.say("evidence", level=self.name(row["evidence_level"]))
        if row["win_probability_30d"] is not None:
            yield self.say("horizons", p30=_share(row["win_probability_30d"]), p90=_share(row["win_probability_90d"]))
        if row["predicted_close_date"] is not None:
            yield self.say(
                "close",
                on=row["predicted_close_date"],
                low=row["predicted_close_date_low"],
                high=row["predicted_close_date_high"],
                crm=row["crm_close_date"],
                slip=_share(row["slip_probability"]),
            )
        if row["expected_amount"] is not None:
            low, high = (_number(row[f"expected_amount_{end}"]) for end in ("low", "high"))
            yield self.say(
                "amount",
                amount=_number(row["expected_amount"]),
                currency=row["currency"],
                low=low,
                high=high,
                crm=_number(row["amount"]),
            )

    def _reasons(self, told: Explanation) -> Iterator[str]:
        if told.base is None:
            yield "  " + self.words["no_reasons" if told.row["win_probability"] is None else "rules_only"]
            return
        total = told.base + sum(reason["weight"] for reason in told.reasons)
        yield f"  {told.base:+7.2f}  {self.say('base', p=_share(_expit(told.base)))}"
        for reason in told.reasons:
            yield f"  {reason['weight']:+7.2f}  {self._labelled(reason)}"
        yield f"  {total:+7.2f}  {self.say('together', p=_share(_expit(total)))}"
        if told.note:
            yield "  " + told.note

    def _change(self, told: Explanation) -> Iterator[str]:
        if told.previous is None or told.change is None:
            yield self.words["change"]
        else:
            yield self.say(
                "changed",
                as_of=told.previous["as_of"],
                before=_share(told.previous["win_probability"]),
                after=_share(told.row["win_probability"]),
            )
        for part in ("total", *PARTS):
            if told.change is not None and part in told.change:
                yield f"  {told.change[part]:+7.2f}  {self.words[part]}"
        if told.change_note:
            yield "  " + self.words[told.change_note]
        details = told.change.get("details", []) if told.change is not None else []
        if details:
            yield "  " + self.words["details"]
        for detail in details[:MOST_DETAILS]:
            part = self.words[detail["part"]]
            yield f"    {detail['weight']:+7.2f}  {self._labelled(detail)} [{part}]"

    def _labelled(self, reason: Mapping[str, Any]) -> str:
        """The term and the text; the text alone where it begins with the term."""
        label, text = reason["label"], reason["text"]
        return str(text) if text.startswith(label) else f"{label}{self.words['colon']}{text}"

    def _history(self, history: Mapping[str, Any]) -> Iterator[str]:
        if not history["changes"]:
            yield self.words["no_history"]
        for move in history["changes"]:
            key = "first" if move["before"] is None else "move"
            yield self.say(
                key,
                on=move["on"],
                field=self.name(move["field"]),
                before=_value(move["field"], move["before"]),
                after=_value(move["field"], move["after"]),
            )
        if "activities" not in history:
            return
        done = history["activities"]
        count = sum(row["count"] for row in done)
        yield self.say("activities", count=count) if count else self.words["no_activities"]
        for row in done:
            direction = f" ({self.name(row['direction'])})" if row["direction"] else ""
            kind = self.name(row["kind"]) + direction
            yield "  " + self.say("activity", kind=kind, count=row["count"], first=row["first_on"], last=row["last_on"])
        for row in history["planned"]:
            yield self.say("planned", kind=self.name(row["kind"]), on=row["due_on"])
        if not history["planned"]:
            yield self.words["nothing_planned"]


def _expit(log_odds: float) -> float:
    return 1.0 / (1.0 + math.exp(-log_odds))


def _share(value: float | None) -> str | None:
    """A probability in percent, with a place where it is near 0 or 1."""
    if value is None:
        return None
    return f"{100 * value:.1f} %" if min(value, 1 - value) < 0.1 else f"{100 * value:.0f} %"


def _number(value: Any) -> str | None:
    return None if value is None else f"{value:,.0f}"


def _value(name: str, value: Any) -> str | None:
    """A tracked field's value: amounts and shares for people, the rest as it is."""
    if value is None or name not in ("amount", "crm_probability"):
        return None if value is None else str(value)
    return _number(float(value)) if name == "amount" else _share(float(value))
