"""From Chinese workbooks to the published tables with what `init` guessed: nothing of the mapping is written by hand."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.cli import IGNORED_WARNINGS, call
from tests.support.crm_files import Table, write_csv, write_xlsx

pytestmark = [pytest.mark.filterwarnings(text) for text in IGNORED_WARNINGS]

FIRST = date(2026, 1, 5)
STAGES = ("初步接洽", "需求确认", "商务谈判")


def _deals(count: int = 60) -> Table:
    """Deals of half a year; every third is open, of the others every other is won. Amounts in 万."""
    rows = []
    for number in range(count):
        opened = FIRST + timedelta(days=2 * number)
        status = ("进行中", "赢单", "输单")[number % 3]
        closed = "" if status == "进行中" else _written(opened + timedelta(days=20))
        rows.append(
            (f"SJ{number:03d}", f"=商机{number}", f"KH{number % 7:02d}", STAGES[number % 3], f"{5 + number}.5万元", _written(opened + timedelta(days=90)),
             status, f"E{number % 3}", _written(opened), closed, "2026年6月29日 18:00")
        )  # fmt: skip
    header = (
        "商机编号",
        "商机名称",
        "客户编号",
        "销售阶段",
        "预计金额",
        "预计成交日期",
        "商机状态",
        "负责人编号",
        "创建时间",
        "结束时间",
        "最后修改时间",
    )
    return header, rows


def _written(day: date) -> str:
    return f"{day.year}年{day.month}月{day.day}日"


@dataclass(frozen=True)
class Story:
    init: str
    config: str
    check: str
    done: dict[str, Any]

    def table(self, name: str) -> pa.Table:
        return pq.read_table(Path(self.done["path"]) / f"{name}.parquet")


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    folder = tmp_path_factory.mktemp("chinese")
    write_csv(folder / "exports" / "商机_20260630.csv", _deals(), encoding="gb18030")
    accounts = [
        (f"KH{number:02d}", f"公司{number}", ("制造业", "零售")[number % 2], 100 * number) for number in range(7)
    ]
    write_xlsx(folder / "exports" / "客户.xlsx", (("客户编号", "客户名称", "所属行业", "年营业额(万元)"), accounts))
    config = folder / "pipeline.yaml"
    init = call("init", folder / "exports", "-o", config).done()
    check = call("check", "-c", config).done()
    run = call("run", "-c", config, "--json").done()
    return Story(init.text, config.read_text(encoding="utf-8"), check.text, run.json)


def test_init_says_what_it_recognised_and_asks_the_rest(story: Story) -> None:
    assert "dialect: chinese" in story.config
    assert "currency: CNY" in story.config
    assert "put the open stages in the order of your process" in story.init
    assert "error:" not in story.check


def test_what_is_open_is_scored_with_amounts_in_yuan(story: Story) -> None:
    scored = {row["opportunity_id"]: row for row in story.table("scored_opportunities").to_pylist()}
    assert set(scored) == {f"SJ{number:03d}" for number in range(0, 60, 3)}
    assert {row["currency"] for row in scored.values()} == {"CNY"}
    assert all(float(row["amount"]) == (int(key[2:]) + 5.5) * 10_000 for key, row in scored.items())
    assert {row["owner_id"] for row in scored.values()} == {"E0"}


def test_every_record_is_accounted_for(story: Story) -> None:
    rows = story.table("row_ledger_summary").to_pylist()
    assert sum(row["records"] for row in rows) == 60 + 7 + 2
    assert sum(row["records"] for row in rows if row["outcome"] == "quarantined") == 0


def test_no_name_of_a_customer_or_deal_is_published(story: Story) -> None:
    files = sorted(Path(story.done["path"]).glob("*.csv"))
    assert any("SJ000" in path.read_text(encoding="utf-8-sig") for path in files)
    for path in files:
        text = path.read_text(encoding="utf-8-sig")
        assert "公司" not in text and "=商机" not in text, path.name
