"""Every text in both languages, with the same placeholders; values for people."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

import sales_pipeline.models.predict as predict
from sales_pipeline.features.catalogue import FEATURES
from sales_pipeline.features.terms import LANGUAGES, NOT_SHOWN, TERMS, Language
from sales_pipeline.features.wording_zh import ZH
from sales_pipeline.models.card import reason_to_abstain
from sales_pipeline.models.wording import CATALOGUE, PHRASES, RATE_TEXTS, Wording
from sales_pipeline.scoring.params import ScoringParams
from tests.support.explained import NUMBERS, bundle, column, fit_model, make_matrix

CHINESE = re.compile("[\u4e00-\u9fff]")
CHINESE_WORDING = Wording("zh")
MATRIX, WON = make_matrix()


def placeholders(text: str) -> list[str]:
    return sorted(re.findall(r"\{\w*\}", text))


def test_every_feature_is_translated_with_the_same_placeholders() -> None:
    assert set(ZH) == set(CATALOGUE)
    for feature in FEATURES:
        texts = ZH[feature.name]
        pairs = (
            (feature.up_text, texts.up),
            (feature.down_text, texts.down),
            (feature.missing_text, texts.missing),
            (feature.negative_text, texts.negative),
        )
        for english, chinese in pairs:
            assert bool(english) == bool(chinese), (feature.name, english, chinese)
            assert placeholders(english) == placeholders(chinese), (english, chinese)
            assert not chinese or CHINESE.search(chinese), chinese
            assert not chinese or chinese[0].isalpha() or chinese[0].isdigit(), chinese


def test_a_text_that_differs_by_direction_does_so_in_both_languages() -> None:
    for feature in FEATURES:
        assert (feature.up_text == feature.down_text) == (ZH[feature.name].up == ZH[feature.name].down), feature.name
        assert bool(feature.down_if) == (feature.up_text != feature.down_text), feature.name


def test_phrases_rates_and_terms_are_there_in_every_language() -> None:
    for texts in (PHRASES, RATE_TEXTS):
        assert set(texts) == set(LANGUAGES)
    assert set(PHRASES["en"]) == set(PHRASES["zh"])
    for name, text in PHRASES["en"].items():
        assert placeholders(text) == placeholders(PHRASES["zh"][name])
    assert set(RATE_TEXTS["en"]) == set(RATE_TEXTS["zh"])
    for name, pair in RATE_TEXTS["en"].items():
        assert [placeholders(text) for text in pair] == [placeholders(text) for text in RATE_TEXTS["zh"][name]]
    for names in TERMS.values():
        assert set(names) == set(LANGUAGES)


def test_every_feature_belongs_to_a_term_with_a_name() -> None:
    assert {feature.term for feature in FEATURES} | {NOT_SHOWN} == set(TERMS)


@pytest.mark.parametrize(
    ("name", "value", "weight", "english", "chinese"),
    [
        ("days_to_crm_close_date", -11.0, -1.0, "close date passed 11 days ago", "预计成交日已过 11 天"),
        ("days_to_crm_close_date", 11.0, 1.0, "close date in 11 days", "距预计成交日还有 11 天"),
        ("is_past_crm_close_date", 1.0, -1.0, "close date passed: yes", "预计成交日是否已过：是"),
        ("owner_win_rate", 0.314, 1.0, "owner's win rate: 31 %", "负责人的赢单率：31%"),
        ("amount", 12345.6, 1.0, "amount: 12,346", "金额：12,346"),
        ("amount", float("nan"), 1.0, "no amount", "没有金额"),
        ("account_employees_log", 4.61512, 1.0, "employees: 100", "客户员工人数：100"),
        ("stage", None, -1.0, "no stage", "没有阶段"),
        ("days_since_last_inbound", 30.0, -1.0, "no reply from the customer for 30 days", "客户已有 30 天没有回应"),
    ],
)
def test_values_are_worded(name: str, value: float | None, weight: float, english: str, chinese: str) -> None:
    for wording, text in ((Wording(), english), (CHINESE_WORDING, chinese)):
        assert wording.sentence(column(name), value, weight) == text


def test_attributes_are_worded_by_their_label() -> None:
    attribute = column("attribute:Renewal__c", "number", "Renewal", is_date=True)
    assert CHINESE_WORDING.sentence(attribute, -3.0, 1.0) == "Renewal：3 天后"
    assert Wording().sentence(attribute, None, 1.0) == "Renewal: not recorded"
    category = column("attribute:Segment__c", "category", "Segment")
    assert CHINESE_WORDING.sentence(category, "Tiny", 1.0, known=frozenset({"Small"})) == "Segment：其他取值"
    assert CHINESE_WORDING.sentence(category, "Small", 1.0, known=frozenset({"Small"})) == "Segment：Small"


def abstained(**values: Any) -> str:
    """What a prediction says of a row that differs from all the model has learnt from by those values."""
    matrix, won = MATRIX, WON
    model = bundle(replace(fit_model("logistic_regression", matrix, won), needs_created_at=True))
    model.card["data"]["stages"] = ["Prospecting", "Proposal", "Negotiation"]
    row = matrix.take(np.array([0]))
    for name, value in values.items():
        (row.keys if name in row.keys else row.frame)[name] = np.array([value], dtype=object)
    if "far" in values:
        row.frame[list(NUMBERS[:-1])] = 1e9
    reasons = predict.reasons_to_abstain(model, row)
    reason = reasons.names[int(reasons.number[0])]
    assert reason is not None
    return reason


class TestAbstentions:
    def test_every_sentence_there_is_has_a_translation(self) -> None:
        facts = [{"won_opportunities": w, "lost_opportunities": n} for w, n in ((0, 0), (3, 0), (0, 3))]
        said = [text for fact in facts if (text := reason_to_abstain(fact)) is not None]
        said += [abstained(kind="lead"), abstained(created_us=np.nan), abstained(stage="In Review"), abstained(far=1)]
        assert len(set(said)) >= 6
        for reason in said:
            told = CHINESE_WORDING.abstention(reason)
            assert told is not None
            assert CHINESE.search(told), reason
            assert "{" not in told
        assert "In Review" in str(CHINESE_WORDING.abstention(abstained(stage="In Review")))
        assert "线索" in str(CHINESE_WORDING.abstention(abstained(kind="lead")))

    @pytest.mark.parametrize("language", LANGUAGES)
    def test_a_sensitive_stage_is_not_quoted(self, language: Language) -> None:
        told = Wording.of(language, ("stage",)).abstention(abstained(stage="In Review"))
        assert told is not None
        assert "In Review" not in told
        assert "stage" not in told
        assert "阶段" not in told

    def test_english_and_the_unknown_stay(self) -> None:
        assert Wording().abstention(predict.NO_CREATION) == predict.NO_CREATION
        assert CHINESE_WORDING.abstention("something new") == "something new"
        assert CHINESE_WORDING.abstention(None) is None


class TestParameters:
    def test_sensitive_fields_must_exist(self) -> None:
        params = ScoringParams(
            language="zh", sensitive=("account_country", "attribute:Health__c", "owner_id", "engagement")
        )
        assert Wording.of(params.language, params.sensitive).hides("attribute:Health__c")
        with pytest.raises(ValidationError, match="did you mean account_country"):
            ScoringParams(sensitive=("acount_country",))

    def test_other_languages_are_refused(self) -> None:
        with pytest.raises(ValidationError, match="'en' or 'zh'"):
            ScoringParams.model_validate({"language": "de"})
