"""Which device and precision are taken, and that a model comes back unwrapped."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import nn

import headstart.training.machine.runtime as module
from headstart.errors import ConfigError
from headstart.training.machine.runtime import Runtime, accelerate_as_found


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a way to pretend to be another machine."""

    def pretend(
        cuda: tuple[int, int] | None = None, mps: bool = False, name: str = "x86_64", *cpu: str
    ) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda is not None)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.setattr(module.os, "uname", lambda: SimpleNamespace(machine=name))
        for probe in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
            monkeypatch.setattr(torch.cpu, probe, lambda probe=probe: probe in cpu)
        mkldnn: Any = SimpleNamespace(_is_mkldnn_bf16_supported=lambda: "arm_bf16" in cpu)
        monkeypatch.setattr(module.torch.ops, "mkldnn", mkldnn, raising=False)

    return pretend


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [((8, 0), True, "cuda"), (None, True, "mps"), (None, False, "cpu")],
)
def test_the_fastest_device_that_is_there(
    machine: Callable[..., None], cuda: Any, mps: bool, expected: str
) -> None:
    machine(cuda, mps)
    assert module._choose_device("auto") == expected
    assert module._choose_device("cpu") == "cpu"


@pytest.mark.parametrize("device", ["cuda", "mps", "tpu"])
def test_a_device_that_is_not_there_is_told(machine: Callable[..., None], device: str) -> None:
    machine()
    with pytest.raises(ConfigError) as error:
        Runtime(device)
    assert error.value.expected == "a device that is there: cpu"
    assert error.value.found == device
    assert "--device" in error.value.fix


@pytest.mark.parametrize(
    ("device", "facts", "expected"),
    [
        ("cuda", [(8, 0)], "bf16"),
        ("cuda", [(9, 0)], "bf16"),
        ("cuda", [(7, 5)], "fp32"),
        ("mps", [None, True], "fp32"),
        ("cpu", [None, False, "x86_64"], "fp32"),
        ("cpu", [None, False, "x86_64", "_is_avx512_bf16_supported"], "bf16"),
        ("cpu", [None, False, "x86_64", "_is_amx_tile_supported"], "bf16"),
        ("cpu", [None, False, "x86_64", "arm_bf16"], "fp32"),
        ("cpu", [None, False, "aarch64", "arm_bf16"], "bf16"),
        ("cpu", [None, False, "arm64"], "fp32"),
    ],
)
def test_bf16_is_taken_only_where_it_is_fast(
    machine: Callable[..., None], device: str, facts: list[Any], expected: str
) -> None:
    machine(*facts)
    precision, reason = module._choose_precision(device, "auto")
    assert precision == expected
    assert reason
    assert module._choose_precision(device, "fp32") == ("fp32", "as asked")


def test_fp16_needs_cuda() -> None:
    assert module._choose_precision("cuda", "fp16") == ("fp16", "as asked")
    for device in ("cpu", "mps"):
        with pytest.raises(ConfigError, match="fp16 on a CUDA device"):
            module._choose_precision(device, "fp16")
    with pytest.raises(ConfigError):
        Runtime("cpu", "fp16")


def test_what_it_says_of_itself() -> None:
    runtime = Runtime("cpu", "fp32", 1)
    assert runtime.describe() == {
        "device": "cpu", "precision": "fp32", "precision_reason": "as asked",
        "threads": 1, "threads_reason": "--threads", "processes": 1,
    }  # fmt: skip
    assert (runtime.rank, runtime.world, runtime.is_main) == (0, 1, True)
    assert torch.equal(runtime.sum(torch.arange(3)), torch.arange(3))


def test_one_process_can_use_one_precision_after_another() -> None:
    linear, x = nn.Linear(4, 4), torch.ones(1, 4)
    for precision, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16)) * 2:
        runtime = Runtime("cpu", precision, 1)
        with runtime.autocast():
            assert linear(x).dtype == kind
        assert linear.weight.dtype == torch.float32


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_prepared_model_comes_back_as_it_was(precision: str) -> None:
    runtime, model = Runtime("cpu", precision, 1), nn.Linear(4, 2)
    before, forward = dict(vars(model)), model.forward
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    with runtime.prepared(model, optimizer) as (wrapped, stepper):
        runtime.backward(wrapped(torch.ones(3, 4)).float().sum())
        assert model.weight.grad is not None
        runtime.clip(model.parameters(), 0.01, optimizer)
        norm = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        scale = getattr(optimizer, "grad_scale", 1.0)
        assert float((norm / scale).norm()) == pytest.approx(0.01, rel=1e-3)
        start = model.weight.detach().clone()
        stepper.step()
        assert not torch.equal(model.weight, start)
    assert model.forward == forward
    assert vars(model).keys() == before.keys()
    assert model(torch.ones(1, 4)).dtype == torch.float32


def test_accelerates_state_is_given_back() -> None:
    AcceleratorState._reset_state()
    own = Accelerator(cpu=True, mixed_precision="no")
    with accelerate_as_found():
        assert Runtime("cpu", "bf16").precision == "bf16"
    assert own.mixed_precision == "no"
    assert str(own.device) == "cpu"


def test_each_stage_scales_its_loss_anew_or_as_in_the_checkpoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def new(*_: Any) -> torch.amp.GradScaler:
        return torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=1)

    monkeypatch.setattr(module, "get_grad_scaler", new)
    runtime = Runtime("cpu", "fp32")
    assert runtime.loss_scale == {}
    runtime._accelerator.scaler = new()
    model = nn.Linear(2, 1)

    def stage() -> float:
        with runtime.prepared(model, torch.optim.SGD(model.parameters(), 0.1)) as (own, stepper):
            began = float(runtime.loss_scale["scale"])
            runtime.backward(own(torch.ones(1, 2)).sum())
            stepper.step()
        return began

    assert stage() == stage() == 8
    assert runtime.loss_scale["scale"] == 16
    runtime.resume_loss_scale(runtime.loss_scale)
    assert stage() == 16
    assert stage() == 8
