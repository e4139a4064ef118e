"""Find and read a DeepSpeed JSON, and reject keys that the recipe owns or under which the update is not exact."""

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parents[1]
SHIPPED = "ds_configs"
"""Directory of the package with the DeepSpeed files; in a checkout it is a link to that of the repository."""

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
"""Keys that the recipe owns -> section or field of the recipe."""

_OFFLOAD = "the optimizer needs its partitions on the device of the weights; remove it, or use a higher ZeRO stage"
_MASTERS = "the optimizer needs fp32 master weights and moments; remove it"
_SUMS = "gradients are added in fp32, over micro-batches and over ranks; remove it"
_SHARES = "each micro-batch's loss is its share of the global mean, so gradients are added up as they are; remove it"
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
    ("gradient_allreduce_op", (None,), _SHARES),
    ("prescale_gradients", (None, False), _SHARES),
    ("gradient_predivide_factor", (None, 1), _SHARES),
    ("zero_optimization.compute_grad_norm", (None, True), "clipping needs the norm; remove it"),
    ("bf16.check_grad_overflow", (None, True), "a NaN would reach the weights; remove it"),
)
"""Key, the values under which the update is exact, and the reason and remedy for any other."""

MONITORS = {"wandb": "wandb", "comet": "comet_ml"}
"""Section that turns on one of DeepSpeed's monitors -> the package that it requires; the CSV monitor requires none."""


@dataclass(frozen=True)
class Zero:
    """Values of a DeepSpeed JSON that determine memory and communication; sizes are numbers of elements.

    Source of the defaults: deepspeed/runtime/zero/config.py, 0.19.8.
    """

    stage: int
    reduce_bucket: int = 500_000_000
    overlap: bool = False
    """Whether communication overlaps with the backward pass; stages 1 and 2 then have two buckets."""
    prefetch_bucket: int = 50_000_000
    """Stage 3: number of weights that are gathered ahead."""
    reuse_distance: int = 1_000_000_000
    """Stage 3: weights stay gathered if fewer than this many others are used before they are needed again."""

    @classmethod
    def of(cls, settings: dict[str, Any]) -> "Zero":
        """Read the values from the JSON's content."""
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
        """Return the number of weights that stay gathered between forward and backward pass under stage 3.

        Args:
            total: number of weights of the model.
        """
        return min(total, self.reuse_distance // 2 + self.prefetch_bucket)


def find_deepspeed_json(name: str) -> Path:
    """Return the path of a DeepSpeed JSON, relative to the working directory or else to the package.

    Raises:
        ValueError: neither has such a file; the message lists those of the package.
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
        ValueError: the JSON is malformed, or has a doubled key, a key that the recipe owns, or a value under which the
            update is not exact.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        doubled = sorted({key for key in keys if keys.count(key) > 1})
        if doubled:
            raise ValueError(f"{path}: {doubled[0]} is set twice; remove one of the two")
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
    """Reject keys that the recipe owns, and values under which the update is not exact.

    Raises:
        ValueError: the message names the file, the key and the remedy.
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
    """Check that the packages of the monitors are installed, because DeepSpeed would fail on rank 0 only.

    Raises:
        ValueError: one is missing; the message names the file, the key and the remedy.
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
