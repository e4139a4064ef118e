#!/usr/bin/env bash
# Submit the whole chain; each job starts when the one before it has succeeded. See usage below.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
    cat <<'TEXT'
usage: slurm/submit.sh [option ...]
Submits preprocessing -> phase 1 -> phase 2 -> export, each job after the success of the one before it, and prints one
line per job: its number and its name. Paths are relative to the repository. What a site sets stands in slurm/site.sh.

The jobs, in this order:
  --data "COMMAND"     arguments of `python -m preprocessing`, such as "run --out data --sources wikipedia:dumps";
                       may be given several times, for several lengths; without it the samples are there already
  --recipe "FILE ..."  recipe, and options that override its fields; once per phase
                       [pipeline/recipes/bert_large_phase1.toml, then bert_large_phase2.toml]
  --export OUT         where the last phase's model goes as a Hugging Face model [models/NAME_OF_ITS_RUN]
  --then "SCRIPT ..."  a further job, such as fine-tuning, with its arguments; may be given several times
  --no-train, --no-export   leave these out
Their size:
  --nodes N            nodes of a training job [1]
  --gpus-per-node N    GPUs, and ranks, of each [8]; 0: one rank on CPUs
  --data-nodes N       nodes of a preprocessing job [1]
  --data-tasks N       its ranks on each node, one core each [32]
  --time T             time limit of a training job, as sbatch takes it; cut off, it continues [the partition's]
  --data-time T        time limit of a preprocessing job
Other:
  --after JOB          start after the success of a job that is submitted already
  --sbatch "OPTIONS"   more options of sbatch, for all jobs: --sbatch "--qos long --exclusive"
  --dry-run            print the sbatch lines and submit nothing
TEXT
}

fail() {
    echo "error: $*" >&2
    exit 2
}

# The run_dir of a recipe with options, which stand after the file and win.
run_of() {
    local run
    run=$(sed -n 's/^run_dir *= *"\(.*\)".*/\1/p' "$1")
    while (($# > 1)); do
        case $2 in
            --run_dir=*) run=${2#*=} ;;
            --run_dir) run=${3:-} ;;
        esac
        shift
    done
    echo "$run"
}

# submit NAME sbatch-argument ...: after the job before; sets `previous`.
submit() {
    local name=$1 line=(sbatch --parsable --job-name "$1")
    shift
    if [[ $SITE_PARTITION ]]; then line+=(--partition "$SITE_PARTITION"); fi
    if [[ $SITE_ACCOUNT ]]; then line+=(--account "$SITE_ACCOUNT"); fi
    if [[ $previous ]]; then line+=(--dependency "afterok:$previous" --kill-on-invalid-dep yes); fi
    line+=("${extra[@]}" "$@")
    if [[ $dry_run ]]; then
        printf '%q ' "${line[@]}"
        echo
        previous="\$$name"
        return
    fi
    previous=$("${line[@]}") || fail "sbatch refused $name; the jobs above are submitted and wait: scancel ends them"
    previous=${previous%%;*} # where there are several clusters: JOB;CLUSTER
    echo "$previous $name"
}

data=() recipes=() then=() extra=() previous="" dry_run="" train=yes export=yes out=""
nodes=1 gpus=8 data_nodes=1 data_tasks=32 time=() data_time=()
while (($#)); do
    case $1 in
        -h | --help) usage && exit ;;
        --dry-run) dry_run=yes && shift && continue ;;
        --no-train) train="" && shift && continue ;;
        --no-export) export="" && shift && continue ;;
    esac
    [[ $1 == --* ]] || fail "$1 is not an option; see slurm/submit.sh --help"
    [[ ${2:-} ]] || fail "$1 lacks its value, or is no option; see slurm/submit.sh --help"
    case $1 in
        --data) data+=("$2") ;;
        --recipe) recipes+=("$2") ;;
        --export) out=$2 ;;
        --then) then+=("$2") ;;
        --nodes) nodes=$2 ;;
        --gpus-per-node) gpus=$2 ;;
        --data-nodes) data_nodes=$2 ;;
        --data-tasks) data_tasks=$2 ;;
        --time) time=(--time "$2") ;;
        --data-time) data_time=(--time "$2") ;;
        --after) previous=$2 ;;
        --sbatch) read -ra extra <<<"$2" ;;
        *) fail "no such option: $1; see slurm/submit.sh --help" ;;
    esac
    shift 2
done

PROJECT=$PWD
# shellcheck source=slurm/site.sh
source slurm/site.sh

# Everything that can be missing is looked for before the first job is submitted.
[[ $dry_run ]] || command -v sbatch >/dev/null || fail "sbatch is missing: run this where Slurm's commands are"
for number in "nodes=$nodes" "gpus-per-node=$gpus" "data-nodes=$data_nodes" "data-tasks=$data_tasks"; do
    [[ ${number#*=} =~ ^[0-9]+$ ]] || fail "--${number%%=*} ${number#*=}: must be a number"
done
((data_nodes * data_tasks > 1)) || fail "--data-tasks $data_tasks: one rank hands out the work, so there must be two"
if ((${#recipes[@]} == 0)); then
    recipes=(pipeline/recipes/bert_large_phase1.toml pipeline/recipes/bert_large_phase2.toml)
fi
for entry in "${recipes[@]}" "${then[@]}"; do
    [[ -f ${entry%% *} ]] || fail "${entry%% *}: no such file in $PWD"
done
read -ra last <<<"${recipes[-1]}"
run=$(run_of "${last[@]}")
[[ $run || ! $export ]] || fail "${last[0]} has no run_dir; --no-export, or a recipe that says where its run is"
out=${out:-models/$(basename "$run")}
[[ ! $export || ! -e $out ]] || fail "$out exists, and the export at the chain's end would refuse it; give another --export"

for entry in "${data[@]}"; do
    read -ra words <<<"$entry"
    submit preprocess "${data_time[@]}" --nodes "$data_nodes" --ntasks-per-node "$data_tasks" slurm/preprocess.sbatch "${words[@]}"
done
size=(--nodes "$nodes" --ntasks-per-node 1)
if ((gpus)); then size=(--nodes "$nodes" --ntasks-per-node "$gpus" --gpus-per-node "$gpus"); fi
if [[ $train ]]; then
    for entry in "${recipes[@]}"; do
        read -ra words <<<"$entry"
        submit "$(basename "${words[0]}" .toml)" "${time[@]}" "${size[@]}" --signal "B:USR1@$SITE_SAVE_SECONDS" \
            slurm/pretrain.sbatch "${words[@]}"
    done
fi
if [[ $export ]]; then submit export slurm/convert.sbatch "$run" "$out"; fi
for entry in "${then[@]}"; do
    read -ra words <<<"$entry"
    submit "$(basename "${words[0]%.*}")" "${words[@]}"
done
