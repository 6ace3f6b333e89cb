"""What a job needs of the worker that runs it, what a worker offers, and whether these fit."""

import json
from collections.abc import Sequence
from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints

from schedules.values import Value

Label = Annotated[str, StringConstraints(strict=True, pattern=r"^[a-z0-9][a-z0-9_.=-]{0,62}$")]
"""A free word for what a worker has, as `nvme` or `rack=7`."""

Card = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.-]{0,63}$")]

NOTHING = ""
"""As which a job is stored that any worker of its queue can run."""


class Needs(Value):
    """What a worker must offer to be given the job; any worker of its queue without them."""

    gpus: Annotated[
        int, Field(strict=True, ge=0, le=64, description="of one host; 0: a CPU will do as well")
    ] = 0
    memory_gb: Annotated[
        float | None,
        Field(gt=0, le=1e6, description="of the device that it runs on, in 10^9 bytes"),
    ] = None
    card: Annotated[
        Card | None, Field(description="part of the GPU's name in any case, as H100")
    ] = None
    labels: Annotated[
        tuple[Label, ...], Field(max_length=8, description="that the worker must have, all")
    ] = ()


class Offer(Value):
    """What a worker has.

    Attributes:
        gpus: that one job of it can use at once.
        memory_gb: of its device, or of its share of it, in 10^9 bytes.
        card: the GPU's name.
        components: models, datasets and the like beyond the built-in ones, as `requirement` names
            them.
    """

    # workers are upgraded before the API, and a later version may offer more
    model_config = ConfigDict(extra="ignore")

    gpus: int = 0
    memory_gb: float | None = None
    card: str | None = None
    labels: tuple[str, ...] = ()
    components: tuple[str, ...] = ()


NO_MORE = Offer()
"""Enough for a job without needs."""


KNOWN = {*Needs.model_fields, "components"}


def stored(needs: Needs | None, components: Sequence[str] = ()) -> str:
    """Needs as one text, equal for equal needs; `components` are those that only some workers have.

    NOTHING for what any worker has.
    """
    said = needs.model_dump(exclude_defaults=True) if needs else {}
    if "card" in said:
        said["card"] = said["card"].lower()
    if "labels" in said:
        said["labels"] = sorted(set(said["labels"]))
    if components:
        said["components"] = sorted(set(components))
    return json.dumps(said, sort_keys=True, separators=(",", ":")) if said else NOTHING


def missing(needs: str, offer: Offer) -> list[str]:
    """What a worker lacks for a job with these stored needs, in words; nothing where they fit."""
    if needs == NOTHING:
        return []
    said = json.loads(needs)
    lacks = []
    if said.get("gpus", 0) > offer.gpus:
        lacks.append(f"{said['gpus']} GPU{'s' if said['gpus'] > 1 else ''}")
    if said.get("memory_gb", 0) > (offer.memory_gb or 0):
        lacks.append(f"{said['memory_gb']:g} GB of memory")
    if said.get("card", "") not in (offer.card or "").lower():
        lacks.append(f"a card called {said['card']}")
    lacks += [f"label {each}" for each in said.get("labels", ()) if each not in offer.labels]
    lacks += [each for each in said.get("components", ()) if each not in offer.components]
    lacks += [f"a version that knows {each}" for each in sorted(said.keys() - KNOWN)]
    return lacks
