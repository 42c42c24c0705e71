"""What was trained in a workspace: its versions, which of them serve, and switching between them."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agent.gate import Gate
from agent.settings import PACKAGED_ADAPTERS, PACKAGED_RANKER
from agent.stored_student import MEASURED, serves
from agent.tuned_ranker import PACKAGED
from retrieval.artefacts import write_text
from retrieval.data.workspace import Workspace
from retrieval.errors import InputError, ModelError, command, first_line
from retrieval.versions import CURRENT, current_version, version_names

KINDS = (
    "fusion",
    "encoder",
    "ranker",
    "remote-ranker",
    "writer",
    "intent",
    "student",
    "profile",
    MEASURED.name,
)


@dataclass(frozen=True)
class Stored:
    """One version of an artefact. live: whether it is the one of its kind that serves. size: bytes on disk.

    packaged: whether it came with whyrec.
    """

    kind: str
    version: str
    live: bool
    size: int
    says: str
    command: str
    folder: Path
    packaged: bool = False


def stored_models(workspace: Workspace) -> list[Stored]:
    """All of them, by kind, the oldest first.

    Raises:
        ModelError: a description cannot be read.
    """
    return list(_stored(workspace.root / "models"))


def _stored(models: Path) -> Iterator[Stored]:
    for kind in KINDS:
        live = None if kind == MEASURED.name else current_version(models / kind)
        packaged = {"ranker": PACKAGED_RANKER, **PACKAGED_ADAPTERS}.get(kind)
        if packaged is not None and packaged.is_dir():
            yield replace(_described(kind, f"{PACKAGED}-{kind}", packaged, live=live is None), packaged=True)
        for version in version_names(models / kind):
            yield _described(kind, version, models / kind / version, live=version == live)


def _described(kind: str, version: str, folder: Path, *, live: bool) -> Stored:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        says = _SAYS[kind](config)
        command = str(config.get("command", ""))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{folder} cannot be read ({first_line(error)}); delete it") from error
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return Stored(kind, version, live, size, says, command, folder)


def _fusion(config: Mapping[str, Any]) -> str:
    found, best = config["validation"]["ndcg@10"], config["best"]
    return f"{best}: NDCG@10 {found[best]:.3f} on validation ({config['validation']['split']})"


def _encoder(config: Mapping[str, Any]) -> str:
    draws = config["validation"]["ndcg@10"]
    before, after = (sum(draw[name] for draw in draws) / len(draws) for name in ("before", "after"))
    return f"NDCG@10 {before:.3f} to {after:.3f} on validation ({config['validation']['split']})"


def _ranker(config: Mapping[str, Any]) -> str:
    data = {one["items"]: one["data"] for one in config["learnt_from"]}
    said = []
    for items, gate in config["gates"].items():
        on = f"{data[items]}, " if len(config["gates"]) > 1 else ""
        for everybody in Gate.from_json(gate).everybody:
            own = [one["alpha"] for one in gate if one["kind"] == everybody.kind]
            say = f"α up to {max(own):g}" if any(own) else "gate closed"
            said.append(f"{on}{everybody.kind} items, {say}: NDCG@10 {everybody.before:.3f} to {everybody.after:.3f}")
    splits = ", ".join(f"{one['split']}, seed {one['seed']}" for one in config["learnt_from"])
    return f"{'; '.join(said)} on validation ({splits})"


def _writer(config: Mapping[str, Any]) -> str:
    last = config["rounds"][-1]
    return f"{last['accepted'] / last['written']:.0%} of what it writes passes all checks"


def _intent(config: Mapping[str, Any]) -> str:
    return f"{config['validation']['exact']:.0%} of intents read exactly on validation"


def _student(config: Mapping[str, Any]) -> str:
    found, lists = config["validation"], config["lists"]
    if "transferred" in config:
        judged = (
            f": NDCG@10 {found['twin']:.3f} and {found['student']:.3f} on validation"
            if found["low"] is not None
            else ""
        )
        return serves(config) + judged
    say = (
        f"taught by {lists['learnt from']:,} lists, {lists['asked']:,} with LM" if found["proven"] else "untaught twin"
    )
    return f"{say}: NDCG@10 {found['twin']:.3f} to {found['student']:.3f} on validation ({found['split']})"


def _profile(config: Mapping[str, Any]) -> str:
    return f"small: language model {config['language_model']}, student {config['student']}"


_SAYS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "fusion": _fusion,
    "encoder": _encoder,
    "ranker": _ranker,
    "remote-ranker": lambda config: f"{config['base']}, {_ranker(config)}",
    "writer": _writer,
    "intent": _intent,
    "student": _student,
    "profile": _profile,
    MEASURED.name: _student,
}


def trained_on_other_events(workspace: Workspace) -> list[tuple[Stored, str]]:
    """What serves and was trained on other events than there are now, each with the command that renews it.

    A ranker and a writer are proven on items as well, and are not among them.

    Raises:
        ModelError: a description cannot be read.
    """
    root, found = workspace.root, []
    again = {
        "fusion": command("tune", root),
        "encoder": command("finetune encoder", root),
        "student": f"{command('label', root)} && {command('distill', root)}",
    }
    for one in stored_models(workspace):
        if one.live and one.kind in again:
            config = json.loads((one.folder / "config.json").read_text(encoding="utf-8"))
            if config.get("events", "") not in ("", workspace.events_fingerprint):
                found.append((one, again[one.kind]))
    return found


def use_model(workspace: Workspace, version: str) -> Stored:
    """Let a version serve.

    Raises:
        InputError: there is none of this name, or it is for measuring.
    """
    found = _named(workspace, version)
    if found.kind == MEASURED.name:
        raise InputError(
            f"the {found.kind} {found.version} has not learnt from all events: whyrec evaluate measures it, and it "
            "never serves; make one that does with: whyrec distill"
        )
    current = workspace.root / "models" / found.kind / CURRENT
    if found.packaged:
        current.unlink(missing_ok=True)
    else:
        write_text(current, found.version + "\n")
    return found


def remove_model(workspace: Workspace, version: str) -> Stored:
    """Delete a version, which must not be live.

    Raises:
        InputError: there is none of this name, or it is the one that serves.
    """
    found = _named(workspace, version)
    if found.packaged:
        setting = "WHYREC_RANKING__RANKER" if found.kind == "ranker" else f"WHYREC_LANGUAGE_MODEL__{found.kind.upper()}"
        raise InputError(f"the packaged {found.kind} belongs to whyrec; to do without it: {setting}=off")
    if found.live:
        raise InputError(f"the {found.kind} {found.version} serves now; let another one serve before it is removed")
    shutil.rmtree(found.folder)
    return found


def _named(workspace: Workspace, version: str) -> Stored:
    """The version whose name begins so."""
    found = [one for one in stored_models(workspace) if one.version.startswith(version)]
    exact = [one for one in found if one.version == version]
    if len(exact or found) != 1 or not version:
        what = "several versions begin" if len(found) > 1 and version else "no version begins"
        raise InputError(f"{what} with {version!r}; whyrec models lists them")
    return (exact or found)[0]
