"""What srun and mpirun call a process, as the variables that torch.distributed reads.

torchrun and deepspeed set those themselves; then nothing is added.
"""

import re
from collections.abc import Mapping

NAMES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
OPEN_MPI = ("RANK", "LOCAL_RANK", "SIZE", "LOCAL_SIZE")
FIRST_PORT, PORTS = 10000, 20000  # below those that systems give to outgoing connections


def variables(environment: Mapping[str, str]) -> dict[str, str]:
    """What to add to `environment`; nothing if another launcher did, or none started this process.

    mpirun says nothing of where rank 0 is: without MASTER_ADDR (`mpirun -x MASTER_ADDR=...`) DeepSpeed asks MPI.
    """
    if "RANK" in environment:
        return {}
    if "OMPI_COMM_WORLD_RANK" in environment:  # before Slurm: what mpirun starts by srun are its daemons
        return dict(zip(NAMES, (environment[f"OMPI_COMM_WORLD_{name}"] for name in OPEN_MPI), strict=True))
    if "SLURM_STEP_NUM_TASKS" in environment:  # of a step: in a batch script itself there is only SLURM_NTASKS
        return _of_slurm(environment)
    return {}


def _of_slurm(environment: Mapping[str, str]) -> dict[str, str]:
    per_node = _tasks_per_node(environment["SLURM_STEP_TASKS_PER_NODE"])
    found = {
        "RANK": environment["SLURM_PROCID"],
        "LOCAL_RANK": environment["SLURM_LOCALID"],
        "WORLD_SIZE": environment["SLURM_STEP_NUM_TASKS"],
        "LOCAL_WORLD_SIZE": str(per_node[int(environment["SLURM_NODEID"])]),
        # Where srun runs: in a batch job the first node, which has rank 0.
        "MASTER_ADDR": environment["SLURM_LAUNCH_NODE_IPADDR"],
        # Jobs that share a node, among them the tasks of an array, do not meet.
        "MASTER_PORT": str(FIRST_PORT + int(environment["SLURM_JOB_ID"]) % PORTS),
    }
    return {name: value for name, value in found.items() if name not in environment}


def _tasks_per_node(text: str) -> list[int]:
    """`8(x2),4` as 8, 8, 4."""
    counts = (re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part) for part in text.split(","))
    return [int(count[1]) for count in counts if count for _ in range(int(count[2] or 1))]
