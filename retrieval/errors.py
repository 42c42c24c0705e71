"""What can go wrong, as sentences a person can act on.

WhyrecError                     base: the command line prints it in one line and exits with 1
├── InputError                  a file, row or value that was given cannot be used
│   ├── FilterError             a --where expression
│   ├── SplitError              a split that the events do not allow
│   ├── UnknownUserError        no such user
│   ├── UnknownItemError        no such item or title
│   └── AmbiguousTitleError     several items fit a title
├── WorkspaceError              the workspace is missing, of another format, damaged or busy
│   └── IndexMismatchError      the index does not fit the catalog or the encoder
├── ModelError                  a model is missing or cannot do what is asked
│   └── RemoteError             a model behind an endpoint: no key, no answer, an unusable one, or its cap is reached
└── ScoreError                  a scorer or ranker returned something unusable
"""

import shlex
from pathlib import Path

DEFAULT_WORKSPACE = Path(".whyrec")


def command(words: str, root: Path) -> str:
    """The command a message tells people to give, for the workspace at ``root``."""
    return f"whyrec {words}" if root == DEFAULT_WORKSPACE else f"whyrec {words} -w {shlex.quote(str(root))}"


def first_line(error: BaseException) -> str:
    """The first line of another library's message, at most 200 characters; its type where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def sentence(error: BaseException) -> str | None:
    """What people are told of an error; None where it is a fault of the program."""
    if isinstance(error, WhyrecError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename or 'the system'}: {error.strerror or error}"
    if type(error).__name__ == "PanicException":  # a crash in the Rust part of a library
        return f"a library failed on these data, which may be damaged: {error}"
    return None


class WhyrecError(Exception):
    """Base of all errors that whyrec raises on purpose; the message is one sentence with a way out."""


class InputError(WhyrecError):
    """A file, row or value that was given cannot be used."""


class FilterError(InputError):
    """A ``--where`` expression that does not parse or names what the catalog does not have."""


class SplitError(InputError):
    """The events cannot be split as asked, or a split leaves nobody to predict for."""


class UnknownUserError(InputError):
    """No event of this user is in the workspace."""


class UnknownItemError(InputError):
    """No item has this id or title."""


class AmbiguousTitleError(InputError):
    """Several items fit a title equally well."""


class WorkspaceError(WhyrecError):
    """The workspace is missing, of another format, damaged or busy."""


class IndexMismatchError(WorkspaceError):
    """The index was made from other items or by another encoder."""


class ModelError(WhyrecError):
    """A model is missing or cannot do what is asked of it."""


class RemoteError(ModelError):
    """A model behind an endpoint has no key, gives no answer or one that cannot be used, or its cap is reached."""


class ScoreError(WhyrecError):
    """A scorer or ranker returned something that cannot order items, such as NaN."""
