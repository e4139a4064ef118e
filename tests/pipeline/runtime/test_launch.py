"""Laws of pipeline/runtime/launch.py."""

import pytest

from pipeline.runtime.launch import variables, visible_device, world_size

SLURM = {
    "SLURM_JOB_ID": "41234",
    "SLURM_PROCID": "17",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "2",
    "SLURM_NTASKS": "18",
    "SLURM_STEP_NUM_TASKS": "18",
    "SLURM_STEP_TASKS_PER_NODE": "8(x2),2",
    "SLURM_LAUNCH_NODE_IPADDR": "10.0.0.1",
}
OPEN_MPI = {
    "OMPI_COMM_WORLD_RANK": "3",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
    "PMIX_NAMESPACE": "prterun-node17-30529@1",
}
OF_OPEN_MPI = {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "MASTER_PORT": "20529"}


def test_a_task_of_srun_knows_its_place_and_where_rank_0_is():
    """A task of srun gets its rank and the address of rank 0, also on a node with fewer tasks than the first."""
    assert variables(SLURM) == {
        "RANK": "17",
        "LOCAL_RANK": "1",
        "WORLD_SIZE": "18",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "10.0.0.1",
        "MASTER_PORT": "21234",
    }


def test_variables_of_the_batch_script_are_kept():
    """A variable that the user has set is kept."""
    said = {"MASTER_ADDR": "10.0.0.2", "MASTER_PORT": "29500"}
    assert not variables(SLURM | said).keys() & said.keys()


@pytest.mark.parametrize("environment", [{}, {"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "7"}])
def test_without_a_launcher_a_process_is_alone(environment):
    """A process without a launcher is alone, including a batch script's own processes, whatever number of tasks its job
    has.
    """
    assert variables(environment) == {}


def test_ranks_of_mpirun_also_in_a_slurm_job():
    """Under mpirun the variables of Slurm describe its daemons, and are ignored."""
    given = {"MASTER_ADDR": "10.0.0.2"}
    assert variables(OPEN_MPI | given) == variables(OPEN_MPI | SLURM | given) == OF_OPEN_MPI


def test_mpirun_on_one_host_needs_no_address():
    """On one host mpirun needs no address, and there is a port even if Open MPI's namespace is a number or missing."""
    alone = OPEN_MPI | {"OMPI_COMM_WORLD_LOCAL_SIZE": "4"}
    assert variables(alone)["MASTER_ADDR"] == "127.0.0.1"
    assert variables(alone | {"PMIX_NAMESPACE": "1234567890"})["MASTER_PORT"] == "27890"
    assert variables(alone | {"PMIX_NAMESPACE": ""})["MASTER_PORT"] == "20000"


def test_mpirun_on_several_hosts_must_say_where_rank_0_is():
    """On several hosts mpirun without MASTER_ADDR is an error, since the run would wait forever; it names both ways to
    set it.
    """
    with pytest.raises(ValueError, match=r"mpirun -x MASTER_ADDR=HOST.*\.deepspeed_env"):
        variables(OPEN_MPI)


def test_variables_of_other_launchers_are_kept():
    """Under deepspeed and torchrun, which set RANK, no variable is added."""
    assert variables(SLURM | OPEN_MPI | {"RANK": "0"}) == {}


@pytest.mark.parametrize(
    ("environment", "size"), [({}, 1), (SLURM, 18), (OPEN_MPI, 4), (SLURM | OPEN_MPI | {"WORLD_SIZE": "2"}, 2)]
)
def test_the_number_of_ranks_is_known_before_they_meet(environment, size):
    """The number of ranks is known from the launcher's variables."""
    assert world_size(environment) == size


@pytest.mark.parametrize(("local_rank", "visible", "device"), [("0", 8, 0), ("7", 8, 7), ("0", 1, 0), ("7", 1, 0)])
def test_a_rank_takes_its_gpu_or_the_only_one_it_sees(local_rank, visible, device):
    """A rank takes the GPU of its local rank, or the only visible one, which has index 0."""
    assert visible_device({"LOCAL_RANK": local_rank}, visible) == device


def test_more_ranks_than_gpus_are_refused():
    """More ranks than GPUs are an error that states how many can be started."""
    with pytest.raises(ValueError, match=r"LOCAL_RANK = 4: must be below .* this rank, 4; start at most 4 ranks"):
        visible_device({"LOCAL_RANK": "4"}, 4)
