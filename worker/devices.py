"""Takes the device that jobs run on, and makes it warm."""

import os
from collections.abc import Sequence

import torch

from spec.needs import Offer
from worker.engine import memory

CONTEXT = 600_000_000
"""Bytes of a GPU that a process takes beside its tensors, about: they are in nobody's share."""


def take(wanted: str, *, sharing: int = 1) -> torch.device:
    """The device of that name (`auto`: a GPU if there is one), with its start-up behind it.

    Of a GPU that several are `sharing` this process takes its share of the memory and no more: a
    job that wants more has none left, and fails by itself. The first optimizer step of a process
    costs seconds of imports: it is made here, so that no job pays for it.
    """
    if wanted == "auto":
        wanted = "cuda:0" if torch.cuda.is_available() else "cpu"
    device = torch.device(wanted)
    if device.type == "cuda" and sharing > 1:
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(share(total, sharing) / total, device)
    layer = torch.nn.Linear(4, 4, device=device)
    optimizer = torch.optim.Adam(layer.parameters(), fused=True)
    layer(torch.ones(2, 4, device=device)).sum().backward()
    optimizer.step()
    return device


def share(total: int, sharing: int) -> int:
    """Bytes for the tensors of each of so many processes on a GPU.

    Raises:
        ValueError: there is too little for so many.
    """
    if sharing == 1:
        return total
    found = total // sharing - CONTEXT
    if found <= 0:
        raise ValueError(f"{total / 1e9:.1f} GB cannot be shared by {sharing} workers")
    return found


def describe_device(device: torch.device) -> str:
    """The device as people know it."""
    if device.type == "cuda":
        return f"{device} {torch.cuda.get_device_name(device)}"
    return f"{device}, {torch.get_num_threads()} threads"


def offered(
    device: torch.device, labels: Sequence[str], *, gpus: int = 1, sharing: int = 1
) -> Offer:
    """What jobs may need of a worker on this device, or on so many GPUs from it on.

    Raises:
        ValueError: there are fewer.
    """
    if device.type == "cuda":
        if (device.index or 0) + gpus > torch.cuda.device_count():
            raise ValueError(f"STEPSIZE_GPUS is {gpus}; there are {torch.cuda.device_count()}")
        properties = torch.cuda.get_device_properties(device)
        return Offer(
            gpus=gpus,
            memory_gb=share(properties.total_memory, sharing) / memory.GIGABYTE,
            card=properties.name,
            labels=tuple(labels),
        )
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Offer(memory_gb=whole / memory.GIGABYTE, labels=tuple(labels))


def unit(device: torch.device) -> str | None:
    """What tells this device from all others, whatever process it is used by; None for the CPUs.

    A node on the CPUs stays when its processes go, and its own name tells it.
    """
    if device.type != "cuda":
        return None
    return f"GPU-{torch.cuda.get_device_properties(device).uuid}"


def is_usable(device: torch.device) -> bool:
    """Whether this process can still compute on the device: some errors of a GPU stay for good."""
    if device.type != "cuda":
        return True
    try:
        torch.cuda.synchronize(device)
    except RuntimeError:
        return False
    return True
