"""The index at 10,000, 100,000 and 300,000 items: what a search finds, how long it takes, what it occupies.

    python -m benchmarks.scale

Real: the 9,061 films of MovieLens-small, encoded by the packaged sentence encoder. Made up from them: items for the
search. Each is a film mixed with one of its 20 nearest (at least half of it is the first), to which noise is added:
.6 times the spread of each dimension, in the encoder's own space. Metadata are the first film's. They go through
`ItemIndex.update` like any others, whitening included, into one index that grows from size to size; only the encoder
is a table. Queries are further items made the same way, which are not in the index.

The films stay 9,061, so a film has 1, 11 and 33 items: the more items, the more of the 50 nearest stand out, and the
easier they are to find. The mean cosine to the nearest, tenth and fiftieth says how far that goes. At 100,000 the
fiftieth is about as far away as among the films themselves; the recall at 300,000 flatters.

At each size a fresh process opens the index and searches: 100 times with 5 queries, as for a person with a history
(time), and with each query alone (what is found of the 50 nearest, against the exact ones); 20 times with each filter.
Resident memory is that process's; "before" is Python with its libraries. Times of the processor beside those of the
clock tell what other work on the machine does not change.

The rate of building is compared on texts, through the real encoder: 10,000 titles, those of the films and variants of
them, are encoded alone, and by `ItemIndex.update` with the cache of vectors as `whyrec index` does it, by turns.
"""

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
import psutil

from agent.models import Models
from agent.settings import load_settings
from benchmarks.made_up_items import FINGERPRINT, NEAR, NOISE, Table, make_up, neighbours, varied
from benchmarks.reporting import RESULTS, spread, write_report
from benchmarks.scale_figure import draw
from retrieval.data.catalog import Catalog
from retrieval.data.demo import movielens_small
from retrieval.data.workspace import Workspace, create_workspace
from retrieval.ranking import Floats
from retrieval.text.filters import Where
from retrieval.text.index import ItemIndex
from retrieval.text.options import ChromaOptions
from retrieval.text.whitening import Whitening

SEED = 0
SIZES = (10_000, 100_000, 300_000)
K, PROFILES, QUERIES = 50, 100, 5
FILTERED = 20  # profiles that are searched with filters, which take longer
MILLENNIUM = 2000
TEXTS, ROUNDS = 10_000, 2
FILTERS = {
    "none": (None, pl.lit(value=True)),
    f"year >= {MILLENNIUM}": ({"year": {"$gte": MILLENNIUM}}, pl.col("year") >= MILLENNIUM),
    "genres ~ Western": ({"genres": {"$contains": "Western"}}, pl.col("genres").list.contains("Western")),
}
EXCLUDED = frozenset(str(number) for number in range(100))  # as for a person who has had 100 items
MEBIBYTE = 2**20


def memory() -> float:
    return round(psutil.Process().memory_info().rss / MEBIBYTE)


def serve(path: Path, queries: Floats) -> dict[str, object]:
    """What a process that only searches sees; run in a fresh one."""
    before = memory()
    start = time.perf_counter()
    index = ItemIndex(path, FINGERPRINT)
    whitening = index.whitening
    assert whitening is not None
    white = whitening(queries)
    index.search(white[:QUERIES], K)
    seen: dict[str, object] = {"before": before, "first answer": round(time.perf_counter() - start, 3)}
    profiles = np.split(white, PROFILES)
    options = {f"filter {name}": {"where": where} for name, (where, _) in FILTERS.items()}
    for name, given in (options | {"100 ids excluded": {"exclude": EXCLUDED}}).items():
        seen[f"times, {name}"] = [timed(index, profile, given) for profile in profiles[: searched(given.get("where"))]]
    seen["after"] = memory()
    seen["found"] = {
        name: [index.search(query[None], K, where) for query in white[: QUERIES * searched(where)]]
        for name, (where, _) in FILTERS.items()
    }
    return seen


def searched(where: Where | None) -> int:
    """How many profiles are searched."""
    return FILTERED if where else PROFILES


def timed(index: ItemIndex, profile: Floats, options: dict) -> tuple[float, float]:
    """Milliseconds of one search: as the clock has it, and of the processor."""
    start, used = time.perf_counter(), time.process_time()
    index.search(profile, K, **options)
    return 1000 * (time.perf_counter() - start), 1000 * (time.process_time() - used)


def recall(found: list[list[str]], queries: Floats, vectors: Floats, fits: np.ndarray) -> float:
    """The share of the K nearest of the items that fit, computed exactly, that was found."""
    places = np.flatnonzero(fits)
    hits = 0
    for ids, query in zip(found, queries, strict=True):
        exact = places[
            np.argpartition(-(vectors[places] @ query if len(places) < len(fits) else vectors @ query), K)[:K]
        ]
        hits += len(set(map(int, ids)) & set(exact.tolist()))
    return round(hits / (K * len(found)), 4)


def measure(root: Path, films: pl.DataFrame, raw: Floats) -> tuple[list[dict[str, object]], dict[str, object]]:
    """One row for each size, and how near each other the films themselves are."""
    generator = np.random.default_rng(SEED)
    white = Whitening.fit(raw)(raw)
    near = np.argsort(-(white @ white.T), axis=1)[:, 1 : NEAR + 1]
    vectors, rows = make_up(raw, near, max(SIZES), generator)
    queries, _ = make_up(raw, near, PROFILES * QUERIES, generator)
    frame = varied(films, rows)
    catalog = Catalog(frame)
    table = Table({catalog.text(item_id): row for row, item_id in enumerate(catalog.ids)}, vectors)
    path, figures = root / "index", []
    for before, n in zip((0, *SIZES), SIZES, strict=False):
        part = Catalog(frame[:n])
        index = ItemIndex(path, FINGERPRINT, create=True)
        start = time.perf_counter()
        changes = index.changes(part)
        compared, used = time.perf_counter(), time.process_time()
        index.update(part, changes, table)
        built, used = time.perf_counter(), time.process_time() - used
        with multiprocessing.get_context("spawn").Pool(1) as fresh:
            seen = fresh.apply(serve, (path, queries))
        stored, wanted = index.whitening(vectors[:n]), index.whitening(queries)
        row = {"items": n, "recall@50": {}, "share that fits": {}, "milliseconds for 5 queries": {}}
        for name, (_, condition) in FILTERS.items():
            fits = part.frame.select(condition.fill_null(value=False).alias("fits"))["fits"].to_numpy()
            fits = np.broadcast_to(fits, n)
            row["recall@50"][f"filter {name}"] = recall(
                seen["found"][name], wanted[: len(seen["found"][name])], stored, fits
            )
            row["share that fits"][f"filter {name}"] = round(float(fits.mean()), 3)
        for name, times in seen.items():
            if name.startswith("times, "):
                row["milliseconds for 5 queries"][name.removeprefix("times, ")] = percentiles(times)
        row |= {
            "mean cosine to the nearest, tenth and fiftieth": neighbours(wanted, stored),
            "seconds to open and answer the first": seen["first answer"],
            "resident memory, MiB": {"before": seen["before"], "after searching": seen["after"]},
            "on disk, MiB": round(sum(file.stat().st_size for file in path.rglob("*")) / MEBIBYTE),
            "items written a second": round((n - before) / (built - compared)),
            "items written a second of the processor": round((n - before) / used),
            "seconds to compare with the catalog": round(compared - start, 2),
        }
        figures.append(row)
        print(figures[-1], flush=True)
    return figures, neighbours(white, white, itself=True)


def percentiles(times: list[tuple[float, float]]) -> dict[str, float]:
    clock, processor = np.array(times).T
    named = {f"p{q}": round(float(np.percentile(clock, q)), 1) for q in (50, 95, 99)}
    return named | {f"p{q} of the processor": round(float(np.percentile(processor, q)), 1) for q in (50, 95)}


def build_rates(root: Path, films: pl.DataFrame, models: Models) -> dict[str, object]:
    """Texts a second of the encoder alone, and of the index with the encoder in it."""
    rows = np.resize(np.arange(len(films)), TEXTS)
    catalog = Catalog(varied(films, rows))
    texts = [catalog.text(item_id) for item_id in catalog.ids]
    seconds: dict[str, list[float]] = {"alone": [], "index": [], "alone, processor": [], "index, processor": []}

    def timed(name, work):
        start, used = time.perf_counter(), time.process_time()
        work()
        seconds[name].append(time.perf_counter() - start)
        seconds[f"{name}, processor"].append(time.process_time() - used)

    def index(folder):
        made = ItemIndex(folder / "index", models.encoder_fingerprint, create=True)
        made.update(catalog, made.changes(catalog), models.remembering_encoder(folder))

    for number in range(ROUNDS):
        timed("alone", lambda: models.encoder.encode(texts))
        timed("index", lambda folder=root / str(number): index(folder))
    clock = [alone / ours for alone, ours in zip(seconds["alone"], seconds["index"], strict=True)]
    processor = [
        alone / ours for alone, ours in zip(seconds["alone, processor"], seconds["index, processor"], strict=True)
    ]
    return {
        "texts": TEXTS,
        "texts a second, SentenceEncoder.encode": spread([TEXTS / value for value in seconds["alone"]]),
        "texts a second, ItemIndex.update": spread([TEXTS / value for value in seconds["index"]]),
        "rate of the index to that of the encoder": spread(clock),
        "the same, by time of the processor": spread(processor),
    }


def main() -> None:
    """Measure, write the report and draw it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draw", action="store_true", help="only draw the committed figures again")
    if parser.parse_args().draw:
        report = json.loads((RESULTS / "scale.json").read_text())
        draw(report["figures"]["sizes"], RESULTS / "scale.svg")
    else:
        measure_all()


def measure_all() -> None:
    start = time.perf_counter()
    models = Models(load_settings(None))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        create_workspace(root / "films", *movielens_small(), skip_invalid=True)
        catalog = Workspace(root / "films").catalog
        raw = models.encoder.encode([catalog.text(item_id) for item_id in catalog.ids])
        figures, like = measure(root, catalog.frame, raw)
        rates = build_rates(root / "rates", catalog.frame, models)
    draw(figures, RESULTS / "scale.svg")
    options = ChromaOptions()
    write_report(
        "scale",
        {
            "sizes": figures,
            "mean cosine to the nearest, tenth and fiftieth, films alone": like,
            "building, with the encoder": rates,
            "minutes, all in all": round((time.perf_counter() - start) / 60, 1),
        },
        seed=SEED,
        k=K,
        profiles=PROFILES,
        profiles_with_filters=FILTERED,
        queries=QUERIES,
        noise=NOISE,
        ef_search=options.ef_search,
        ef_construction=options.ef_construction,
        max_neighbors=options.max_neighbors,
        load_average={"1 minute": round(os.getloadavg()[0], 1), "15 minutes": round(os.getloadavg()[2], 1)},
    )


if __name__ == "__main__":
    main()
