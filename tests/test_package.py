"""The installed package has the files that it needs, and its commands work away from the repository."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

import pytest
from ranks import ROOT

pytestmark = pytest.mark.slow

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SMALL = """--schedule.total_steps 3 --checkpoint.every 3 --evaluation.every 3 --evaluation.samples 16
    --batch.global_batch_size 8 --batch.micro_batch_size 4 --model.num_hidden_layers 1"""
MAKE_SDIST = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"


def call(*command, **options):
    """Return the standard output of a command that must succeed."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=900, **options)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def repository_files():
    """Return the files that git knows or would add, relative to the repository."""
    names = call("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", cwd=ROOT).split("\0")
    return [Path(name) for name in names if name and os.path.lexists(ROOT / name)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel, built from the source distribution, which is built from a copy of the repository."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in repository_files():
        (folder / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / "copy" / name, follow_symlinks=False)
    call(sys.executable, "-c", MAKE_SDIST, folder, cwd=folder / "copy")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder]
    call(sys.executable, "-m", "pip", "wheel", *options, *folder.glob("*.tar.gz"))
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A virtual environment with the wheel, which uses the packages of the environment of the tests."""
    root = tmp_path_factory.mktemp("installed")
    venv.create(root, symlinks=True, with_pip=False)
    (packages,) = root.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = root / "bin" / "python"
    call(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel)
    return root


@pytest.fixture(scope="module")
def run(installed, tmp_path_factory):
    """Call an installed command in an empty directory; return its standard output."""
    folder = tmp_path_factory.mktemp("elsewhere")
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    environment = os.environ | {"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1", "PATH": path}
    environment.pop("PYTHONPATH", None)
    return lambda line: call(installed / "bin" / line.split()[0], *line.split()[1:], cwd=folder, env=environment)


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(wheel):
    """The wheel has recipes, DeepSpeed files, tables, pages and sources of kernels, and neither tests
    nor benchmarks.
    """
    link = Path("pipeline/ds_configs")
    files = {name for name in repository_files() if name.parts[0] in ("pipeline", "preprocessing")}
    files |= {link / name.name for name in repository_files() if name.parts[0] == link.name}
    with ZipFile(wheel) as archive:
        held = {Path(name) for name in archive.namelist() if ".dist-info/" not in name}
    assert held == files - {link}


def test_the_metadata_names_licence_groups_and_pins(wheel):
    """Every pin of requirements.txt is a dependency, and the other groups are optional."""
    with ZipFile(wheel) as archive:
        (place,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(place).decode())
    assert (metadata["Version"], metadata["License-Expression"]) == (PROJECT["version"], "Apache-2.0")
    assert metadata.get_all("License-File") == ["LICENSE", "NOTICE"]
    assert metadata.get_all("Provides-Extra") == ["mpi", "onnx", "test", "lint"]
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert [needed for needed in metadata.get_all("Requires-Dist") if "extra ==" not in needed] == pins


@pytest.mark.parametrize("command", PROJECT["scripts"])
def test_a_command_calls_itself_by_its_name(run, command):
    """The help of an installed command says `bert-pretrain`, not `python -m`."""
    assert run(f"{command} --help").startswith(f"usage: {command} ")


def test_text_becomes_a_model_away_from_the_repository(run, installed):
    """Preprocessing, planning, training by a recipe's name, export and report work away from the repository, and the
    package is not changed.
    """
    before = package_files(installed)
    run("bert-preprocess run --sources embedded --out data --vocab_size 500 --max_seq_length 64 --heldout_share 0.05")
    run("bert-preprocess inspect data/samples64 --html data.html")
    assert "bert_mini: " in run("bert-plan bert_mini --gpus 8")
    run(f"bert-pretrain --recipe demo --run_dir run --data.samples data/samples64 {SMALL}")
    run("bert-convert export run model")
    assert run("bert-report run").startswith("run, 3 steps\n")
    assert before and package_files(installed) == before


def package_files(environment):
    """Return the installed files of the two packages, without compiled Python."""
    names = (path for top in ("pipeline", "preprocessing") for path in environment.rglob(f"site-packages/{top}/**/*"))
    return {path for path in names if "__pycache__" not in path.parts}
