"""Laws of pipeline/launch.py."""

import pytest

from pipeline.launch import variables

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
}
OF_OPEN_MPI = {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}


def test_a_task_of_srun_knows_its_place_and_where_rank_0_is():
    """Also on a node that has fewer tasks than the first."""
    assert variables(SLURM) == {
        "RANK": "17",
        "LOCAL_RANK": "1",
        "WORLD_SIZE": "18",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "10.0.0.1",
        "MASTER_PORT": "11234",
    }


def test_what_the_batch_script_said_stays():
    """It may know a better address."""
    said = {"MASTER_ADDR": "10.0.0.2", "MASTER_PORT": "29500"}
    assert not variables(SLURM | said).keys() & said.keys()


@pytest.mark.parametrize("environment", [{}, {"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "7"}])
def test_without_a_launcher_a_process_is_alone(environment):
    """A batch script's own processes too, whatever number of tasks its job has."""
    assert variables(environment) == {}


def test_ranks_of_mpirun_also_in_a_slurm_job():
    """There Slurm's variables are those of mpirun's daemons."""
    assert variables(OPEN_MPI) == variables(OPEN_MPI | SLURM) == OF_OPEN_MPI


def test_other_launchers_have_the_word():
    """deepspeed and torchrun set RANK."""
    assert variables(SLURM | OPEN_MPI | {"RANK": "0"}) == {}
