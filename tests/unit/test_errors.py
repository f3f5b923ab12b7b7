import pytest

from sales_pipeline import errors

CODES = {
    errors.SalesPipelineError: 1,
    errors.ConfigurationError: 2,
    errors.AuditBlocked: 4,
    errors.LedgerUnbalanced: 4,
    errors.InputRejected: 5,
    errors.EnvironmentProblem: 6,
    errors.LakeLocked: 7,
    errors.DeliveryFailed: 8,
}


@pytest.mark.parametrize(("kind", "code"), CODES.items(), ids=lambda value: getattr(value, "__name__", value))
def test_exit_codes_are_a_contract(kind: type[errors.SalesPipelineError], code: int) -> None:
    assert kind.exit_code == code


def test_a_message_gives_both_sides_the_place_and_the_fix() -> None:
    text = str(errors.InputRejected("too many fields", expected="3", found="4", where="a.csv:7", fix="repair the line"))
    assert text.splitlines() == [
        "too many fields",
        "  expected: 3",
        "  found: 4",
        "  where: a.csv:7",
        "  what to do: repair the line",
    ]


def test_several_problems_make_one_error() -> None:
    one, two = errors.InputRejected("first"), errors.InputRejected("second")
    assert errors.InputRejected.all_of("both", [one]) is one
    both = errors.InputRejected.all_of("both", [one, two])
    assert "1. first" in str(both)
    assert "2. second" in str(both)
    assert both.exit_code == 5
