"""Settings: one class, four sources, clear errors."""

from pathlib import Path

import pytest

from alphapanda.contracts.errors import ConfigurationError
from alphapanda.runtime.settings import load_settings, recorded


def test_arguments_beat_the_environment_which_beats_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """latency_ms in all of them; others stay as the files say."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "alphapanda.toml").write_text('[execution]\nlatency_ms = 1\nprice = "mid"\n')
    monkeypatch.setenv("ALPHAPANDA_EXECUTION__LATENCY_MS", "2")
    from_environment = load_settings().execution
    from_arguments = load_settings({"execution.latency_ms": "3"}).execution
    assert (from_environment.latency_ms, from_arguments.latency_ms, from_environment.price) == (2, 3, "mid")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"latency": 1}, "section.key"),
        ({"execution.latency": 1}, r"execution\.latency"),
        ({"execution.price": "best"}, "'best'"),
        ({"nothing.here": 1}, "nothing"),
    ],
)
def test_a_wrong_setting_is_named(overrides: dict[str, object], message: str) -> None:
    """By its whole name, with what was given."""
    with pytest.raises(ConfigurationError, match=message):
        load_settings(overrides)


def test_a_limit_can_be_taken_off() -> None:
    """`none` in the section of limits."""
    assert load_settings({"risk.max_quote_age_s": "none"}).risk.max_quote_age_s is None


def test_settings_can_lie_deeper_and_be_json() -> None:
    """A limit of the account, one of a strategy, and a list of latencies."""
    found = load_settings({
        "risk.account.max_position": "5", "risk.strategies.pairs.max_position": "3", "execution.latency_samples_ms": "[1, 2.5]",
    })  # fmt: skip
    actual = found.risk.account.max_position, found.risk.of_strategy("pairs").max_position, found.execution.latency_samples_ms
    assert actual == (5, 3, (1.0, 2.5))


def test_a_deeper_setting_joins_what_was_given_whole_and_changes_nothing_of_it() -> None:
    """A table of limits, and one more; below a figure there is nothing."""
    given = {"risk.account": {"max_position": 5}, "risk.account.max_daily_loss": "7"}
    found = load_settings(given).risk.account
    assert (found.max_position, found.max_daily_loss, given["risk.account"]) == (5, 7.0, {"max_position": 5})
    with pytest.raises(ConfigurationError, match=r"'risk.max_position.x' lies below 'max_position', which was given as 5"):
        load_settings({"risk.max_position": 5, "risk.max_position.x": 3})


def test_what_is_no_json_is_named() -> None:
    """The setting and what was given."""
    with pytest.raises(ConfigurationError, match=r"execution.latency_samples_ms: '\[1' is not JSON"):
        load_settings({"execution.latency_samples_ms": "[1"})


def test_recorded_settings_decide_as_those_they_were_recorded_of() -> None:
    """A strategy's own limits are those that were set: the others still come from the limits of all."""
    given = load_settings({"risk.max_order_quantity": 9, "risk.strategies": {"pairs": {"max_position": 3}}})
    again = load_settings({f"{name}.{key}": value for name, part in recorded(given).items() for key, value in part.items()})
    assert again.risk.of_strategy("pairs") == given.risk.of_strategy("pairs")
    assert again.risk.of_strategy("pairs").max_order_quantity == 9
