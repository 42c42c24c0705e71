"""Thirty conversations with the command: what was understood holds until it is dropped, and reasons are true.

    python -m benchmarks.conversations                 with the language model as reader
    python -m benchmarks.conversations --reader rules

Each conversation of `conversations.ndjson` goes to `whyrec chat` of MovieLens-small on standard input. Checked after
each turn: what is understood is what the script says; every wish that holds is true of every item listed; an item that
was disliked does not return; names, values and numbers of a reason are borne out by the data. Writes a report and a
page with all that was said.
"""

import argparse
import html
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from agent.cli.options import Opened, open_workspace
from agent.evaluation.claims import ClaimReader
from benchmarks.quality import workspace
from benchmarks.reporting import RESULTS, write_report
from retrieval.text.filters import compile_where, fitting

SCRIPTS = Path(__file__).parent / "conversations.ndjson"
K = 5
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Conversations</title>
<style>body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem }}
h2 {{ border-top: 1px solid #ccc; padding-top: 1rem; font-size: 1.1rem }} .said {{ font-weight: 600; margin: 1rem 0 0 }}
.understood {{ color: #666; font-size: .875rem }} ol {{ margin: .2rem 0 }}</style>
<h1>Thirty conversations</h1><p>{command}, MovieLens-small. What was understood stands in brackets.</p>{body}</html>
"""


def talk(root: Path, script: dict[str, Any], reader: str) -> list[dict[str, Any]]:
    """The replies to each turn."""
    words = [sys.executable, "-m", "agent.cli", "chat", "--reader", reader, "--mode", "retrieval", "-k", str(K)]
    call = [*words, "--format", "ndjson", "-w", str(root), *([script["user"]] if script["user"] else [])]
    said = "\n".join(turn["say"] for turn in script["turns"]) + "\n"
    done = subprocess.run(call, input=said, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


class Checker:
    """Looks for what is wrong with replies."""

    def __init__(self, opened: Opened):
        self._catalog = opened.workspace.catalog
        liked_from = opened.settings.events.liked_from
        self._reader = ClaimReader(self._catalog, opened.workspace.events().collect(), liked_from)
        self._workspace = opened.workspace

    def wrong(self, script: dict[str, Any], replies: list[dict[str, Any]]) -> list[tuple[str, str]]:
        """What kind of mistake, and where."""
        found: list[tuple[str, str]] = []
        disliked: set[str] = set()
        listed: list[str] = []
        likes: set[str] = set(self._workspace.history(script["user"]).items) if script["user"] else set()
        if len(replies) != len(script["turns"]):
            return [("unanswered", f"{len(replies)} replies to {len(script['turns'])} turns")]
        for turn, reply in zip(script["turns"], replies, strict=True):
            understood = [wish["understood"] for wish in reply["wishes"]]
            if sorted(understood) != sorted(turn["understood"]):
                found.append(("misunderstood", f"{turn['say']!r}: {understood}, not {turn['understood']}"))
            if turn["say"].startswith("/dislike "):
                disliked.add(listed[int(turn["say"].split()[1]) - 1])
            ids = [row["item_id"] for row in reply["rows"]]
            found += [("broken wish", f"{turn['say']!r}: {w}") for w in understood if not self._holds(w, ids)]
            found += [("returned", f"{turn['say']!r}: {item_id}") for item_id in ids if item_id in disliked]
            if reply["reason"]:
                named = {self._id(w.removeprefix("like ")) for w in understood if w.startswith("like ")}
                claims = self._reader.read(reply["reason"]["explanation"], reply["reason"]["item_id"], likes | named)
                true = (claims.true_names, claims.true_values, claims.true_numbers)
                if true != (claims.names, len(claims.values), claims.numbers):
                    found.append(("untrue reason", reply["reason"]["explanation"]))
            listed = ids or listed
        return found

    def _id(self, label: str) -> str:
        return next(item_id for item_id in self._catalog.ids if self._catalog.label(item_id) == label)

    def _holds(self, wish: str, ids: list[str]) -> bool:
        """Whether a wish that can be looked up is true of all items."""
        kind, _, rest = wish.partition(" ")
        if kind in ("with", "without") and ": " in rest:
            name, value = rest.split(": ", 1)
            wish = f'{name} {"~" if kind == "with" else "!~"} "{value}"'
        elif kind in ("like", "not", "more", "less", "with", "without"):
            return True
        fits = fitting(self._catalog, compile_where(wish, self._catalog))
        return all(fits[self._catalog.row(item_id)] for item_id in ids)


def transcript(replies: list[dict[str, Any]]) -> str:
    """As HTML."""
    parts = []
    for reply in replies:
        understood = "; ".join(wish["understood"] for wish in reply["wishes"])
        parts.append(f'<p class="said">{html.escape(reply["said"])}</p>')
        parts.append(f'<p class="understood">[{html.escape(understood)}]</p>')
        parts += [f"<p>{html.escape(one)}</p>" for one in reply["questions"]]
        if reply["reason"]:
            parts.append(f"<p>{html.escape(reply['reason']['explanation'])}</p>")
        if reply["rows"]:
            parts.append("<ol>" + "".join(f"<li>{html.escape(row['title'])}</li>" for row in reply["rows"]) + "</ol>")
    return "\n".join(parts)


def main() -> None:
    """Have all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reader", choices=("lm", "rules"), default="lm")
    parser.add_argument("--work", type=Path, default=Path(".bench"), help="where the workspace is kept")
    asked = parser.parse_args()
    root = workspace("movielens-small", asked.work / "conversations", None, {})
    for path in root.glob("feedback.sqlite*"):  # reactions of an earlier run
        path.unlink()
    opened = open_workspace(root)
    checker = Checker(opened)
    mistakes: list[tuple[str, str]] = []
    pages, turns = [], 0
    for number, line in enumerate(SCRIPTS.read_text(encoding="utf-8").splitlines(), start=1):
        script = json.loads(line)
        replies = talk(root, script, asked.reader)
        found = checker.wrong(script, replies)
        mistakes += found
        turns += len(script["turns"])
        print(
            f"{number}: {len(found)} mistakes", *(f"  {kind}: {where}" for kind, where in found), sep="\n", flush=True
        )
        pages.append(f"<h2>{number}</h2>\n{transcript(replies)}")
    kinds = ("misunderstood", "broken wish", "returned", "untrue reason", "unanswered")
    counts = {kind: sum(one == kind for one, _ in mistakes) for kind in kinds}
    figures = {"conversations": len(pages), "turns": turns, **counts}
    write_report(f"conversations-{asked.reader}", figures, k=K, reader=asked.reader)
    command = f"python -m benchmarks.conversations --reader {asked.reader}"
    page = _PAGE.format(command=command, body="\n".join(pages))
    (RESULTS / f"conversations-{asked.reader}.html").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
