"""Every setting, in one class.

Read, in falling priority, from arguments, environment variables (`ALPHAPANDA_EXECUTION__LATENCY_MS=5`), `.env`, and
`alphapanda.toml` in the working directory. No other place reads the environment.
"""

import json
import os
from datetime import date
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from alphapanda.contracts.errors import ConfigurationError
from alphapanda.core.corporate_actions import ActionKind
from alphapanda.runtime.log.settings import KafkaSettings
from alphapanda.services.risk_manager.models import RiskLimits
from alphapanda.services.trading_engine.models import PaperExecution


class Section(BaseModel):
    """A group of settings; unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PipelineSettings(Section):
    """Rules of the one order."""

    feedback_delay_ms: int = Field(
        250, ge=1, description="how late fills and rejections are heard by strategies and risk, in market time"
    )
    snapshot_interval_s: int = Field(60, ge=1, description="time between snapshots on the clock")


class OpeningPosition(Section):
    """A position that a book holds before the first event."""

    strategy_id: str = Field("", description="the book; may be left out where there is one")
    symbol: str
    quantity: int = Field(description="signed; not 0")
    average_price: float = Field(ge=0)
    product: Literal["CNC", "NRML"] = "CNC"


class CorporateActionEntry(Section):
    """One corporate action; it takes effect before the open of its ex-date."""

    symbol: str
    ex_date: date
    kind: ActionKind
    new: int = Field(1, ge=1, description="split: shares for every `old`; bonus: further shares for every `old`")
    old: int = Field(1, ge=1)
    amount: float = Field(0.0, ge=0, description="dividend for each share")


class PortfolioSettings(Section):
    """The books at the start."""

    start_cash: float = Field(1_000_000.0, ge=0, description="cash of each book, in the tape's currency")
    positions: tuple[OpeningPosition, ...] = Field((), description="what books hold at the start")
    settlements: dict[str, float] = Field(
        default_factory=dict, description="price at expiry by symbol of the derivative, or of its underlying"
    )
    corporate_actions: tuple[CorporateActionEntry, ...] = Field((), description="splits, bonuses and dividends")


class ChargeSettings(Section):
    """What fills cost."""

    profile: str = Field(
        "", description="zerodha, none, custom, or a TOML file of rates; empty: what the tape's market profile names"
    )
    per_share: float | None = Field(None, ge=0, description="custom: for each unit")
    per_order: float | None = Field(None, ge=0, description="custom: for each order")
    bps: float | None = Field(None, ge=0, description="custom: hundredths of a percent of the value")
    min: float | None = Field(None, ge=0, description="custom: least for an order")
    max: float | None = Field(None, ge=0, description="custom: most for an order")
    max_bps: float | None = Field(
        None, ge=0, description="custom: most for an order as hundredths of a percent of its value, even below min"
    )
    decimals: int | None = Field(None, ge=0, le=8, description="custom: decimals to which each fill is rounded")


class ReplaySettings(Section):
    """The replay host."""

    batch_rows: int = Field(4_096, ge=1, description="ticks made at once; leaves no trace in the results")


class LogHostSettings(Section):
    """Services over a log."""

    fan_out: bool = Field(False, description="copy each tick to market.ticks.{token} too (topics create --fan-out TAPE)")
    snapshot_interval_s: float = Field(30.0, gt=0, description="time between a service's snapshots")


class StorageSettings(Section):
    """Where results go."""

    runs: Path = Field(Path("data/runs"), description="folder of runs")
    tapes: Path = Field(Path("data/tapes"), description="folder of tapes made by the demo")
    logs: Path = Field(Path("data/logs"), description="folder of logs without a broker, one a topic prefix")
    snapshots: Path = Field(Path("data/snapshots"), description="folder of services' snapshots, one a topic prefix")
    sweeps: Path = Field(Path("data/sweeps"), description="folder of sweeps")
    sessions: Path = Field(Path("data/sessions"), description="folder of recorded sessions, one a topic prefix")


class Settings(BaseSettings):
    """All settings of AlphaPanda."""

    model_config = SettingsConfigDict(
        env_prefix="ALPHAPANDA_", env_nested_delimiter="__", env_file=".env", toml_file="alphapanda.toml",
        extra="forbid", frozen=True, nested_model_default_partial_update=True,
    )  # fmt: skip

    pipeline: PipelineSettings = PipelineSettings()
    portfolio: PortfolioSettings = PortfolioSettings()
    risk: RiskLimits = RiskLimits()
    execution: PaperExecution = PaperExecution()
    charges: ChargeSettings = ChargeSettings()
    replay: ReplaySettings = ReplaySettings()
    host: LogHostSettings = LogHostSettings()
    storage: StorageSettings = StorageSettings()
    kafka: KafkaSettings = KafkaSettings()

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource, dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:  # fmt: skip
        """Arguments, environment, `.env`, TOML."""
        return init_settings, env_settings, dotenv_settings, TomlConfigSettingsSource(settings_cls)


RECORDED = ("pipeline", "portfolio", "risk", "execution", "charges")
"""The sections that decide results, and so stand in a run's manifest."""


def load_settings(overrides: dict[str, Any] | None = None) -> Settings:
    """The settings, with `overrides` (`{"section.key": value}`, also deeper) on top.

    Text that begins a list or an object is read as JSON. Raises ConfigurationError naming the setting.
    """
    nested: dict[str, Any] = {}
    for path, value in (overrides or {}).items():
        *sections, key = path.split(".")
        if not sections:
            raise ConfigurationError(f"setting {path!r} is not understood: write section.key, such as execution.latency_ms")
        place = nested
        for one in sections:
            found = place.get(one, {})
            if not isinstance(found, dict):
                raise ConfigurationError(f"setting {path!r} lies below {one!r}, which was given as {found!r}")
            place[one] = dict(found)  # a copy: what was handed in stays as it is
            place = place[one]
        place[key] = _given(path, value)
    try:
        return Settings(**nested)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, one['loc']))}: {one['msg']} (given {one['input']!r})" for one in error.errors()]
        raise ConfigurationError("settings: " + "; ".join(lines)) from error


def inherited() -> dict[str, str]:
    """The environment, for a process that is started: it reads its settings from there."""
    return dict(os.environ)


def _given(path: str, value: Any) -> Any:
    if value in ("none", "null") and path.startswith(("risk.", "execution.")):
        return None
    if not isinstance(value, str) or not value.startswith(("[", "{")):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError as error:
        raise ConfigurationError(f"setting {path}: {value!r} is not JSON: {error}") from error


def recorded(settings: Settings) -> dict[str, Any]:
    """The settings that decide results, JSON-able."""
    return {name: getattr(settings, name).model_dump(mode="json") for name in RECORDED}
