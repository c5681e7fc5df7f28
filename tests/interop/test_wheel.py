"""The wheel, in an environment that has nothing but what it asks for."""

import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: Free ones: others may serve on this machine too.
PORTS = ("--grpc-port", "0", "--http-port", "0", "--metrics-port", "0")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_wheel_with_cpu_alone_serves_and_answers(trained, tmp_path: Path) -> None:
    """No training framework is installed; list, serve and predict work."""
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(ROOT)],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    venv.create(tmp_path / "clean", with_pip=True)
    python, zoo = tmp_path / "clean/bin/python", tmp_path / "clean/bin/zoo"
    constraints = str(ROOT / "constraints.txt")
    subprocess.run(
        [str(python), "-m", "pip", "install", "-q", "-c", constraints, f"{wheel}[cpu]"],
        check=True,
        capture_output=True,
    )
    installed = subprocess.run(
        [str(python), "-m", "pip", "list", "--format=freeze"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "tensorflow" not in installed
    assert "keras" not in installed

    server = subprocess.Popen(
        [str(zoo), "serve", str(trained.repository), *PORTS],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    try:
        assert server.stderr is not None
        ready = next(line for line in server.stderr if "ready: gRPC on" in line)
        port = ready.split("127.0.0.1:")[1].split(",")[0]
        done = subprocess.run(
            [str(zoo), "predict", "dense_iris", "5.1,3.5,1.4,0.2", "--grpc-port", port],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=tmp_path,
            check=False,
        )
    finally:
        server.terminate()
        server.communicate(timeout=30)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[2].startswith("setosa")
    assert server.returncode == 0
    refused = subprocess.run(
        [str(zoo), "train", "dense_iris"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        check=False,
    )
    assert refused.returncode == 1
    assert "pip install 'layer-zoo[train]'" in refused.stderr
    assert "Traceback" not in refused.stderr
