"""`whyrec index`."""

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
    from retrieval.text.index import ItemIndex, delete_index

    opened = open_workspace(workspace)
    catalog, path = opened.workspace.catalog, opened.workspace.index_path
    models = Models(opened.settings)
    fingerprint = models.encoder_fingerprint
    start = time.perf_counter()
    with opened.workspace.writing():
        if rebuild:
            delete_index(path)
        item_index = ItemIndex(path, fingerprint, create=True)
        changes = item_index.changes(catalog)
        if changes.write:
            say(f"Encoding {len(changes.write):,} items with {opened.settings.encoder.model}")
            with progress("Indexing", len(changes.write)) as bar:
                item_index.update(catalog, changes, models.encoder, lambda count: bar.advance(bar.task_ids[0], count))
        else:
            item_index.delete(changes.delete)
        item_index.complete(opened.workspace.catalog_fingerprint)
    gone = sum(item_id not in catalog for item_id in changes.delete)
    say(
        f"Index: {len(item_index):,} items; {len(changes.write):,} written, {gone:,} deleted, "
        f"{changes.unchanged:,} unchanged, in {time.perf_counter() - start:.1f} s"
    )
