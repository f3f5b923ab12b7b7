from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from sales_pipeline.contracts.delivery import CHANGES
from sales_pipeline.delivery.kit import Kit
from sales_pipeline.delivery.kits.last_check import read_part
from sales_pipeline.delivery.state.settle import confirm_all
from sales_pipeline.delivery.targets.spec import TargetSpec, built_in_targets, load_target
from sales_pipeline.errors import ConfigurationError
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.runs import PublishedRun
from tests.support.kit_runs import DAY, follow_up, kit_of, publish_rows, reason, scored_row, sfid, text

COPIED_FROM_THE_CRM = {"amount", "crm_close_date", "crm_probability", "stage", "pipeline", "abstain_reason", "evidence"}
KEPT_BY_PEOPLE = {
    "probability", "deal probability", "forecastcategory", "forecastcategoryname", "amount", "stagename", "deal stage", "closedate",
    "close date", "est. revenue", "est. close date", "value", "expected_revenue", "date_deadline",
}  # fmt: skip
METADATA = "{http://soap.sforce.com/2006/04/metadata}"
GUID = "0f8fad5b-d9cb-469f-a165-70867728950e"


def ids(name: str) -> tuple[str, str]:
    if name == "salesforce":
        return sfid("006", 1), sfid("005", 1)
    if name == "dynamics":
        return GUID, GUID
    if name == "odoo":
        return "lead_1", "owner_1"
    return "OP-101" if name == "tryton" else "101", "7"


def run_of(lake: Lake, name: str, run_id: str = "run-1", probability: float = 0.5, **task: Any) -> PublishedRun:
    opportunity, owner = ids(name)
    scored = scored_row(opportunity, probability, trend="new", reasons_up=reason("The customer wrote twice, lately"))
    return publish_rows(lake, run_id, [scored], [follow_up("fu-1", opportunity) | {"owner_id": owner} | task])


def rows(kit: Kit, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((kit.folder / name).read_text(encoding="utf-8-sig"))))


@pytest.mark.parametrize("name", built_in_targets())
def test_a_built_in_target_takes_a_run_without_any_setting(tmp_path: Path, name: str) -> None:
    lake = Lake(tmp_path)
    kit = kit_of(lake, run_of(lake, name), load_target(name))
    assert kit.rows == (1 if name == "odoo" else 2)
    assert sum(facts.not_delivered for facts in kit.objects) == 0
    confirm_all(lake, "crm", kit.folder)
    again = kit_of(lake, run_of(lake, name), load_target(name))
    assert again.rows == 0
    moved = kit_of(lake, run_of(lake, name, "run-2", 0.75), load_target(name))
    assert moved.objects[0].changed == 1
    assert moved.objects[0].moves[0].new == (75.0 if moved.objects[0].name == "predictive_scores" else 0.75)


@pytest.mark.parametrize("name", built_in_targets())
def test_no_built_in_target_writes_what_people_or_the_crm_keep(name: str) -> None:
    spec = load_target(name)
    for item in spec.objects:
        fields = (item.key, *item.fields)
        assert not {field.field.removeprefix("Deal - ").lower() for field in fields} & KEPT_BY_PEOPLE
        assert not {field.column for field in fields} & COPIED_FROM_THE_CRM


def test_a_dynamics_file_has_a_mark_and_crlf_and_stays_below_8_mb(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    kit = kit_of(lake, run_of(lake, "dynamics"), load_target("dynamics"))
    raw = (kit.folder / "opportunity_scores.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf(Do Not Modify) Opportunity,")
    assert raw.count(b"\r\n") == raw.count(b"\n") == 2
    assert load_target("dynamics").format.max_bytes == 8_000_000
    assert kit.parcel.line_end == "\r\n"


def test_the_scores_of_dynamics_itself_are_written_only_when_the_mapping_says_so(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    spec = load_target("dynamics")
    assert "predictive_scores.csv" not in [
        part.name for part in kit_of(lake, run_of(lake, "dynamics"), spec).parcel.parts
    ]
    objects = [item.model_copy(update={"is_off": False}) for item in spec.objects]
    kit = kit_of(lake, run_of(lake, "dynamics"), spec.model_copy(update={"objects": tuple(objects)}))
    row = rows(kit, "predictive_scores.csv")[0]
    assert (row["Score"], row["Grade"], row["Score trend"]) == ("50", "Grade B", "Not enough info")


def test_tryton_gets_its_own_notation(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    kit = kit_of(lake, run_of(lake, "tryton"), load_target("tryton"))
    assert text(kit, "opportunity_scores.csv") == (
        "id,win_probability,score_band,expected_value,scored_at\nOP-101,0.5000,B,,2026-07-01 00:00:00\n"
    )
    assert rows(kit, "follow_ups_new.csv")[0]["state"] == "open"


def test_a_follow_up_that_comes_back_is_opened_again_where_its_state_is_else_the_peoples_own(tmp_path: Path) -> None:
    lake, spec = Lake(tmp_path), load_target("tryton")
    confirm_all(lake, "crm", kit_of(lake, run_of(lake, "tryton"), spec).folder)
    changed = kit_of(lake, run_of(lake, "tryton", "run-2", action="email"), spec)
    assert "state" not in rows(changed, "follow_ups_changed.csv")[0]
    none = publish_rows(lake, "run-3", [scored_row("OP-101")])
    away = kit_of(lake, none, spec)
    assert rows(away, "follow_ups_withdrawn.csv") == [{"key": "fu-1", "state": "withdrawn"}]
    confirm_all(lake, "crm", away.folder)
    back = kit_of(lake, run_of(lake, "tryton"), spec)
    assert rows(back, "follow_ups_returned.csv")[0]["state"] == "open"
    assert "returned" in CHANGES


def test_parquet_files_are_typed(tmp_path: Path) -> None:
    lake, spec = Lake(tmp_path), load_target("parquet")
    kit = kit_of(lake, run_of(lake, "parquet"), spec)
    part = next(part for part in kit.parcel.parts if part.object_name == "scored_opportunities")
    types = {field.name: str(field.type) for field in next(read_part(kit.parcel.path(part), part, spec)).schema}
    assert types["win_probability"] == "decimal128(38, 6)"
    assert types["score"] == "int64"
    assert types["predicted_close_date"] == "date32[day]"
    assert types["as_of"] == "timestamp[us, tz=UTC]"


def test_salesforce_gets_mappings_and_the_fields_to_create(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    kit = kit_of(lake, run_of(lake, "salesforce"), load_target("salesforce"))
    sdl = text(kit, "opportunity_scores.sdl").splitlines()
    assert sdl[0] == "Id=Id"
    assert [line.split("=")[0] for line in sdl] == list(rows(kit, "opportunity_scores.csv")[0])
    activity = text(kit, "metadata/objects/Activity.object")
    assert "<externalId>true</externalId>" in activity
    assert "<fullName>Follow_Up_Key__c</fullName>" in activity
    opportunity = text(kit, "metadata/objects/Opportunity.object")
    assert "<scale>4</scale>" in opportunity
    assert "<type>DateTime</type>" in opportunity
    assert "<members>Activity.Follow_Up_Key__c</members>" in text(kit, "metadata/package.xml")


def test_salesforce_gets_permission_sets_as_a_package_of_their_own(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    kit = kit_of(lake, run_of(lake, "salesforce"), load_target("salesforce"))
    package = ElementTree.fromstring(text(kit, "metadata_permissions/package.xml"))
    names = [member.text for member in package.iter(f"{METADATA}members")]
    assert names == ["Sales_Pipeline_Delivery", "Sales_Pipeline_Reader"]
    fields = ElementTree.fromstring(text(kit, "metadata/package.xml")).iter(f"{METADATA}members")
    made = {str(field.text).replace("Activity.", "Task.") for field in fields}
    for name, may_edit in zip(names, ("true", "false"), strict=True):
        document = ElementTree.fromstring(text(kit, f"metadata_permissions/permissionsets/{name}.permissionset"))
        assert document.tag == f"{METADATA}PermissionSet"
        assert len(document.findtext(f"{METADATA}label") or "") in range(1, 81)
        given = [[child.text for child in one] for one in document.iter(f"{METADATA}fieldPermissions")]
        assert {field for _, field, _ in given} == made
        assert {(edit, read) for edit, _, read in given} == {(may_edit, "true")}


def test_long_texts_numbers_and_flags_have_their_own_field_types() -> None:
    from sales_pipeline.delivery.kits.salesforce_fields import salesforce_fields, salesforce_permissions

    fields = [
        {"field": "Long__c", "column": "reason_up", "length": 1000, "label": "A < B"},
        {"field": "Score__c", "column": "score", "notation": "integer"},
        {"field": "Flag__c", "column": "kind", "notation": "flag"},
        {"field": "Standard", "column": "grade"},
    ]
    key = {"field": "Id", "column": "opportunity_id"}
    item = {"name": "o", "source": "scores", "object": "Deal__c", "operation": "update", "key": key, "fields": fields}
    spec = TargetSpec.model_validate({"name": "x", "title": "X", "objects": [item]})
    xml = salesforce_fields(spec)["objects/Deal__c.object"].decode()
    assert "<type>LongTextArea</type>" in xml
    assert "<label>A &lt; B</label>" in xml
    assert "<scale>0</scale>" in xml
    assert "<type>Checkbox</type>" in xml
    assert "Standard" not in xml
    nothing = TargetSpec.model_validate({"name": "x", "title": "X", "objects": [item | {"fields": fields[3:]}]})
    assert salesforce_fields(nothing) == salesforce_permissions(nothing) == {}


@pytest.mark.parametrize("name", ["salesforce", "dynamics", "tryton"])
def test_a_follow_up_that_waits_another_day_is_not_moved_under_the_hands_of_its_owner(
    tmp_path: Path, name: str
) -> None:
    lake, spec = Lake(tmp_path), load_target(name)
    confirm_all(lake, "crm", kit_of(lake, run_of(lake, name), spec).folder)
    waiting = run_of(lake, name, "run-2", due_at=DAY + timedelta(days=1, hours=17))
    facts = {item.name: item for item in kit_of(lake, waiting, spec).objects}
    tasks = facts["follow_ups" if name == "tryton" else "follow_up_tasks"]
    assert (tasks.changed, tasks.unchanged) == (0, 1)


@pytest.mark.parametrize("names", [("tasks", "tasks"), ("tasks", "tasks_new"), ("../tasks",), ("",)])
def test_objects_have_files_of_their_own(tmp_path: Path, names: tuple[str, ...]) -> None:
    item = {
        "source": "scores",
        "object": "x",
        "operation": "update",
        "key": {"field": "id", "column": "kind"},
        "fields": [],
    }
    path = tmp_path / "crm.yaml"
    path.write_text(json.dumps({"name": "crm", "title": "CRM", "objects": [{**item, "name": name} for name in names]}))
    with pytest.raises(ConfigurationError, match=r"objects would write the same file|should match pattern"):
        load_target("crm", path)


def test_lead_follow_ups_name_the_lead_as_the_person(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lead = sfid("00Q", 1)
    run = publish_rows(lake, "run-1", [scored_row(lead, kind="lead")], [follow_up("fu-1", lead)])
    kit = kit_of(lake, run, load_target("salesforce"))
    assert rows(kit, "lead_follow_up_tasks_new.csv")[0]["WhoId"] == lead
    assert rows(kit, "lead_scores.csv")[0]["Id"] == lead
