"""How reasons are worded: in which language, and which fields are never spoken of.

Belongs here: one field's value as a sentence, terms by name, and the sentences for records without a probability. Does not belong here: the texts of
single features (`features.catalogue`, `features.wording_zh`), and which fields a reason is about (`reasons`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sales_pipeline.features.catalogue import FEATURES
from sales_pipeline.features.feature import Feature
from sales_pipeline.features.terms import NOT_SHOWN, TERMS, Language
from sales_pipeline.features.wording_zh import ZH
from sales_pipeline.models.matrix import ATTRIBUTE_PREFIX, SourceColumn

CATALOGUE: dict[str, Feature] = {feature.name: feature for feature in FEATURES}

RATED = {"stage": "stage", "owner_id": "owner_record", "product_id": "product"}
"""The keys rates are formed of, and the term each belongs to."""
SAME_FIELD = {"product_id": "product"}
"""Keys that hold what a feature of another name holds."""

RATE_TEXTS: dict[Language, dict[str, tuple[str, str]]] = {
    "en": {
        "stage": ("stage {value}: won more often than average", "stage {value}: won less often than average"),
        "owner_id": ("this owner wins more often than average", "this owner wins less often than average"),
        "product_id": ("this product is won more often than average", "this product is won less often than average"),
    },
    "zh": {
        "stage": ("处于阶段 {value} 的商机赢单率高于平均", "处于阶段 {value} 的商机赢单率低于平均"),
        "owner_id": ("该负责人的赢单率高于平均", "该负责人的赢单率低于平均"),
        "product_id": ("该产品的赢单率高于平均", "该产品的赢单率低于平均"),
    },
}

PHRASES: dict[Language, dict[str, str]] = {
    "en": {
        "other": "another value",
        "yes": "yes",
        "no": "no",
        "not_recorded": "{label}: not recorded",
        "stated": "{label}: {value}",
        "ago": "{value} days ago",
        "ahead": "{value} days ahead",
        "share": "{value} %",
        "not_shown": "fields not shown here speak {direction} it",
        "not_met": "a value of a field not shown here was not met before: nothing to learn from",
        "for": "for",
        "against": "against",
        "before": "{text} (before: {value})",
        "unchanged": "{text} (unchanged, but weighs differently with the rest)",
        "none": "none",
    },
    "zh": {
        "other": "其他取值",
        "yes": "是",
        "no": "否",
        "not_recorded": "{label}：未记录",
        "stated": "{label}：{value}",
        "ago": "{value} 天前",
        "ahead": "{value} 天后",
        "share": "{value}%",
        "not_shown": "此处不显示的字段对赢单{direction}",
        "not_met": "此处不显示的某个字段的取值以前没有出现过，无从学习",
        "for": "有利",
        "against": "不利",
        "before": "{text}（此前：{value}）",
        "unchanged": "{text}（取值未变，但与其他因素合起来的影响变了）",
        "none": "无",
    },
}

ABSTENTIONS: tuple[tuple[str, str], ...] = (
    ("no {kind} is known to have closed: nothing to learn from", "没有任何已关闭的{kind}，无从学习"),
    (
        "no creation date: unlike every opportunity the model has learnt from",
        "没有创建日期，与模型学习过的所有商机都不同",
    ),
    (
        "no closed opportunity is known: there is nothing to learn a probability from",
        "没有任何已关闭的商机，无从估计赢单概率",
    ),
    (
        "stage {stage} was not met before: nothing to learn from",
        "阶段 {stage} 以前没有出现过，无从学习",
    ),
    (
        "its figures lie far outside those of every opportunity the model has learnt from",
        "其数值远超出模型学习过的所有商机的范围",
    ),
    (
        "all {count} closed opportunities were {kind}: a probability needs both outcomes",
        "全部 {count} 个已关闭的商机都是{kind}，估计概率需要赢单和输单两种结果",
    ),
)
"""Why a record has no probability: the sentence as models and predictions give it, and in Chinese. `{…}` stands for a word or a number."""
ABSTENTION_WORDS = {"opportunity": "商机", "lead": "线索", "won": "赢单", "lost": "输单"}


@dataclass(frozen=True)
class Wording:
    """The language reasons are told in, and the fields they never quote, neither value nor name (`ScoringParams.sensitive`)."""

    language: Language = "en"
    sensitive: frozenset[str] = frozenset()

    @classmethod
    def of(cls, language: Language, sensitive: Iterable[str]) -> Wording:
        """The wording of those settings."""
        return cls(language, frozenset(sensitive))

    def hides(self, name: str) -> bool:
        """Whether the field is never spoken of: it is named itself, or the tracked field it rests on, or its business term."""
        feature = CATALOGUE.get(name)
        also = (feature.state_field, feature.term) if feature else (SAME_FIELD.get(name), RATED.get(name))
        return not self.sensitive.isdisjoint((name, *also))

    def phrase(self, name: str, **values: str) -> str:
        """A phrase of this language with its values."""
        text = PHRASES[self.language][name]
        for key, value in values.items():
            text = text.replace(f"{{{key}}}", value)
        return text

    def term(self, column: SourceColumn, *, is_rate: bool = False) -> str:
        """The code of the business term a column belongs to; attributes are terms of their own."""
        if self.hides(column.name):
            return NOT_SHOWN
        if is_rate:
            return RATED.get(column.name, column.name)
        return CATALOGUE[column.name].term if column.name in CATALOGUE else column.name

    def term_label(self, code: str, column: SourceColumn) -> str:
        """A term by name; an attribute by its own."""
        return TERMS[code][self.language] if code in TERMS else column.label

    def hidden(self, weight: float) -> str:
        """The sentence that takes the place of those about sensitive fields."""
        return self.phrase("not_shown", direction=self.phrase("for" if weight > 0 else "against"))

    def value(self, value: Any, column: SourceColumn, known: frozenset[str] | None = None) -> str | None:
        """A value for people; None where it is missing. Values a model does not tell apart are not quoted (`known` are those it does)."""
        if is_missing(value):
            return None
        if column.kind == "category" and known is not None and str(value) not in known:
            return self.phrase("other")
        return self._formatted(value, column)

    def _formatted(self, value: Any, column: SourceColumn) -> str:
        """Days and counts whole, shares in percent, amounts with separators, no more digits than help."""
        if column.kind == "category":
            return str(value)
        number = float(value)
        if column.kind == "boolean":
            return self.phrase("yes" if number > 0.5 else "no")
        if column.is_date:
            return self.phrase("ago" if number >= 0 else "ahead", value=f"{abs(number):,.0f}")
        if column.unit.startswith("ln(1+"):
            return f"{np.expm1(number):,.0f}"
        if column.unit == "0–1":
            return self.phrase("share", value=f"{100 * number:.0f}")
        if abs(number) >= 100 or number.is_integer() or column.unit in ("days", "currency"):
            return f"{number:,.0f}"
        return f"{number:,.2f}".rstrip("0").rstrip(".")

    def sentence(
        self,
        column: SourceColumn,
        value: Any,
        weight: float,
        *,
        known: frozenset[str] | None = None,
        usual: float | None = None,
        is_rate: bool = False,
    ) -> str:
        """A field's value as a reason for (weight above 0) or against.

        `usual` is the training rows' median: a text that is only true of few or of many ("only 2 calls") is used on that side of it.
        """
        if self.hides(column.name):
            return self.hidden(weight)
        up, down, missing, negative = self._texts(column, is_rate=is_rate)
        shown = self.value(value, column, known)
        if shown is None:
            return missing or self.phrase("not_recorded", label=column.label)
        side = CATALOGUE[column.name].down_if if column.name in CATALOGUE else ""
        text = up if weight > 0 or not _is_true_of(side, value, usual) else down
        if negative and shown.startswith("-"):
            text, shown = negative, shown[1:]
        return text.replace("{value}", shown) if text else self.phrase("stated", label=column.label, value=shown)

    def _texts(self, column: SourceColumn, *, is_rate: bool) -> tuple[str, str, str, str]:
        """up, down, missing, negative; empty where there is none."""
        if is_rate:
            return (*RATE_TEXTS[self.language].get(column.name, ("", "")), "", "")
        if column.name.startswith(ATTRIBUTE_PREFIX):
            return "", "", "", ""
        if self.language == "zh" and column.name in ZH:
            texts = ZH[column.name]
            return texts.up, texts.down, texts.missing, texts.negative
        feature = CATALOGUE.get(column.name)
        if feature is not None:
            return feature.up_text, feature.down_text, feature.missing_text, feature.negative_text
        return column.up_text, column.down_text, column.missing_text, column.negative_text

    def abstention(self, reason: str | None) -> str | None:
        """Why there is no probability, in this language, without the value of a sensitive field; a sentence nobody translated stays as it is."""
        if reason is None:
            return None
        for english, chinese in ABSTENTIONS:
            found = re.fullmatch(re.sub(r"\\{(\w+)\\}", r"(?P<\1>.+)", re.escape(english)), reason)
            if found and any(self.hides(name) for name in found.groupdict()):
                return self.phrase("not_met")
            if found and self.language == "zh":
                words = {name: ABSTENTION_WORDS.get(word, word) for name, word in found.groupdict().items()}
                return chinese.format(**words)
        return reason


ENGLISH = Wording()


def is_missing(value: Any) -> bool:
    """None, NA, NaN or infinite."""
    return value is None or value is pd.NA or (isinstance(value, float) and not np.isfinite(value))


def _is_true_of(side: str, value: Any, usual: float | None) -> bool:
    if not side or usual is None:
        return True
    return bool(float(value) < usual) if side == "low" else bool(float(value) > usual)
