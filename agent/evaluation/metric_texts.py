"""What metrics are called in a report, how they are shown, and what they mean."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """How a metric is shown. better: 1 where higher is better, -1 where lower is, 0 where neither.

    decimals: None shows three significant digits.
    """

    label: str
    decimals: int | None
    better: int
    meaning: str


ACCURACY = {
    "ndcg": Metric("NDCG", 4, 1, "relevant items found, those near the top counting most; 1 is the ideal list"),
    "recall": Metric("Recall", 4, 1, "share of the relevant items that are in the list"),
    "precision": Metric("Precision", 4, 1, "share of the list that is relevant"),
    "f1": Metric("F1", 4, 1, "harmonic mean of precision and recall"),
    "hit-rate": Metric("Hit rate", 4, 1, "share of users with at least one relevant item in the list"),
    "mrr": Metric("MRR", 4, 1, "one divided by the place of the first relevant item, averaged"),
    "map": Metric("MAP", 4, 1, "precision at each relevant item, averaged"),
}
RATINGS = {
    "auc": Metric("AUC", 4, 1, "chance that a liked item scores above a disliked one of the same user"),
    "accuracy": Metric("Accuracy", 4, 1, "share of held-out events rightly called liked or not"),
    "rmse": Metric("RMSE", 4, -1, "root of the mean squared error of predicted values"),
}
BEYOND = {
    "coverage": Metric("Coverage", 3, 1, "share of the catalog that stands in at least one list"),
    "gini": Metric("Gini", 3, -1, "how unequally places fall on items: 0 equally, 1 all on one"),
    "novelty": Metric("Novelty (bits)", 2, 0, "how rare the listed items are in training; chance scores high as well"),
    "diversity": Metric("Diversity", 3, 0, "how much the items of a list differ in text; chance scores high as well"),
    "miscalibration": Metric("Miscalibration (nats)", 3, -1, "divergence of a list's genres from the user's own mix"),
    "popularity": Metric("Popularity", 3, 0, "mean percentile of the listed items' popularity; 1 is the most popular"),
}
COST = {
    "latency-p50": Metric("Latency, median (ms)", None, -1, "time for one request, half are faster"),
    "latency-p95": Metric("Latency, 95th percentile (ms)", None, -1, "time for one request, 95 % are faster"),
    "training": Metric("Training (s)", None, -1, "time to learn from the training events"),
    "peak-memory": Metric("Peak memory (MiB)", None, -1, "most memory held at any time"),
}
METRICS = ACCURACY | RATINGS | BEYOND | COST


def describe(metric: str) -> Metric:
    """How a metric is shown; one that is not in the lists above under its own name."""
    if metric.endswith("-gap"):
        return Metric("gap", 4, -1, "highest minus lowest mean of the groups; 0 treats them alike")
    return METRICS.get(metric, Metric(metric, None, 0, "no description"))
