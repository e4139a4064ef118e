# shellcheck shell=bash
# Settings of a site, read by submit.sh and by every job. Change the defaults here, or set a variable of the same name
# for one submission: SITE_PARTITION=gpu slurm/submit.sh ... (sbatch passes the environment to the job).

# Partition and account of the jobs; empty: Slurm's defaults.
: "${SITE_PARTITION:=}"
: "${SITE_DATA_PARTITION:=$SITE_PARTITION}" # for the jobs that need no GPU: preprocessing and export
: "${SITE_ACCOUNT:=}"

# Cores of a training rank, for itself, its data workers (data.num_workers, 2) and the threads of its libraries: the
# cores of a node divided by its GPUs. Empty: Slurm's default, which is one core.
: "${SITE_CPUS_PER_RANK=4}"

# Software: venv, pyxis (an image with Enroot: srun --container-image) or apptainer. An image must have the packages of
# requirements.txt and slurm/mpi.txt.
: "${SITE_RUNTIME:=venv}"
: "${SITE_MODULES:=}" # loaded first, in this order: "gcc/12 cuda/12.8"
: "${SITE_VENV:=$PROJECT/.venv}"
: "${SITE_IMAGE:=}" # pyxis: nvcr.io#team/image:tag or a .sqsh file; apptainer: a .sif file
: "${SITE_MOUNTS:=$PROJECT:$PROJECT}" # mounts of an image, separated by commas: the project, samples and runs
: "${SITE_APPTAINER:=--nv}" # options of apptainer exec

# Network interface, such as ib0; needed only where nodes have several and the libraries choose the wrong one.
: "${SITE_INTERFACE:=}"

# MPI support of preprocessing: a type of `srun --mpi=list` (pmix suits Open MPI, pmi2 suits MPICH), or
# mpirun, which needs no support in Slurm.
: "${SITE_MPI:=pmix}"

# Preemption: seconds before the time limit at which training gets the signal to save (Slurm may send it a minute
# early), and the largest number of restarts after a fault. Restarts after a save are not counted.
: "${SITE_SAVE_SECONDS:=300}"
: "${SITE_MAX_RESTARTS:=3}"
# Seconds after the end of the first rank within which the other ranks must end by themselves.
: "${SITE_PEER_SECONDS:=60}"

# site_setup: load the modules, activate the environment, and select the network interface in this shell.
site_setup() {
    local module
    for module in $SITE_MODULES; do module load "$module"; done
    if [[ $SITE_RUNTIME == venv ]]; then
        # shellcheck source=/dev/null
        source "$SITE_VENV/bin/activate"
    fi
    if [[ $SITE_INTERFACE ]]; then
        export NCCL_SOCKET_IFNAME=$SITE_INTERFACE GLOO_SOCKET_IFNAME=$SITE_INTERFACE
    fi
    # srun has not inherited this from sbatch since Slurm 22.05; without it each task would be bound to one core.
    if [[ ${SLURM_CPUS_PER_TASK:-} ]]; then export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK; fi
}

# launch srun [option ...] -- command: replace this shell by the launcher, which runs the command in the site's runtime.
launch() {
    local launcher=() inside=()
    while [[ $1 != -- ]]; do
        launcher+=("$1")
        shift
    done
    shift
    if [[ $SITE_RUNTIME != venv && ! $SITE_IMAGE ]]; then
        echo "error: SITE_RUNTIME is $SITE_RUNTIME, so SITE_IMAGE must name an image" >&2
        exit 2
    fi
    case $SITE_RUNTIME in
        venv) ;;
        pyxis)
            launcher+=(--container-image="$SITE_IMAGE" --container-mounts="$SITE_MOUNTS" --container-workdir="$PWD")
            ;;
        apptainer)
            # shellcheck disable=SC2206  # several options
            inside=(apptainer exec $SITE_APPTAINER --bind "$SITE_MOUNTS" --pwd "$PWD" "$SITE_IMAGE")
            ;;
        *)
            echo "error: SITE_RUNTIME is $SITE_RUNTIME, must be venv, pyxis or apptainer" >&2
            exit 2
            ;;
    esac
    exec "${launcher[@]}" "${inside[@]}" "$@"
}
