"""What `deploy/` ships is what the platforms take, as far as can be told without them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from click import Context
from ray.autoscaler._private.util import prepare_config, validate_config

from orchestrator.planning.catalog import study_names
from orchestrator.sweep import main
from tests.conftest import ROOT

DEPLOY = ROOT / "deploy"


def parsed(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text())


def test_ray_takes_the_cluster_config() -> None:
    config = prepare_config(parsed("cluster.yaml"))
    validate_config(config)
    assert config["provider"]["type"] == "local"
    assert "--num-gpus=0" in config["head_start_ray_commands"][-1]


def test_the_rayjob_has_what_kuberay_requires() -> None:
    job = parsed("rayjob.yaml")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    cluster = job["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for group in groups:
        assert isinstance(group["rayStartParams"], dict)
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        pod = group["template"]["spec"]
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            assert {"name", "image", "resources"} <= set(container)
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
            assert any(mount["mountPath"] == "/shared" for mount in container["volumeMounts"])
    (workers,) = cluster["workerGroupSpecs"]
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]


def test_only_the_head_is_given_the_trackers_password() -> None:
    cluster = parsed("rayjob.yaml")["spec"]["rayClusterSpec"]
    assert "MLFLOW_TRACKING_PASSWORD" in str(cluster["headGroupSpec"])
    assert "PASSWORD" not in str(cluster["workerGroupSpecs"])
    assert "runtimeEnv" not in str(parsed("rayjob.yaml"))


@pytest.mark.parametrize(
    "command",
    [
        parsed("rayjob.yaml")["spec"]["entrypoint"],
        *re.findall(r"python -m orchestrator\.sweep [a-z].*", (DEPLOY / "README.md").read_text()),
    ],
)
def test_the_commands_are_ones_that_the_sweep_takes(command: str) -> None:
    arguments = command.removeprefix("python -m orchestrator.sweep ").split()
    context: Context = main.make_context("sweep", arguments)
    assert context.params["study"] in study_names()


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_the_slurm_script_is_bash() -> None:
    subprocess.run(["bash", "-n", str(DEPLOY / "slurm.sh")], check=True)


def test_a_slurm_job_runs_the_sweep_and_passes_its_end_on(tmp_path: Path) -> None:
    """With stand-ins for Slurm, Ray and Python: the sweep that is told to end ends the job with its own exit code."""
    stand_ins = {
        "scontrol": "echo node1; echo node2",
        "srun": 'case "$*" in *hostname*) echo 10.0.0.1 ;; *) echo "$@" >> "$CALLS" ;; esac',
        "ray": "exit 0",
        "python": 'echo "python $*" >> "$CALLS"; trap "exit 130" TERM; kill -TERM $PPID; while :; do sleep 0.1; done',
    }
    for name, text in stand_ins.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "CALLS": str(tmp_path / "calls"),
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_CPUS_PER_TASK": "8",
        "SLURM_GPUS_ON_NODE": "4",
    }
    done = subprocess.run(
        ["bash", str(DEPLOY / "slurm.sh"), "layer_importance", "--seeds", "3"], env=environment, timeout=60, check=False
    )
    assert done.returncode == 130
    calls = (tmp_path / "calls").read_text()
    assert "python -m orchestrator.sweep layer_importance --seeds 3 --store /shared/store --address 10.0.0.1" in calls
    assert "--nodelist=node1 --export=ALL ray start --block --num-gpus=4 --num-cpus=8 --head" in calls
    assert "--nodelist=node2 --export=ALL ray start --block --num-gpus=4 --num-cpus=8 --address=10.0.0.1" in calls


def test_the_image_has_every_folder_that_runs() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    for folder in ("datagen", "trainables", "orchestrator", "experiments"):
        assert f"COPY {folder} {folder}" in text
    assert re.search(r"^USER (?!root)", text, re.MULTILINE)
