"""Errors that people read. Each message says what was wrong, where, and what to do."""


class AlphaPandaError(Exception):
    """Base of every error a user can cause or mend; the command line prints it without a traceback."""


class ContractError(AlphaPandaError):
    """A rule of the event contract does not hold; nothing was changed."""


class ConfigurationError(AlphaPandaError):
    """A setting, parameter or spec that cannot be used as given."""


class TapeError(AlphaPandaError):
    """A tape or source file that cannot be read as given."""


class ReferenceDataError(AlphaPandaError):
    """A date or profile outside the reference tables."""
