"""Find the item that a person means by a title."""

import re
import unicodedata
from collections.abc import Iterator

from rapidfuzz import fuzz, process

from retrieval.data.catalog import Catalog
from retrieval.errors import AmbiguousTitleError, UnknownItemError

CUTOFF = 80.0
CLEAR_LEAD = 5.0
LISTED = 8
_TRAILING_ARTICLE = re.compile(r"^(.*), (the|a|an|le|la|les|der|die|das|el|il|los)$", re.IGNORECASE)
_LEADING_ARTICLE = re.compile(r"^(the|a|an) ", re.IGNORECASE)
_ASIDE = re.compile(r"\(([^()]*)\)")
_YEAR = re.compile(r"\s*\((\d{4})\)\s*$")

Forms = dict[str, list[str]]


def said_title(catalog: Catalog, item_id: str) -> str:
    """How an item is called in speech: its label without the year and what else stands in brackets."""
    return re.sub(r" \([^()]*\)", "", catalog.label(item_id))


class TitleMatcher:
    """Matches titles without regard to case, accents, punctuation and articles, by parts, and then fuzzily."""

    def __init__(self, catalog: Catalog):
        self._catalog = catalog
        self._forms: Forms = {item_id: list(_forms(catalog.title(item_id))) for item_id in catalog.ids}

    def find(self, wanted: str) -> str:
        """The id of the item meant by ``wanted``: a title, a title with its year, ``id:`` and an id, or an id.

        Tried in this order, the first that finds anything counts: an id or the whole title; another name or a part of
        it (before a colon, in brackets); titles that contain the words; titles spelt much like it.

        Raises:
            UnknownItemError: nothing is close.
            AmbiguousTitleError: several items fit equally; the message lists them with their ids.
        """
        if wanted.startswith("id:"):
            return self._catalog.ids[self._catalog.row(wanted[3:])]
        plain = _plain(_YEAR.sub("", wanted))
        forms = self._of_year(_YEAR.search(wanted))
        found = _by_title(plain, forms)
        if wanted in self._catalog and wanted not in found:
            found = [*found, wanted]  # an id that is also another item's title must not be guessed at
        found = found or _containing(plain, forms) or _spelt_like(plain, forms)
        if len(found) == 1:
            return found[0]
        if not found:
            raise UnknownItemError(f"no item is called anything like {wanted[:100]!r}")
        listed = "; ".join(f"{self._catalog.label(item_id)} [id:{item_id}]" for item_id in found[:LISTED])
        more = f" and {len(found) - LISTED} more" if len(found) > LISTED else ""
        raise AmbiguousTitleError(f"{wanted[:100]!r} may be {len(found)} items, name one by its id: {listed}{more}")

    def _of_year(self, year: re.Match[str] | None) -> Forms:
        if year is None:
            return self._forms
        ending = f"({year[1]})"
        return {
            item_id: forms for item_id, forms in self._forms.items() if self._catalog.label(item_id).endswith(ending)
        }


def _by_title(plain: str, items: Forms) -> list[str]:
    bare = _LEADING_ARTICLE.sub("", plain)
    return (
        [item_id for item_id, forms in items.items() if forms[0] == plain]
        or [item_id for item_id, forms in items.items() if _LEADING_ARTICLE.sub("", forms[0]) == bare]
        or [item_id for item_id, forms in items.items() if plain and plain in forms]
    )


def _containing(plain: str, items: Forms) -> list[str]:
    return [item_id for item_id, forms in items.items() if plain and f" {plain} " in f" {forms[0]} "]


def _spelt_like(plain: str, items: Forms) -> list[str]:
    choices = {(item_id, form): form for item_id, forms in items.items() for form in forms}
    found = process.extract(plain, choices, scorer=fuzz.ratio, score_cutoff=CUTOFF, limit=20)
    close = [item_id for _, score, (item_id, _) in found if score >= found[0][1] - CLEAR_LEAD]
    return list(dict.fromkeys(close))


def _forms(title: str) -> Iterator[str]:
    """The whole title first, then other names for it: without its asides, each aside, the part before a colon."""
    yield _plain(title)
    bare = _ASIDE.sub("", title).strip()
    names = [bare, *(aside.removeprefix("a.k.a. ") for aside in _ASIDE.findall(title)), bare.split(":")[0]]
    for name in names:
        plain = _plain(name)
        if plain:
            yield plain
            yield _LEADING_ARTICLE.sub("", plain)


def _plain(title: str) -> str:
    letters = unicodedata.normalize("NFKD", title.casefold().strip())
    text = "".join(letter for letter in letters if not unicodedata.combining(letter))
    text = _TRAILING_ARTICLE.sub(r"\2 \1", text)
    return re.sub(r"[\W_]+", " ", text).strip() or text
