"""What `whyrec doctor` looks at."""

import importlib.util
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import polars as pl

from agent.models import Models
from agent.remote.diagnosis import remote_findings
from agent.settings import Settings, described, load_settings
from retrieval.data.feedback import is_folded
from retrieval.data.workspace import Workspace
from retrieval.errors import WhyrecError, command
from retrieval.model_source import locate_model

PACKAGES = (
    "whyrec", "torch", "transformers", "sentence-transformers", "peft", "chromadb", "typer", "polars", "numpy",
)  # fmt: skip
TOP_LEVEL = ("agent", "retrieval", "finetune", "prompts")
FLAGS = ("avx2", "avx512_f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, whether it is as it should be, and what was found or is to be done."""

    what: str
    state: str
    found: str

    def as_row(self) -> dict[str, str]:
        """The finding as plain data."""
        return asdict(self)


def diagnose(root: Path, here: Path) -> list[Finding]:
    """Look at everything that could keep whyrec from working; ``here`` is the folder commands are given in."""
    return [*_versions(), *_machine(), *_shadows(here), *_workspace(root)]


def _versions() -> Iterator[Finding]:
    yield Finding("python", "ok", platform.python_version())
    for package in PACKAGES:
        try:
            yield Finding(package, "ok", version(package))
        except PackageNotFoundError:
            yield Finding(package, "missing", "install whyrec again: pip install whyrec")


def _machine() -> Iterator[Finding]:
    import torch

    device = f"cuda, {torch.cuda.get_device_name()}" if torch.cuda.is_available() else "cpu"
    yield Finding("device", "ok", device)
    yield Finding("threads", "ok", str(torch.get_num_threads()))
    capabilities = torch.cpu.get_capabilities()
    flags = [flag for flag in FLAGS if capabilities.get(flag)]
    yield Finding("processor", "ok", f"{platform.machine()}: {', '.join(flags) or 'no vector instructions of note'}")


def _shadows(here: Path) -> Iterator[Finding]:
    """Other files that Python would import in place of our packages, whose names are common words."""
    ours = Path(__file__).resolve().parent.parent
    for name in TOP_LEVEL:
        spec = importlib.util.find_spec(name)
        origin = Path(spec.origin).resolve() if spec and spec.origin else None
        if origin is None or origin.parent.parent != ours:
            yield Finding(f"import {name}", "wrong", f"comes from {origin}, not from whyrec; rename or uninstall it")
            continue
        near = [path for path in (here / f"{name}.py", here / name) if path.exists()]
        near = [path for path in near if path.resolve() != origin.parent]
        if near:
            yield Finding(f"import {name}", "warning", f"`python` started here would import {near[0]} instead")
        else:
            yield Finding(f"import {name}", "ok", str(origin.parent))


def _workspace(root: Path) -> Iterator[Finding]:
    workspace = None
    try:
        workspace = Workspace(root)
    except WhyrecError as error:
        yield Finding("workspace", "missing" if not root.exists() else "wrong", str(error))
    try:
        settings = load_settings(workspace.settings_path if workspace else None)
        for name, value, description in described(settings):
            yield Finding(f"setting {name}", "ok", f"{value} ({description})")
    except WhyrecError as error:
        yield Finding("settings", "wrong", str(error))
        return
    yield from _models(settings)
    yield from (Finding(*found) for found in remote_findings(settings.remote))
    if settings.encoder.backend == "onnx-int8":
        yield _int8()
    if workspace is None:
        return
    try:
        events = workspace.events().select(pl.len()).collect().item()
        yield Finding("workspace", "ok", f"{root}: {len(workspace.catalog):,} items, {events:,} events")
        yield _index(workspace, settings)
        yield _fusion(workspace, settings)
        yield _feedback(workspace)
    except WhyrecError as error:
        yield Finding("workspace", "wrong", str(error))


def _index(workspace: Workspace, settings: Settings) -> Finding:
    from retrieval.text.index import ItemIndex

    try:
        index = ItemIndex(workspace.index_path, Models(settings).encoder_fingerprint, settings.chroma.options)
        changes = index.changes(workspace.catalog)
    except WhyrecError as error:
        return Finding("index", "wrong", str(error))
    if index.is_older:
        return Finding("index", "stale", f"made by an older whyrec; run: {command('index', workspace.root)}")
    count = len(set(changes.write) | set(changes.delete))
    if count or index.made_from != workspace.catalog_fingerprint:
        return Finding(
            "index", "stale", f"{count:,} items to bring up to date; run: {command('index', workspace.root)}"
        )
    return Finding("index", "ok", f"{len(index):,} items in {index.place}")


def _fusion(workspace: Workspace, settings: Settings) -> Finding:
    from agent.recommender import serving

    try:
        live = serving(workspace, settings)
    except WhyrecError as error:
        return Finding("fusion", "wrong", str(error))
    if live is None:
        return Finding("fusion", "ok", f"none, the text serves alone; {command('tune', workspace.root)} makes one")
    if live.events != workspace.events_fingerprint:
        return Finding("fusion", "stale", f"made of other events; run: {command('tune', workspace.root)}")
    return Finding("fusion", "ok", f"{live.fusion.strategy} of {', '.join(live.fusion.used)}")


def _feedback(workspace: Workspace) -> Finding:
    kept, folded = workspace.feedback.kept()
    waiting = sum(one.value is not None and not is_folded(one, folded) for one in kept)
    if not waiting:
        return Finding("feedback", "ok", f"{len(kept):,} reactions in force, none waits to become an event")
    again = command("compact", workspace.root)
    return Finding("feedback", "ok", f"{len(kept):,} reactions in force; {waiting:,} wait to become events: {again}")


def _int8() -> Finding:
    for package in ("onnx", "onnxruntime"):
        try:
            version(package)
        except PackageNotFoundError:
            return Finding("encoder backend", "missing", f"{package} is not installed: pip install 'whyrec[onnx]'")
    return Finding("encoder backend", "ok", "onnx-int8")


def _models(settings: Settings) -> Iterator[Finding]:
    used = {
        "encoder": settings.encoder.model,
        "item features": settings.features.model,
        "language model": settings.language_model.model,
    }
    for what, reference in used.items():
        if reference in ("off", "auto"):  # auto adds no model to the encoder
            continue
        try:
            yield Finding(what, "ok", f"{reference}: {locate_model(reference)}")
        except WhyrecError as error:
            yield Finding(what, "missing", str(error))
