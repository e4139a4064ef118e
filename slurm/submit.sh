#!/usr/bin/env bash
# Submit the whole chain; each job starts when the one before it has succeeded. See usage below.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
    cat <<'TEXT'
usage: slurm/submit.sh [option ...]
Submits preprocessing -> phase 1 -> phase 2 -> export, each job after the success of the one before it, and prints one
line per job: its number and its name. Paths are relative to the repository. Settings of the site are in slurm/site.sh.

The jobs, in this order:
  --data "COMMAND"     arguments of `python -m preprocessing`, such as "run --out data --sources wikipedia:dumps";
                       may be given several times, for several lengths; without it the samples must exist.
                       Quotes inside hold words together: --data "run --sources 'file:my books' --out data"
  --recipe "FILE ..."  recipe, and options that override its fields; once per phase
                       [pipeline/recipes/bert_large_phase1.toml, then bert_large_phase2.toml]
  --export OUT         directory of the last phase's Hugging Face model [models/NAME_OF_ITS_RUN]
  --then "SCRIPT ..."  a further job, such as fine-tuning, with its arguments; may be given several times. Options of
                       sbatch may stand before SCRIPT, each of them one word, --NAME or --NAME=VALUE:
                       --then "--gpus=1 slurm/finetune.sbatch sst2 --model models/bert_large_phase2 --data glue"
  --no-train, --no-export   leave these out
Their size:
  --nodes N            nodes of a training job [1]
  --gpus-per-node N    GPUs, and ranks, of each [8], also with their type, a100:8; 0: one rank on CPUs
  --data-nodes N       nodes of a preprocessing job [1]
  --data-tasks N       its ranks on each node, one core each [32]
  --time T             time limit of a training job, in sbatch's format; an interrupted job resumes [the partition's]
  --data-time T        time limit of a preprocessing job
Other:
  --after JOB          start after the success of a job that has been submitted
  --sbatch "OPTIONS"   more options of sbatch, for all jobs: --sbatch "--qos long"
  --train-sbatch "..." more options for training jobs alone: --train-sbatch "--exclusive --mem 0"
  --data-sbatch "..."  more options for the jobs that need no GPU, preprocessing and export
  --dry-run            print the sbatch lines and submit nothing
An option's value follows it, or an equals sign: --nodes 4, --nodes=4. Partitions and the cores of a rank are the
site's: SITE_PARTITION, SITE_DATA_PARTITION and SITE_CPUS_PER_RANK in slurm/site.sh.
TEXT
}

fail() {
    echo "error: $*" >&2
    exit 2
}

# split OPTION TEXT: set `words` to the words of the text, with quotes read as by a shell.
split() {
    local quoted
    quoted=$("$python" slurm/read.py words "$1" "$2") || exit 2
    eval "words=($quoted)" # every word is quoted, so that nothing is expanded or executed
}

# split_then TEXT: set `words` to the script and its arguments, and `then_extra` to the options of sbatch before it.
split_then() {
    split --then "$1"
    then_extra=()
    while [[ ${words[0]:-} == --* ]]; do
        then_extra+=("${words[0]}")
        words=("${words[@]:1}")
    done
    [[ ${words[0]:-} ]] || fail "--then $1: names no script; write it behind the options of sbatch"
}

# submit KIND NAME sbatch-argument ...: submit a job that depends on `previous`, and set `previous` to it. KIND is
# train, data or other.
submit() {
    local kind=$1 name=$2 line=(sbatch --parsable --job-name "$2") partition=$SITE_PARTITION own=()
    shift 2
    if [[ $kind == data ]]; then partition=$SITE_DATA_PARTITION own=("${data_extra[@]}"); fi
    if [[ $kind == train ]]; then own=("${train_extra[@]}"); fi
    if [[ $kind == other ]]; then own=("${then_extra[@]}"); fi
    if [[ $partition ]]; then line+=(--partition "$partition"); fi
    if [[ $SITE_ACCOUNT ]]; then line+=(--account "$SITE_ACCOUNT"); fi
    if [[ $previous ]]; then line+=(--dependency "afterok:$previous" --kill-on-invalid-dep yes); fi
    while [[ $1 == --* ]]; do # sizes come first, so that the user's options override them
        line+=("$1" "$2")
        shift 2
    done
    line+=("${extra[@]}" "${own[@]}" "$@")
    if [[ $dry_run ]]; then
        printf '%q ' "${line[@]}"
        echo
        previous="\$$name"
        return
    fi
    previous=$("${line[@]}") || fail "sbatch refused $name; the jobs above are submitted and wait: scancel ends them"
    previous=${previous%%;*} # with several clusters, sbatch prints JOB;CLUSTER
    echo "$previous $name"
}

data=() recipes=() then=() previous="" dry_run="" train=yes export=yes out=""
all_options="" train_options="" data_options=""
nodes=1 gpus=8 data_nodes=1 data_tasks=32 time=() data_time=()
while (($#)); do
    case $1 in
        -h | --help) usage && exit ;;
        --dry-run) dry_run=yes && shift && continue ;;
        --no-train) train="" && shift && continue ;;
        --no-export) export="" && shift && continue ;;
        --*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" ;;
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
        --sbatch) all_options=$2 ;;
        --train-sbatch) train_options=$2 ;;
        --data-sbatch) data_options=$2 ;;
        *) fail "no such option: $1; see slurm/submit.sh --help" ;;
    esac
    shift 2
done

PROJECT=$PWD
# shellcheck source=slurm/site.sh
source slurm/site.sh
python=$SITE_VENV/bin/python
[[ -x $python ]] || python=python3

# All requirements are checked before the first job is submitted.
[[ $dry_run ]] || command -v sbatch >/dev/null || fail "sbatch is missing: run this where Slurm's commands are"
for number in "--nodes $nodes" "--data-nodes $data_nodes" "--data-tasks $data_tasks" \
    "SITE_CPUS_PER_RANK ${SITE_CPUS_PER_RANK:-1}"; do
    [[ ${number#* } =~ ^[0-9]+$ ]] || fail "$number: must be a number"
done
[[ $gpus =~ ^([A-Za-z0-9_.-]+:)?([0-9]+)$ ]] || fail "--gpus-per-node $gpus: must be a number, or TYPE:NUMBER"
ranks=${BASH_REMATCH[2]}
((data_nodes * data_tasks > 1)) || fail "--data-tasks $data_tasks: one rank hands out the work, so there must be two"
if ((${#recipes[@]} == 0)); then
    recipes=(pipeline/recipes/bert_large_phase1.toml pipeline/recipes/bert_large_phase2.toml)
fi
split --sbatch "$all_options" && extra=("${words[@]}")
split --train-sbatch "$train_options" && train_extra=("${words[@]}")
split --data-sbatch "$data_options" && data_extra=("${words[@]}")
for entry in "${data[@]}"; do split --data "$entry"; done
for entry in "${then[@]}"; do
    split_then "$entry"
    [[ -f ${words[0]} ]] || fail "${words[0]}: no such file in $PWD"
done
for entry in "${recipes[@]}"; do
    split --recipe "$entry"
    [[ -f ${words[0]} ]] || fail "${words[0]}: no such file in $PWD"
done
if [[ $export ]]; then
    run=$("$python" slurm/read.py run_dir "${words[@]}") || exit 2 # of the last recipe
    [[ $run ]] || fail "${words[0]} has no run_dir; --no-export, or a recipe that says where its run is"
    out=${out:-models/$(basename "$run")}
    [[ ! -e $out ]] || fail "$out exists, and the export at the chain's end would refuse it; give another --export"
fi

cores=()
if [[ $SITE_CPUS_PER_RANK ]]; then cores=(--cpus-per-task "$SITE_CPUS_PER_RANK"); fi
for entry in "${data[@]}"; do
    split --data "$entry"
    submit data preprocess "${data_time[@]}" --nodes "$data_nodes" --ntasks-per-node "$data_tasks" --cpus-per-task 1 \
        slurm/preprocess.sbatch "${words[@]}"
done
size=(--nodes "$nodes" --ntasks-per-node 1 "${cores[@]}")
if ((ranks)); then size=(--nodes "$nodes" --ntasks-per-node "$ranks" --gpus-per-node "$gpus" "${cores[@]}"); fi
if [[ $train ]]; then
    for entry in "${recipes[@]}"; do
        split --recipe "$entry"
        submit train "$(basename "${words[0]}" .toml)" "${time[@]}" "${size[@]}" --signal "B:USR1@$SITE_SAVE_SECONDS" \
            slurm/pretrain.sbatch "${words[@]}"
    done
fi
if [[ $export ]]; then submit data export "${cores[@]}" slurm/convert.sbatch "$run" "$out"; fi
for entry in "${then[@]}"; do
    split_then "$entry"
    submit other "$(basename "${words[0]%.*}")" "${words[@]}"
done
