#!/bin/bash
# One sweep on Slurm: sbatch deploy/slurm.sh layer_importance --scale imagenet100
# A Ray node on each of Slurm's; the sweep runs on the first. Submit it again to go on: only what is missing runs.
#SBATCH --job-name=mindgap
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
# Ten minutes before the time is up (and when preempted) the batch script gets SIGTERM, and passes it on: the running
# epochs are finished and saved. Make it longer than an epoch takes.
#SBATCH --signal=B:TERM@600
#SBATCH --requeue
set -euo pipefail

store=${STORE:-/shared/store} # all nodes must see it
port=${RAY_PORT:-6379}
export RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=token
# One token for all nodes of this job, readable by you alone.
export RAY_AUTH_TOKEN=${RAY_AUTH_TOKEN:-$(head -c 32 /dev/urandom | sha256sum | cut -d' ' -f1)}

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]}
address=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | awk '{print $1}')

start_node() { # start_node HOST FLAGS...: runs until the job ends
    local host=$1
    shift
    srun --nodes=1 --ntasks=1 --exact --nodelist="$host" --export=ALL \
        ray start --block --num-gpus="${SLURM_GPUS_ON_NODE:-0}" --num-cpus="$SLURM_CPUS_PER_TASK" "$@" &
}

start_node "$head" --head --node-ip-address="$address" --port="$port" --dashboard-host=127.0.0.1
until ray health-check --address "$address:$port" 2>/dev/null; do sleep 2; done
for host in "${nodes[@]:1}"; do
    start_node "$host" --address="$address:$port"
done

python -m orchestrator.sweep "$@" --store "$store" --address "$address:$port" &
sweep=$!
trap 'kill -TERM "$sweep"' TERM INT
# `wait` returns at the signal; the second waits for the sweep to have saved what runs.
wait "$sweep" || code=$?
while kill -0 "$sweep" 2>/dev/null; do wait "$sweep" || code=$?; done
exit "${code:-0}"
