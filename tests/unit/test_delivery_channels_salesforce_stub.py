"""The stand-in for Salesforce keeps the documented rules: what it accepts proves something."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from sales_pipeline.delivery.targets.spec import load_target
from tests.support.salesforce_org import Faults, Org, org_for
from tests.support.salesforce_stub import SalesforceStub

TASK_FIELDS: Any = {
    "Subject": "text",
    "ActivityDate": "date",
    "At__c": "instant",
    "Done__c": "flag",
    "N__c": "number",
    "OwnerId": "user",
    "WhatId": "any",
}


class Client:
    def __init__(self, stub: SalesforceStub) -> None:
        self.stub = stub
        self.base = f"{stub.url}/services/data/v62.0/jobs/ingest"

    def ask(self, method: str, path: str = "", body: Any = None, **headers: str) -> tuple[int, bytes]:
        kind = "text/csv" if isinstance(body, bytes) else "application/json"
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.base}{path}", data, method=method)
        for name, value in {"Content-Type": kind, "Authorization": "Bearer t", **headers}.items():
            request.add_header(name.replace("_", "-"), value)
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def job(self, **changes: str) -> str:
        asked = {
            "object": "Task",
            "operation": "upsert",
            "externalIdFieldName": "Key__c",
            "contentType": "CSV",
        } | changes
        if asked["operation"] != "upsert":
            del asked["externalIdFieldName"]
        status, body = self.ask("POST", "", asked)
        assert status == 200, body
        return str(json.loads(body)["id"])

    def run(self, data: bytes, **changes: str) -> tuple[dict[str, Any], str, str, str]:
        """The job's end, and its three results."""
        job = self.job(**changes)
        assert self.ask("PUT", f"/{job}/batches", data)[0] == 201
        assert self.ask("PATCH", f"/{job}", {"state": "UploadComplete"})[0] == 200
        states = [json.loads(self.ask("GET", f"/{job}")[1])["state"] for _ in range(2)]
        assert states[0] == "InProgress"
        kinds = ("successfulResults", "failedResults", "unprocessedrecords")
        info = json.loads(self.ask("GET", f"/{job}")[1])
        return info, *(self.ask("GET", f"/{job}/{kind}")[1].decode(errors="replace") for kind in kinds)  # type: ignore[return-value]


@pytest.fixture
def org() -> Org:
    org = Org({"Task": dict(TASK_FIELDS), "Opportunity": {"Amount": "number"}, "User": {}}, {"Task": "Key__c"})
    org.add("User")
    return org


@pytest.fixture
def client(org: Org) -> Iterator[Client]:
    with SalesforceStub("t", org, max_base64_bytes=4000) as stub:
        yield Client(stub)


def failed_words(failed: str) -> list[str]:
    return [line.split('","')[1] for line in failed.splitlines()[1:]]


def test_records_are_made_once_and_found_again_by_their_external_key(client: Client, org: Org) -> None:
    _, ok, bad, rest = client.run(b"Key__c,Subject\nk1,Call\n")
    (record,) = org.records["Task"]
    assert ok == f'"sf__Id","sf__Created","Key__c","Subject"\n"{record}","true","k1","Call"\n'
    assert bad == '"sf__Id","sf__Error","Key__c","Subject"\n'
    assert rest == '"Key__c","Subject"\n'
    assert '"false","k1"' in client.run(b"Key__c,Subject\nk1,Write\n")[1]
    assert org.records["Task"] == {record: {"Key__c": "k1", "Subject": "Write"}}


def test_an_empty_cell_is_ignored_and_na_clears(client: Client, org: Org) -> None:
    client.run(b"Key__c,Subject,N__c\nk1,Call,1.5\n")
    client.run(b"Key__c,Subject,N__c\nk1,,#N/A\n")
    (held,) = org.records["Task"].values()
    assert held == {"Key__c": "k1", "Subject": "Call"}


@pytest.mark.parametrize(
    ("data", "job", "words"),
    [
        (b"Key__c,Subject\r\nk1,Call\r\n", {}, "ClientInputError : LineEnding is invalid on user data"),
        (b"Key__c,Subject\nk1,Call\n", {"lineEnding": "CRLF"}, "ClientInputError : LineEnding is invalid on user data"),
        (b'Key__c,Subject\nk1,"two\r\nlines"\n', {}, "ClientInputError : LineEnding is invalid on user data"),
        (b"\xef\xbb\xbfKey__c,Subject\nk1,Call\n", {}, "InvalidBatch : Field name not found : \ufeffKey__c"),
        (b"Key__c,Nope__c\nk1,Call\n", {}, "InvalidBatch : Field name not found : Nope__c"),
        (b"Key__c;Subject\nk1;Call\n", {}, "InvalidBatch : Field name not found : Key__c;Subject"),
        (b"Key__c,Subject\nk1,\xff\n", {}, "UTF-8 expected"),
        (b"Subject\nCall\n", {}, "does not match an External ID"),
        (b"Key__c,Subject\nk1,Call\n", {"externalIdFieldName": "Subject"}, "does not match an External ID"),
    ],
)
def test_a_file_that_breaks_a_rule_fails_the_job_and_writes_nothing(
    client: Client, org: Org, data: bytes, job: dict[str, str], words: str
) -> None:
    info, *_ = client.run(data, **job)
    assert info["state"] == "Failed"
    assert words in info["errorMessage"]
    assert info["numberRecordsProcessed"] == 0
    assert not org.writes


@pytest.mark.parametrize(
    ("cells", "code"),
    [
        (b"ActivityDate\nk1,01/12/2026\n", "INVALID_TYPE_ON_FIELD"),
        (b"ActivityDate\nk1,2026-13-01\n", "INVALID_TYPE_ON_FIELD"),
        (b"At__c\nk1,2026-11-22T06:30:00.123456Z\n", "INVALID_TYPE_ON_FIELD"),
        (b"At__c\nk1,2026-11-22 06:30:00\n", "INVALID_TYPE_ON_FIELD"),
        (b'N__c\nk1,"0,5"\n', "INVALID_TYPE_ON_FIELD"),
        (b"N__c\nk1,1e-05\n", "INVALID_TYPE_ON_FIELD"),
        (b"Done__c\nk1,maybe\n", "INVALID_TYPE_ON_FIELD"),
        (b"OwnerId\nk1,005Hs0000099999AAA\n", "INVALID_CROSS_REFERENCE_KEY:invalid cross reference id:OwnerId"),
        (b"WhatId\nk1,006Hs0000099999AAA\n", "INVALID_CROSS_REFERENCE_KEY"),
        (b"Subject\nk1,a\nk1,b\n", "DUPLICATE_VALUE:Duplicate external id specified: k1"),
        (b"Subject\n,a\n", "MISSING_ARGUMENT:Key__c not specified"),
        (b"Subject\nk1,a,b\n", "INVALID_ROW"),
    ],
)
def test_a_row_that_breaks_a_rule_is_refused(client: Client, org: Org, cells: bytes, code: str) -> None:
    info, ok, failed, _ = client.run(b"Key__c," + cells)
    assert info["state"] == "JobComplete"
    assert ok.count("\n") == 1
    assert all(word.startswith(code) for word in failed_words(failed))
    assert info["numberRecordsFailed"] == len(failed_words(failed)) > 0
    assert not org.writes


def test_good_values_of_every_kind_are_taken(client: Client, org: Org) -> None:
    owner = next(iter(org.records["User"]))
    row = f"k1,2026-06-30,2026-06-30T22:00:00.000Z,true,-0.50,{owner}\n"
    client.run(b"Key__c,ActivityDate,At__c,Done__c,N__c,OwnerId\n" + row.encode())
    assert set(org.writes.values()) == {1}


def test_updates_need_known_ids_of_18_characters(client: Client, org: Org) -> None:
    (known,) = org.add("Opportunity")
    data = f"Id,Amount\n{known[:15]},1\n006Hs0000099999AAA,1\n{known},1\n".encode()
    _, ok, failed, _ = client.run(data, object="Opportunity", operation="update")
    assert [word.split(":")[0] for word in failed_words(failed)] == ["INVALID_CROSS_REFERENCE_KEY", "MALFORMED_ID"]
    assert ok.splitlines()[1:] == [f'"{known}","false","{known}","1"']
    assert (
        "DUPLICATE_VALUE"
        in client.run(f"Id,Amount\n{known},1\n{known},2\n".encode(), object="Opportunity", operation="update")[2]
    )


def test_an_inserted_row_makes_a_record_every_time(client: Client, org: Org) -> None:
    for _ in range(2):
        client.run(b"Subject\nCall\n", operation="insert")
    assert len(org.records["Task"]) == 2


def test_a_job_stopped_in_the_middle_gives_back_the_rest(org: Org) -> None:
    with SalesforceStub("t", org, faults=Faults(stop_after=1)) as stub:
        info, ok, _, rest = Client(stub).run(b"Key__c,Subject\nk1,a\nk2,b\n")
    assert info["state"] == "Aborted"
    assert ok.count("k1") == 1
    assert rest == '"Key__c","Subject"\n"k2","b"\n'


def test_requests_that_break_a_rule_are_refused(client: Client) -> None:
    job = client.job()
    good = b"Key__c,Subject\nk1,Call\n"
    cases = [
        (401, "INVALID_SESSION_ID", client.ask("GET", f"/{job}", Authorization="Bearer other")),
        (404, "NOT_FOUND", client.ask("GET", "/750Hs9999999999999")),
        (404, "NOT_FOUND", client.ask("GET", f"/{job}/nothing")),
        (405, "METHOD_NOT_ALLOWED", client.ask("GET")),
        (415, "UNSUPPORTED_MEDIA_TYPE", client.ask("PUT", f"/{job}/batches", good, Content_Type="application/json")),
        (415, "UNSUPPORTED_MEDIA_TYPE", client.ask("PATCH", f"/{job}", {"state": "Aborted"}, Content_Type="text/csv")),
        (413, "EXCEEDED_MAX_SIZE", client.ask("PUT", f"/{job}/batches", b"x" * 3001)),
        (400, "INVALIDJOBSTATE", client.ask("GET", f"/{job}/successfulResults")),
        (400, "INVALIDJOB", client.ask("PATCH", f"/{job}", {"state": "UploadComplete"})),
        (400, "INVALIDJOB", client.ask("POST", "", {"object": "Task", "operation": "upsert", "contentType": "CSV"})),
        (400, "INVALIDJOB", client.ask("POST", "", {"object": "Nope", "operation": "update", "contentType": "CSV"})),
    ]
    for status, code, (found, body) in cases:
        assert (found, code in body.decode()) == (status, True), body
    assert client.ask("PUT", f"/{job}/batches", good)[0] == 201
    assert client.ask("PUT", f"/{job}/batches", good)[0] == 201
    assert b"Found 2 contents" in client.ask("PATCH", f"/{job}", {"state": "UploadComplete"})[1]
    assert client.ask("PATCH", f"/{job}", {"state": "Aborted"})[0] == 200
    assert b"INVALIDJOBSTATE" in client.ask("PUT", f"/{job}/batches", good)[1]


def test_a_deleted_record_is_refused_by_its_id_and_made_again_by_its_external_key(client: Client) -> None:
    org = client.stub.org
    _, made, _, _ = client.run(b"Key__c,Subject\nk-1,Call\n")
    record = made.splitlines()[1].split(",")[0].strip('"')
    org.delete("Task", record)
    _, _, failed, _ = client.run(f"Id,Subject\n{record},Mail\n".encode(), operation="update")
    assert "ENTITY_IS_DELETED:entity is deleted" in failed
    _, again, _, _ = client.run(b"Key__c,Subject\nk-1,\n")
    assert len(org.records["Task"]) == 1
    assert record not in again


def test_an_org_made_for_a_mapping_knows_its_custom_fields_and_no_made_up_standard_ones() -> None:
    spec = load_target("salesforce")
    org = org_for(spec)
    for wanted in spec.objects:
        known = {"Id", *org.objects[wanted.object], org.external.get(wanted.object)}
        assert {field.field for field in (wanted.key, *wanted.fields)} <= known
