"""Whether a job fits: what it needs at least, against what the machine has free."""

import os
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from spec.states import Reason
from worker.engine.errors import EngineError

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")
GIGABYTE = 10**9


def require(needed: int, what: str, device: torch.device) -> None:
    """Raise OOM unless `device` has `needed` bytes free."""
    free = available(device)
    if needed > free:
        raise EngineError(
            Reason.OOM,
            f"{what} needs about {_gigabytes(needed)} on {device}; "
            f"this worker has {_gigabytes(free)} free",
        )


def _gigabytes(size: int) -> str:
    digits = 1 if size >= GIGABYTE else 6
    return f"{size / GIGABYTE:,.{digits}f} GB"


def available(device: torch.device) -> int:
    """Bytes a new job may use on `device`."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        # of a GPU that is shared no process may take more than its part
        limit = int(total * torch.cuda.get_per_process_memory_fraction(device))
        # what earlier jobs freed stays with torch's allocator, and is there for the next
        left = min(free + torch.cuda.memory_reserved(device), limit)
        return left - torch.cuda.memory_allocated(device)
    return min([machine_free(PROC), *cgroups_free(PROC, CGROUPS)])


def weights(model: nn.Module) -> int:
    """Bytes of the model's parameters."""
    return sum(parameter.nbytes for parameter in model.parameters())


def activations(model: nn.Module, inputs: Tensor) -> int:
    """Bytes a forward pass keeps for the backward pass; model and inputs on the meta device."""
    parameters = {_storage(parameter) for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[_storage(tensor)] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs: Tensor = model(inputs)
    # the outputs hold the graph, so that no storage counted here has been freed and used again
    return outputs.nbytes + sum(size for key, size in kept.items() if key not in parameters)


def operations(model: nn.Module, inputs: Tensor) -> int:
    """Floating-point operations of a forward pass; model and inputs on the meta device."""
    with FlopCounterMode(display=False) as counter:
        model(inputs)
    return int(counter.get_total_flops())


def _storage(tensor: Tensor) -> int:
    key: int = tensor.untyped_storage()._cdata  # noqa: SLF001 - on meta nothing else differs
    return key


def machine_free(proc: Path) -> int:
    """Bytes the kernel says can be used without swapping; all there are where it does not say."""
    meminfo = proc / "meminfo"
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def cgroups_free(proc: Path, mount: Path) -> Iterator[int]:
    """Bytes left under each memory limit that this process's control groups set."""
    membership = proc / "self" / "cgroup"
    for line in membership.read_text().splitlines() if membership.exists() else []:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, limit, usage = mount, "memory.max", "memory.current"
        elif controllers == "memory":
            root, limit, usage = mount / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        group = root / path.lstrip("/")
        # a limit of any group above holds too; in a container only the root may be there to see
        for folder in (group, *(each for each in group.parents if each.is_relative_to(root))):
            if (folder / limit).is_file():
                most = (folder / limit).read_text().strip()
                if most != "max":
                    yield int(most) - int((folder / usage).read_text()) + _reclaimable(folder)


def _reclaimable(folder: Path) -> int:
    """Bytes of file cache that count as used and yet are there for the taking."""
    stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    return int(stat.get("total_inactive_file", stat.get("inactive_file", 0)))
