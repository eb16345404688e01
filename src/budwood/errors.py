"""The exception tree. Each class carries the exit code that the command line ends with.

    BudwoodError                     5  something inside Budwood went wrong
    ├── UsageError                   2  the call cannot be carried out as it was given
    │   ├── SettingsError            2  a recipe or a ``--set`` holds a wrong key, type or contradiction
    │   ├── BackboneError            2  the backbone is unknown, or its weights cannot be had here
    │   ├── DivergedError            2  training went to infinity with these settings
    │   └── OutputError              2  the output place cannot be written, or is taken
    ├── DataError                    3  the pictures cannot be used as they are
    │   ├── UnreadableImage          3  one file is not a picture that can be decoded
    │   └── SplitError               3  the pictures cannot be split as asked
    │       └── LeakError            3  a split puts near-duplicates (or one group) into two parts
    ├── IntegrityError               1  a stored file is not what was written
    └── Interrupted                  4  stopped from outside; what was done is kept

Every message says what was found, what was expected and what to do.
"""

from __future__ import annotations

__all__ = [
    "BackboneError",
    "BudwoodError",
    "DataError",
    "DivergedError",
    "IntegrityError",
    "Interrupted",
    "LeakError",
    "OutputError",
    "SettingsError",
    "SplitError",
    "UnreadableImage",
    "UsageError",
]


class BudwoodError(Exception):
    """Base of all errors that Budwood raises on purpose."""

    exit_code = 5


class UsageError(BudwoodError):
    """The call cannot be carried out as it was given."""

    exit_code = 2


class SettingsError(UsageError):
    """A recipe or an override holds a wrong key, a wrong type or a contradiction."""


class BackboneError(UsageError):
    """The backbone is unknown, or its weights cannot be had on this machine now."""


class DivergedError(UsageError):
    """Training went to infinity with these settings."""


class OutputError(UsageError):
    """The output place cannot be written, or already holds something."""


class DataError(BudwoodError):
    """The pictures cannot be used as they are."""

    exit_code = 3


class UnreadableImage(DataError):
    """One file is not a picture that can be decoded; the message is the reason."""


class SplitError(DataError):
    """The pictures cannot be split as asked."""


class LeakError(SplitError):
    """A split puts near-duplicates, or pictures of one group, into two parts."""


class IntegrityError(BudwoodError):
    """A stored file is not what was written."""

    exit_code = 1


class Interrupted(BudwoodError):
    """The work was stopped from outside; what was done is kept."""

    exit_code = 4
