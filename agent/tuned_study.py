"""A study in which no tuned vector has seen what is held out."""

import hashlib
import json
from dataclasses import replace
from functools import cached_property

from agent.encoder_tuning import make_trainer, texts_of
from agent.encoders import OFF
from agent.evaluation.study import Question, Study
from agent.models import Models
from agent.settings import Settings
from retrieval.cf.scorer import TrainingData
from retrieval.contracts import Encoder
from retrieval.data.histories import Histories
from retrieval.data.splits import Split, Stage
from retrieval.data.workspace import Workspace
from retrieval.ranking import Floats
from retrieval.text.cache import CachedEncoder
from retrieval.text.features import JoinedEncoder
from retrieval.text.whitening import Whitening


class TunedStudy(Study):
    """What scorers learn in a stage includes the encoder: it is tuned on that stage's training events alone.

    The index cannot serve here, its encoder has seen all events. What is tuned is kept in ``features/`` by content.
    """

    def on(self, split: Split) -> "TunedStudy":
        """With an encoder of its own."""
        study = TunedStudy(self.workspace, self.settings, self.models, self.question, self.seed)
        study.split = split
        return study

    def training_data(self, stage: Stage) -> TrainingData:
        """What a scorer may learn from in this stage, with vectors that come from the same events.

        Raises:
            ModelError: the encoder cannot be loaded or tuned.
        """
        if stage not in self._data_of:
            self._data_of[stage] = super().training_data(stage)
        return self._data_of[stage]

    def data_of(self, histories: Histories) -> TrainingData:
        """With vectors that come from these events."""
        return replace(super().data_of(histories), vectors=self._held_out_vectors(histories), spread=None)

    @cached_property
    def untuned_vectors(self) -> Floats:
        """(m, d) the text of each item by the encoder before it was tuned."""
        texts = texts_of(self.workspace)
        vectors = self.models.untuned.remembering_encoder(self.workspace.root).encode(texts)
        return Whitening.fit(vectors)(vectors)

    @cached_property
    def _data_of(self) -> dict[Stage, TrainingData]:
        return {}

    def _held_out_vectors(self, histories: Histories) -> Floats:
        from finetune.encoder import EncoderTuning

        tuned, untuned = self.models.tuned, self.models.untuned
        folder = self.workspace.root / "features"
        remembering = untuned.remembering_encoder(self.workspace.root)
        texts = texts_of(self.workspace)
        liked_from = self.settings.events.liked_from
        liked = histories.positives(liked_from)
        digest = hashlib.sha256(json.dumps(texts).encode())
        for part in (liked.indptr, liked.indices):
            digest.update(part.astype("<i8").tobytes())
        key = f"{tuned.fingerprint}-{digest.hexdigest()[:16]}"

        def train() -> Encoder:
            self.models.say("Tuning the encoder on what is not held out")
            tuning = EncoderTuning(**tuned.tuning)
            trainer = make_trainer(untuned, texts, remembering.encode(texts), histories, liked_from, tuning)
            trainer.run(tuned.steps)
            return trainer.encoder

        vectors = JoinedEncoder([remembering, CachedEncoder(folder / key, key, train)]).encode(texts)
        return Whitening.fit(vectors)(vectors)


def open_study(workspace: Workspace, settings: Settings, models: Models, question: Question, seed: int) -> Study:
    """A study of the workspace, with an encoder that is tuned anew wherever the settings name a tuned one."""
    kind = Study if settings.encoder.tuned == OFF else TunedStudy
    return kind(workspace, settings, models, question, seed)
