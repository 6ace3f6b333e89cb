"""What a worker takes of its device, offers of it, and calls it."""

from pathlib import Path

import pytest
import torch

from spec.jobs import JOB_SPEC
from spec.states import Reason
from tests.factories import training_json
from worker import devices, engine
from worker.engine import EngineError, memory

GIGABYTE = 10**9


def test_a_gpu_alone_is_whole() -> None:
    assert devices.share(80 * GIGABYTE, 1) == 80 * GIGABYTE


def test_shares_leave_room_for_what_each_process_takes_beside_them() -> None:
    each = devices.share(80 * GIGABYTE, 4)
    assert each == 20 * GIGABYTE - devices.CONTEXT
    assert 4 * (each + devices.CONTEXT) <= 80 * GIGABYTE


def test_a_gpu_that_is_too_small_for_so_many_is_refused() -> None:
    with pytest.raises(ValueError, match=r"2\.0 GB cannot be shared by 4"):
        devices.share(2 * GIGABYTE, 4)


def test_the_cpus_offer_their_memory_and_go_by_the_name_of_their_worker() -> None:
    device = devices.take("cpu", sharing=3)
    offer = devices.offered(device, ["nvme"], gpus=2, sharing=3)
    assert (offer.gpus, offer.card, offer.labels) == (0, None, ("nvme",))
    assert offer.memory_gb is not None
    assert offer.memory_gb > 0
    assert devices.unit(device) is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_job_that_wants_more_than_its_share_fails_and_the_next_runs(tmp_path: Path) -> None:
    try:
        device = devices.take("cuda:0", sharing=8)
        total = torch.cuda.get_device_properties(device).total_memory
        left = memory.available(device)
        assert left <= devices.share(total, 8)
        offer = devices.offered(device, [], sharing=8)
        assert offer.memory_gb == pytest.approx(devices.share(total, 8) / GIGABYTE)
        # what is counted beforehand is refused; what is not is torch's own limit
        with pytest.raises(torch.OutOfMemoryError):
            torch.empty(left + GIGABYTE, dtype=torch.uint8, device=device)
        width = int((left / 8) ** 0.5)  # four copies of this layer are twice of what there is
        greedy = JOB_SPEC.validate_python(
            training_json(model={"name": "mlp", "params": {"hidden": [width, width]}})
        )
        with pytest.raises(EngineError) as caught:
            list(engine.run(greedy, device=device, data_dir=tmp_path))
        assert caught.value.reason is Reason.OOM
        modest = JOB_SPEC.validate_python(training_json())
        *_, last = engine.run(modest, device=device, data_dir=tmp_path)
        assert isinstance(last, engine.Finished)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_is_known_as_nvidia_smi_knows_it() -> None:
    assert str(devices.unit(torch.device("cuda:0"))).startswith("GPU-")
