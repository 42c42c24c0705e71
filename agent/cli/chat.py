"""`whyrec chat`."""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from agent.cli.console import Format, complain, messages, note, print_rows, say
from agent.cli.options import DEFAULT_WORKSPACE, CountOption, Opened, ProfileOption, WorkspaceOption, open_workspace
from agent.cli.recommend import ModeChoice, as_tables
from agent.request import as_row
from retrieval.errors import InputError, WhyrecError

if TYPE_CHECKING:
    from agent.conversation import Conversation, Reply, State

HELP = """Say what you want in your own words: "something like Alien, but no horror, from the 90s".
/like N, /dislike N   react to an item of the list       /why N     why it is there
/drop N               take back what was understood      /undo      go back one turn
/profile              what was understood so far         /reset     forget all of it
/save NAME            keep it: whyrec chat --resume NAME /quit      or Ctrl-D
/help                 this"""


class ChatFormat(StrEnum):
    """How replies are printed."""

    text = "text"
    ndjson = "ndjson"


class ReaderChoice(StrEnum):
    """Who reads what is said."""

    lm = "lm"
    rules = "rules"


def chat(
    user: Annotated[str | None, typer.Argument(help="Whose history counts; nobody's.", show_default=False)] = None,
    k: CountOption = 10,
    mode: Annotated[ModeChoice, typer.Option(help="As of whyrec recommend.")] = ModeChoice.auto,
    reader: Annotated[
        ReaderChoice, typer.Option(help="Who reads what you say: the language model, or rules alone.")
    ] = ReaderChoice.lm,
    form: Annotated[
        ChatFormat, typer.Option("--format", "-f", help="text for people; ndjson: each reply as a line, for programs.")
    ] = ChatFormat.text,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say how long each stage took.")] = False,
    resume: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Go on from what /save NAME kept, -k included.", show_default=False),
    ] = None,
    profile: ProfileOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Talk: say what you want, react to what is listed, ask why; wishes add up until they are dropped.

    Each answer shows what was understood. Reactions of a USER are kept (whyrec feedback list). Without a terminal,
    lines are read from standard input.

    Example:  whyrec chat 7
    """
    if mode is ModeChoice.fast:
        raise typer.BadParameter("a chat needs more than the student: --mode auto, full or retrieval")
    opened = open_workspace(workspace, profile)
    resumed = _resumed(opened, resume, user) if resume is not None else None
    loading = _Loading(lambda: _conversation(opened, user, k, mode, reader, resumed))
    screen = _Screen(form)
    for line in _lines():
        if line in ("/quit", "/exit"):
            break
        try:
            word, _, rest = line.partition(" ")
            if word == "/save":
                _save(opened, rest.strip(), user, loading().state)
            else:
                _answer(loading(), line, screen, verbose=verbose)
        except WhyrecError as error:
            complain(str(error))


class _Loading:
    """Loads in the background, so that the prompt is there at once; calling it waits."""

    def __init__(self, load: "Callable[[], Conversation]"):
        self._found: Conversation | None = None
        self._error: BaseException | None = None
        self._load = load
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._found = self._load()
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
            self._error = error

    def __call__(self) -> "Conversation":
        self._thread.join()
        if self._error is not None:
            raise self._error
        if self._found is None:
            raise RuntimeError("loading ended without a result")
        return self._found


def _resumed(opened: Opened, name: str, user: str | None) -> "State":
    from agent.conversation import State
    from agent.sessions import load_session

    session, gone = load_session(opened.workspace, name, user)
    if gone:
        note(f"no longer in the catalog, and left out: {'; '.join(gone)}")
    say(f"Going on from {name}: {'; '.join(map(str, session.wishes)) or 'nothing was understood'}")
    return State(session.k, session.wishes, session.disliked)


def _save(opened: Opened, name: str, user: str | None, state: "State") -> None:
    from agent.sessions import Session, save_session

    if not name:
        raise InputError("/save needs a name, as in /save friday")
    path = save_session(opened.workspace, name, Session(user, state.k, state.wishes, state.disliked))
    say(f"{path}: go on from it with whyrec chat --resume {name}")


def _conversation(
    opened: Opened, user: str | None, k: int, mode: ModeChoice, reader: ReaderChoice, resumed: "State | None"
) -> "Conversation":
    from agent.conversation import Conversation
    from agent.models import Models
    from agent.reactions import Reactions
    from agent.reading import intent_reader
    from agent.recommender import Recommender, serving

    models = Models(opened.settings, say)
    live = serving(opened.workspace, opened.settings) if mode is not ModeChoice.retrieval else None
    recommender = Recommender(opened.workspace, opened.settings, models, live)
    read = intent_reader(models, recommender.catalog, rules=reader is ReaderChoice.rules, note=note)
    reactions = Reactions(opened.workspace, opened.settings)

    def keep(item_id: str, reaction: str) -> Callable[[], object]:
        if user is None:
            return lambda: None
        kept = reactions.add(user, f"id:{item_id}", reaction)
        return lambda: opened.workspace.feedback.undo(kept.user_id)

    def known() -> str | None:
        return user if user is not None and reactions.knows(user) else None

    if user is not None and known() is None:
        note(f"{user} is new here: say what you like; reactions are kept")
    return Conversation(recommender, read, known, mode.value, keep, k, resumed)


def _lines() -> Iterator[str]:
    """What is typed, or what stands on standard input; without blanks around, empty lines left out."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        from prompt_toolkit import PromptSession
        from prompt_toolkit.patch_stdout import patch_stdout

        session: PromptSession[str] = PromptSession()
        messages.print(Text("What would you like? /help lists what else can be said.", style="dim"))
        while True:
            try:
                with patch_stdout(raw=True):  # what loading says stands above the prompt
                    line = session.prompt("> ").strip()
            except EOFError:
                return
            if line:
                yield line
    for line in sys.stdin:
        if line.strip():
            yield line.strip()


def _answer(conversation: "Conversation", line: str, screen: "_Screen", *, verbose: bool) -> None:
    start = time.perf_counter()
    if line == "/help":
        screen.console.print(HELP)
        return
    if line == "/reset":
        conversation.reset()
        say("All that was said is forgotten")
        return
    if line == "/profile":
        screen.show(line, conversation.profile())
        return
    reply = _reply(conversation, line)
    screen.show(line, reply)
    if verbose:
        stages = "".join(f"{stage} {seconds:.2f} s, " for stage, seconds in reply.seconds.items())
        say(f"{stages}in all {time.perf_counter() - start:.2f} s")


def _reply(conversation: "Conversation", line: str) -> "Reply":
    if not line.startswith("/"):
        return conversation.say(line)
    word, _, rest = line[1:].partition(" ")
    if word == "undo":
        return conversation.undo()
    numbered: dict[str, Callable[[int], Any]] = {
        "like": lambda number: conversation.react(number, "like"),
        "dislike": lambda number: conversation.react(number, "dislike"),
        "why": conversation.why,
        "drop": conversation.drop,
    }
    if word not in numbered:
        raise InputError(f"there is no /{word}; /help lists what there is")
    if not rest.strip().isdecimal():
        raise InputError(f"/{word} needs a number, as in /{word} 1")
    reply: Reply = numbered[word](int(rest))
    return reply


class _Screen:
    """Shows replies; a note that has been read is not repeated."""

    def __init__(self, form: ChatFormat) -> None:
        self.console = Console(highlight=False)
        self._form = form
        self._noted: set[str] = set()

    def show(self, said: str, reply: "Reply") -> None:
        """Questions and notes, what was understood, then the reason or the list."""
        if self._form is ChatFormat.ndjson:
            print(json.dumps({"said": said, **_as_data(reply)}, ensure_ascii=False), flush=True)
            return
        for doubt in reply.doubts:
            note(f"which one do you mean? {doubt.message}")
        for message in [one for one in reply.notes if one not in self._noted]:
            note(message)
            self._noted.add(message)
        understood = "; ".join(f"{number} {wish}" for number, wish in enumerate(reply.wishes, start=1))
        self.console.print(Text(f"[{understood}]" if understood else "[nothing yet]", style="dim"))
        if reply.reason is not None and reply.reason.explanation is not None:
            self.console.print(Text(reply.reason.explanation.text, style="bold"))
        if reply.rows:
            print_rows([as_row(row) for row in reply.rows], Format.table, *as_tables(reply.rows))


def _as_data(reply: "Reply") -> dict[str, Any]:
    """A reply as plain data; the reason is a row with an explanation."""
    return {
        "wishes": [{"kind": wish.kind, "said": wish.said, "understood": str(wish)} for wish in reply.wishes],
        "questions": [doubt.message for doubt in reply.doubts],
        "notes": reply.notes,
        "seconds": reply.seconds,
        "rows": [as_row(row) for row in reply.rows],
        "reason": as_row(reply.reason) if reply.reason else None,
    }
