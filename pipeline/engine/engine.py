"""From a model and a recipe's numbers to a DeepSpeed engine that trains with exact LAMB (or AdamW).

DeepSpeed's JSON says how the training is spread and in which precision; the recipe says what is trained. Each number
has one home, so a JSON that sets a batch size, clipping or an optimizer is refused.
"""

import ctypes
import logging
import math
import os
import warnings
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import deepspeed
import torch
from deepspeed.accelerator import get_accelerator
from deepspeed.runtime import bf16_optimizer
from torch import Tensor, nn

from pipeline.engine.accumulation import sum_in_fp32, updates_all_at_once, with_fp32_sums
from pipeline.engine.config import EngineConfig
from pipeline.engine.partitions import Binding, bind
from pipeline.engine.settings import Zero, find_deepspeed_json, read_deepspeed_json, require_monitors
from pipeline.optim.lamb import OptimizerConfig
from pipeline.optim.optimizer import ShardedOptimizer
from pipeline.optim.parameters import Parameters
from pipeline.optim.shards import Shard
from pipeline.runtime import distributed, launch

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass
class Engine:
    """What the trainer needs of DeepSpeed, and the optimizer behind it."""

    deepspeed: deepspeed.DeepSpeedEngine
    optimizer: ShardedOptimizer
    binding: Binding
    precision: str
    zero_stage: int
    device: torch.device

    @property
    def module(self) -> nn.Module:
        """The model, in the engine's precision."""
        return self.deepspeed.module

    @property
    def shards(self) -> list[Shard]:
        """This rank's master weights and moments, and what it holds of the weights that are not trained."""
        return self.optimizer.shards + self.binding.frozen

    def forward(self, batch: Any) -> Any:
        """The model's output on one micro-batch."""
        return self.deepspeed(batch)

    def backward(self, loss: Tensor) -> None:
        """Accumulate the gradient of `loss`, this micro-batch's part of the *global* mean (law 3).

        DeepSpeed would average over accumulation steps and over ranks; parts of one mean must be added up instead
        (`pipeline.engine.accumulation`).
        """
        # DeepSpeed 0.19.8 divides the gradients by the loss scale at stage 0 too, but scales the loss under ZeRO only.
        by_hand = self.zero_stage == 0 and self.precision == "fp16"
        scale = self.deepspeed.optimizer.loss_scale if by_hand else 1.0
        # A product also where the scale is 1: DeepSpeed's hook on the module's own output divides by the accumulation
        # steps unless a hook on the loss has run before it, and on one tensor the earlier hook, its own, runs first.
        self.deepspeed.backward(loss * scale, scale_wrt_gas=False)

    def step(self, lr: float) -> None:
        """After each micro-batch: the optimizer's update at the last one of a global batch, otherwise bookkeeping."""
        self.optimizer.set_lr(lr)
        self.deepspeed.step()

    def grad_norm(self) -> float:
        """Global gradient norm of the last update, before clipping; infinite if the update was skipped."""
        if self.optimizer.clips:
            return math.inf if self.deepspeed.optimizer.overflow else self.optimizer.grad_norm
        return float(self.deepspeed.get_global_grad_norm() or 0.0)

    def trust_ratios(self) -> dict[str, Tensor]:
        """LAMB's ratios of the last update by tensor, on the device."""
        return self.optimizer.last_ratios

    @property
    def skipped_steps(self) -> int:
        """Updates skipped so far because of infinite or NaN gradients."""
        return int(self.deepspeed.skipped_steps)

    def loss_scaler(self) -> dict[str, Any]:
        """State of fp16's dynamic loss scaling, as plain numbers; empty in other precisions."""
        scaler = self._scaler()
        return {name: getattr(scaler, name) for name in _SCALER_STATE if hasattr(scaler, name)} if scaler else {}

    def load_loss_scaler(self, state: dict[str, Any]) -> None:
        """Continue loss scaling from `loss_scaler()`'s state."""
        scaler = self._scaler()
        for name, value in state.items():
            if scaler is not None:
                setattr(scaler, name, value)

    def _scaler(self) -> Any:
        if self.precision != "fp16":
            return None
        wrapper = self.deepspeed.optimizer
        return getattr(wrapper, "loss_scaler", None) or getattr(wrapper, "loss_scale_config", None)


_SCALER_STATE = ("cur_scale", "cur_iter", "last_overflow_iter", "cur_hysteresis")


def start(config: EngineConfig) -> torch.device:
    """Join the process group (also alone, without a launcher) and choose this process's device."""
    quiet_libraries()
    os.environ.update(launch.variables(os.environ))
    torch.set_float32_matmul_precision("high" if config.tf32 else "highest")
    accelerator = get_accelerator()
    if accelerator.device_name() == "cpu":
        _prepare_cpu()
    timeout = timedelta(minutes=config.timeout_minutes + 1)  # the watchdog comes first and leaves stacks behind
    backend = accelerator.communication_backend_name() if accelerator.device_name() != "cpu" else "gloo"
    distributed.join(backend, timeout)
    deepspeed.init_distributed(dist_backend=backend, timeout=timeout, verbose=False)
    if accelerator.device_name() == "cpu":
        return torch.device("cpu")
    with distributed.together("choose a device"):
        index = launch.visible_device(os.environ, accelerator.device_count())
    # DeepSpeed takes the number of its device from there, and insists that Open MPI's own is the same.
    os.environ.update({name: str(index) for name in ("LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK") if name in os.environ})
    accelerator.set_device(index)
    return torch.device(accelerator.device_name(index))


def quiet_libraries() -> None:
    """Keep what a user can do nothing about off the terminal."""
    log = logging.getLogger("DeepSpeed")
    log.setLevel(os.environ.get("DEEPSPEED_LOG_LEVEL", "WARNING").upper())
    # It warns of any optimizer that is not its own; what LAMB needs under ZeRO is what `pipeline.engine.partitions`
    # does.
    log.addFilter(lambda record: "untested optimizer" not in record.getMessage())
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")
    bf16_optimizer.see_memory_usage = lambda *args, **kwargs: None  # prints the machine's memory at each start


def _prepare_cpu() -> None:
    """Share the cores among the local ranks, keep freed memory, and bound oneDNN's cache.

    oneDNN compiles a kernel for each shape and keeps the last 1024 of them; unpadded batches differ in their number of
    tokens from step to step, so a rank of bert_mini grew past 8 GiB. A hundred serve as well (`docs/benchmarks.md`).

    glibc returns large blocks to the system and fetches fresh pages for each step's activations, which the
    kernel must clear. DeepSpeed's shared-memory operation serves inference only; without this it would be compiled at
    the first start.
    """
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // distributed.local_world_size()))
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "100")  # read at the first product
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        trim_threshold, top_pad, mmap_max = -1, -2, -4
        mallopt(mmap_max, 0)
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(top_pad, 64 << 20)


def build(
    model: nn.Module,
    parameters: Parameters,
    optimizer_config: OptimizerConfig,
    settings: dict[str, Any],
    *,
    device: torch.device,
    micro_batch_size: int,
    accumulation_steps: int,
) -> Engine:
    """Wrap `model` in DeepSpeed with an optimizer that knows its partitions.

    Args:
        model: in fp32; DeepSpeed casts it.
        parameters: which take weight decay, and which hold several tensors to LAMB. Those that take no gradients are
            not trained.
        optimizer_config: LAMB or AdamW, and clipping.
        settings: the DeepSpeed JSON, from `read_settings`.
        device: from `start`.
        micro_batch_size: samples of one forward pass on one rank.
        accumulation_steps: micro-batches per rank and update.

    Raises:
        ValueError: the layout of DeepSpeed's partitions is not understood.
    """
    stage, precision = Zero.of(settings).stage, precision_of(settings)
    clips = updates_all_at_once(stage, precision)
    settings = with_fp32_sums(settings, stage, precision) | {
        "train_micro_batch_size_per_gpu": micro_batch_size,
        "gradient_accumulation_steps": accumulation_steps,
        "train_batch_size": micro_batch_size * accumulation_steps * distributed.world_size(),
        "gradient_clipping": 0.0 if clips else optimizer_config.max_grad_norm,
        "steps_per_print": 2**31,
    }
    model.to(device)
    optimizer = ShardedOptimizer(parameter_groups(model, parameters), optimizer_config, clips=clips)
    engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=settings, dist_init_required=False)
    sum_in_fp32(engine, stage, precision)
    binding = bind(engine, optimizer, distributed.all_reduce_sum_, parameters.stacks)
    return Engine(
        deepspeed=engine,
        optimizer=optimizer,
        binding=binding,
        precision=precision,
        zero_stage=stage,
        device=device,
    )


def parameter_groups(model: nn.Module, parameters: Parameters) -> list[dict[str, Any]]:
    """Two groups of what is trained: tensors with weight decay, and those without. Tied weights appear once."""
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups[parameters.decays(name)].append(parameter)
    return [{"params": group, "decayed": decayed} for decayed, group in groups.items() if group]


def read_settings(config: EngineConfig) -> dict[str, Any]:
    """The DeepSpeed JSON that the recipe asks for.

    Raises:
        ValueError: it is missing, malformed, sets what the recipe owns, turns on a monitor that is not installed, or
            leaves `tf32` nothing to do.
    """
    path = find_deepspeed_json(config.deepspeed.format(precision=choose_precision(config.precision)))
    settings = read_deepspeed_json(path)
    require_monitors(settings, path)
    if config.tf32 and precision_of(settings) != "fp32":
        raise ValueError(
            f"engine.tf32 = true, but {path} trains in {precision_of(settings)}, whose products are narrower than "
            "TensorFloat-32; set engine.precision to fp32, or leave engine.tf32 out"
        )
    return settings


def precision_of(settings: dict[str, Any]) -> str:
    """What a DeepSpeed JSON trains in."""
    return next((name for name in ("bf16", "fp16") if settings.get(name, {}).get("enabled")), "fp32")


def choose_precision(wanted: str) -> str:
    """`auto` is bf16 where the device computes it natively, else fp32."""
    if wanted != "auto":
        return wanted
    if get_accelerator().device_name() == "cpu":
        return "bf16" if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported() else "fp32"
    return "bf16" if get_accelerator().is_bf16_supported() else "fp32"
