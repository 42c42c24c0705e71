"""`whyrec index`."""

import shutil
import time
from typing import Annotated

import typer

from agent.cli.console import progress, say
from agent.cli.options import DEFAULT_WORKSPACE, WorkspaceOption, open_workspace


def index(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Throw the index away and make it anew.")] = False,
) -> None:
    """Encode the items' text and bring the index up to date; unchanged items are skipped.

    Example:  whyrec index
    """
    from agent.models import Models
    from retrieval.text.chroma import delete_collection
    from retrieval.text.index import ItemIndex
    from retrieval.text.lexical import write_lexical

    opened = open_workspace(workspace)
    catalog, path, options = opened.workspace.catalog, opened.workspace.index_path, opened.settings.chroma.options
    models = Models(opened.settings, say)
    fingerprint = models.encoder_fingerprint
    encoder = models.remembering_encoder(opened.workspace.root)
    start = time.perf_counter()
    with opened.workspace.writing():
        if rebuild:
            delete_collection(path, options)
            features = opened.workspace.root / "features"
            if features.exists():
                shutil.rmtree(features)
        item_index = ItemIndex(path, fingerprint, options, create=True)
        changes = item_index.changes(catalog)
        if changes.write and item_index.has_drifted(catalog, encoder):
            say("The catalog has changed so much that all vectors are whitened anew")
            delete_collection(path, options)
            item_index = ItemIndex(path, fingerprint, options, create=True)
            changes = item_index.changes(catalog)
        if changes.write:
            say(f"Encoding {len(changes.write):,} items with {' and '.join(models.names)}")
            with progress("Indexing", len(changes.write)) as bar:
                item_index.update(catalog, changes, encoder, lambda count: bar.advance(bar.task_ids[0], count))
        else:
            item_index.delete(changes.delete)
        write_lexical(opened.workspace)
        item_index.complete(opened.workspace.catalog_fingerprint)
    gone = sum(item_id not in catalog for item_id in changes.delete)
    say(
        f"Index: {len(item_index):,} items; {len(changes.write):,} written, {gone:,} deleted, "
        f"{changes.unchanged:,} unchanged, in {time.perf_counter() - start:.1f} s"
    )
