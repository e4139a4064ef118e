# shellcheck shell=bash
# Sourced first by jobs whose command saves at a signal, ends with status 75, and resumes when it is started again. The
# job asks Slurm for USR1 before its time limit (--signal=B:USR1@...) and ends with `run_job COMMAND ...`.

told="" step="" interrupted=""
tell() {
    told=yes interrupted=yes
    # srun forwards the signal to every task. It is sent until srun ends, since a starting srun may lose a signal.
    if [[ $step ]]; then while kill -USR1 "$step" 2>/dev/null; do sleep 5; done & fi
}
trap tell USR1 TERM

# In an array, SLURM_JOB_ID of the last task is the number of the whole array to `scontrol requeue`.
job=$SLURM_JOB_ID
if [[ ${SLURM_ARRAY_JOB_ID:-} ]]; then job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID; fi

about() { scontrol show job -o "$job" 2>/dev/null || true; }

# requeue WHY: requeue the job, unless a user has cancelled it or Slurm has preempted it: Slurm requeues a preempted job
# itself. At the time limit (reason TimeLimit) nothing else requeues it.
requeue() {
    if [[ $(about) =~ JobState=RUNNING|Reason=TimeLimit ]]; then
        echo "$1: job $job goes back into the queue (restart $((${SLURM_RESTART_COUNT:-0} + 1)))"
        scontrol requeue "$job"
        exit 0
    fi
    echo "$1: job $job was cancelled or preempted, so it is left alone"
    exit "$status"
}

# The job's comment holds the number of faults: SLURM_RESTART_COUNT counts the starts after a save as well. (A job
# beyond its time limit cannot be changed; it has run for all of it, so it does not fail at each start.)
count_fault() {
    local faults=0 comment
    comment=$(about)
    if [[ $comment =~ Comment=faults:([0-9]+) ]]; then faults=${BASH_REMATCH[1]}; fi
    if ((faults >= SITE_MAX_RESTARTS)); then return 1; fi
    scontrol update JobId="$job" Comment="faults:$((faults + 1))" 2>/dev/null || true
}

# run_job COMMAND ...: run a command, which replaces its shell by srun, and end as its exit status says.
run_job() {
    status=75
    if [[ ! $told ]]; then
        "$@" &
        step=$!
        if [[ $told ]]; then tell; fi # the signal came before srun was started
        interrupted=yes
        while [[ $interrupted ]]; do # a signal ends `wait`, but not srun
            interrupted=""
            wait "$step" && status=0 || status=$?
        done
    fi
    case $status in
        75) requeue "saved" ;;
        70 | 12[89] | 1[3-9][0-9] | 2[0-9][0-9]) # 128 and above: killed by a signal
            if count_fault; then requeue "${told:+told to stop, but }not saved (status $status)"; fi
            echo "error: job $job had its $SITE_MAX_RESTARTS restarts after faults; the last status is $status" >&2
            ;;
    esac
    exit "$status"
}
