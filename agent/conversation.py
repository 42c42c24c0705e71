"""A conversation: wishes add up over its turns, and each answer is to all of them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

from agent.intent import Intent
from agent.recommender import Recommender
from agent.request import Answer, Mode, Recommended, Request
from agent.wishes import Doubt, Wish, WishFinder, dropped
from retrieval.errors import InputError

POOL = 4  # times as many items as are listed are found where some are put before others
NEAREST, SHARE = 20, 10  # items near to one to be unlike, left out with it; of a small catalog one in so many
T = TypeVar("T")
Reaction = Literal["like", "dislike"]


@dataclass(frozen=True)
class State:
    """What holds at a turn: how many items are listed, the wishes, and the items that the person disliked.

    take_back: undoes what the turn kept beyond the conversation.
    """

    k: int
    wishes: tuple[Wish, ...] = ()
    disliked: tuple[str, ...] = ()
    take_back: Callable[[], object] = field(default=lambda: None, compare=False)


@dataclass
class Reply:
    """What is said to the person: all wishes as understood, the list or the reason, questions back, and notes.

    seconds: by stage, reading what was said among them.
    """

    wishes: tuple[Wish, ...] = ()
    rows: list[Recommended] = field(default_factory=list)
    reason: Recommended | None = None
    doubts: list[Doubt] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


class Conversation:
    """One person's, with one recommender; nothing of it is kept but reactions."""

    def __init__(
        self,
        recommender: Recommender,
        read: Callable[[str], Intent],
        user: Callable[[], str | None] = lambda: None,
        mode: Mode = "auto",
        keep: Callable[[str, Reaction], Callable[[], object]] = lambda _item_id, _reaction: lambda: None,
        k: int = 10,
        resumed: State | None = None,
    ):
        """read: an utterance's intent. user: whose history counts, if anything is known of them yet.

        keep: keeps a reaction, and gives what takes it back. k: items of a list. resumed: what an earlier conversation
        left.
        """
        self._recommender = recommender
        self._read = read
        self._user = user
        self._mode: Mode = mode
        self._keep = keep
        self._finder = WishFinder(recommender.catalog, recommender.titles)
        self._begun = State(k=k)
        self._states = [self._begun, *([resumed] if resumed else [])]
        self._listed: list[Recommended] = []

    @property
    def state(self) -> State:
        """What holds now."""
        return self._states[-1]

    def profile(self) -> Reply:
        """What was understood so far and still holds."""
        return Reply(self.state.wishes)

    def say(self, text: str) -> Reply:
        """Answer an utterance.

        Raises:
            WhyrecError: as `Recommender.recommend`; the conversation is as it was before.
        """
        start = time.perf_counter()
        intent = self._read(text)
        seconds = {"read": time.perf_counter() - start}
        reply = self.why(intent.ask) if intent.ask is not None else self._wished(intent)
        reply.seconds = seconds | reply.seconds
        return reply

    def _wished(self, intent: Intent) -> Reply:
        wishes, doubts = self._finder.find(intent)
        found = {phrase: dropped(self.state.wishes, phrase) for phrase in intent.drop}
        gone = [wish for those in found.values() for wish in those]
        state = self._with(self.state, wishes, gone, intent.count)
        reply = self._kept(state) if doubts and not self._known(state) else self._turn(state)
        reply.doubts = doubts
        unknown = [phrase for phrase, those in found.items() if not those]
        reply.notes += [f"nothing that was said is like {phrase!r}, so it was not dropped" for phrase in unknown]
        return reply

    def drop(self, number: int) -> Reply:
        """Answer without the wish of this number, from 1.

        Raises:
            InputError: there is none.
        """
        wish = _numbered(self.state.wishes, number, "wish")
        return self._turn(self._with(self.state, [], [wish], None))

    def react(self, number: int, reaction: Reaction) -> Reply:
        """Take a reaction to an item of the last list, by its place, and answer anew.

        Raises:
            InputError: there is none of this place.
        """
        row = _numbered(self._listed, number, "item")
        if reaction == "like":
            state = self._with(self.state, [Wish("like", row.label, row.item_id, row.label)], [], None)
        else:
            state = State(self.state.k, self.state.wishes, (*self.state.disliked, row.item_id))
        reply = self._turn(state)
        self._states[-1] = replace(state, take_back=self._keep(row.item_id, reaction))
        return reply

    def why(self, number: int) -> Reply:
        """Explain an item of the last list, by its place.

        Raises:
            InputError: there is none of this place.
        """
        row = _numbered(self._listed, number, "item")
        answer = self._recommender.explain(self._request(self.state), f"id:{row.item_id}")
        return Reply(self.state.wishes, reason=answer.rows[0], notes=answer.notes, seconds=answer.seconds)

    def undo(self) -> Reply:
        """Go back to before the last turn that changed anything.

        Raises:
            InputError: there is none.
        """
        if len(self._states) == 1:
            raise InputError("there is nothing to undo")
        self._states.pop().take_back()
        state = self._states.pop()
        return self._turn(state) if self._known(state) else self._kept(state)

    def reset(self) -> None:
        """Forget all that was said."""
        self._states = [self._begun]
        self._listed = []

    def _with(self, state: State, wishes: list[Wish], gone: list[Wish], k: int | None) -> State:
        """A later wish about the same thing takes the place of an earlier one."""
        kept = [wish for wish in state.wishes if wish not in gone and not any(_replaces(new, wish) for new in wishes)]
        return State(state.k if k is None else k, (*kept, *dict.fromkeys(wishes)), state.disliked)

    def _known(self, state: State) -> bool:
        """Whether there is anything to go on."""
        return bool(state.wishes) or self._user() is not None

    def _kept(self, state: State) -> Reply:
        """What holds, without a list."""
        self._states.append(state)
        self._listed = []
        return Reply(state.wishes)

    def _turn(self, state: State) -> Reply:
        answer = self._recommender.recommend(self._request(state, POOL if _ordered(state) else 1))
        rows = self._shaped(answer, state)
        self._states.append(state)
        self._listed = rows
        return Reply(state.wishes, rows, notes=answer.notes, seconds=answer.seconds)

    def _request(self, state: State, times: int = 1) -> Request:
        wishes = state.wishes
        words = [wish.said for wish in wishes if wish.kind in ("want", "more") and not wish.attribute]
        conditions = [str(wish.bound) for wish in wishes if wish.bound]
        for wish in wishes:
            if wish.attribute and wish.kind in ("want", "avoid"):
                name, value = wish.attribute.field, wish.attribute.value
                mark = "'" if '"' in value else '"'
                conditions.append(f"{name} {'~' if wish.kind == 'want' else '!~'} {mark}{value}{mark}")
        likes = tuple(f"id:{wish.item_id}" for wish in wishes if wish.kind == "like")
        return Request(
            self._user(),
            likes,
            " ".join(words),
            state.k * times,
            " and ".join(conditions),
            mode=self._mode,
            among=self._among(state),
        )

    def _among(self, state: State) -> frozenset[str] | None:
        """Without what was disliked, what is named to be unlike and what is near to it, and what has unwanted words."""
        catalog = self._recommender.catalog
        never = set(state.disliked)
        for wish in state.wishes:
            if wish.kind == "unlike":
                never |= {wish.item_id, *(row.item_id for row in self._near(wish.item_id))}
            elif wish.kind == "avoid" and not wish.attribute:
                words = set(wish.said.casefold().split())
                never |= {item_id for item_id in catalog.ids if words <= catalog.words(item_id)}
        return frozenset(catalog.ids) - never if never else None

    def _near(self, item_id: str) -> list[Recommended]:
        count = min(NEAREST, len(self._recommender.catalog) // SHARE)
        return self._recommender.similar(f"id:{item_id}", count).rows if count else []

    def _shaped(self, answer: Answer, state: State) -> list[Recommended]:
        """Those with more of what there should be more of first, within what was found."""

        def hits(row: Recommended) -> int:
            own = set(self._recommender.catalog.attributes(row.item_id))
            said = self._recommender.catalog.words(row.item_id)
            count = 0
            for wish in state.wishes:
                if wish.kind in ("more", "less"):
                    has = wish.attribute in own if wish.attribute else set(wish.said.casefold().split()) <= said
                    count += has if wish.kind == "more" else -has
            return count

        rows = sorted(answer.rows, key=lambda row: -hits(row))[: state.k]
        return [replace(row, place=place) for place, row in enumerate(rows, start=1)]


def _ordered(state: State) -> bool:
    return any(wish.kind in ("more", "less") for wish in state.wishes)


def _replaces(new: Wish, old: Wish) -> bool:
    """Whether both are about the same item, fact, words or side of a number."""
    if new.bound and old.bound:
        sides = {new.bound.operator[0], old.bound.operator[0]}
        return new.bound.field == old.bound.field and (len(sides) == 1 or "=" in sides)
    if new.item_id or old.item_id:
        return new.item_id == old.item_id
    if new.attribute or old.attribute:
        return new.attribute == old.attribute
    return not new.bound and not old.bound and new.said.casefold() == old.said.casefold()


def _numbered(every: Sequence[T], number: int, what: str) -> T:
    if not 1 <= number <= len(every):
        raise InputError(f"there is no {what} {number}; there are {len(every)}")
    return every[number - 1]
