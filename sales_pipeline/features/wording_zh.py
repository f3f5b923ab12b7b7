"""The catalogue's texts in Simplified Chinese, by feature. `{value}` stands for the formatted value, as in the catalogue.

Belongs here: translations of every text of every feature (a test holds that none is missing and that the placeholders agree). Does not belong here:
English texts (the catalogue), names of terms (`terms`), texts that are not about a feature (`models.wording`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Texts:
    """`up` words a reason for, `down` one against (the same text where it is empty), `missing` a NULL, `negative` the size of a value below zero."""

    up: str
    down: str = ""
    missing: str = ""
    negative: str = ""

    def __post_init__(self) -> None:
        if not self.down:
            object.__setattr__(self, "down", self.up)


_NO_HISTORY = "没有变更记录"
_NO_CLOSE_DATE = "没有预计成交日"
_NO_ACTIVITY = "没有活动记录"
_NO_OWNER = "没有该负责人的记录"
_NO_ACCOUNT = "没有关联客户"


def _counted(name: str, noun: str, measure: str, days: tuple[int | None, ...]) -> dict[str, Texts]:
    """Counts of one kind of activity in windows of days; over everything for None."""
    texts = {}
    for window in days:
        when = f"近 {window} 天" if window else "至今"
        texts[f"{name}_count_{window}d" if window else f"{name}_count"] = Texts(
            f"{when}{noun}：{{value}} {measure}", f"{when}{noun}仅 {{value}} {measure}", _NO_ACTIVITY
        )
    return texts


def _recorded(label: str) -> Texts:
    return Texts(f"{label}：{{value}}", missing=f"{label}：未记录")


STATE: dict[str, Texts] = {
    "stage": Texts("当前阶段：{value}", missing="没有阶段"),
    "days_in_stage": Texts("已在当前阶段停留 {value} 天", missing="在当前阶段的停留时间未知"),
    "age_days": Texts("商机已存续 {value} 天", missing="创建时间未记录"),
    "days_to_crm_close_date": Texts(
        "距预计成交日还有 {value} 天", missing=_NO_CLOSE_DATE, negative="预计成交日已过 {value} 天"
    ),
    "is_past_crm_close_date": Texts("预计成交日是否已过：{value}", missing=_NO_CLOSE_DATE),
    "planned_cycle_days": Texts("从创建到预计成交日共 {value} 天", missing=_NO_CLOSE_DATE),
    "stage_move_count": Texts("至今阶段变动：{value} 次", missing=_NO_HISTORY),
    "stage_return_count": Texts("退回以前的阶段：{value} 次", missing=_NO_HISTORY),
    "stage_count": Texts("经历过的阶段：{value} 个", missing=_NO_HISTORY),
    "reopened_count": Texts("关闭后重新打开：{value} 次", missing=_NO_HISTORY),
    "close_date_push_count": Texts("预计成交日推迟：{value} 次", missing=_NO_HISTORY),
    "pushed_days_total": Texts("预计成交日累计推迟 {value} 天", missing=_NO_HISTORY),
    "amount": Texts("金额：{value}", missing="没有金额"),
    "amount_change_count": Texts("金额变动：{value} 次", missing=_NO_HISTORY),
    "amount_change_ratio": Texts("金额为最初的 {value} 倍", missing="没有最初的金额"),
    "owner_change_count": Texts("更换负责人：{value} 次", missing=_NO_HISTORY),
    "days_since_last_change": Texts("距上次变更已有 {value} 天", missing="没有变更"),
    "crm_probability": Texts("CRM 自带的赢单概率：{value}", missing="没有 CRM 赢单概率"),
}

ENGAGEMENT: dict[str, Texts] = {
    **_counted("activity", "跟进活动", "次", (7, 30, 90, None)),
    "activity_trend_30d": Texts("与前 30 天相比的活动增减：{value}", missing=_NO_ACTIVITY),
    **_counted("call", "通话", "次", (30, 90)),
    **_counted("email", "邮件", "封", (30, 90)),
    **_counted("meeting", "会议", "次", (30, 90, None)),
    **_counted("inbound", "客户来信来电", "次", (7, 30, 90, None)),
    **_counted("outbound", "我方主动联系", "次", (30, 90)),
    "inbound_response_ratio": Texts(
        "我方每联系一次，客户回应 {value} 次", "我方每联系一次，客户仅回应 {value} 次", "90 天内没有联系过客户"
    ),
    "contact_count": Texts("参与的联系人：{value} 位", "参与的联系人仅 {value} 位", _NO_ACTIVITY),
    "days_since_last_activity": Texts("最近一次活动在 {value} 天前", "已有 {value} 天没有任何活动", _NO_ACTIVITY),
    "days_since_last_inbound": Texts(
        "客户最近一次联系我方在 {value} 天前", "客户已有 {value} 天没有回应", "客户至今没有回应"
    ),
    "days_since_last_outbound": Texts(
        "我方最近一次联系客户在 {value} 天前", "已有 {value} 天没有联系客户", "至今没有联系过客户"
    ),
    "days_since_last_meeting": Texts("最近一次会议在 {value} 天前", "已有 {value} 天没有开会", "至今没有开过会"),
}

PLANNED: dict[str, Texts] = {
    "planned_activity_count": Texts("已计划的下一步：{value} 项", missing="没有已知的下一步"),
    "days_to_next_planned_activity": Texts("下一步计划在 {value} 天后", missing="没有计划下一步"),
}

OWNER_RECORD: dict[str, Texts] = {
    "owner_win_rate": Texts("负责人的赢单率：{value}", missing=_NO_OWNER),
    "owner_closed_count": Texts("负责人已关闭的商机：{value} 个", missing=_NO_OWNER),
    "owner_open_count": Texts("负责人手上未关闭的商机：{value} 个", missing=_NO_OWNER),
    "owner_team": _recorded("负责人所在团队"),
}

ACCOUNT_RECORD: dict[str, Texts] = {
    "account_win_rate": Texts("该客户的历史赢单率：{value}", missing=_NO_ACCOUNT),
    "account_closed_count": Texts("该客户以往关闭的商机：{value} 个", missing=_NO_ACCOUNT),
    "account_won_count": Texts("该客户以往赢单：{value} 个", missing=_NO_ACCOUNT),
    "account_won_amount": Texts("该客户以往赢单金额：{value}", missing=_NO_ACCOUNT),
    "account_days_since_last_won": Texts(
        "该客户上次赢单在 {value} 天前", "该客户已有 {value} 天没有赢单", "该客户至今没有赢单"
    ),
    "account_open_count": Texts("该客户未关闭的商机：{value} 个", missing=_NO_ACCOUNT),
}

PRODUCT: dict[str, Texts] = {
    "product": _recorded("产品"),
    "product_family": _recorded("产品系列"),
    "product_list_price": _recorded("产品标价"),
    "product_win_rate": Texts("该产品的赢单率：{value}", missing="没有产品"),
}

SEASON: dict[str, Texts] = {
    "as_of_month": Texts("当前月份：{value} 月"),
    "as_of_quarter": Texts("当前季度：第 {value} 季度"),
    "days_to_quarter_end": Texts("距季度末还有 {value} 天"),
    "close_date_month": Texts("预计在 {value} 月成交", missing=_NO_CLOSE_DATE),
    "close_date_days_to_quarter_end": Texts("预计成交日在季度末前 {value} 天", missing=_NO_CLOSE_DATE),
}

ACCOUNT_FACTS: dict[str, Texts] = {
    "account_industry": _recorded("客户行业"),
    "account_employees_log": _recorded("客户员工人数"),
    "account_revenue_log": _recorded("客户年营业额"),
    "account_country": _recorded("客户所在国家"),
    "account_type": _recorded("客户类型"),
    "account_has_parent": _recorded("客户是否隶属集团"),
    "account_age_days": Texts("该客户建档已有 {value} 天", missing="客户建档时间未记录"),
}

STATIC: dict[str, Texts] = {
    "kind": _recorded("记录类别"),
    "pipeline": _recorded("销售流程"),
    "currency": _recorded("币种"),
    "lead_source": _recorded("来源"),
    "opportunity_type": _recorded("商机类型"),
    "is_from_lead": _recorded("是否由线索转化"),
    "created_month": Texts("创建于 {value} 月", missing="创建时间未记录"),
}

ZH: dict[str, Texts] = {
    **STATE,
    **ENGAGEMENT,
    **PLANNED,
    **OWNER_RECORD,
    **ACCOUNT_RECORD,
    **PRODUCT,
    **SEASON,
    **ACCOUNT_FACTS,
    **STATIC,
}
"""Every feature's texts."""
