"""Takes the device that jobs run on, and makes it warm."""

import os
from collections.abc import Sequence

import torch

from spec.needs import Offer
from worker.engine import memory


def take(wanted: str) -> torch.device:
    """The device of that name (`auto`: a GPU if there is one), with its start-up behind it.

    The first optimizer step of a process costs seconds of imports: it is made here, so that no
    job pays for it.
    """
    if wanted == "auto":
        wanted = "cuda:0" if torch.cuda.is_available() else "cpu"
    device = torch.device(wanted)
    layer = torch.nn.Linear(4, 4, device=device)
    optimizer = torch.optim.Adam(layer.parameters(), fused=True)
    layer(torch.ones(2, 4, device=device)).sum().backward()
    optimizer.step()
    return device


def describe_device(device: torch.device) -> str:
    """The device as people know it."""
    if device.type == "cuda":
        return f"{device} {torch.cuda.get_device_name(device)}"
    return f"{device}, {torch.get_num_threads()} threads"


def offered(device: torch.device, labels: Sequence[str], components: Sequence[str] = ()) -> Offer:
    """What jobs may need of a worker on this device."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return Offer(
            gpus=1,
            memory_gb=properties.total_memory / memory.GIGABYTE,
            card=properties.name,
            labels=tuple(labels),
            components=tuple(components),
        )
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Offer(
        memory_gb=whole / memory.GIGABYTE, labels=tuple(labels), components=tuple(components)
    )


def is_usable(device: torch.device) -> bool:
    """Whether this process can still compute on the device: some errors of a GPU stay for good."""
    if device.type != "cuda":
        return True
    try:
        torch.cuda.synchronize(device)
    except RuntimeError:
        return False
    return True
