"""The composition root: the one place that chooses adapters and wires rooms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from alphapanda.adapters.tape import Tape
from alphapanda.contracts.errors import AlphaPandaError, ConfigurationError
from alphapanda.contracts.events import ALL_BOOKS, MarketTick
from alphapanda.contracts.instruments import Instrument
from alphapanda.reference.charges import ChargeSchedule, load_charges
from alphapanda.reference.profiles import MarketProfile
from alphapanda.runtime.costs import MarginTable, charge_rule, with_broker_figures
from alphapanda.runtime.replay import Rooms
from alphapanda.runtime.settings import ChargeSettings, Settings
from alphapanda.runtime.start_books import StartBooks
from alphapanda.runtime.strategies import author_line
from alphapanda.services.feature_engine.models import FeatureRequest, Indicator
from alphapanda.services.feature_engine.service import InstrumentLane
from alphapanda.services.portfolio_manager.service import PortfolioManager
from alphapanda.services.risk_manager.models import RiskLimits
from alphapanda.services.risk_manager.service import RiskManager
from alphapanda.services.strategy_runner.service import StrategyLane
from alphapanda.services.strategy_runner.strategy import Strategy
from alphapanda.services.trading_engine.models import PaperExecution
from alphapanda.services.trading_engine.service import TradingEngine

MOST_NAMED = 5


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
        lanes = [_lane(spec, instruments) for spec in specs]
        lanes.sort(key=lambda lane: lane.lane)
        asked: dict[int, list[FeatureRequest]] = {}
        for lane in lanes:
            for token in lane.instruments if lane.requests else ():
                asked.setdefault(token, []).extend(lane.requests)
        settings = self.settings
        start = StartBooks(settings.portfolio, {spec.strategy_id: spec.lane for spec in specs}, instruments)
        _check_execution(settings.execution, tape)
        _check_currency({key[2] for key in start.net}.union(*(lane.instruments for lane in lanes)), tape)
        return Rooms(
            [InstrumentLane(token, asked[token], tape.beat_interval_s) for token in sorted(asked)],
            lanes,
            self._risk(start, tape, marks),
            self._engine(start, tape, marks),
            PortfolioManager(
                instruments, start.books(), settings.pipeline.snapshot_interval_s, marks, actions=start.actions
            ),
            marks,
        )  # fmt: skip

    def _risk(self, start: StartBooks, tape: Tape, marks: dict[int, MarketTick]) -> RiskManager:
        settings = self.settings
        return RiskManager(
            _limits(settings.risk, tape.profile), tape.instruments, start.books(), marks, product=settings.execution.product,
            protected=settings.execution.market_protection_pct is not None, margin=MarginTable(tape.instruments, tape.profile),
            actions=start.actions, held={key[1:]: count for key, count in start.net.items()},
        )  # fmt: skip

    def _engine(self, start: StartBooks, tape: Tape, marks: dict[int, MarketTick]) -> TradingEngine:
        schedule = self.charges(tape.profile.charges)
        return TradingEngine(
            self.settings.execution, tape.instruments, charge_rule(schedule, tape.profile), marks,
            settlements_e8=start.settlements_e8, actions=start.actions, net=start.net, tracks_deliveries=not schedule.free,
        )  # fmt: skip

    @cached_property
    def runs_root(self) -> Any:
        """Where runs are kept."""
        return self.settings.storage.runs


def _limits(limits: RiskLimits, profile: MarketProfile) -> RiskLimits:
    """The limits as this market makes them: where sessions adjoin, what comes with one's close is just before the next's open."""
    found = with_broker_figures(limits) if limits.broker_rules else limits
    return found.model_copy(update={"require_session": False}) if profile.never_closes else found


def feature_names(specs: Sequence[StrategySpec]) -> tuple[str, ...]:
    """The names of every indicator's values that some strategy asks for."""
    asked = [request for spec in specs for request in spec.strategy.features()]
    return tuple(sorted({name for request in asked if isinstance(request, Indicator) for name in request.names}))


def _lane(spec: StrategySpec, instruments: Mapping[int, Instrument]) -> StrategyLane:
    """The strategy's lane. Raises ConfigurationError with the author's line where the strategy cannot be set up."""
    try:
        return StrategyLane(spec.lane, spec.strategy_id, spec.strategy, _universe(spec, instruments))
    except AlphaPandaError:
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise ConfigurationError(f"{spec.strategy_id} cannot be set up: {what} ({author_line(error)})") from error


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


def _check_currency(tokens: set[int], tape: Tape) -> None:
    """Raises ConfigurationError where amounts of two currencies would be added up."""
    profile = tape.profile
    used = [tape.instruments[token] for token in sorted(tokens)]
    foreign = [one for one in used if one.tradable and one.currency != profile.currency]
    if foreign:
        first = foreign[0]
        which = ", ".join(f"{one.symbol} ({one.currency})" for one in foreign[:MOST_NAMED])
        raise ConfigurationError(
            f"{which}{', ...' if len(foreign) > MOST_NAMED else ''} would be traded in another currency than {profile.currency},"
            f" in which market profile {profile.name!r} of {tape.path} keeps books, and nothing is converted: give strategies"
            f" symbols= of {profile.currency} alone, or import the tape anew, with the instruments' currency in its map or, for"
            f" books in {first.currency}, a profile of your own (a TOML file) whose currency that is"
        )


def _check_execution(rules: PaperExecution, tape: Tape) -> None:
    """Raises ConfigurationError where a fill assumption does not go with the tape: orders would not fill as it says."""
    has = set(tape.columns)
    if rules.price != "last" and not {"bid", "ask"} <= has:
        raise ConfigurationError(f"execution.price={rules.price} needs bid and ask, and {tape.path} has neither: use last")
    if rules.fill_model == "depth" and not {"bid", "ask", "bid_quantity", "ask_quantity"} <= has:
        raise ConfigurationError(
            f"execution.fill_model=depth needs quotes with quantities, and {tape.path} has none: use next_tick"
        )
    if rules.participation is not None and not {"last_quantity", "volume"} & has:
        raise ConfigurationError(f"execution.participation needs traded quantities, and {tape.path} has none: leave it out")
    if rules.stop_price == "trigger" and tape.bar_interval_s not in (None, rules.bar_interval_s):
        raise ConfigurationError(
            f"execution.stop_price=trigger asks which ticks are of one bar, and {tape.path} was made of bars of"
            f" {tape.bar_interval_s} s: set execution.bar_interval_s={tape.bar_interval_s}"
        )


def _custom(chosen: ChargeSettings) -> dict[str, Any]:
    given = chosen.model_dump(exclude={"profile"}, exclude_none=True)
    if not given:
        raise ConfigurationError("charges.profile=custom needs at least one of per_share, per_order, bps, min, max, max_bps")
    return given
