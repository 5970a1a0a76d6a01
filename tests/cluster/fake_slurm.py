#!/usr/bin/env python3
"""Stand in for SLURM's commands: jobs are processes of this machine, one after the other, and a file lists them.

It is called as sbatch, squeue, scancel, scontrol or srun. `$FAKE_SLURM/jobs.json` holds the jobs, and a test may edit
it. `$FAKE_SLURM/COMMAND.says` lets a command fail with that text, once it has done its work if the text begins with
"done: ". Nothing runs if there is a file `$FAKE_SLURM/hold`.
"""

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

HOME = Path(os.environ["FAKE_SLURM"])
JOBS = HOME / "jobs.json"


def change(edit):
    """Change the list of jobs while no other command does."""
    with (HOME / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        jobs = json.loads(JOBS.read_text()) if JOBS.exists() else []
        result = edit(jobs)
        new = JOBS.with_suffix(".new")
        new.write_text(json.dumps(jobs))
        new.replace(JOBS)
        return result


def listed():
    return json.loads(JOBS.read_text()) if JOBS.exists() else []


def note_environment(command):
    """Note the variables that change what SLURM's commands do."""
    path = HOME / "environment.json"
    seen = json.loads(path.read_text()) if path.exists() else {}
    ours = {key: value for key, value in os.environ.items() if key.startswith(("SLURM_", "SBATCH_", "SQUEUE_"))}
    new = HOME / "environment.new"
    new.write_text(json.dumps({**seen, command: ours}))
    new.replace(path)


def refuse(command):
    path = HOME / f"{command}.says"
    text = path.read_text() if path.exists() else ""
    if text and not text.startswith("done: "):
        sys.exit(f"{command}: error: {text}")
    return lambda: text and sys.exit(f"{command}: error: {text.removeprefix('done: ')}")


def sbatch(words):
    script = Path(words[-1])
    options = dict(re.findall(r"^#SBATCH '?--([a-z-]+)=(.*?)'?$", script.read_text(), re.MULTILINE))
    if options.get("partition") == "nowhere":
        sys.exit(
            "sbatch: error: invalid partition specified: nowhere\n"
            "sbatch: error: Batch job submission failed: Invalid partition name specified"
        )
    most = HOME / "most"
    if most.exists() and sum(job["state"] in ("PENDING", "RUNNING") for job in listed()) >= int(most.read_text()):
        sys.exit("sbatch: error: QOSMaxSubmitJobPerUserLimit")
    count = int(options["array"].partition("%")[0].partition("-")[2]) + 1

    def add(jobs):
        number = 1 + max((job["array"] for job in jobs), default=0)
        for index in range(count):
            job = {"array": number, "index": index, "state": "PENDING", "node": "", "reason": "Priority", "exit": 0}
            jobs.append({**job, "comment": options["comment"], "script": str(script), "log": options["output"]})
        return number

    number = change(add)
    if not (HOME / "hold").exists():
        subprocess.Popen(
            [sys.executable, __file__, "_run", str(number)],
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    after()
    print(number)


def run_array(words):
    """Carry out the jobs of an array, one after the other."""
    (number,) = words

    def begin(jobs):
        for job in jobs:
            if job["array"] == int(number) and job["state"] == "PENDING":
                job.update(state="RUNNING", node="n1", reason="None")
                return job
        return None

    while job := change(begin):
        told = {**os.environ, "SLURM_ARRAY_TASK_ID": str(job["index"])}
        with Path(job["log"].replace("%a", str(job["index"]))).open("ab") as log:
            process = subprocess.Popen(
                ["bash", job["script"]], env=told, stdout=log, stderr=log, start_new_session=True
            )

            def note(jobs, job=job, pid=process.pid):
                for each in jobs:
                    if (each["array"], each["index"]) == (job["array"], job["index"]):
                        each["pid"] = pid

            change(note)
            code = process.wait()

        def end(jobs, job=job, code=code):
            for each in jobs:
                if (each["array"], each["index"]) == (job["array"], job["index"]) and each["state"] == "RUNNING":
                    each.update(state="COMPLETED" if code == 0 else "FAILED", exit=code)

        change(end)


def squeue(words):
    for job in json.loads(JOBS.read_text()) if JOBS.exists() else []:
        print(f"{job['array']}_{job['index']}|{job['state']}|{job['node']}|{job['reason']}|{job['comment']}")


def scancel(words):
    def end(jobs):
        for job in jobs:
            if f"{job['array']}_{job['index']}" in words and job["state"] in ("PENDING", "RUNNING"):
                if job["state"] == "RUNNING":
                    os.killpg(job["pid"], signal.SIGTERM)
                job["state"] = "CANCELLED"

    change(end)


def scontrol(words):
    if words[:2] == ["show", "config"]:
        print("MaxArraySize            = 3")
    else:
        for job in json.loads(JOBS.read_text()):
            if f"{job['array']}_{job['index']}" == words[-1]:
                print(f"JobId=1 JobState={job['state']} ExitCode={job['exit']}:0")


def srun(words):
    while words[0].startswith("-"):
        words = words[1:]
    os.execv(words[0], words)


if __name__ == "__main__":
    name, words = Path(sys.argv[0]).name, sys.argv[1:]
    if words[:1] == ["_run"]:
        run_array(words[1:])
    else:
        if name in ("sbatch", "squeue"):
            note_environment(name)
        after = refuse(name)
        globals()[name](words)
        if name != "sbatch":
            after()
