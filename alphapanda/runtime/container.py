"""The composition root: the one place that chooses adapters and wires rooms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property, lru_cache
from typing import Any

from alphapanda.adapters.tape import Tape
from alphapanda.contracts.errors import ConfigurationError
from alphapanda.contracts.events import ALL_BOOKS, Charges, MarketTick
from alphapanda.contracts.instruments import Instrument
from alphapanda.core.ledger import to_e8
from alphapanda.reference.charges import NOTHING, ChargeSchedule, load_charges
from alphapanda.runtime.replay import Rooms
from alphapanda.runtime.settings import ChargeSettings, Settings
from alphapanda.services.feature_engine.models import FeatureRequest, Indicator
from alphapanda.services.feature_engine.service import InstrumentLane
from alphapanda.services.portfolio_manager.service import PortfolioManager
from alphapanda.services.risk_manager.service import RiskManager
from alphapanda.services.strategy_runner.service import StrategyLane
from alphapanda.services.strategy_runner.strategy import Strategy
from alphapanda.services.trading_engine.service import TradingEngine

DAY_NS = 86_400_000_000_000


@dataclass(frozen=True)
class StrategySpec:
    """One strategy of a run: its book's name, its lane, and the instance."""

    strategy_id: str
    lane: int
    strategy: Strategy


def named(strategies: Sequence[Strategy]) -> list[StrategySpec]:
    """Strategies with lanes by their place in the list, and ids from their class names, numbered where these repeat."""
    names = [_snake(type(strategy).__name__) for strategy in strategies]
    ids = [name if names.count(name) == 1 else f"{name}_{i}" for i, name in enumerate(names, 1)]
    return [StrategySpec(one, lane, strategy) for lane, (one, strategy) in enumerate(zip(ids, strategies, strict=True), 1)]


def _snake(name: str) -> str:
    return "".join("_" + c.lower() if c.isupper() and i else c.lower() for i, c in enumerate(name))


class AppContainer:
    """Everything that a host needs, made from settings."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def charges(self, profile_default: str) -> ChargeSchedule:
        """The charge schedule: the setting's, else the market profile's."""
        chosen = self.settings.charges
        name = chosen.profile or profile_default
        return load_charges(_custom(chosen) if name == "custom" else name)

    def rooms(self, tape: Tape, specs: Sequence[StrategySpec]) -> Rooms:
        """All lanes of a replay of `tape`, sharing one table of marks."""
        _check(specs)
        marks: dict[int, MarketTick] = {}
        instruments = tape.instruments
        lanes = [StrategyLane(spec.lane, spec.strategy_id, spec.strategy, _universe(spec, instruments)) for spec in specs]
        lanes.sort(key=lambda lane: lane.lane)
        cash = {spec.strategy_id: to_e8(self.settings.portfolio.start_cash) for spec in specs}
        asked: dict[int, list[FeatureRequest]] = {}
        for lane in lanes:
            for token in lane.instruments if lane.requests else ():
                asked.setdefault(token, []).extend(lane.requests)
        settings = self.settings
        if settings.execution.price != "last" and not {"bid", "ask"} <= set(tape.columns):
            raise ConfigurationError(
                f"execution.price={settings.execution.price} needs bid and ask, and {tape.path} has neither: use last"
            )
        return Rooms(
            [InstrumentLane(token, asked[token], tape.beat_interval_s) for token in sorted(asked)],
            lanes,
            RiskManager(settings.risk, instruments, cash, marks),
            TradingEngine(settings.execution, instruments, self._charge_rule(tape), marks),
            PortfolioManager(instruments, cash, settings.pipeline.snapshot_interval_s, marks),
            marks,
        )

    def _charge_rule(self, tape: Tape) -> Any:
        schedule, product = self.charges(tape.profile.charges), self.settings.charges.product
        if schedule.free:
            return lambda ts_ns, segment, quantity, notional_e8: NOTHING

        @lru_cache(maxsize=64)
        def local_day(quarter: int) -> date:
            # Local dates begin at a multiple of a quarter of an hour in every zone.
            return tape.profile.local_date(quarter * (DAY_NS // 96))

        def charge(ts_ns: int, segment: str, quantity: int, notional_e8: int) -> Charges:
            return schedule.charge(
                day=local_day(ts_ns // (DAY_NS // 96)), segment=segment, product=product, quantity=quantity,
                notional_e8=notional_e8,
            )  # fmt: skip

        return charge

    @cached_property
    def runs_root(self) -> Any:
        """Where runs are kept."""
        return self.settings.storage.runs


def feature_names(specs: Sequence[StrategySpec]) -> tuple[str, ...]:
    """Every indicator's name that some strategy asks for."""
    asked = [request for spec in specs for request in spec.strategy.features()]
    return tuple(sorted({request.name for request in asked if isinstance(request, Indicator)}))


def _universe(spec: StrategySpec, instruments: Mapping[int, Instrument]) -> dict[int, Instrument]:
    symbols = spec.strategy.symbols
    by_symbol = {instrument.symbol: instrument for instrument in instruments.values()}
    if missing := [name for name in symbols if name not in by_symbol]:
        raise ConfigurationError(f"{spec.strategy_id} asks for {', '.join(missing)}: the tape has {', '.join(sorted(by_symbol))}")
    chosen = [by_symbol[name] for name in symbols] or [one for one in instruments.values() if one.tradable]
    if not chosen:
        raise ConfigurationError(f"{spec.strategy_id} has no instrument: none on the tape is tradable; name some with symbols=")
    return {one.instrument_token: one for one in sorted(chosen, key=lambda one: one.instrument_token)}


def _check(specs: Sequence[StrategySpec]) -> None:
    ids, lanes = [spec.strategy_id for spec in specs], [spec.lane for spec in specs]
    if not specs or len(set(ids)) < len(ids) or len(set(lanes)) < len(lanes) or min(lanes) < 1 or ALL_BOOKS in ids:
        raise ConfigurationError(f"strategies need different ids and positive lanes, and at least one: {ids}, lanes {lanes}")


def _custom(chosen: ChargeSettings) -> dict[str, Any]:
    given = chosen.model_dump(exclude={"profile", "product"}, exclude_none=True)
    if not given:
        raise ConfigurationError("charges.profile=custom needs at least one of per_share, per_order, bps, min, max")
    return given
