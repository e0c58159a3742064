#!/usr/bin/env bash
# Prints the state of a PBS job for Snakemake: running, success or failed. The argument is the id of the job.
if ! job=$(qstat -x -f "$1"); then
    # The server may be busy. Snakemake asks again, but a job that is not known any more has been lost.
    sleep 10
    job=$(qstat -x -f "$1") || { echo failed; exit 0; }
fi
case $job in
    *"job_state = F"*"Exit_status = 0"[!0-9]* | *"job_state = F"*"Exit_status = 0") echo success ;;
    *"job_state = F"*) echo failed ;;
    *) echo running ;;
esac
