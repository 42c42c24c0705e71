"""An interrupted tuning of the ranker goes on to the same end, where nothing has changed since."""

import shutil

import pytest
from evaluation_world import Notebook
from ranker_world import environment, indexed_world, tuner_of, whyrec

from agent import ranker_tuning
from finetune.lora import LoraTuning
from retrieval.errors import InputError

pytestmark = pytest.mark.usefixtures("exactly")


@pytest.fixture(scope="module")
def world(tmp_path_factory, folders):
    """An indexed workspace. Read only."""
    return indexed_world(tmp_path_factory.mktemp("world") / "ws", folders)


@pytest.fixture
def root(world, tmp_path):
    shutil.copytree(world, tmp_path / "ws")
    return tmp_path / "ws"


class Interrupting(Notebook):
    """Presses Ctrl-C after so many steps of training."""

    def __init__(self, steps):
        super().__init__()
        self.left = steps

    def advance(self, steps=1):
        super().advance(steps)
        if self.labels[-1] == "Tuning the language model":
            self.left -= steps
            if self.left < 0:
                raise KeyboardInterrupt


def test_an_interrupted_tuning_goes_on_to_the_same_end(root, folders, tmp_path, monkeypatch):
    monkeypatch.setattr(ranker_tuning, "KEPT", 2)  # not where validation is looked at, after each three steps
    shutil.copytree(root, tmp_path / "other")
    whole = tuner_of(root, folders).run("whyrec finetune ranker")
    for steps in (2, 1, 0):
        with pytest.raises(KeyboardInterrupt):
            tuner_of(tmp_path / "other", folders, Interrupting(2 + steps)).run("whyrec", resume=steps < 2)
    again = tuner_of(tmp_path / "other", folders).run("whyrec finetune ranker", resume=True)
    assert again.curve == whole.curve
    assert again.gates == whole.gates


def test_nothing_to_resume_is_said_at_once(root, folders):
    result = whyrec("finetune", "ranker", "--resume", "-w", root, **environment(folders))
    assert result.exit_code == 1
    assert "no interrupted tuning" in result.stderr
    assert "Tuning scorers" not in result.stderr


def test_only_what_fits_is_resumed(root, folders):
    with pytest.raises(InputError, match="no interrupted tuning"):
        tuner_of(root, folders).run("whyrec finetune ranker", resume=True)
    with pytest.raises(KeyboardInterrupt):
        tuner_of(root, folders, Interrupting(1)).run("whyrec finetune ranker")
    other = LoraTuning(rank=4, rate=1e-3, lists=2)
    with pytest.raises(InputError, match="have changed since"):
        tuner_of(root, folders, tuning=other).run("whyrec finetune ranker", resume=True)
