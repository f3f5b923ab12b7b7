"""What a target wants: its objects, fields, notation and limits, declared in YAML beside this file.

Belongs here: the declaration's vocabulary, and reading it. Does not belong here: rows (`kits`), the way there (`channels`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sales_pipeline.errors import ConfigurationError

BUILT_IN = Path(__file__).parent

As = Literal["text", "integer", "decimal", "date", "instant", "flag", "salesforce_id", "guid"]
Operation = Literal["update", "upsert", "insert"]
BY_ID = "by_id"
FILE_SUFFIXES = (
    *("new", "changed", "returned", "cleared", "withdrawn", "delete", "clear_by_hand"),
    *(BY_ID, f"changed_{BY_ID}", f"returned_{BY_ID}", f"cleared_{BY_ID}", f"withdrawn_{BY_ID}"),
)
"""What may follow an object's name in the names of its files."""

Blank = Literal["ignored", "clears", "unknown"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FieldSpec(_Frozen):
    """One field of the target and the column it comes from.

    Parameters
    ----------
    field
        Its name there: an API name, or the label a target's importer goes by.
    column
        A column of the object's source (see `ObjectSpec.source`); or, instead, `constant`: the same text in every row.
    notation
        How the value is written: decimals with `decimals` places, dates `2026-06-30`, instants as the file's format says, `salesforce_id` with 18
        characters, `guid` in lower case without braces.
    codes
        The target's word for each of our codes; a code that is not named is a mistake of the mapping.
    required
        A row without a value here is not delivered.
    is_compared
        Whether a change of this field alone makes the row a changed one (a time stamp or a model's version does not).
    drift, drift_share
        A difference of at most this from what was delivered does not make a row a changed one: scores age a little every day, and a CRM marks every
        record it is given as edited. In the field's own unit (dates: days), and as a share of what was delivered (0–1). What drifted goes
        along when something else changes, and nothing drifts further than this, since what was delivered is what counts.
    is_sent_once
        Set when the record is created and never again, because people change it afterwards (status, owner).
    length
        Longest text the field takes.
    label, note
        For the person who creates the field in the CRM.
    """

    field: str
    column: str | None = None
    constant: str | None = None
    notation: As = "text"
    decimals: int = Field(default=2, ge=0, le=9)
    codes: dict[str, str] = Field(default_factory=dict)
    required: bool = False
    is_compared: bool = True
    drift: float = Field(default=0.0, ge=0)
    drift_share: float = Field(default=0.0, ge=0, lt=1)
    is_sent_once: bool = False
    length: int | None = None
    label: str = ""
    note: str = ""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.column is None) == (self.constant is None):
            raise ValueError(f"{self.field}: give either `column` or `constant`")
        if (self.drift or self.drift_share) and self.notation not in ("decimal", "integer", "date"):
            raise ValueError(f"{self.field}: only numbers and dates drift, and this is {self.notation}")
        return self


class ObjectSpec(_Frozen):
    """One kind of record of the target.

    Parameters
    ----------
    name
        File stem of the kit, unique in the target. What was delivered is remembered under it: another name forgets.
    source
        `scores` (scored_opportunities with `next_follow_up_on`, `reason_up`, `reason_down`, from the queue and the reasons), `follow_ups`
        (follow_up_queue with `subject` and `due_on`), or the name of any published table.
    where
        Column to the values a row must have to belong here, such as kind to opportunity.
    object
        What the target calls it.
    operation
        update and upsert may be repeated; insert may not, so a sent-ledger keeps what was sent.
    key
        The field that tells records apart; `key_pattern` is a regular expression every key must match as a whole, but on the way by a
        channel of the kind `looked_up_by`: that one asks the target itself which record a key means.
    updates_by
        For upserts: the field of the target's own record id. Rows of records whose id is known (the target tells it when it creates one) go as
        updates by it, so that a record somebody deleted is refused instead of made again, as an upsert by `key` would. Its column is `remote_id`.
    moves
        The field whose moves are listed and limited.
    withdrawn
        Fields (constants) set on records whose row is gone from the table; without it they are left as they are.
    clears_abstained
        Whether the fields of a record are emptied when its row has no score any more (it abstained). Without a word: of `scores`, where the target
        can empty fields. A row that left the table is another matter (`withdrawn`): a closed opportunity keeps the score it closed with.
    owner
        The field that holds an owner, where the target refuses unknown ones.
    is_off
        Declared, but left out of kits until the mapping says otherwise.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    source: str
    object: str
    operation: Operation
    key: FieldSpec
    fields: tuple[FieldSpec, ...]
    where: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    key_pattern: str | None = None
    looked_up_by: str | None = None
    updates_by: FieldSpec | None = None
    moves: str | None = None
    withdrawn: dict[str, str] = Field(default_factory=dict)
    clears_abstained: bool | None = None
    owner: str | None = None
    is_off: bool = False
    note: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [self.key.field, *(field.field for field in self.fields)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{self.name}: fields named twice: {', '.join(twice)}")
        for name in (self.moves, self.owner, *self.withdrawn):
            if name is not None and name not in names:
                raise ValueError(f"{self.name}: {name} is no field of it")
        if self.updates_by is not None and (self.operation != "upsert" or self.updates_by.column != "remote_id"):
            raise ValueError(f"{self.name}: updates_by is for upserts, and its column is remote_id")
        return self


class FileFormat(_Frozen):
    """How files are written. `max_bytes` and `max_rows` bound one file, header included; more rows begin another file."""

    kind: Literal["csv", "parquet"] = "csv"
    has_bom: bool = False
    line_end: Literal["\n", "\r\n"] = "\n"
    delimiter: str = ","
    instant: Literal["z", "space"] = "z"
    max_bytes: int | None = None
    max_rows: int | None = None


class TargetSpec(_Frozen):
    """A target: what it is called, how it takes files, what an empty cell does there, its objects in the order of import.

    `blank`: an empty cell of an update is ignored, clears the field, or nobody knows; `clear` is the text that clears a field where a blank
    does not. `sdl` says that Data Loader mapping files are wanted beside the CSV files. `deleted_codes` are the codes with which the target refuses an
    update because the record was deleted there.
    """

    name: str
    title: str
    format: FileFormat = FileFormat()
    blank: Blank = "unknown"
    clear: str | None = None
    has_sdl: bool = False
    deleted_codes: tuple[str, ...] = ()
    objects: tuple[ObjectSpec, ...] = ()
    set_up: tuple[str, ...] = ()
    import_steps: tuple[str, ...] = ()
    rollback_steps: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _files_of_their_own(self) -> Self:
        names = [item.name for item in self.objects]
        stems = [*names, *(f"{name}_{suffix}" for name in names for suffix in FILE_SUFFIXES)]
        twice = sorted({stem for stem in stems if stems.count(stem) > 1})
        if twice:
            raise ValueError(f"objects would write the same file: {', '.join(twice)}")
        return self

    @property
    def can_clear(self) -> bool:
        """Whether a file can empty a field."""
        return self.blank == "clears" or self.clear is not None

    def clears_abstained(self, item: ObjectSpec) -> bool:
        """Whether records of the object whose row has no score any more are emptied."""
        wanted = item.source == "scores" if item.clears_abstained is None else item.clears_abstained
        return wanted and self.can_clear and item.operation != "insert"

    @property
    def delivered(self) -> tuple[ObjectSpec, ...]:
        """Objects that are not off, in the order of import."""
        return tuple(item for item in self.objects if not item.is_off)

    def on_the_way_by(self, channel: str) -> TargetSpec:
        """The mapping as a channel of that kind needs it: where it looks keys up itself, their form does not matter."""
        objects = tuple(
            item.model_copy(update={"key_pattern": None}) if item.looked_up_by == channel else item
            for item in self.objects
        )
        return self.model_copy(update={"objects": objects})


def built_in_targets() -> tuple[str, ...]:
    """Names of the targets that come with a mapping."""
    return tuple(sorted(path.stem for path in BUILT_IN.glob("*.yaml")))


def load_target(name: str, path: Path | None = None) -> TargetSpec:
    """The mapping of a target: the built-in one, or the file given; ConfigurationError lists every problem at once."""
    import yaml

    source = path if path is not None else BUILT_IN / f"{name}.yaml"
    if not source.is_file():
        raise ConfigurationError(
            "no mapping for this target",
            expected="a YAML file" if path is not None else f"one of {', '.join(built_in_targets())}",
            found=str(path) if path is not None else name,
            fix="name a built-in mapping with `like`, or a file with `mapping`, under delivery.targets",
        )
    try:
        return TargetSpec.model_validate(yaml.safe_load(source.read_text(encoding="utf-8")))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            "the mapping is not readable YAML", found=str(error).replace("\n", " "), where=str(source)
        ) from error
    except ValidationError as error:
        problems = [
            ConfigurationError(
                f"{'.'.join(str(part) for part in problem['loc']) or 'mapping'}: {problem['msg']}", where=str(source)
            )
            for problem in error.errors()
        ]
        raise ConfigurationError.all_of("the mapping is wrong", problems) from error
