"""The architecture: a file imports only from levels below its own, and some libraries have a sole importer."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

LEVELS = {
    "preprocessing": [
        {"errors", "faults"},
        {"commandline", "files", "inputs", "languages", "schema", "progress", "textfiles", "workers"},
        {"sources", "download"},
        {"sentences", "tokenizer", "segments"},
        {"options"},
        {"filters", "shards", "stage_directory"},
        {"corpus"},
        {"stages"},
        {"checks", "inspect"},
        {"__main__"},
    ],
    "pipeline": [
        {"runtime"},
        {"runlog"},
        {"kernels"},
        {"data"},
        {"losses", "optim", "reporting", "tasks"},
        {"model"},
        {"checkpoints", "engine"},
        {"families", "training"},
        {"conversion"},
        {"config"},
        {"jobs", "planning"},
        {"convert", "finetune", "plan", "predict", "pretrain", "report"},
    ],
}

SOLE_IMPORTERS = {
    "torch": ("pipeline", "benchmarks"),
    "deepspeed": (
        "pipeline/engine/engine.py",
        "pipeline/engine/partitions.py",
        "pipeline/engine/passes.py",
        "pipeline/engine/replacing.py",
        "benchmarks/unaware.py",
    ),
    "transformers": ("pipeline/conversion/classes.py", "pipeline/conversion/huggingface.py", "benchmarks"),
    "scipy": ("pipeline/tasks/metrics.py",),
    "sklearn": ("pipeline/tasks/metrics.py",),
    "mpi4py": ("preprocessing/workers.py",),
    "matplotlib": (
        "pipeline/reporting/drawing.py",
        "pipeline/reporting/figures.py",
        "pipeline/reporting/ratios.py",
        "pipeline/reporting/attempts.py",
        "pipeline/planning/picture.py",
        "preprocessing/inspect/plots.py",
        "benchmarks",
    ),
    "jinja2": ("preprocessing/inspect/page.py", "pipeline/reporting/page.py"),
    "rich": ("pipeline/reporting/follow.py",),
}

SHARD_FORMAT = {"preprocessing.faults", "preprocessing.files", "preprocessing.schema", "preprocessing.shards"}

UNTESTED = {
    "pipeline/conversion/card_sections.py": "test_card.py and test_provenance.py read its sections",
    "pipeline/conversion/forms.py": "a table, which test_exporting.py tests with every class",
    "pipeline/conversion/layouts/base.py": "a declaration, which the tests of each layout use",
    "pipeline/data/labels.py": "a constant",
    "pipeline/families/deberta/config.py": "tests/pipeline/families/test_deberta.py tests masks and wrong fields",
    "pipeline/families/deberta/export.py": "tests/pipeline/families/test_deberta.py compares it with transformers",
    "pipeline/families/encoders.py": "tables of names, which the tests of each family compare with transformers",
    "pipeline/families/replaced.py": "the tests of ELECTRA and DeBERTa divide and join models with it",
    "pipeline/jobs/finetuning/card.py": "tests/pipeline/test_finetune.py reads the card of a model",
    "pipeline/jobs/finetuning/state.py": "tests/pipeline/test_finetune.py resumes from sound and damaged checkpoints",
    "pipeline/jobs/inference.py": "the tests of each kind of prediction compare what it computes with transformers",
    "pipeline/jobs/prediction.py": "tests/pipeline/test_predict.py runs it through its command",
    "pipeline/jobs/predictions/base.py": "declarations, which the tests of each kind of prediction use",
    "pipeline/jobs/pretraining.py": "tests/pipeline/test_pretrain.py runs it through its command",
    "pipeline/jobs/recording.py": "tests of runs that fail or are interrupted read the events that it writes",
    "pipeline/training/state.py": "declarations, which tests/pipeline/training/test_trainer.py uses",
    "pipeline/training/evaluation.py": "tests/pipeline/training/test_trainer.py evaluates with it",
    "pipeline/kernels/config.py": "a type",
    "pipeline/kernels/triton/attention_kernels.py": "test_attention.py beside it runs them",
    "pipeline/kernels/triton/cross_entropy.py": "tests of the operation run each Triton kernel beside plain torch",
    "pipeline/kernels/triton/dropout.py": "likewise",
    "pipeline/kernels/triton/fp8.py": "likewise",
    "pipeline/kernels/triton/gelu.py": "likewise",
    "pipeline/kernels/triton/residual_norm.py": "likewise",
    "pipeline/model/disentangled.py": "tests/pipeline/families/test_deberta.py compares it with transformers",
    "pipeline/model/disentangled_pretraining.py": "likewise",
    "pipeline/model/prenorm.py": "tests/pipeline/families/test_megatron_bert.py compares it with transformers",
    "pipeline/model/rotary.py": "tests/pipeline/families/test_modernbert.py compares it with transformers",
    "pipeline/model/rotary_pretraining.py": "likewise",
    "pipeline/model/pretraining.py": "the tests of each family compare it with transformers",
    "pipeline/model/student_config.py": "tests/pipeline/families/test_students.py tests its errors",
    "pipeline/model/teacher.py": "tests/pipeline/families/test_students.py computes its terms with torch",
    "pipeline/model/task_heads.py": "test_task_models.py compares the heads of each family with transformers",
    "pipeline/optim/parameters.py": "a declaration, which the tests of each family read",
    "pipeline/planning/phases.py": "tests/pipeline/test_plan.py runs it through its command",
    "pipeline/planning/picture.py": "likewise",
    "pipeline/planning/step_blocks.py": "test_memory.py tests the estimates that are computed from it",
    "pipeline/planning/text.py": "tests/pipeline/test_plan.py reads the tables",
    "pipeline/tasks/base.py": "an interface, which test_classification.py tests",
    "pipeline/tasks/config.py": "a section of the recipe, which test_recipe.py of fine-tuning tests",
    "pipeline/tasks/splits.py": "names of splits, which test_glue.py reads",
}
"""Files of pipeline/ without a test file of their own -> the reason."""

FILES = sorted(path for top in (*LEVELS, "benchmarks") for path in (ROOT / top).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Yield the dotted names that a file imports, `from a import b` as a.b."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def level_of(package: str, name: str) -> int:
    """Return the number of a module's level, from the lowest of `preprocessing` or `pipeline`."""
    found = [number for number, modules in enumerate(LEVELS[package]) if name in modules]
    assert found, f"{package}.{name} has no level; give it one in tests/test_architecture.py and docs/architecture.md"
    return found[0]


def module_of(path: Path) -> tuple[str, str]:
    """Return the top package of a file, and the module or package directly below it."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[0], parts[1] if len(parts) > 1 else "__init__"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path):
    """No file imports from above its level, nor from another module of the same level."""
    package, name = module_of(path)
    if package not in LEVELS or name == "__init__":
        return
    for imported in imports(path):
        parts = imported.split(".")
        if parts[0] != package or len(parts) < 2:
            continue
        target = parts[1]
        if target != name:
            assert level_of(package, target) < level_of(package, name), (
                f"{path.name} imports {imported}, which is not below it"
            )


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_sole_importers(path):
    """DeepSpeed, transformers, MPI and torch are each known to few files; pipeline knows only the shard format."""
    place = str(path.relative_to(ROOT))
    for imported in imports(path):
        library = imported.split(".")[0]
        for owner in [SOLE_IMPORTERS[library]] if library in SOLE_IMPORTERS else []:
            assert place.startswith(owner), f"{place} imports {library}; only {owner} may"
        if place.startswith("pipeline/") and library == "preprocessing":
            assert ".".join(imported.split(".")[:2]) in SHARD_FORMAT, f"{place} imports {imported}"
        if place.startswith("preprocessing/"):
            assert library not in {"pipeline", "benchmarks"}, f"{place} imports {imported}"


def test_only_tests_of_benchmarks_import_benchmarks():
    """Only tests/benchmarks/ imports benchmarks, and it has nothing but tests of them: test_NAME.py imports NAME."""
    of_benchmarks = sorted((ROOT / "tests" / "benchmarks").rglob("*.py"))
    for path in (ROOT / "tests").rglob("*.py"):
        imported = [name for name in imports(path) if name.split(".")[0] == "benchmarks"]
        assert path in of_benchmarks or not imported, f"{path} imports {imported}; only tests/benchmarks/ may"
    for path in of_benchmarks:
        tested = f"benchmarks.{path.stem.removeprefix('test_')}"
        assert any(f"{name}.".startswith(f"{tested}.") for name in imports(path)), f"{path} does not test {tested}"


def test_every_file_has_a_test_of_its_name():
    """pipeline/a/b.py has tests/pipeline/a/test_b.py, or is in UNTESTED; a file there that has its test is an error."""
    files = [path.relative_to(ROOT) for path in (ROOT / "pipeline").rglob("*.py") if path.name != "__init__.py"]
    lacking = {str(path) for path in files if not (ROOT / "tests" / path.with_name(f"test_{path.name}")).exists()}
    assert lacking == UNTESTED.keys(), "write tests/.../test_NAME.py; remove from UNTESTED what has its test"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_readable(path):
    """A file has at most 450 lines, and the body of a function at most 60.

    The arguments of a kernel have a line each, which says their shape.
    """
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 450, f"{path.name} is too long for one subject"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            size = (node.end_lineno or node.lineno) - node.body[0].lineno + 1
            assert size <= 60, f"{path.name}: {node.name} has {size} lines"


def test_every_file_of_preprocessing_has_its_test_file():
    """preprocessing/a/b.py has the test file tests/preprocessing/a/test_b.py."""
    files = [path.relative_to(ROOT) for path in FILES if path.is_relative_to(ROOT / "preprocessing")]
    tests = [path.parent / f"test_{path.stem.strip('_')}.py" for path in files if path.stem != "__init__"]
    assert not [str(test) for test in tests if not (ROOT / "tests" / test).is_file()]
