"""Bring the index of a workspace up to date with its catalog."""

import shutil
from dataclasses import dataclass

from agent.evaluation.watch import Watch
from agent.models import Models
from agent.settings import Settings
from retrieval.data.workspace import Workspace
from retrieval.text.chroma import delete_collection
from retrieval.text.index import ItemIndex
from retrieval.text.lexical import write_lexical


@dataclass(frozen=True)
class Indexed:
    """items: in the index now. written, deleted, unchanged: what was done."""

    items: int
    written: int
    deleted: int
    unchanged: int


def bring_up_to_date(
    workspace: Workspace, settings: Settings, models: Models, watch: Watch, *, rebuild: bool = False
) -> Indexed:
    """Encode what is new or changed, delete what is gone; ``rebuild`` throws everything away first.

    Raises:
        IndexMismatchError: another encoder made the index.
        ModelError: the encoder is not installed or cannot be loaded.
    """
    catalog, path, options = workspace.catalog, workspace.index_path, settings.chroma.options
    fingerprint = models.encoder_fingerprint
    encoder = models.remembering_encoder(workspace.root)
    if rebuild:
        delete_collection(path, options)
        shutil.rmtree(workspace.root / "features", ignore_errors=True)
    item_index = ItemIndex(path, fingerprint, options, create=True)
    changes = item_index.changes(catalog)
    drifted = bool(changes.write) and item_index.has_drifted(catalog, encoder)
    if drifted or item_index.is_older:
        changed = "The catalog has changed so much that all vectors are whitened anew"
        models.say(changed if drifted else "An older whyrec made the index, so it is made anew")
        delete_collection(path, options)
        item_index = ItemIndex(path, fingerprint, options, create=True)
        changes = item_index.changes(catalog)
    if changes.write:
        watch.start(f"Encoding {len(changes.write):,} items with {' and '.join(models.names)}", len(changes.write))
        item_index.update(catalog, changes, encoder, watch.advance)
    else:
        item_index.delete(changes.delete)
    write_lexical(workspace)
    item_index.complete(workspace.catalog_fingerprint)
    gone = sum(item_id not in catalog for item_id in changes.delete)
    return Indexed(len(item_index), len(changes.write), gone, changes.unchanged)
