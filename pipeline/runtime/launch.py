"""Translate the environment variables of srun and mpirun into those that torch.distributed reads.

torchrun and deepspeed set the latter themselves; nothing is added then.
"""

import re
from collections.abc import Mapping

FIRST_PORT, PORTS = 20000, 10000  # below the range from which systems assign ports to outgoing connections


def variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that torch.distributed reads and `environment` lacks; none if there is no launcher.

    Raises:
        ValueError: mpirun has started processes on several hosts, and MASTER_ADDR is not set.
    """
    if "RANK" in environment:
        return {}
    if "OMPI_COMM_WORLD_RANK" in environment:  # before Slurm, because mpirun starts its daemons by srun
        found = _of_open_mpi(environment)
    elif "SLURM_STEP_NUM_TASKS" in environment:  # set by srun; the batch script itself has SLURM_NTASKS only
        found = _of_slurm(environment)
    else:
        return {}
    return {name: value for name, value in found.items() if name not in environment}


def world_size(environment: Mapping[str, str]) -> int:
    """Number of processes that the launcher has started; 1 without a launcher.

    It is available before the rendezvous and does not need MASTER_ADDR; the rendezvous reports a missing address.
    """
    for name in ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS"):
        if name in environment:
            return int(environment[name])
    return 1


def visible_device(environment: Mapping[str, str], visible: int) -> int:
    """Index of the GPU of this process among the GPUs that are visible to it.

    Args:
        environment: contains LOCAL_RANK; without it, this is local rank 0.
        visible: number of visible GPUs. If the scheduler makes only one GPU visible to each task, its index is 0.

    Raises:
        ValueError: several GPUs are visible, but fewer than there are ranks on this machine.
    """
    local_rank = int(environment.get("LOCAL_RANK", 0))
    if visible == 1:
        return 0
    if local_rank >= visible:
        raise ValueError(
            f"LOCAL_RANK = {local_rank}: must be below the number of GPUs that are visible to this rank, {visible}; "
            f"start at most {visible} ranks on each machine"
        )
    return local_rank


def _of_open_mpi(environment: Mapping[str, str]) -> dict[str, str]:
    names = {"RANK": "RANK", "LOCAL_RANK": "LOCAL_RANK", "WORLD_SIZE": "SIZE", "LOCAL_WORLD_SIZE": "LOCAL_SIZE"}
    found = {name: environment[f"OMPI_COMM_WORLD_{theirs}"] for name, theirs in names.items()}
    if found["WORLD_SIZE"] == found["LOCAL_WORLD_SIZE"]:
        found["MASTER_ADDR"] = "127.0.0.1"
    elif "MASTER_ADDR" not in environment:
        # DeepSpeed would determine it by MPI, which may wait forever on hosts with several networks.
        raise ValueError(
            "MASTER_ADDR: must be set when mpirun starts ranks on several hosts; give `mpirun -x MASTER_ADDR=HOST`, or "
            "with `deepspeed --launcher openmpi` a line MASTER_ADDR=HOST in .deepspeed_env"
        )
    # The namespace is `prterun-HOST-PID@1`, with the process id of mpirun.
    return found | {"MASTER_PORT": _port(environment.get("PMIX_NAMESPACE", "").split("@")[0])}


def _of_slurm(environment: Mapping[str, str]) -> dict[str, str]:
    per_node = _tasks_per_node(environment["SLURM_STEP_TASKS_PER_NODE"])
    return {
        "RANK": environment["SLURM_PROCID"],
        "LOCAL_RANK": environment["SLURM_LOCALID"],
        "WORLD_SIZE": environment["SLURM_STEP_NUM_TASKS"],
        "LOCAL_WORLD_SIZE": str(per_node[int(environment["SLURM_NODEID"])]),
        # The node on which srun runs; in a batch job this is the first node, which has rank 0.
        "MASTER_ADDR": environment["SLURM_LAUNCH_NODE_IPADDR"],
        "MASTER_PORT": _port(environment["SLURM_JOB_ID"]),  # each task of a job array has its own number
    }


def _port(job: str) -> str:
    """A port derived from the last number in the name of a job, so that jobs on the same node use different ports."""
    return str(FIRST_PORT + int((re.findall(r"\d+", job) or [0])[-1]) % PORTS)


def _tasks_per_node(text: str) -> list[int]:
    """Parse Slurm's `8(x2),4` to [8, 8, 4]."""
    counts = (re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part) for part in text.split(","))
    return [int(count[1]) for count in counts if count for _ in range(int(count[2] or 1))]
