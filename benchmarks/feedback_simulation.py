"""Whether reactions help: simulated people who answer to what is listed, on MovieLens-small.

    python -m benchmarks.feedback_simulation

A third of the users is known by nothing but three likes; scorers are fitted on the others alone. What these users rated
is their hidden taste: half of it they answer with, half is asked after. In each round the first listed item of the one
half gets a reaction, like or dislike as they rated it; what they have no opinion of is passed over. Hit rate: the share
of users with at least one liked item of the other half among the first ten, from which the first half is left out.
`ignored` learns nothing from the reactions, so it stays where it was.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from agent.cli.options import open_workspace
from agent.evaluation.report import Row
from agent.evaluation.study import Question, Study
from agent.models import Models
from benchmarks.quality import workspace
from benchmarks.reporting import write_rows
from retrieval.cf.ease import Ease
from retrieval.cf.scorer import System, TrainingData
from retrieval.cf.student import Student, StudentConfig
from retrieval.data.events import History
from retrieval.data.histories import Histories
from retrieval.significance import bootstrap_means, interval

Hits = NDArray[np.float64]
PLACES, KNOWN, ROUNDS, TOLD, SEED = 10, 3, 10, (0, 1, 3, 5, 10), 0
LIKES = 15  # that a simulated user has at least
ANSWERS = 60  # places that a user reads through for the next opinion


class Person:
    """A user whose ratings are hidden but for three likes."""

    def __init__(self, items: list[str], values: list[float], liked_from: float, rng: np.random.Generator):
        liked = [item for item, value in zip(items, values, strict=True) if value >= liked_from]
        shown = rng.permutation(len(liked))[:KNOWN]
        self.known = History(tuple(liked[place] for place in shown), (liked_from + 1,) * KNOWN)
        hidden = [(i, v) for i, v in zip(items, values, strict=True) if i not in self.known.items]
        half = set(rng.permutation(len(hidden))[::2].tolist())
        self.answers = dict(one for place, one in enumerate(hidden) if place in half)
        self.liked = {i for place, (i, v) in enumerate(hidden) if place not in half and v >= liked_from}

    def react(self, listed: list[str], told: History) -> History:
        """What is known after a reaction to the first item that there is an opinion of."""
        item = next((one for one in listed if one in self.answers and one not in told.items), None)
        return told if item is None else told.then(History((item,), (self.answers[item],)))


def listed(
    system: System, heard: list[History], left_out: list[History], items: tuple[str, ...], k: int
) -> list[list[str]]:
    """For each user the best k by what is heard, without what is left out."""
    exclude = Histories.of(left_out, items).values
    found = system.top(Histories.of(heard, items), k, exclude=exclude).columns
    return [[items[column] for column in row if column >= 0] for row in found]


def simulate(system: System, people: list[Person], items: tuple[str, ...], *, learns: bool) -> dict[int, Hits]:
    """By number of reactions, whether there is a hit for each user."""
    told, found = [one.known for one in people], {}
    answers = [one.known.then(History(tuple(one.answers), (0.0,) * len(one.answers))) for one in people]
    for number in range(ROUNDS + 1):
        heard = told if learns else [one.known for one in people]
        if number in TOLD:
            lists = listed(system, heard, answers, items, PLACES)
            found[number] = np.array(
                [float(bool(one.liked & set(row))) for one, row in zip(people, lists, strict=True)]
            )
        lists = listed(system, heard, told, items, ANSWERS)
        told = [one.react(row, known) for one, row, known in zip(people, lists, told, strict=True)]
    return found


def row_of(system: str, number: int, values: Hits) -> Row:
    """The mean over users with its interval."""
    low, high = interval(bootstrap_means(values[:, None], SEED)[:, 0])
    place = ("movielens-small", "simulated", system, f"after-{number}", "hit-rate", PLACES)
    return Row(*place, float(values.mean()), low, high, len(values), SEED)


def main() -> None:
    """Simulate by each scorer, learning and not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path(".bench"), help="where the workspace is kept")
    root = workspace("movielens-small", parser.parse_args().work, None, {})
    opened = open_workspace(root)
    liked_from = opened.settings.events.liked_from
    study = Study(opened.workspace, opened.settings, Models(opened.settings), Question(None), SEED)
    items = tuple(sorted(opened.workspace.catalog.ids))
    rng = np.random.default_rng(SEED)
    events = opened.workspace.events().collect().sort("timestamp", "item_id")
    users = rng.permutation(events["user_id"].unique().sort().to_numpy())
    simulated = set(users[: len(users) // 3].tolist())
    every = {str(user): part for (user,), part in events.group_by(["user_id"], maintain_order=True)}
    people = [
        Person(part["item_id"].to_list(), part["value"].to_list(), liked_from, rng)
        for user, part in sorted(every.items())
        if user in simulated and (part["value"] >= liked_from).sum() >= LIKES
    ]
    others = [
        History(tuple(part["item_id"]), tuple(part["value"]))
        for user, part in sorted(every.items())
        if user not in simulated
    ]
    known = Histories.of(others, items)
    data = TrainingData(Histories(known.users, items, csr_array(known.values)), study.vectors, SEED, None)
    systems: dict[str, System] = {
        "student": Student.fit(data, StudentConfig(positive_from=liked_from)),
        "ease": Ease.fit(data, Ease.config_type(positive_from=liked_from)),
    }
    rows = []
    for name, system in systems.items():
        learnt, ignored = (simulate(system, people, items, learns=learns) for learns in (True, False))
        gains = {number: learnt[number] - ignored[number] for number in TOLD[1:]}
        for label, found in ((name, learnt), (f"{name} ignoring", ignored), (f"{name} gain", gains)):
            rows += [row_of(label, number, values) for number, values in found.items()]
    write_rows("feedback-simulation", rows, seed=SEED, known=KNOWN, places=PLACES, likes=LIKES)


if __name__ == "__main__":
    main()
