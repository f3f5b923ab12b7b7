"""Workbooks and CSV files with Chinese headers, as CRMs used in China export them or teams keep them.

No vendor's format is claimed: headers are recognised by words that are common among them, and `mapping.header_synonyms` adds others. A file is
recognised by its name (商机, 客户, 联系人, 跟进记录, 线索, 员工) or else by its headers; two headers that mean one column are an error, because
only the user knows which is meant. An id (编号, ID) is the key. Without one, owners and accounts are matched by a name that one record alone bears,
else they go by that name; an opportunity without an id cannot be followed over time, so its column must be there or be named.
A log of changes without a column that names the field is one of stages. A header that says its unit, such as 预计金额(万元), holds amounts in it; units in cells (万, 亿, 千万) are read by cleaning.
"""

from __future__ import annotations

from sales_pipeline.ingest.columns import Constant, FirstOf, Lookup, Rule, Take, Words
from sales_pipeline.ingest.dialects.spec import DialectSpec, TableSpec, taking

_OPPORTUNITY = ("商机编号", "商机ID", "商机编码", "商机号", "销售机会编号", "销售机会ID", "机会编号", "机会ID")
_LEAD = ("线索编号", "线索ID", "线索编码", "线索号")
_ACCOUNT = ("客户编号", "客户ID", "客户编码", "客户代码", "公司编号", "公司ID")
_CONTACT = ("联系人编号", "联系人ID", "联系人编码")
_USER = ("员工编号", "员工工号", "工号", "用户ID", "用户编号", "员工ID", "销售编号")
_ACCOUNT_NAME = ("客户名称", "客户", "公司名称", "客户全称", "所属客户", "关联客户", "客户公司")
_USER_NAME = ("姓名", "员工姓名", "用户名", "用户姓名", "名称")
_OWNER_ID = ("负责人编号", "负责人ID", "负责人工号", "所有人ID", "销售员编号", "归属人ID")
_OWNER_NAME = (
    "负责人",
    "商机负责人",
    "客户负责人",
    "线索负责人",
    "所有人",
    "拥有者",
    "销售负责人",
    "销售员",
    "业务员",
    "归属人",
    "跟进人",
)
_CREATED = Take(("创建时间", "创建日期", "建立时间", "录入时间", "新建时间", "商机创建时间"))
_MODIFIED = Take(("最后修改时间", "最近修改时间", "修改时间", "更新时间", "最后更新时间", "最近更新时间"))
_STAGE = ("销售阶段", "商机阶段", "阶段", "当前阶段", "机会阶段", "销售进度")
_STATUS = ("商机状态", "赢单状态", "商机结果", "结果", "赢单/输单", "赢输", "是否赢单")
_AMOUNT = (
    "预计金额",
    "商机金额",
    "预计销售金额",
    "预计成交金额",
    "预计签约金额",
    "预计收入",
    "预计销售额",
    "金额",
    "机会金额",
)
_MONEY_UNITS = ("", "(元)", "(人民币)", "(万元)", "(万)", "(亿元)", "(千元)")

WON = r"^\s*(已?赢单(关闭)?|已?成交|已签约|签约成功|已签单|签单成功|已?中标|交易成功|成功关闭|赢|成功|是)\s*$"
LOST = r"^\s*(已?输单(关闭)?|已?丢单|已?流失|已?战败|未成交|已?丢标|未中标|已?放弃|交易失败|失败关闭|失败|输|已?作废|已?取消|无效)\s*$"
_OPEN = r"^\s*(进行中|跟进中|未结束|未关闭|正常|打开|推进中)\s*$"
FLAG = (
    (r"^\s*(是|已启用|启用|在职|有效|true|1|yes|y)\s*$", "true"),
    (r"^\s*(否|已停用|停用|禁用|离职|无效|false|0|no|n)\s*$", "false"),
)
KIND = (
    (r"电话|通话|致电|call|phone", "call"),
    (r"邮件|e-?mail", "email"),
    (r"拜访|上门|会议|面谈|演示|见面|到访|宴请|meeting|visit|demo", "meeting"),
    (r"备注|笔记|note", "note"),
    (r"任务|待办|task", "task"),
)
DIRECTION = ((r"来电|呼入|收到|客户主动|inbound", "inbound"), (r"去电|呼出|外呼|发出|主动联系|outbound", "outbound"))
CURRENCY = (
    (r"人民币|CNY|RMB|[¥￥]", "CNY"),
    (r"美元|美金|USD", "USD"),
    (r"欧元|EUR", "EUR"),
    (r"港币|港元|HKD", "HKD"),
    (r"日元|JPY", "JPY"),
    (r"英镑|GBP", "GBP"),
)

_SYSTEM = frozenset(
    [
        "实际成交日期",
        "实际成交时间",
        "实际金额",
        "成交金额",
        "签约金额",
        "实际成交金额",
        "合同金额",
        "回款金额",
        "已回款金额",
        "最近跟进时间",
        "最后跟进时间",
        "最新跟进时间",
        "下次跟进时间",
        "最近活动时间",
        "跟进次数",
        "未跟进天数",
        "停留天数",
        "阶段停留天数",
        "创建人",
        "最后修改人",
        "修改人",
        "更新人",
        "输单原因",
        "丢单原因",
        "赢单原因",
        "失败原因",
        "预测金额",
        "加权金额",
        "阶段更新时间",
        "最后修改时间",
        "更新时间",
    ]
)
_PRIVATE = frozenset(
    [
        "商机名称",
        "商机标题",
        "机会名称",
        "销售机会名称",
        "项目名称",
        "主题",
        "线索名称",
        "客户名称",
        "客户",
        "公司名称",
        "客户全称",
        "最新跟进记录",
        "最近跟进记录",
        "跟进内容",
        "跟进记录",
        "负责人",
        "下一步",
        "下一步计划",
        "客户需求",
        "职务",
        "决策人",
        "协作人",
    ]
)


def _money(*names: str) -> Rule:
    """Columns of money under these names, with or without a unit in brackets."""
    return taking("amount", tuple(name + unit for unit in _MONEY_UNITS for name in names))


def _user(headers: tuple[str, ...]) -> Lookup:
    return Lookup(headers, "owners", _USER_NAME, _USER, is_unique=True)


def _account(headers: tuple[str, ...]) -> Lookup:
    return Lookup(headers, "accounts", _ACCOUNT_NAME, _ACCOUNT, is_unique=True)


_OWNER = FirstOf((Take(_OWNER_ID), _user(_OWNER_NAME), Take(_OWNER_NAME)))
_OF_ACCOUNT = FirstOf((Take(_ACCOUNT), _account(_ACCOUNT_NAME), Take(_ACCOUNT_NAME)))
_OF_CONTACT = FirstOf(
    (
        Take(_CONTACT),
        Lookup(
            ("联系人", "主要联系人", "联系人姓名"),
            "contacts",
            ("姓名", "联系人姓名", "联系人"),
            _CONTACT,
            is_unique=True,
        ),
    )
)
_OUTCOME: dict[str, Rule] = {
    "outcome": Words(_STATUS, ((WON, "won"), (LOST, "lost"), (_OPEN, "open"))),
    "is_won": Words(_STATUS, ((WON, "true"), (LOST, "false"), (_OPEN, "false"), (r"^\s*否\s*$", "false"))),
    "is_closed": Words(_STATUS, ((WON, "true"), (LOST, "true"), (_OPEN, "false"))),
}

_CHANGED_FIELD = ("变更字段", "字段名称", "字段", "变更项")
_TRACKED = (
    (r"^\s*(销售|商机|当前|机会)?阶段", "stage"),
    (r"^\s*(预计|商机|机会)\S*(金额|收入|销售额)|^\s*金额", "amount"),
    (r"^\s*预计\S*(日期|时间)", "crm_close_date"),
    (r"赢单率|成交概率|赢率|可能性", "crm_probability"),
    (r"负责人|所有人|拥有者|归属人", "owner_id"),
)


def _value(headers: tuple[str, ...]) -> FirstOf:
    return FirstOf((_user(headers), Take(headers)))


_TABLES = (
    TableSpec(
        "field_history",
        {
            "change_id": Take(("变更编号", "变更ID", "日志编号", "日志ID")),
            "opportunity_id": Take(_OPPORTUNITY),
            "changed_at": Take(("变更时间", "变更日期", "操作时间")),
            "field": FirstOf((Words(_CHANGED_FIELD, _TRACKED), Take(_CHANGED_FIELD), Constant("stage"))),
            "old_value": _value(("变更前", "原值", "旧值", "变更前的值", "变更前阶段", "原阶段")),
            "new_value": _value(("变更后", "新值", "变更后的值", "变更后阶段", "新阶段")),
        },
        objects=("变更记录", "商机变更记录", "阶段变更记录", "字段变更记录", "商机变更历史"),
        required_columns=("opportunity_id", "changed_at", "new_value"),
        marks=(("changed_at", "new_value"),),
        is_exclusive=True,
    ),
    TableSpec(
        "activities",
        {
            "activity_id": Take(
                (
                    "跟进记录编号",
                    "跟进编号",
                    "跟进ID",
                    "记录编号",
                    "记录ID",
                    "活动编号",
                    "活动ID",
                    "拜访编号",
                    "任务编号",
                )
            ),
            "opportunity_id": FirstOf(
                (
                    Take(_OPPORTUNITY),
                    Take(_LEAD),
                    Lookup(
                        ("商机名称", "关联商机", "商机", "所属商机"),
                        "opportunities",
                        ("商机名称", "机会名称", "销售机会名称"),
                        _OPPORTUNITY,
                        is_unique=True,
                    ),
                )
            ),
            "account_id": _OF_ACCOUNT,
            "contact_id": _OF_CONTACT,
            "owner_id": FirstOf((Take(_OWNER_ID), _user((*_OWNER_NAME, "创建人")), Take(("跟进人", *_OWNER_NAME)))),
            "kind": FirstOf(
                (Words(("跟进方式", "跟进类型", "活动类型", "拜访方式", "任务类型"), KIND), Constant("other"))
            ),
            "direction": Words(("跟进方式", "跟进类型", "活动类型", "方向"), DIRECTION),
            "occurred_at": Take(
                ("跟进时间", "跟进日期", "活动时间", "拜访时间", "联系时间", "完成时间", "实际跟进时间")
            ),
            "due_at": Take(("计划时间", "截止时间", "截止日期", "到期时间", "计划跟进时间")),
            "logged_at": _CREATED,
            "is_done": Words(
                ("完成状态", "是否完成", "任务状态", "跟进状态"),
                ((r"未完成|未开始|进行中|待办|计划|否", "false"), (r"已完成|完成|已跟进|是", "true")),
            ),
            "modified_at": _MODIFIED,
        },
        objects=("跟进记录", "跟进", "拜访记录", "活动记录", "活动", "销售记录", "任务"),
        required_columns=("activity_id",),
        marks=(("kind", "occurred_at"), ("activity_id", "occurred_at")),
        is_exclusive=True,
    ),
    TableSpec(
        "opportunities",
        {
            "opportunity_id": Take(_OPPORTUNITY),
            "kind": Constant("opportunity"),
            "pipeline": Take(("销售流程", "商机类型组", "业务类型", "销售管道")),
            "account_id": _OF_ACCOUNT,
            "contact_id": _OF_CONTACT,
            "owner_id": _OWNER,
            "product_id": Take(("产品编号", "产品ID")),
            "stage": Take(_STAGE),
            **_OUTCOME,
            "currency": Words(("币种", "币别", "货币"), CURRENCY),
            "amount": _money(*_AMOUNT),
            "crm_close_date": Take(
                (
                    "预计成交日期",
                    "预计成交时间",
                    "预计结单日期",
                    "预计签约日期",
                    "预计签单日期",
                    "预计关闭日期",
                    "预计结束日期",
                )
            ),
            "crm_probability": Take(("赢单率", "成交概率", "赢率", "可能性", "成功概率", "赢单概率")),
            "lead_source": Take(("商机来源", "线索来源", "来源", "客户来源")),
            "opportunity_type": Take(("商机类型", "机会类型")),
            "created_at": _CREATED,
            "closed_at": Take(
                ("结束时间", "关闭时间", "结单时间", "结单日期", "赢单时间", "实际结束日期", "关闭日期", "成交日期")
            ),
            "modified_at": _MODIFIED,
            "converted_from_lead_id": Take(("来源线索编号", "来源线索ID", "线索编号", "线索ID")),
        },
        objects=("商机", "商机列表", "商机数据", "商机信息", "商机导出", "全部商机", "我的商机", "销售机会", "机会"),
        required_columns=("opportunity_id", "stage"),
        marks=(("opportunity_id", "stage"), ("opportunity_id", "amount"), ("stage", "amount")),
        is_exclusive=True,
        system=_SYSTEM,
        private=_PRIVATE,
    ),
    TableSpec(
        "opportunities",
        {
            "opportunity_id": Take(_LEAD),
            "kind": Constant("lead"),
            "account_id": FirstOf((Take(_ACCOUNT), _account(_ACCOUNT_NAME))),
            "owner_id": _OWNER,
            "stage": Take(("线索状态", "跟进状态", "状态")),
            "is_won": Words(
                ("线索状态", "是否转换", "是否转化", "状态"),
                ((r"^\s*已(转换|转化|转商机|转客户)|^\s*是\s*$", "true"), (r"\S", "false")),
            ),
            "is_closed": Words(
                ("线索状态", "状态"), ((r"^\s*(已(转换|转化|转商机|转客户|关闭|无效)|无效)", "true"), (r"\S", "false"))
            ),
            "lead_source": Take(("线索来源", "来源", "客户来源")),
            "created_at": _CREATED,
            "modified_at": _MODIFIED,
            "converted_to_opportunity_id": Take(_OPPORTUNITY),
        },
        objects=("线索", "线索列表", "线索数据", "销售线索", "全部线索", "我的线索"),
        required_columns=("opportunity_id", "stage"),
        marks=(("opportunity_id", "stage"), ("opportunity_id", "lead_source")),
        is_exclusive=True,
        system=_SYSTEM,
        private=_PRIVATE,
    ),
    TableSpec(
        "contacts",
        {
            "contact_id": Take(_CONTACT),
            "account_id": _OF_ACCOUNT,
            "email_opt_out": Words(("拒收邮件", "邮件退订"), FLAG),
            "do_not_call": Words(("拒接电话", "请勿致电"), FLAG),
            "created_at": _CREATED,
            "modified_at": _MODIFIED,
        },
        objects=("联系人", "联系人列表", "联系人数据"),
        required_columns=("contact_id",),
        marks=(("contact_id",),),
        is_exclusive=True,
    ),
    TableSpec(
        "accounts",
        {
            "account_id": FirstOf((Take(_ACCOUNT), Take(_ACCOUNT_NAME))),
            "industry": Take(("行业", "所属行业", "客户行业")),
            "employees": Take(("员工人数", "人数", "员工数", "公司人数")),
            "annual_revenue": _money("年营业额", "年收入", "年销售额"),
            "country": Take(("国家", "国家/地区", "国家地区")),
            "account_type": Take(("客户类型", "客户级别", "客户等级", "客户分类")),
            "parent_account_id": FirstOf((Take(("上级客户编号",)), _account(("上级客户", "母公司")))),
            "owner_id": _OWNER,
            "created_at": _CREATED,
            "modified_at": _MODIFIED,
        },
        objects=("客户", "客户列表", "客户数据", "客户信息", "全部客户", "我的客户", "公司"),
        required_columns=("account_id",),
        marks=(("account_id", "industry"), ("account_id", "account_type")),
        is_exclusive=True,
    ),
    TableSpec(
        "owners",
        {
            "owner_id": FirstOf((Take(_USER), Take(_USER_NAME))),
            "team": Take(("部门", "所属部门", "团队", "销售团队")),
            "manager_id": FirstOf((Take(("上级编号", "直属上级编号")), _user(("直属上级", "上级", "主管")))),
            "is_active": Words(("状态", "员工状态", "是否启用", "在职状态"), FLAG),
            "modified_at": _MODIFIED,
        },
        objects=("员工", "用户", "人员", "员工列表", "用户列表", "销售人员"),
        required_columns=("owner_id",),
        marks=(("owner_id", "team"),),
        is_exclusive=True,
    ),
    TableSpec(
        "products",
        {
            "product_id": Take(("产品编号", "产品ID", "产品编码")),
            "family": Take(("产品分类", "产品类别", "产品系列", "产品线")),
            "list_price": _money("标准单价", "标准价格", "价格", "单价"),
        },
        objects=("产品", "产品列表", "商品"),
        required_columns=("product_id",),
        is_exclusive=True,
    ),
    TableSpec(
        "quotas",
        {
            "owner_id": _OWNER,
            "period_start": Take(("开始日期", "目标开始日期", "周期开始")),
            "period_end": Take(("结束日期", "目标结束日期", "周期结束")),
            "amount": _money("目标金额", "销售目标", "业绩目标"),
        },
        objects=("销售目标", "业绩目标", "目标"),
        required_columns=("owner_id", "period_start", "amount"),
        is_exclusive=True,
    ),
)

CHINESE = DialectSpec(
    _TABLES,
    hallmarks=(
        *((key, stage) for key in _OPPORTUNITY for stage in (*_STAGE, *_STATUS)),
        *((key, amount + unit) for key in _OPPORTUNITY for amount in _AMOUNT for unit in _MONEY_UNITS),
    ),
)
"""The dialect."""
