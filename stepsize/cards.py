"""The GPUs of this machine, as nvidia-smi lists them: no process has to take one to see them."""

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stepsize.errors import StepsizeError

PATIENCE = 60.0
"""Seconds for nvidia-smi: without its daemon it wakes every card first."""

_CARD = re.compile(r"^GPU (?P<number>\d+): (?P<model>.+?) \(UUID: (?P<uuid>GPU-[\w-]+)\)")
_SLICE = re.compile(r"^\s+MIG (?P<model>\S+)\s+Device\s+\d+: \(UUID: (?P<uuid>MIG-[\w/-]+)\)")
_NUMBER = re.compile(r"(cuda:)?(\d+)")


@dataclass(frozen=True)
class Card:
    """A GPU, or a slice of one that is partitioned (MIG).

    Attributes:
        number: of the GPU in the order of their bus addresses, as nvidia-smi counts.
        part: of a slice, in the same order.
    """

    number: int
    model: str
    uuid: str
    part: int | None = None

    @property
    def label(self) -> str:
        """Its number, as in 3, or 3m0 for a slice."""
        return str(self.number) if self.part is None else f"{self.number}m{self.part}"


def visible(environ: Mapping[str, str]) -> list[Card]:
    """The cards that CUDA_VISIBLE_DEVICES leaves; none where there is no nvidia-smi.

    Raises:
        StepsizeError: nvidia-smi is there and fails.
    """
    command = shutil.which("nvidia-smi", path=environ.get("PATH"))
    if command is None:
        return []
    try:
        done = subprocess.run(
            [command, "-L"], capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _unusable(str(error)) from error
    if done.returncode != 0:
        raise _unusable((done.stderr or done.stdout).strip())
    return _left(read(done.stdout), environ.get("CUDA_VISIBLE_DEVICES"))


def read(listing: str) -> list[Card]:
    """The cards of what `nvidia-smi -L` prints; slices stand for the GPU that they are of."""
    found: list[Card] = []
    for line in listing.splitlines():
        if card := _CARD.match(line):
            found.append(Card(int(card["number"]), card["model"], card["uuid"]))
        elif found and (part := _SLICE.match(line)):
            last = found[-1]
            if last.part is None:
                found.pop()
                model, number = last.model, 0
            else:
                model, number = last.model.rpartition(" MIG ")[0], last.part + 1
            named = f"{model} MIG {part['model']}"
            found.append(Card(last.number, named, part["uuid"], number))
    return found


def chosen(cards: Sequence[Card], devices: str) -> list[Card]:
    """The cards that `devices` names; none for the CPUs.

    `auto` and `cuda` are all of them, else numbers among those that are visible, or UUIDs or
    beginnings of them, by commas.

    Raises:
        StepsizeError: there is no such card.
    """
    if devices == "auto":
        return list(cards)
    if devices == "cpu":
        return []
    if devices == "cuda":
        wanted = list(cards)
    else:
        wanted = [_named(cards, name.strip()) for name in devices.split(",") if name.strip()]
    if not wanted:
        raise StepsizeError(
            f"--devices {devices}: nvidia-smi lists no GPU; give cpu to run on the CPUs"
        )
    if len(set(wanted)) < len(wanted):
        raise StepsizeError(f"--devices {devices}: names a GPU twice; --per-gpu shares one")
    return wanted


def _named(cards: Sequence[Card], name: str) -> Card:
    number = _NUMBER.fullmatch(name)
    if number:
        found = list(cards[int(number[2]) : int(number[2]) + 1])
    else:
        found = [card for card in cards if card.uuid.startswith(name)]
    if len(found) != 1:
        known = ", ".join(f"{i} ({card.uuid})" for i, card in enumerate(cards)) or "none"
        raise StepsizeError(f"--devices: {name} is no single GPU of this machine's: {known}")
    return found[0]


def _left(cards: list[Card], limit: str | None) -> list[Card]:
    """As CUDA reads the variable: what comes after a name that it does not know is not seen."""
    if limit is None:
        return cards
    left: list[Card] = []
    for name in limit.split(","):
        found = [
            card
            for card in cards
            if (card.number == int(name) if name.strip().isdigit() else _begins(card, name.strip()))
        ]
        if not found:
            break
        left += [card for card in found if card not in left]
    return left


def _begins(card: Card, name: str) -> bool:
    return bool(name) and card.uuid.startswith(name)


def _unusable(why: str) -> StepsizeError:
    return StepsizeError(
        f"nvidia-smi cannot list the GPUs: {why}\nrepair the driver, or give --devices cpu"
    )
