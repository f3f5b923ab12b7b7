"""The sentences of the account table, in English and in Simplified Chinese: ids and numbers only.

Belongs here: texts. Does not belong here: when each is said (`care`).
"""

from __future__ import annotations

from sales_pipeline.features.terms import Language

CARE_TEXTS: dict[Language, dict[str, str]] = {
    "en": {
        "solve_case": "Open cases: {open_case_count}, the oldest for {case_days} days.",
        "ask_about_satisfaction": "Satisfaction {satisfaction} (survey answers: {survey_count}), among the lowest {low_share} % of accounts.",
        "answer_customer": "The customer's last contact, {inbound_days} days ago, has no answer.",
        "win_back": "Wins: {won_count}, the last {win_days} days ago, nothing open; chance of no win in the next 12 months {silence}.",
        "win_back_by_rule": "Wins: {won_count}, the last {win_days} days ago, nothing open.",
        "revive_contact": "Contacts by the customer fell from {inbound_before} to {inbound_now} from one 90 days to the next.",
        "offer_product": "Bought {because}; {confidence} % of its buyers bought {product} too ({support} accounts, {lift} times the usual share).",
        "check_in": "A customer without contact for {contact_days} days.",
        "check_in_never": "A customer without any contact on record.",
        "none": "Nothing is due by the rules.",
    },
    "zh": {
        "solve_case": "有 {open_case_count} 个未关闭的服务个案，最早的已有 {case_days} 天。",
        "ask_about_satisfaction": "{survey_count} 次回访的满意度为 {satisfaction}，属于所有客户中最低的 {low_share}%。",
        "answer_customer": "客户上次联系在 {inbound_days} 天前，尚未回复。",
        "win_back": "共赢单 {won_count} 次，上次在 {win_days} 天前，目前没有进行中的商机；未来 12 个月没有赢单的概率为 {silence}。",
        "win_back_by_rule": "共赢单 {won_count} 次，上次在 {win_days} 天前，目前没有进行中的商机。",
        "revive_contact": "客户主动联系的次数从前 90 天的 {inbound_before} 次降至近 90 天的 {inbound_now} 次。",
        "offer_product": "已购买 {because}；购买该产品的客户中有 {confidence}% 也购买了 {product}（{support} 个客户，为平均比例的 {lift} 倍）。",
        "check_in": "该客户已 {contact_days} 天没有联系。",
        "check_in_never": "该客户没有任何联系记录。",
        "none": "按规则目前无需处理。",
    },
}
