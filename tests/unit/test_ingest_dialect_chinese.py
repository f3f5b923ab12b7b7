"""Chinese headers: GB18030 and workbooks, amounts in 万 and 亿, synonyms that the user adds, and headers that mean the same twice."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from sales_pipeline.engines.base import Engine
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.ingest.check import check
from sales_pipeline.ingest.dialects.spec import built_in
from sales_pipeline.ingest.exports import collect
from sales_pipeline.ingest.guess import guess_mapping
from sales_pipeline.ingest.params import SourceMapping
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import read_table
from tests.support.crm_files import Read, Table, raw_rows, read_all, write_csv, write_xlsx

DEALS: Table = (
    ("商机编号", "商机名称", "客户名称", "客户编号", "销售阶段", "预计金额", "预计成交日期", "赢单率", "负责人", "创建时间", "最后修改时间", "商机状态", "联系电话", "赛道"),
    [
        ("SJ001", "一号商机", "甲公司", "KH01", "需求确认", "12.5万元", "2026年7月31日", "60%", "张三", "2026年5月13日 09:00", "2026/6/20 10:15", "进行中", "13800000000", "制造"),
        ("SJ002", "二号商机", "乙公司", "KH02", "商务谈判", "￥1,200万", "2026/6/15", "１００％", "张三", "2026/5/14", "2026/6/14 10:15", "赢单", "", "制造"),
        ("SJ003", "三号商机", "甲公司", "KH01", "需求确认", "3千万", "2026-6-16", "0%", "重名", "2026年5月15日", "2026年6月13日", "输单", "", "零售"),
        ("SJ004", "四号商机", "甲公司", "KH01", "初步接洽", "约5万", "2026年6月31日", "10%", "李四", "2026年5月16日", "2026年6月13日", "进行中", "", "零售"),
        ("SJ005", "五号商机", "甲公司", "KH01", "初步接洽", "１２，０００元", "", "5%", "李四", "2026年5月17日", "2026年6月13日", "进行中", "", "零售"),
        ("SJ006", "六号商机", "甲公司", "KH01", "初步接洽", "1.2亿", "", "5%", "李四", "2026年5月18日", "2026年6月13日", "进行中", "", "零售"),
    ],
)  # fmt: skip
ACCOUNTS: Table = (
    ("客户编号", "客户名称", "所属行业", "年营业额(万元)", "员工人数", "客户级别", "负责人", "创建时间"),
    [
        ("KH01", "甲公司", "制造业", 5000, 120, "A", "张三", datetime(2026, 1, 2)),
        ("KH02", "乙公司", "零售", "2亿", 30, "B", "张三", datetime(2026, 1, 3)),
    ],
)
FOLLOW_UPS: Table = (
    ("跟进记录编号", "商机编号", "客户编号", "跟进方式", "跟进时间", "跟进内容", "跟进人", "创建时间", "是否完成"),
    [
        ("GJ01", "SJ001", "KH01", "电话拜访", "2026年6月2日 09:30", "谈价格", "张三", "2026年6月2日", "是"),
        ("GJ02", "SJ001", "KH01", "上门拜访", "2026年7月2日", "", "李四", "2026年6月2日", "否"),
        ("GJ03", "SJ003", "KH01", "微信", "2026/6/3", "", "李四", "2026年6月3日", "是"),
    ],
)
LEADS: Table = (
    ("线索编号", "线索名称", "线索状态", "线索来源", "负责人", "创建时间"),
    [("XS01", "甲", "跟进中", "展会", "张三", "2026年6月1日"), ("XS02", "乙", "已转换", "官网", "张三", "2026年6月1日"), ("XS03", "丙", "无效", "官网", "张三", "2026年6月1日")],
)  # fmt: skip
STAFF: Table = (
    ("工号", "姓名", "部门", "直属上级", "状态"),
    [
        ("E1", "张三", "华北", "李四", "在职"),
        ("E2", "李四", "华北", "", "在职"),
        ("E3", "重名", "华南", "", "离职"),
        ("E4", "重名", "华南", "", "在职"),
    ],
)

CHANGES: Table = (
    ("商机编号", "变更字段", "变更前", "变更后", "变更时间"),
    [
        ("SJ001", "销售阶段", "初步接洽", "需求确认", "2026年5月20日 09:00"),
        ("SJ001", "预计金额", "10万元", "12.5万元", "2026/5/21 09:00"),
        ("SJ003", "负责人", "张三", "重名", "2026/5/22 09:00"),
        ("SJ003", "商机名称", "甲", "乙", "2026/5/22 09:00"),
    ],
)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with DuckDBEngine(threads=1) as one:
        yield one


@pytest.fixture(scope="module")
def crm(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Read:
    folder = tmp_path_factory.mktemp("chinese")
    landing = folder / "exports"
    write_csv(landing / "商机_20260630.csv", DEALS, encoding="gb18030")
    write_xlsx(landing / "客户列表.xlsx", ACCOUNTS, sheet="客户")
    write_csv(landing / "sheet3.csv", FOLLOW_UPS, encoding="gb18030")
    write_csv(landing / "线索.csv", LEADS)
    write_csv(landing / "log.csv", CHANGES, encoding="gb18030")
    write_csv(landing / "员工.csv", STAFF, encoding="utf-8-sig")
    return read_all(landing, folder, engine, lambda values: {**values, "time_zone": "Asia/Shanghai"})


def test_it_is_recognised_by_names_and_headers(crm: Read) -> None:
    assert crm.mapping.dialect == "chinese"
    tables = {name: facts["tables"] for name, facts in crm.ingested.facts["files"].items()}
    assert tables == {
        "商机_20260630.csv": ["opportunities"],
        "客户列表.xlsx": ["accounts"],
        "sheet3.csv": ["activities"],
        "线索.csv": ["opportunities"],
        "员工.csv": ["owners"],
        "log.csv": ["field_history"],
    }
    assert crm.ingested.facts["files"]["商机_20260630.csv"]["encoding"] == "gb18030"


def test_init_tells_what_is_won_and_takes_currency_and_day_from_the_files(crm: Read) -> None:
    assert "what is won is told by '商机状态'" in crm.text
    assert (crm.mapping.currency, crm.mapping.exported_at, crm.mapping.date_order) == ("CNY", "file_name", "ymd")
    assert set(crm.mapping.stages.open) == {"需求确认", "商务谈判", "初步接洽"}
    assert [finding for finding in crm.findings if finding.level == "error"] == []
    assert "张三" not in crm.text


def test_amounts_in_units_are_multiplied_out_and_counted(crm: Read) -> None:
    found = crm.rows("opportunities", "opportunity_id")
    assert {key: row["amount"] for key, row in found.items() if row["kind"] == "opportunity"} == {
        "SJ001": Decimal(125_000),
        "SJ002": Decimal(12_000_000),
        "SJ003": Decimal(30_000_000),
        "SJ004": None,
        "SJ005": Decimal(12_000),
        "SJ006": Decimal(120_000_000),
    }
    assert crm.touched("amount_unit") == 4
    assert [value for column, _, value in crm.issues() if column == "amount"] == ["约5万"]


def test_a_unit_in_the_header_counts_for_the_column(crm: Read) -> None:
    revenue = {key: row["annual_revenue"] for key, row in crm.rows("accounts", "account_id").items()}
    assert revenue == {"KH01": 50_000_000, "KH02": 200_000_000}


def test_days_instants_and_percentages(crm: Read) -> None:
    found = crm.rows("opportunities", "opportunity_id")
    assert [found[f"SJ00{n}"]["crm_close_date"] for n in (1, 2, 3, 4)] == [
        date(2026, 7, 31),
        date(2026, 6, 15),
        date(2026, 6, 16),
        None,
    ]
    assert found["SJ001"]["created_at"] == datetime(2026, 5, 13, 1, tzinfo=UTC)
    assert [found[f"SJ00{n}"]["crm_probability"] for n in (1, 2, 3)] == [0.6, 1.0, 0.0]
    assert ("crm_close_date", "2026年6月31日") in [(column, value) for column, _, value in crm.issues()]


def test_a_status_apart_from_the_stage_tells_what_is_won(crm: Read) -> None:
    found = crm.rows("opportunities", "opportunity_id")
    assert {key: (row["stage"], row["state"]) for key, row in found.items()} == {
        "SJ001": ("需求确认", "open"),
        "SJ002": ("商务谈判", "won"),
        "SJ003": ("需求确认", "lost"),
        "SJ004": ("初步接洽", "open"),
        "SJ005": ("初步接洽", "open"),
        "SJ006": ("初步接洽", "open"),
        "XS01": ("跟进中", "open"),
        "XS02": ("已转换", "won"),
        "XS03": ("无效", "lost"),
    }


def test_a_name_becomes_the_id_of_the_one_person_who_bears_it(crm: Read) -> None:
    found = crm.rows("opportunities", "opportunity_id")
    assert [found[f"SJ00{n}"]["owner_id"] for n in (1, 3, 4)] == ["E1", "重名", "E2"]
    assert crm.rows("owners", "owner_id")["E1"]["manager_id"] == "E2"


def test_follow_ups_are_done_or_planned(crm: Read) -> None:
    done, planned = crm.rows("activities", "activity_id"), crm.rows("planned_activities", "activity_id")
    assert {key: (row["opportunity_id"], row["kind"], row["owner_id"]) for key, row in done.items()} == {
        "GJ01": ("SJ001", "call", "E1"),
        "GJ03": ("SJ003", "other", "E2"),
    }
    assert {key: row["kind"] for key, row in planned.items()} == {"GJ02": "meeting"}


def test_a_log_of_changes_is_a_history_of_fields(crm: Read, tmp_path: Path, engine: Engine) -> None:
    found = [(row["field"], row["old_value"], row["new_value"]) for row in crm.raw("field_history")]
    assert found == [
        ("stage", "初步接洽", "需求确认"),
        ("amount", "10万元", "12.5万元"),
        ("owner_id", "E1", "重名"),
        ("商机名称", "甲", "乙"),
    ]
    changes = [
        row
        for row in read_table(crm.canonical.tables["opportunity_changes"]).to_pylist()
        if row["opportunity_id"] == "SJ001"
    ]
    assert {row["amount"] for row in changes} == {Decimal(100_000), Decimal(125_000)}
    write_csv(tmp_path / "in" / "商机.csv", DEALS)
    write_csv(
        tmp_path / "in" / "阶段变更记录.csv",
        (("商机编号", "变更前阶段", "变更后阶段", "变更时间"), [("SJ001", "初步接洽", "需求确认", "2026年5月20日")]),
    )
    [one] = collect(Lake(tmp_path / "lake"), tmp_path / "in", SourceMapping(dialect="chinese"), engine)
    assert [(row["field"], row["new_value"]) for row in raw_rows(one, "field_history")] == [("stage", "需求确认")]


def test_numbers_with_units_in_other_columns_are_numbers(tmp_path: Path, engine: Engine) -> None:
    header, rows = DEALS
    budgets = ("50万", "60万元", "1亿", "70万", "80万", "90万")
    write_csv(
        tmp_path / "in" / "商机.csv",
        ((*header, "预算"), [(*row, budget) for row, budget in zip(rows, budgets, strict=True)]),
    )
    one = read_all(tmp_path / "in", tmp_path, engine)
    values = [
        row
        for row in read_table(one.canonical.tables["opportunity_attributes"]).to_pylist()
        if row["attribute"] == "预算"
    ]
    assert sorted(row["number_value"] for row in values) == [500_000, 600_000, 700_000, 800_000, 900_000, 100_000_000]


def test_names_and_telephones_are_no_attributes(crm: Read) -> None:
    assert {row["attribute"] for row in crm.raw("opportunity_attributes")} == {"赛道"}
    not_taken = crm.ingested.facts["files"]["商机_20260630.csv"]["not_taken"]
    assert not_taken == {"商机名称": "about people, or free text", "联系电话": "about people, or free text"}


def test_every_record_has_its_place(crm: Read) -> None:
    crm.hold_that_every_record_has_its_place()


def _errors(landing: Path, **mapping: Any) -> list[str]:
    found = check(landing, SourceMapping(dialect="chinese", **mapping))
    return [finding.message for finding in found if finding.level == "error"]


def test_headers_the_user_names_are_understood(tmp_path: Path, engine: Engine) -> None:
    table: Table = (
        ("单号", "进展", "报价(万元)", "建档"),
        [("1", "谈判", 12.5, datetime(2026, 5, 13)), ("2", "谈判", "3", datetime(2026, 5, 14))],
    )
    write_xlsx(tmp_path / "in" / "商机.xlsx", table)
    [error] = _errors(tmp_path / "in")
    assert "the header has none of the mapped columns" in error
    synonyms = {
        "opportunity_id": ["单号"],
        "opportunities.stage": "进展",
        "amount": ["报价(万元)"],
        "created_at": ["建档"],
    }
    mapping = SourceMapping(dialect="chinese", header_synonyms=synonyms, stages={"open": ["谈判"]})
    assert not [finding for finding in check(tmp_path / "in", mapping) if finding.level == "error"]
    [one] = collect(Lake(tmp_path / "lake"), tmp_path / "in", mapping, engine)
    assert [
        (row["opportunity_id"], row["stage"], row["amount"], row["created_at"])
        for row in raw_rows(one, "opportunities")
    ] == [
        ("1", "谈判", "12.5万", "2026-05-13"),
        ("2", "谈判", "3万", "2026-05-14"),
    ]


def test_a_missing_key_column_is_told_with_what_to_do(tmp_path: Path) -> None:
    header, rows = DEALS
    write_csv(tmp_path / "商机.csv", (header[1:], [row[1:] for row in rows]))
    [error] = _errors(tmp_path)
    assert "a mapped column is missing: opportunities.opportunity_id" in error
    assert "'商机编号'" in error
    assert "header_synonyms: opportunity_id" in error


def test_two_headers_for_one_column_are_an_error_until_the_user_names_one(tmp_path: Path) -> None:
    header, rows = DEALS
    write_csv(tmp_path / "商机.csv", ((*header, "商机阶段"), [(*row, "另一个") for row in rows]))
    [error] = _errors(tmp_path)
    assert "several columns mean opportunities.stage" in error
    assert "销售阶段, 商机阶段" in error
    assert not _errors(tmp_path, header_synonyms={"stage": "商机阶段"}, exported_at="newest")


def test_other_sheets_of_a_workbook_are_told(tmp_path: Path) -> None:
    from openpyxl import load_workbook

    write_xlsx(tmp_path / "商机.xlsx", DEALS, sheet="商机")
    book = load_workbook(tmp_path / "商机.xlsx")
    book.create_sheet("客户").append(["客户编号"])
    book.create_sheet("hiddenSheet").sheet_state = "veryHidden"
    book.save(tmp_path / "商机.xlsx")
    [told] = [
        finding.message for finding in check(tmp_path, SourceMapping(dialect="chinese")) if "sheets" in finding.message
    ]
    assert "the workbook has other sheets, which are not read: 客户; save each as a file of its own" in told


def test_a_plain_table_with_a_unit_in_its_header_is_read_in_it(tmp_path: Path, engine: Engine) -> None:
    write_csv(tmp_path / "in" / "a.csv", (("号", "金额（万元）"), [("1", "12.5"), ("2", "8千")]))
    mapping = SourceMapping(
        tables={"opportunities": {"files": ["a.csv"], "columns": {"opportunity_id": "号", "amount": "金额（万元）"}}},
        exported_at="2026-06-30",
    )
    [one] = collect(Lake(tmp_path / "lake"), tmp_path / "in", mapping, engine)
    assert [row["amount"] for row in raw_rows(one, "opportunities")] == ["12.5万", "8千"]


def test_what_nobody_can_know_is_asked(tmp_path: Path) -> None:
    write_csv(tmp_path / "商机.csv", (("商机编号", "阶段", "负责人"), [("1", "赢单", "张三"), ("2", "洽谈", "张三")]))
    guessed = guess_mapping(tmp_path)
    assert guessed.mapping["stages"] == {"open": ["洽谈"], "won": ["赢单"], "lost": []}
    assert any("when an opportunity was created" in question for question in guessed.questions)
    assert any("owners are named in '负责人'" in question for question in guessed.questions)
    assert any("in which currency" in question for question in guessed.questions)


@pytest.mark.parametrize(
    ("synonyms", "told"),
    [
        ({"stag": ["阶段"]}, "there is no column 'stag'"),
        ({"accounts.stage": ["阶段"]}, "there is no column 'accounts.stage'"),
        ({"stage": [" "]}, "an empty header cannot mean stage"),
        ({"stage": ["状态"], "outcome": ["状态"]}, "means two columns of opportunities: stage and outcome"),
    ],
)
def test_synonyms_that_cannot_be_meant_are_refused(synonyms: dict[str, list[str]], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        SourceMapping(header_synonyms=synonyms)


def test_built_in_specs_fill_columns_that_exist() -> None:
    from sales_pipeline.contracts.raw import RAW_TABLES

    for spec in built_in("chinese").tables:
        assert set(spec.columns) <= set(RAW_TABLES[f"raw_{spec.table}"].column_names[3:])
        assert set(spec.required_columns) <= set(spec.columns)
