"""The folder of a tuned encoder: which versions stay in it, and what cannot serve."""

import pytest

from retrieval.errors import ModelError
from retrieval.text.tuned import current_tuned, save_tuned


def test_old_versions_go_but_the_one_before(tmp_path):
    def write(path):
        path.write_bytes(b"")

    made = {"base": "b", "steps": 1, "tuning": {}}
    (tmp_path / ".unfinished").mkdir(parents=True)
    versions = [save_tuned(tmp_path, write, made) for _ in range(3)]
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [".unfinished", *versions[1:], "current"]
    assert current_tuned(tmp_path, "b").version == versions[-1]
    assert current_tuned(tmp_path, "b").fingerprint == f"b-{versions[-1]}"


DAMAGE = {
    "has no tuned encoder": lambda folder: (folder / "current").unlink(),
    "cannot be read": lambda folder: next(folder.glob("*/config.json")).write_text("{"),
    "newer whyrec": lambda folder: next(folder.glob("*/config.json")).write_text('{"format_version": 99}'),
    "lost its layers": lambda folder: next(folder.glob("*/layers.safetensors")).unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_an_artefact_that_cannot_serve_is_named_with_a_way_out(tmp_path, damage):
    save_tuned(tmp_path, lambda path: path.write_bytes(b""), {"base": "b", "steps": 1, "tuning": {}})
    DAMAGE[damage](tmp_path)
    with pytest.raises(ModelError, match=rf"{damage}.*WHYREC_ENCODER__TUNED=off"):
        current_tuned(tmp_path, "b")


def test_a_tuned_encoder_of_another_base_is_refused(tmp_path):
    save_tuned(tmp_path, lambda path: path.write_bytes(b""), {"base": "b", "steps": 1, "tuning": {}})
    with pytest.raises(ModelError, match="made from another encoder than the settings name"):
        current_tuned(tmp_path, "c")
