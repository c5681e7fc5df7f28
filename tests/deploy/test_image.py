"""What deploy/Dockerfile makes, without a container engine: the same commands into an empty root, and its start."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server.onnx_graphs import Graphs

ROOT = Path(__file__).parents[2]

#: A root of its own, whose processes end with the program, and loopback alone.
ALONE = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]

#: Programs that the image's commands use, which python:slim has.
PROGRAMS = ("sh", "ls", "rm", "env")

pytestmark = pytest.mark.slow


def steps() -> dict[str, list[str]]:
    """Return the words after each instruction of the Dockerfile, by its name."""
    found: dict[str, list[str]] = {}
    text = (ROOT / "deploy/Dockerfile").read_text()
    for name, rest in re.findall(r"^([A-Z]+) (.*)$", text, re.MULTILINE):
        found.setdefault(name, []).append(rest)
    return found


def copy_program(program: Path, root: Path) -> None:
    """Copy a program or library, and the libraries that it is linked with."""
    done = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)
    for path in map(Path, re.findall(r"(/\S+) \(0x", done.stdout)):
        place = (
            root / "lib" / path.name if path.parent.name != "lib64" else root / "lib64" / path.name
        )
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            shutil.copy(path, place)


def base(root: Path) -> None:
    """Make what python:slim is, of this machine's Python and its C library."""
    prefix, version = Path(sys.base_prefix), f"python{sys.version_info[0]}.{sys.version_info[1]}"
    library = prefix / "lib" / version
    unused = shutil.ignore_patterns(
        "test", "tests", "idlelib", "tkinter", "site-packages", "__pycache__", "config-*"
    )
    target = root / "usr/local/lib" / version
    shutil.copytree(library, target, ignore=unused)
    shutil.copytree(library / "site-packages/pip", target / "site-packages/pip")
    interpreter = root / "usr/local/bin/python3"
    interpreter.parent.mkdir(parents=True)
    shutil.copy(prefix / "bin" / version, interpreter)
    pip = interpreter.with_name("pip")
    pip.write_text(
        "#!/usr/local/bin/python3\nimport sys\nfrom pip._internal.cli.main import main\nsys.exit(main())\n"
    )
    pip.chmod(0o755)
    for name in PROGRAMS:
        found = shutil.which(name)
        assert found is not None
        for folder in ("bin", "usr/bin"):
            (root / folder).mkdir(parents=True, exist_ok=True)
            shutil.copy(found, root / folder / name)
        copy_program(Path(found), root)
    copy_program(interpreter, root)
    for module in (target / "lib-dynload").glob("*.so"):
        copy_program(module, root)
    for name in ("libstdc++.so.6", "libgcc_s.so.1", "libdl.so.2", "librt.so.1", "libpthread.so.0"):
        (path,) = {
            p for p in map(Path("/lib/x86_64-linux-gnu", name).with_name, [name]) if p.exists()
        }
        shutil.copy(path, root / "lib" / name)


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Path:
    """The root after COPY and RUN."""
    if (
        os.geteuid() != 0
        or subprocess.run([*ALONE, "true"], check=False, capture_output=True).returncode
    ):
        pytest.skip(
            "a root of its own needs to be root of this machine, or of a container with its rights"
        )
    root = tmp_path_factory.mktemp("image")
    root.chmod(0o755)
    base(root)
    (copied,) = steps()["COPY"]
    pattern, target = copied.split()
    wheels = root / target.strip("/")
    build = [sys.executable, "-m", "build", "--quiet", "--wheel", "--outdir", wheels, ROOT]
    subprocess.run(build, check=True, timeout=800)
    assert [path.match(Path(pattern).name) for path in wheels.iterdir()] == [True]
    # What pip would bring from its index comes along, so that nothing beyond the root is asked for.
    parts = root / "parts"
    (wheel,) = wheels.glob("*.whl")
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", parts,
                "--constraint", ROOT / "constraints.txt", f"{wheel}[cpu]"]  # fmt: skip
    subprocess.run(download, check=True, timeout=800)
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LD_LIBRARY_PATH": "/lib",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": "/parts",
        "PIP_ROOT_USER_ACTION": "ignore",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "TMPDIR": "/var",
    }
    (root / "var").mkdir()
    for command in steps()["RUN"]:
        done = subprocess.run(
            [str(shutil.which("chroot")), root, "/bin/sh", "-c", command],
            env=environment, capture_output=True, text=True, timeout=800, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
    shutil.rmtree(parts)
    return root


@pytest.mark.timeout(1800)
def test_the_image_serves_as_another_user_with_nothing_to_write(
    image: Path, tmp_path: Path
) -> None:
    """Its command, in a read-only root, without rights: ready, right, ended by SIGTERM; size and start are printed."""
    (tmp_path / "models/identity/1").mkdir(parents=True)
    (tmp_path / "models/identity/1/model.onnx").write_bytes(Graphs().identity())
    tmp_path.chmod(0o755)
    (user,) = steps()["USER"]
    words = [*json.loads(steps()["ENTRYPOINT"][0]), *json.loads(steps()["CMD"][0])]
    assert words[0] == "zoo"
    command = ["PATH=/usr/local/bin:/usr/bin:/bin", "LD_LIBRARY_PATH=/lib", "HOME=/tmp", *words]
    outcome = tmp_path / "outcome.json"
    program = [sys.executable, "-m", "tests.deploy.image_run"]
    arguments = [image, tmp_path / "models", outcome, user, json.dumps(command)]
    done = subprocess.run(
        [*ALONE, *program, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outcomes = json.loads(outcome.read_text())

    packages = subprocess.run(
        ["du", "-sm", image / "usr/local/lib"], capture_output=True, text=True, check=True
    ).stdout.split()[0]
    print(
        f"{packages} MB with Python's library, start {outcomes['start s']} s, {outcomes['resident MB']} MB resident"
    )
    assert outcomes["right"]
    assert (outcomes["user"], outcomes["capabilities"]) == (int(user.partition(":")[0]), 0)
    assert "Read-only file system" in outcomes["root"] or "Permission denied" in outcomes["root"]
    assert outcomes["exit status"] == 0


def test_no_compiler_and_no_tensorflow_is_in_the_image(image: Path) -> None:
    """The server's own dependencies alone."""
    names = {
        path.name.lower() for path in image.rglob("*") if path.is_dir() or os.access(path, os.X_OK)
    }
    assert {"tensorflow", "keras", "gcc", "cc"}.isdisjoint(names)
    assert {"onnxruntime", "zoo_server"} <= names
