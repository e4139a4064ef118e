"""Find and read a DeepSpeed JSON, and refuse what is not its business or would make the update inexact."""

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parents[1]
SHIPPED = "ds_configs"
"""Directory of the package with the files that come with it; in a checkout a link to the one of the repository."""

RECIPE_OWNS = {
    "train_batch_size": "batch.global_batch_size",
    "train_micro_batch_size_per_gpu": "batch.micro_batch_size",
    "gradient_accumulation_steps": "batch.global_batch_size",
    "gradient_clipping": "optimizer.max_grad_norm",
    "optimizer": "the optimizer section",
    "scheduler": "the schedule section",
    "managed_gradient_accumulation": "the trainer",
    "tensorboard": "the logging section",
}
"""Keys that a recipe owns -> where it says them."""

_OFFLOAD = "the optimizer needs its partitions on the device of the weights; remove it, or use a higher ZeRO stage"
_MASTERS = "the optimizer needs fp32 master weights and moments; remove it"
_SUMS = "gradients are added in fp32, over micro-batches and over ranks; remove it"
_PARTS = "each micro-batch's loss is its part of the global mean, so gradients are added up as they are; remove it"
_AUTOCAST = "fp16's gradient scaler skips steps on some ranks only; set it to bfloat16, or use the fp16 section instead"
UNSUPPORTED: tuple[tuple[str, tuple[Any, ...], str], ...] = (
    ("zero_optimization.offload_optimizer.device", (None, "none"), _OFFLOAD),
    ("zero_optimization.offload_param.device", (None, "none"), _OFFLOAD),
    ("zero_optimization.offload_optimizer.super_offload", (None, False), "SuperOffload brings its own Adam; remove it"),
    ("zero_optimization.zenflow", (None,), "ZenFlow brings its own Adam; remove it"),
    ("tensor_parallel.autotp_size", (None, 0, 1), "norms would need a sum over tensor-parallel ranks; remove it"),
    ("bf16.bf16_master_weights_and_grads", (None, False), _MASTERS),
    ("bf16.bf16_optimizer_states", (None, False), _MASTERS),
    ("fp16.fp16_master_weights_and_grads", (None, False), _MASTERS),
    ("data_types.grad_accum_dtype", (None, "fp32", "float32", "float", "torch.float32"), _SUMS),
    ("communication_data_type", (None, "fp32"), _SUMS),
    ("zero_optimization.zero_quantized_gradients", (None, False), _SUMS),
    ("torch_autocast.lower_precision_safe_modules", (None, []), _SUMS),
    ("gradient_allreduce_op", (None,), _PARTS),
    ("prescale_gradients", (None, False), _PARTS),
    ("gradient_predivide_factor", (None, 1), _PARTS),
    ("zero_optimization.compute_grad_norm", (None, True), "clipping needs the norm; remove it"),
    ("bf16.check_grad_overflow", (None, True), "a NaN would reach the weights; remove it"),
)
"""Key, the values under which the update is exact, and what to do about any other."""

MONITORS = {"wandb": "wandb", "comet": "comet_ml"}
"""Section that turns on one of DeepSpeed's monitors -> the package that it needs; CSV files need none."""


@dataclass(frozen=True)
class Zero:
    """What of a DeepSpeed JSON decides about memory and traffic; sizes in elements.

    Source of the defaults: deepspeed/runtime/zero/config.py, 0.19.8.
    """

    stage: int
    reduce_bucket: int = 500_000_000
    overlap: bool = False
    """Stages 1 and 2 then have two buckets."""
    prefetch_bucket: int = 50_000_000
    """Stage 3: weights that are gathered ahead."""
    reuse_distance: int = 1_000_000_000
    """Stage 3: weights are kept where fewer than this many are computed with before they are needed again."""

    @classmethod
    def of(cls, settings: dict[str, Any]) -> "Zero":
        """From the JSON's content."""
        zero = settings.get("zero_optimization", {})
        stage = int(zero.get("stage", 0))
        return cls(
            stage,
            int(zero.get("reduce_bucket_size", cls.reduce_bucket)),
            bool(zero.get("overlap_comm", stage == 3)),
            int(zero.get("stage3_prefetch_bucket_size", cls.prefetch_bucket)),
            int(zero.get("stage3_max_reuse_distance", cls.reuse_distance)),
        )

    def kept_gathered(self, total: int) -> int:
        """Stage 3: elements that are whole when the forward pass ends: those whose turn backward comes soon enough."""
        return min(total, self.reuse_distance // 2 + self.prefetch_bucket)


def find_deepspeed_json(name: str) -> Path:
    """The DeepSpeed JSON under the working directory or, failing that, in the package.

    Raises:
        ValueError: neither has it.
    """
    for path in (Path(name), PACKAGE / name):
        if path.is_file():
            return path
    shipped = ", ".join(sorted(f"{SHIPPED}/{path.name}" for path in (PACKAGE / SHIPPED).glob("*.json")))
    raise ValueError(
        f"engine.deepspeed = {name}: no such file, and none that comes with the package; give the path of a JSON file, "
        f"or one of {shipped}"
    )


def read_deepspeed_json(path: Path) -> dict[str, Any]:
    """Read a DeepSpeed JSON.

    Raises:
        ValueError: malformed, a key doubled, a key that the recipe owns, or one under which the update is not exact.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        doubled = sorted({key for key in keys if keys.count(key) > 1})
        if doubled:
            raise ValueError(f"{path}: {doubled[0]} is set twice")
        return dict(pairs)

    try:
        settings = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}:{error.lineno}:{error.colno}: not valid JSON ({error.msg})") from None
    if not isinstance(settings, dict):
        raise ValueError(f"{path}: must hold a JSON object")
    refuse(settings, path)
    return settings


def refuse(settings: dict[str, Any], path: Path) -> None:
    """Stop at what the recipe owns and at what the optimizer cannot be exact under.

    Raises:
        ValueError: names the file, the key, and the remedy.
    """
    for key in sorted(RECIPE_OWNS.keys() & settings.keys()):
        raise ValueError(
            f"{path}: {key} = {json.dumps(settings[key])} is set here, but the recipe owns it ({RECIPE_OWNS[key]}); "
            "remove it"
        )
    for dotted, exact, why in UNSUPPORTED:
        value = _look_up(settings, dotted)
        if value not in exact:
            raise ValueError(f"{path}: {dotted} = {json.dumps(value)} is not supported: {why}")
    dtype = _look_up(settings, "torch_autocast.dtype")
    if _look_up(settings, "torch_autocast.enabled") and dtype not in ("bfloat16", "bf16"):
        raise ValueError(f"{path}: torch_autocast.dtype = {json.dumps(dtype)} is not supported: {_AUTOCAST}")


def require_monitors(settings: dict[str, Any], path: Path) -> None:
    """Stop where a monitor is turned on whose package is missing: DeepSpeed would notice on rank 0 alone.

    Raises:
        ValueError: names the file, the key, and the remedy.
    """
    for section, package in MONITORS.items():
        if not _look_up(settings, f"{section}.enabled"):
            continue
        found = find_spec(package)
        if found is None or found.origin is None:  # a directory without code, such as the wandb/ of earlier runs
            raise ValueError(
                f"{path}: {section}.enabled = true, but {package} is not installed: pip install {package}, or set it "
                "to false"
            )


def _look_up(settings: dict[str, Any], dotted: str) -> Any:
    value: Any = settings
    for key in dotted.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value
