"""The figure of `benchmarks.scale`."""

from pathlib import Path

import matplotlib
from matplotlib import pyplot


def draw(figures: list[dict], path: Path) -> None:
    """Search time, recall, memory and rate of writing against the number of items."""
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "scale"
    sizes = [row["items"] for row in figures]
    time_name, memory_name = "milliseconds for 5 queries", "resident memory, MiB"
    _, axes = pyplot.subplots(1, 4, figsize=(14, 3.2), layout="constrained")
    for percentile in ("p50", "p95", "p95 of the processor"):
        axes[0].plot(sizes, [row[time_name]["filter none"][percentile] for row in figures], "o-", label=percentile)
    axes[0].axhline(20, color="grey", linestyle=":", label="limit for p95")
    axes[0].set(title="A search with 5 queries, ms", ylim=0)
    axes[0].legend()
    axes[1].plot(sizes, [row["recall@50"]["filter none"] for row in figures], "o-")
    axes[1].axhline(0.99, color="grey", linestyle=":")
    axes[1].set(title="Recall@50 (easier at 300,000)", ylim=(0.98, 1.0005))
    for name in ("before", "after searching"):
        axes[2].plot(sizes, [row[memory_name][name] for row in figures], "o-", label=name)
    axes[2].set(title="Resident memory, MiB", ylim=0)
    axes[2].legend()
    axes[3].plot(sizes, [row["items written a second of the processor"] for row in figures], "o-")
    axes[3].set(title="Items written a processor second", ylim=0)
    for ax in axes:
        ax.set(xscale="log", xlabel="items", xticks=sizes, xticklabels=[f"{size:,}" for size in sizes])
        ax.minorticks_off()
    pyplot.savefig(path, metadata={"Date": None})
