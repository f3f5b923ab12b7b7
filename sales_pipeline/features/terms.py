"""The business terms reasons speak in: features that say one thing in several ways are added up to one term.

Belongs here: the terms and their names in every language. Does not belong here: which feature belongs to which term (`Feature.term`).
"""

from __future__ import annotations

from typing import Literal, get_args

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = get_args(Language)

NOT_SHOWN = "not_shown"
"""The term of all fields the configuration marks sensitive; never a feature's own."""

TERMS: dict[str, dict[Language, str]] = {
    "stage": {"en": "stage", "zh": "销售阶段"},
    "progress": {"en": "progress through the stages", "zh": "阶段推进"},
    "time_open": {"en": "time open", "zh": "存续时间"},
    "close_date": {"en": "close date", "zh": "预计成交日"},
    "amount": {"en": "amount", "zh": "金额"},
    "crm_probability": {"en": "the CRM's own probability", "zh": "CRM 自带的赢单概率"},
    "engagement": {"en": "contact with the customer", "zh": "与客户的互动"},
    "planned": {"en": "next steps", "zh": "下一步计划"},
    "owner_record": {"en": "owner", "zh": "负责人"},
    "account_record": {"en": "history with the account", "zh": "与该客户的往来记录"},
    "product": {"en": "product", "zh": "产品"},
    "season": {"en": "time of the year", "zh": "时间节点"},
    "account_facts": {"en": "kind of account", "zh": "客户情况"},
    "static": {"en": "kind and origin", "zh": "商机类型与来源"},
    NOT_SHOWN: {"en": "fields not shown here", "zh": "此处不显示的字段"},
}
"""Name by language, by term. Codes are stable: published reasons carry them."""
