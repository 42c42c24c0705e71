"""`whyrec compact`."""

from typing import TYPE_CHECKING

from agent.cli.console import note, say
from agent.cli.options import DEFAULT_WORKSPACE, WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from collections.abc import Mapping


def compact(workspace: WorkspaceOption = DEFAULT_WORKSPACE) -> None:
    """Make events of the reactions (whyrec feedback), each of them exactly once, also after an interruption.

    Nothing changes for whoever gave them; from now on scorers and the student can learn from them, too. What was
    trained before knows other events, which is said, with what renews it. seen and hide are no events and stay.

    Example:  whyrec compact
    """
    from agent.stored import trained_on_other_events
    from retrieval.data.folding import fold
    from retrieval.data.workspace import Workspace

    opened = open_workspace(workspace).workspace
    with opened.writing():
        found = fold(opened)
    if found.waiting:
        note(f"{_listed(found.waiting)} wait, as their items are not in the catalog")
    if not found.folded:
        say("There are no reactions to make events of")
        return
    say(f"Events now: {_listed(found.folded)}")
    if found.kept:
        say(f"Still in force beside the events: {_listed(found.kept)}")
    for one, again in trained_on_other_events(Workspace(workspace)):
        note(f"the {one.kind} {one.version} knows other events than there are now; renew it: {again}")


def _listed(counts: "Mapping[str, int]") -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in counts.items())
