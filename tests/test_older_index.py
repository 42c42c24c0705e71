"""An index that an older whyrec made is refused with a way out, and made anew."""

import pytest
from ranker_world import environment, indexed_world, whyrec

from retrieval.text.chroma import ChromaCollection

pytestmark = pytest.mark.usefixtures("exactly")


@pytest.fixture
def older(tmp_path, folders, monkeypatch):
    """A workspace whose index does not say how far its texts spread."""
    remember = ChromaCollection.remember
    with monkeypatch.context() as patch:
        patch.setattr(ChromaCollection, "remember", lambda self, *one: one[0] == "spread" or remember(self, *one))
        return indexed_world(tmp_path / "ws", folders)


def test_it_is_refused_named_and_made_anew(older, folders):
    with_it = environment(folders)
    ask = ("recommend", "user-01", "--mode", "retrieval", "-w", older)
    refused = whyrec(*ask, **with_it)
    assert refused.exit_code == 1
    assert "older whyrec" in refused.stderr
    assert "whyrec index" in refused.stderr
    assert "made by an older whyrec" in whyrec("doctor", "-w", older, **with_it).stdout
    made = whyrec("index", "-w", older, **with_it)
    assert made.exit_code == 0, made.output
    assert "older whyrec" in made.stderr
    assert whyrec(*ask, **with_it).exit_code == 0
    assert "older whyrec" not in whyrec("index", "-w", older, **with_it).stderr
