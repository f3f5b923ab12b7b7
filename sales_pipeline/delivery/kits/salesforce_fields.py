"""Custom fields a Salesforce mapping needs, and who may read and edit them, as Metadata API packages that an administrator deploys once.

Sources: Salesforce Metadata API Developer Guide, CustomField (type, label, length, precision, scale, externalId, unique) and package.xml. Custom fields of
tasks are declared on Activity. PermissionSet (folder permissionsets, suffix .permissionset, fieldPermissions with editable, field and readable, label): the same
guide. That a permission names a task's custom field `Task.X__c`, and not by Activity, is not in it but in reports of users (dxatscale/sfpowerkit, issues 446
and 517); so permissions are a package of their own, which cannot keep the fields from being made.

Belongs here: the package's XML. Does not belong here: which fields there are (the mapping says).
"""

from __future__ import annotations

from collections.abc import Iterable
from xml.sax.saxutils import escape

from sales_pipeline.delivery.targets.spec import FieldSpec, TargetSpec

_NAMESPACE = "http://soap.sforce.com/2006/04/metadata"
_VERSION = "62.0"
_DECLARED_ON = {"Task": "Activity", "Event": "Activity"}
_SUFFIX = "__c"
_LONGEST_TEXT = 255
_SETS = {
    "Sales_Pipeline_Delivery": ("Sales Pipeline: deliver scores and follow-ups", True),
    "Sales_Pipeline_Reader": ("Sales Pipeline: read scores and follow-ups", False),
}
"""Permission sets by name: label, and whether fields may be edited."""


def salesforce_fields(spec: TargetSpec) -> dict[str, bytes]:
    """Files of the package by name: `package.xml` and `objects/<Object>.object`; none where the mapping has no custom field."""
    objects: dict[str, dict[str, str]] = {}
    for item in spec.delivered:
        where = _DECLARED_ON.get(item.object, item.object)
        for field in (item.key, *item.fields):
            if field.field.endswith(_SUFFIX):
                objects.setdefault(where, {})[field.field] = _field(field, is_key=field is item.key)
    if not objects:
        return {}
    files = {f"objects/{where}.object": _document("CustomObject", fields.values()) for where, fields in objects.items()}
    members = [f"{where}.{name}" for where, fields in sorted(objects.items()) for name in sorted(fields)]
    types = ["    <types>", *(f"        <members>{member}</members>" for member in members)]
    types += ["        <name>CustomField</name>", "    </types>", f"    <version>{_VERSION}</version>"]
    return {"package.xml": _document("Package", ["\n".join(types)])} | files


def salesforce_permissions(spec: TargetSpec) -> dict[str, bytes]:
    """Files of a second package by name: a permission set for the importing user and one for those who read; none where there is no custom field."""
    fields = sorted(
        {
            f"{item.object}.{field.field}"
            for item in spec.delivered
            for field in (item.key, *item.fields)
            if field.field.endswith(_SUFFIX)
        }
    )
    if not fields:
        return {}
    types = ["    <types>", *(f"        <members>{name}</members>" for name in sorted(_SETS))]
    types += ["        <name>PermissionSet</name>", "    </types>", f"    <version>{_VERSION}</version>"]
    return {"package.xml": _document("Package", ["\n".join(types)])} | {
        f"permissionsets/{name}.permissionset": _permission_set(label, is_editable, fields)
        for name, (label, is_editable) in _SETS.items()
    }


def _permission_set(label: str, is_editable: bool, fields: Iterable[str]) -> bytes:
    lines = []
    for field in fields:
        entries = {"editable": "true" if is_editable else "false", "field": field, "readable": "true"}
        lines += ["    <fieldPermissions>", *_elements(entries, 8), "    </fieldPermissions>"]
    return _document("PermissionSet", [*lines, *_elements({"label": label}, 4)])


def _elements(entries: dict[str, str], indent: int) -> list[str]:
    return [f"{' ' * indent}<{name}>{escape(text)}</{name}>" for name, text in entries.items()]


def _document(root: str, parts: Iterable[str]) -> bytes:
    body = "\n".join(parts)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{root} xmlns="{_NAMESPACE}">\n{body}\n</{root}>\n'.encode()


def _field(field: FieldSpec, *, is_key: bool) -> str:
    entries = {"fullName": field.field, "label": field.label or field.field.removesuffix(_SUFFIX).replace("_", " ")}
    if field.note:
        entries["description"] = field.note
    entries |= _type(field)
    if is_key:
        entries |= {"externalId": "true", "unique": "true", "caseSensitive": "true"}
    return "\n".join(["    <fields>", *_elements(entries, 8), "    </fields>"])


def _type(field: FieldSpec) -> dict[str, str]:
    if field.constant is None and not field.codes:
        if field.notation == "decimal":
            return {"precision": "18", "scale": str(field.decimals), "type": "Number"}
        if field.notation == "integer":
            return {"precision": "18", "scale": "0", "type": "Number"}
        if field.notation == "flag":
            return {"defaultValue": "false", "type": "Checkbox"}
        if field.notation in ("date", "instant"):
            return {"type": "Date" if field.notation == "date" else "DateTime"}
    length = field.length or _LONGEST_TEXT
    if length > _LONGEST_TEXT:
        return {"length": str(length), "type": "LongTextArea", "visibleLines": "3"}
    return {"length": str(length), "type": "Text"}
