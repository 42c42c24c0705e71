"""Which kinds of artefacts a refresh trains in a workspace, and which it watches alone."""

from collections.abc import Sequence

from agent.encoders import OFF
from agent.models import Models
from agent.refresh.artefacts import Artefact, FusionArtefact, StudentArtefact, Watched
from agent.refresh.ranker import RankerArtefact
from agent.settings import Settings

ENCODER = Watched("encoder", ("finetune encoder", "index --rebuild", "tune"))
RANKER = Watched("ranker", ("finetune ranker",))


def artefacts_of(
    settings: Settings, models: Models, trials: int, command: str, *, ranker: bool
) -> tuple[Sequence[Artefact], Sequence[Watched]]:
    """Those that the settings let serve, each after what it rests on; ``ranker``: whether it is trained, too.

    The encoder is watched: with another one, index, scorers and student would have to be made anew.
    """
    fuses = settings.ranking.fusion != OFF
    ranks = settings.ranking.ranker != OFF and not settings.remote.ranker
    artefacts: list[Artefact] = [FusionArtefact(models, trials, command)] if fuses else []
    if ranker and ranks:
        artefacts.append(RankerArtefact(models, trials, command))
    artefacts.append(StudentArtefact(models, trials, command))
    watched = [RANKER] if ranks and not ranker else []
    return artefacts, [*watched, ENCODER] if settings.encoder.tuned != OFF else watched
