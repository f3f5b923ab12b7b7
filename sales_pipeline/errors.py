"""Every error the library raises on purpose, and the exit code the command line gives for it.

    SalesPipelineError            1   run failed
    ├── ConfigurationError        2   settings, mapping or usage are wrong
    ├── AuditBlocked              4   the outputs failed an audit; nothing was published
    │   ├── LedgerUnbalanced      4   records of a file are not all accounted for
    │   └── DeliveryBlocked       4   a delivery would move more than it may, or do harm; nothing was sent
    ├── InputRejected             5   an export cannot be read as the mapping says
    ├── EnvironmentProblem        6   a library, a system package or the lake's disk is missing or broken
    ├── LakeLocked                7   another run holds the lake's lock
    │   └── DeliveryUnderWay      7   another delivery to the same target is under way
    └── DeliveryFailed            8   a target could not be reached or refused the delivery as a whole

Exit code 3 (published, with more quarantine than allowed) is a result, not an error.

Belongs here: exception classes and how their message is put together. Does not belong here: catching, logging, printing.
"""

from __future__ import annotations

from collections.abc import Sequence


class SalesPipelineError(Exception):
    """A message for people: what was expected, what was found, where, and what to do.

    Parameters
    ----------
    summary
        One sentence, without a full stop at its end needed.
    expected, found
        The two sides of the disagreement; omitted when empty.
    where
        File, line, column or setting the disagreement was seen at.
    fix
        What the reader can do next.
    """

    exit_code = 1

    def __init__(self, summary: str, *, expected: str = "", found: str = "", where: str = "", fix: str = "") -> None:
        self.summary = summary
        self.expected = expected
        self.found = found
        self.where = where
        self.fix = fix
        lines = [summary]
        for label, text in (("expected", expected), ("found", found), ("where", where), ("what to do", fix)):
            if text:
                lines.append(f"  {label}: {text}")
        super().__init__("\n".join(lines))

    @classmethod
    def all_of(cls, summary: str, problems: Sequence[SalesPipelineError]) -> SalesPipelineError:
        """One error that lists several problems at once, so that a user mends them in one go."""
        if len(problems) == 1:
            return problems[0]
        body = "\n".join(f"{number}. {problem}" for number, problem in enumerate(problems, start=1))
        return cls(f"{summary} ({len(problems)} problems)\n{body}")


class ConfigurationError(SalesPipelineError):
    """The settings, the mapping or the call are wrong; mending them is the user's work."""

    exit_code = 2


class AuditBlocked(SalesPipelineError):
    """A check on a whole table failed, so the run was not published and the last one still stands."""

    exit_code = 4


class LedgerUnbalanced(AuditBlocked):
    """The ledger's outcomes of a file do not add up to its physical records."""


class DeliveryBlocked(AuditBlocked):
    """A delivery would move more than the settings allow, or its files failed their last check; nothing was sent."""


class InputRejected(SalesPipelineError):
    """An export file cannot be read under the mapping; nothing of it was taken."""

    exit_code = 5


class EnvironmentProblem(SalesPipelineError):
    """The machine lacks something: a library, a system package, disk space, permissions."""

    exit_code = 6


class LakeLocked(SalesPipelineError):
    """Another run holds the lake's lock."""

    exit_code = 7


class DeliveryUnderWay(LakeLocked):
    """Another delivery to the same target is under way."""


class DeliveryFailed(SalesPipelineError):
    """A target could not be reached, did not answer in time, or refused a delivery as a whole; the published tables still stand."""

    exit_code = 8
