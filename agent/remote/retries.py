"""When a request that failed may be sent again."""

import math
import random
import time
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

FIRST = 0.5  # seconds before the second try
LONGEST = 8.0  # seconds before a later one
MOST_ASKED = 30.0  # seconds that a server may ask to wait; where it asks for more, it is not asked again
SERVER_FAILS = 500  # and above: what was asked may have been begun
_PASSING = (408, 409, 429)  # of the others, those that may pass
_LASTING = (501, 505)  # of these, those that will not


def pause_after(status: int, headers: Mapping[str, str]) -> float | None:
    """The seconds after which what was refused may be sent again, at the least; None: another try would not help."""
    may_pass = status in _PASSING or (status >= SERVER_FAILS and status not in _LASTING)
    if headers.get("x-should-retry") == "false" or not may_pass:
        return None
    asked = _asked(headers.get("retry-after", ""))
    return asked if asked <= MOST_ASKED else None


def pause(tries: int) -> float:
    """The seconds after so many tries: twice as many after each, less a random quarter, so that clients part."""
    return min(FIRST * 2.0 ** (tries - 1), LONGEST) * random.uniform(0.75, 1)


def _asked(said: str) -> float:
    """The seconds of a `Retry-After`, which is a number or a date (RFC 9110, 10.2.3); 0 where it is neither."""
    try:
        seconds = float(said)
    except ValueError:
        try:
            date = parsedate_to_datetime(said)
            seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - time.time()
        except (ValueError, OverflowError):
            return 0.0
    return 0.0 if math.isnan(seconds) else max(seconds, 0.0)
