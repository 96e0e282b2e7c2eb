"""Devices, precision and processes: the only module that touches accelerate."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState
from accelerate.utils import DistributedDataParallelKwargs, get_grad_scaler
from torch import nn

from headstart.errors import ConfigError
from headstart.kernels.mode import FastKernels
from headstart.kernels.vocabulary import UsedRows
from headstart.training.machine.offload import OffloadedAdamW
from headstart.training.machine.threads import Threads, choose_threads

_TORCHS_THREADS = torch.get_num_threads()
"""As torch chose them, before a run has set others."""


class Runtime:
    """Device, precision and processes of a run.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``; matrix products run in it under
            autocast, parameters stay fp32.
        threads: CPU threads, with their reason if ``--threads`` is not it; those that torch has if
            ``None``.

    Raises:
        ConfigError: If the device is not there or cannot do the precision.
    """

    def __init__(
        self, device: str = "auto", precision: str = "auto", threads: int | Threads | None = None
    ) -> None:
        self.threads = threads if isinstance(threads, Threads) else _choose_threads(threads)
        if threads is not None:
            torch.set_num_threads(self.threads.count)
        kind = _choose_device(device)
        self._kind = kind
        self.precision, self.reason = _choose_precision(kind, precision)
        self._accelerator = self._accelerate()
        self.device = self._accelerator.device
        self._scale: dict[str, Any] = {}

    def _accelerate(self) -> Accelerator:
        # Accelerate keeps one state per process; a second run may ask for another precision.
        AcceleratorState._reset_state(reset_partial_state=os.environ.get("WORLD_SIZE", "1") == "1")
        return Accelerator(
            cpu=self._kind == "cpu",
            mixed_precision={"fp32": "no"}.get(self.precision, self.precision),
            # A model's buffers are constants, the same in every process.
            kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
        )

    def use_fp32(self, reason: str) -> None:
        """Compute in fp32 from now on; between stages only."""
        self.precision, self.reason = "fp32", reason
        self._accelerator = self._accelerate()

    @property
    def rank(self) -> int:
        """This process's number."""
        return cast(int, self._accelerator.process_index)

    @property
    def world(self) -> int:
        """How many processes compute together."""
        return cast(int, self._accelerator.num_processes)

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def describe(self) -> dict[str, Any]:
        """Return the facts for a run's record."""
        return {
            "device": str(self.device),
            "precision": self.precision,
            "precision_reason": self.reason,
            "threads": torch.get_num_threads(),
            "threads_reason": self.threads.reason,
            "processes": self.world,
        }

    @contextlib.contextmanager
    def prepared(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        example: Callable[[], dict[str, torch.Tensor]] | None = None,
    ) -> Iterator[tuple[nn.Module, Any]]:
        """Wrap a model and an optimizer for this runtime while a stage trains.

        ``example`` makes a batch that shows several processes which parameters get a gradient;
        without it, each step finds out anew. The optimizer is wrapped where fp16 needs it;
        afterwards the model is unwrapped again.
        """
        model.to(self.device)
        if self.world > 1 and self._accelerator.ddp_handler is not None:
            search = example is None or self._leaves_some_unused(model, example())
            self._accelerator.ddp_handler.find_unused_parameters = search
        if self._accelerator.scaler is not None:
            # The loss scale of fp16 is a stage's own, as its optimizer is.
            self._accelerator.scaler = get_grad_scaler(self._accelerator.distributed_type)
            self._accelerator.scaler.load_state_dict(
                self._scale or self._accelerator.scaler.state_dict()
            )
            self._scale = {}
        own = set(vars(model))
        # Accelerate would move moments to the model's device.
        places = [True, not isinstance(optimizer, OffloadedAdamW)]
        wrapped, stepper = self._accelerator.prepare(model, optimizer, device_placement=places)
        try:
            # What accelerate puts around an optimizer serves the loss scale, and takes time.
            yield wrapped, optimizer if self._accelerator.scaler is None else stepper
        finally:
            self._accelerator.unwrap_model(wrapped, keep_fp32_wrapper=False)
            self._forget()
            # The mark that accelerate leaves would keep a later trainer from wrapping the model.
            for mark in vars(model).keys() - own:
                delattr(model, mark)

    def _forget(self) -> None:
        """Let go of what accelerate holds of a stage.

        Its own way collects garbage, too, so that a device gets memory back. With all libraries in
        memory that takes 0.2 s a stage; here nothing is left in circles that is large.
        """
        if self.device.type == "cpu":
            self._accelerator._models.clear()
            self._accelerator._optimizers.clear()
        else:
            self._accelerator.free_memory()

    def _leaves_some_unused(self, model: nn.Module, batch: dict[str, torch.Tensor]) -> bool:
        """Return whether a parameter that trains may get no gradient in a step.

        Processes exchange gradients as these come. For one that never comes the wrapper has to walk
        through the graph of each forward pass, and to ask the device in the end. Neither gradients
        nor random numbers tell that this was tried.
        """
        config: Any = getattr(model, "config", None)
        settings = vars(config) if config is not None else {}
        if any(rate for name, rate in settings.items() if name.endswith("layerdrop")):
            return True  # layers are left out at random
        trained = [p for p in model.parameters() if p.requires_grad]
        inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
        with self.own_randomness(), self.autocast():
            logits = model(**inputs).logits
        found = torch.autograd.grad(logits.float().sum(), trained, allow_unused=True)
        return any(gradient is None for gradient in found)

    @property
    def loss_scale(self) -> dict[str, Any]:
        """The state of fp16's loss scale as plain data; empty in other precisions."""
        scaler = self._accelerator.scaler
        return {} if scaler is None else dict(scaler.state_dict())

    def resume_loss_scale(self, state: dict[str, Any]) -> None:
        """Begin the next stage with a loss scale from a checkpoint."""
        self._scale = state

    def own_randomness(self) -> contextlib.AbstractContextManager[Any]:
        """Return a context after which the generators that models draw from are as before."""
        return _kept_generators([self.device] if self.device.type == "cuda" else [])

    def seed(self, number: int) -> None:
        """Seed torch's random generators that this runtime draws from, and numpy's common one.

        ``torch.manual_seed`` goes through every kind of device, which takes a millisecond.
        """
        np.random.seed(number % 2**32)
        torch.default_generator.manual_seed(number)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(number)
        elif self.device.type == "mps":
            torch.mps.manual_seed(number)

    def backward(self, loss: torch.Tensor) -> None:
        """Compute gradients, scaled where fp16 needs it."""
        self._accelerator.backward(loss)

    def accumulating(self, model: nn.Module, more: bool) -> contextlib.AbstractContextManager[Any]:
        """Return a context in which gradients are not yet exchanged between processes.

        ``more`` says that further micro-batches of the same step follow.
        """
        return self._accelerator.no_sync(model) if more else contextlib.nullcontext()

    def clip(
        self, parameters: Iterable[nn.Parameter], norm: float, optimizer: torch.optim.Optimizer
    ) -> None:
        """Scale the gradient down to a largest norm; a fused optimizer does it as it updates."""
        if self._accelerator.scaler is not None or not optimizer.defaults.get("fused"):
            self._accelerator.clip_grad_norm_(list(parameters), norm)
            return
        total = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        # What the loss scale of fp16 uses too: the gradient is divided by it inside the update.
        cast(Any, optimizer).grad_scale = ((total + 1e-6) / norm).clamp(min=1.0)

    def kernels(self, used: UsedRows | None = None) -> contextlib.AbstractContextManager[Any]:
        """Return the context in which a training step uses our kernels; a GPU has its own.

        ``used`` stands in for an embedding table, on the processor only.
        """
        return FastKernels(used=used) if self.device.type == "cpu" else contextlib.nullcontext()

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context in which matrix products run in the chosen precision."""
        return cast("contextlib.AbstractContextManager[Any]", self._accelerator.autocast())

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """Add a tensor up over all processes."""
        return cast(torch.Tensor, self._accelerator.reduce(tensor, reduction="sum"))

    def wait(self) -> None:
        """Wait until every process is here."""
        self._accelerator.wait_for_everyone()


@contextlib.contextmanager
def _kept_generators(devices: list[torch.device]) -> Iterator[None]:
    state = np.random.get_state()
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        np.random.set_state(state)


@contextlib.contextmanager
def accelerate_as_found() -> Iterator[None]:
    """Restore accelerate's state of this process after a block."""
    shared = [kind._shared_state for kind in (PartialState, AcceleratorState, GradientState)]
    before = [dict(state) for state in shared]
    try:
        yield
    finally:
        for state, values in zip(shared, before, strict=True):
            if values:
                state.clear()
                state.update(values)


def _choose_threads(asked: int | None) -> Threads:
    present = torch.get_num_threads()
    return choose_threads(asked, present=present, untouched=present == _TORCHS_THREADS)


def _choose_device(asked: str) -> str:
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if asked == "auto":
        return next(kind for kind in ("cuda", "mps", "cpu") if there[kind])
    if not there.get(asked, False):
        raise ConfigError(
            f"a device that is there: {', '.join(k for k, v in there.items() if v)}",
            asked,
            "Change --device, or install a torch build for it.",
        )
    return asked


def _choose_precision(device: str, asked: str) -> tuple[str, str]:
    if asked == "fp16" and device != "cuda":
        raise ConfigError("fp16 on a CUDA device", f"fp16 on {device}", "Use bf16 or fp32.")
    return native_precision(device) if asked == "auto" else (asked, "as asked")


def native_precision(device: str) -> tuple[str, str]:
    """Return the fastest precision that a device computes without emulating it, and why.

    It is ``bf16`` or ``fp32``.
    """
    if device == "cuda":
        fast = torch.cuda.get_device_capability() >= (8, 0)
        return ("bf16", "the GPU computes it natively") if fast else ("fp32", "no native bf16")
    if device == "mps":
        return "fp32", "the safe choice on MPS"
    if _cpu_has_fast_bf16():
        return "bf16", "the processor multiplies bf16 natively"
    return "fp32", "the processor has no native bf16 products"


def _cpu_has_fast_bf16() -> bool:
    """Whether the processor has instructions for bf16 products; emulation is slower than fp32."""
    for probe in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        if getattr(torch.cpu, probe, bool)():
            return True
    machine = os.uname().machine if hasattr(os, "uname") else ""
    arm = machine in {"arm64", "aarch64"}
    return arm and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
