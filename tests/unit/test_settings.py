"""Settings: one class, four sources, clear errors."""

from pathlib import Path

import pytest

from alphapanda.contracts.errors import ConfigurationError
from alphapanda.runtime.settings import load_settings


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
