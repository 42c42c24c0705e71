"""What `whyrec doctor` finds of a remote language model."""

import os
from collections.abc import Iterator
from pathlib import Path

from agent.remote.endpoint import Endpoint
from agent.remote.options import RemoteSettings
from agent.tuned_ranker import current_ranker
from retrieval.errors import WhyrecError


def remote_findings(settings: RemoteSettings) -> Iterator[tuple[str, str, str]]:
    """What was looked at, its state, and what was found; nothing where the settings use no remote model."""
    if not settings.used:
        return
    endpoint = Endpoint(settings)
    try:
        listed = endpoint.models()
    except WhyrecError as error:
        yield "remote model", "missing", str(error)
    else:
        does = f"{settings.name} answers; used as {', '.join(settings.used)}"
        known = settings.model in listed
        lists = "" if known else f"; it does not list this model, but {', '.join(sorted(listed))[:200] or 'none'}"
        yield "remote model", "ok" if known else "warning", f"{does}{lists}"
    finally:
        endpoint.close()
    if settings.key_env:
        there = bool(os.environ.get(settings.key_env))
        yield "remote key", "ok" if there else "missing", f"{settings.key_env} is {'set' if there else 'not set'}"
    yield _spent(endpoint)
    if settings.ranker:
        yield "remote ranker", *_proof(endpoint)


def _spent(endpoint: Endpoint) -> tuple[str, str, str]:
    settings = endpoint.settings
    try:
        spent = endpoint.spending.total()
    except WhyrecError as error:
        return "remote spending", "wrong", str(error)
    found = f"{spent.tokens:,} of {settings.most_tokens:,} tokens in {spent.requests:,} requests"
    if settings.most_cost:
        found += f", {spent.cost:.4f} of {settings.most_cost:g} in money"
    reached = spent.tokens >= settings.most_tokens or (settings.most_cost and spent.cost >= settings.most_cost)
    return "remote spending", "warning" if reached else "ok", found


def _proof(endpoint: Endpoint) -> tuple[str, str]:
    again = "prove it: whyrec finetune ranker --lists 0"
    try:
        proof = (
            None if endpoint.settings.proof == "auto" else current_ranker(Path(endpoint.settings.proof).expanduser())
        )
    except WhyrecError as error:
        return "wrong", str(error)
    if proof is None:
        return "warning", f"it orders nothing, as nothing is proven of it; {again}"
    if proof.base_fingerprint != endpoint.fingerprint:
        return "stale", f"the proof is of another model or endpoint ({proof.base}); {again}"
    opens = any(gate.opens for gate in proof.gates.values())
    return "ok", "proven" if opens else "judged, and no gain is proven: it orders nothing"
