#!/bin/bash
# Training on several machines of a Slurm cluster: sbatch slurm.sh [options of garbage train]
# Every machine needs the same garbage, and sees the data set and the output folder under the same paths.
#
#SBATCH --job-name=garbage-train
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --time=24:00:00
# two minutes before the time is up the state is saved; a job that is put back into the queue goes on from there
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

DATA=${DATA:-data}
OUT=${OUT:-output}
GARBAGE=${GARBAGE:-$(command -v garbage)}
PYTHON=${PYTHON:-$(dirname "$GARBAGE")/python}
export DATA OUT GARBAGE PYTHON
# the network that the machines talk over, such as ib0; that of the host's first address if it is not said
export INTERFACE=${INTERFACE:-}
# processes on each machine; one for each GPU if it is not said
export PROCESSES=${PROCESSES:-}

address() {
  if [ -n "$INTERFACE" ]; then
    ip -4 -o addr show dev "$INTERFACE" | awk '{ sub("/.*", "", $4); print $4; exit }'
  else
    hostname -I | awk '{ print $1 }'
  fi
}

machine() {
  local here options=()
  here=$(address)
  if [ -z "$here" ]; then
    echo "slurm.sh: $(hostname) has no address${INTERFACE:+ on $INTERFACE}; set INTERFACE" >&2
    exit 1
  fi
  if [ -n "$PROCESSES" ]; then options=(--nproc_per_node "$PROCESSES"); fi
  exec "$PYTHON" -m paddle.distributed.launch --master "$MASTER" --host "$here" --nnodes "$SLURM_JOB_NUM_NODES" \
    --rank "$SLURM_NODEID" "${options[@]}" --log_dir "$OUT/log/$SLURM_JOB_ID/$SLURM_NODEID" \
    "$GARBAGE" train "$DATA" --out "$OUT" "$@"
}

# the batch script runs on the first machine of the job, which is rank 0
MASTER="$(address):$((20000 + SLURM_JOB_ID % 10000))"
export MASTER
export -f address machine

# a job that was put back into the queue goes on
if [ "${SLURM_RESTART_COUNT:-0}" -gt 0 ] && compgen -G "$OUT/*/run.json" > /dev/null; then
  set -- --resume "$@"
fi

# where one machine fails, Slurm ends the others: also one that still waits for it
exec srun --kill-on-bad-exit=1 bash -c 'machine "$@"' machine "$@"
