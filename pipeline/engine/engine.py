"""DeepSpeed engines that train with exact LAMB or Muon (or AdamW).

The DeepSpeed JSON determines partitions and precision, the recipe everything else. A JSON that sets a batch size,
clipping or an optimizer is rejected, so that each number is set in one place.
"""

import logging
import math
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import deepspeed
import torch
from deepspeed.accelerator import get_accelerator
from deepspeed.runtime import bf16_optimizer
from torch import Tensor, nn

from pipeline.engine import cpu
from pipeline.engine.accumulation import sum_in_fp32, updates_all_at_once, with_fp32_sums
from pipeline.engine.config import EngineConfig
from pipeline.engine.groups import parameter_groups
from pipeline.engine.partitions import Binding, bind
from pipeline.engine.passes import remove_passes
from pipeline.engine.settings import Zero, find_deepspeed_json, read_deepspeed_json, require_monitors
from pipeline.optim.averaging import swap
from pipeline.optim.exchange import Ranks
from pipeline.optim.lamb import OptimizerConfig
from pipeline.optim.optimizer import ShardedOptimizer
from pipeline.optim.parameters import Parameters
from pipeline.optim.shards import Shard
from pipeline.runtime import distributed, launch

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass
class Engine:
    """DeepSpeed's engine with its optimizer, as the trainer uses it."""

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
        """This rank's shards: master weights with moments, and its part of the frozen weights."""
        return self.optimizer.shards + self.binding.frozen

    def forward(self, batch: Any) -> Any:
        """Return the model's output for one micro-batch."""
        return self.deepspeed(batch)

    def backward(self, loss: Tensor) -> None:
        """Accumulate the gradient of a micro-batch.

        DeepSpeed averages over accumulation steps and ranks; shares of one mean must be added up instead
        (`pipeline.engine.accumulation`).

        Args:
            loss: () the micro-batch's share of the mean over the *global* batch (law 3).
        """
        # DeepSpeed 0.19.8 divides the gradients by the loss scale at stage 0 too, but scales the loss under ZeRO only.
        by_hand = self.zero_stage == 0 and self.precision == "fp16"
        scale = self.deepspeed.optimizer.loss_scale if by_hand else 1.0
        # The product is needed also for a scale of 1: DeepSpeed's hook on the module's output divides by the
        # accumulation steps unless a hook on the loss has run before, and of two hooks on one tensor the earlier one
        # runs first.
        self.deepspeed.backward(loss * scale, scale_wrt_gas=False)

    def set_accumulation(self, micro_batches: int) -> None:
        """Set the number of micro-batches of each step from now on; call it before the first one of a step.

        DeepSpeed 0.19.8 recognises the last micro-batch of a step by the number of all micro-batches so far modulo
        this number, also after `set_train_batch_size`, so that its counter must begin anew.

        Args:
            micro_batches: micro-batches per rank and update.
        """
        engine = self.deepspeed
        if micro_batches != engine.gradient_accumulation_steps():
            engine.set_train_batch_size(
                engine.train_micro_batch_size_per_gpu() * micro_batches * distributed.world_size()
            )
            engine.micro_steps = 0

    def step(self, lr: float) -> None:
        """Update the weights if this was the last micro-batch of a global batch; call it after each micro-batch.

        Args:
            lr: learning rate of the update.
        """
        self.optimizer.set_lr(lr)
        steps = self.deepspeed.global_steps
        self.deepspeed.step()
        has_updated = self.deepspeed.global_steps != steps
        if has_updated and self.device.type == "cpu" and self.deepspeed.global_steps % cpu.STEPS_BETWEEN_TRIMS == 0:
            cpu.trim_heap()

    def grad_norm(self) -> float:
        """Return the global gradient norm of the last update before clipping; infinite if the update was skipped."""
        if self.optimizer.clips:
            return math.inf if self.deepspeed.optimizer.overflow else self.optimizer.grad_norm
        return float(self.deepspeed.get_global_grad_norm() or 0.0)

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Run a block with the averages in place of the weights; all ranks call it together.

        If the block raises an error, they are not exchanged again.
        """
        swap(self.shards)
        self.binding.push()
        yield
        swap(self.shards)
        self.binding.push()

    def trust_ratios(self) -> dict[str, Tensor]:
        """Return LAMB's trust ratios of the last update, () each on the device, by name of the tensor."""
        return self.optimizer.last_ratios

    @property
    def skipped_steps(self) -> int:
        """Number of updates skipped by this process because of infinite or NaN gradients."""
        return int(self.deepspeed.skipped_steps)

    def loss_scaler(self) -> dict[str, Any]:
        """Return the state of fp16's dynamic loss scaling as plain numbers; empty in other precisions."""
        scaler = self._scaler()
        return {name: getattr(scaler, name) for name in _SCALER_STATE if hasattr(scaler, name)} if scaler else {}

    def load_loss_scaler(self, state: dict[str, Any]) -> None:
        """Continue loss scaling from a state that `loss_scaler` returned."""
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
    """Join the process group, of one process if there is no launcher, and return this process's device."""
    quiet_libraries()
    os.environ.update(launch.variables(os.environ))
    torch.set_float32_matmul_precision("high" if config.tf32 else "highest")
    accelerator = get_accelerator()
    if accelerator.device_name() == "cpu":
        # DeepSpeed's shared-memory operation serves inference only, and would be compiled at the first start. It is the
        # only entry of the table of compatible operations that a training reads, and DeepSpeed would call compilers for
        # 0.3 s to make the whole table.
        vars(deepspeed.ops).setdefault("__compatible_ops__", {})["deepspeed_shm_comm"] = False
        cpu.prepare()
    timeout = timedelta(minutes=config.timeout_minutes + 1)  # the watchdog ends the process earlier and logs stacks
    backend = accelerator.communication_backend_name() if accelerator.device_name() != "cpu" else "gloo"
    distributed.join(backend, timeout)
    deepspeed.init_distributed(dist_backend=backend, timeout=timeout, verbose=False)
    if accelerator.device_name() == "cpu":
        return torch.device("cpu")
    with distributed.together("choose a device"):
        index = launch.visible_device(os.environ, accelerator.device_count())
    # DeepSpeed reads the number of its device from LOCAL_RANK, and requires Open MPI's variable to agree.
    os.environ.update({name: str(index) for name in ("LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK") if name in os.environ})
    accelerator.set_device(index)
    return torch.device(accelerator.device_name(index))


def quiet_libraries() -> None:
    """Silence messages of libraries that a user cannot act upon."""
    log = logging.getLogger("DeepSpeed")
    log.setLevel(os.environ.get("DEEPSPEED_LOG_LEVEL", "WARNING").upper())
    # It warns of any optimizer that is not its own; `pipeline.engine.partitions` does what these need under ZeRO.
    log.addFilter(lambda record: "untested optimizer" not in record.getMessage())
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")
    bf16_optimizer.see_memory_usage = lambda *args, **kwargs: None  # prints the machine's memory at each start


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
    """Build an engine: `model` in DeepSpeed, with an optimizer bound to its partitions.

    Args:
        model: model in fp32, which DeepSpeed casts. Parameters that require no gradients are not trained.
        parameters: which parameters take weight decay, which stack several tensors, and which are matrices of layers.
        optimizer_config: optimizer section of the recipe.
        settings: DeepSpeed JSON, from `read_settings`.
        device: device of this process, from `start`.
        micro_batch_size: samples of one forward pass on one rank.
        accumulation_steps: micro-batches per rank and update.

    Raises:
        ValueError: the layout of DeepSpeed's partitions or one of its methods is unknown, or Muon is chosen and no
            parameter is a matrix of a layer.
    """
    stage, precision = Zero.of(settings).stage, precision_of(settings)
    clips = updates_all_at_once(stage, precision)
    settings = with_fp32_sums(settings, stage, precision) | {
        "train_micro_batch_size_per_gpu": micro_batch_size,
        "gradient_accumulation_steps": accumulation_steps,
        "train_batch_size": micro_batch_size * accumulation_steps * distributed.world_size(),
        "gradient_clipping": optimizer_config.max_grad_norm if stage == 3 else 0.0,  # the optimizer clips at the others
        "steps_per_print": 2**31,
    }
    model.to(device)
    groups = parameter_groups(model, parameters, muon=optimizer_config.name == "muon")
    optimizer = ShardedOptimizer(groups, optimizer_config, clips=clips)
    engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=settings, dist_init_required=False)
    sum_in_fp32(engine, stage, precision)
    ranks = Ranks(distributed.rank(), distributed.world_size(), distributed.all_to_all, distributed.gather_objects)
    binding = bind(engine, optimizer, distributed.all_reduce_sum_, parameters.stacks, ranks)
    remove_passes(engine, optimizer)
    return Engine(
        deepspeed=engine,
        optimizer=optimizer,
        binding=binding,
        precision=precision,
        zero_stage=stage,
        device=device,
    )


def read_settings(config: EngineConfig) -> dict[str, Any]:
    """Read the DeepSpeed JSON of a recipe.

    Raises:
        ValueError: it is missing, malformed, sets a key that the recipe owns, or turns on a monitor that is not
            installed; or `tf32` is set and its precision is not fp32.
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
    """Return the precision of a DeepSpeed JSON: "fp32", "bf16" or "fp16"."""
    return next((name for name in ("bf16", "fp16") if settings.get(name, {}).get("enabled")), "fp32")


def choose_precision(wanted: str) -> str:
    """Return the precision for `wanted`; for "auto" it is bf16 if the device computes it natively, else fp32."""
    if wanted != "auto":
        return wanted
    if get_accelerator().device_name() == "cpu":
        return "bf16" if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported() else "fp32"
    return "bf16" if get_accelerator().is_bf16_supported() else "fp32"
