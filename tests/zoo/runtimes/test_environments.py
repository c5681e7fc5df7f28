"""Environments of isolated runtimes, with real venvs: whole, cached, or not there at all."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from zoo.runtimes.catalogue import IsolatedRuntime
from zoo.runtimes.environments import STAMP_FILE, RuntimeUnavailable, prepare

pytestmark = pytest.mark.slow


def _wheel(folder: Path, version: str) -> str:
    """Write a wheel by hand, which needs no index to be installed; return its path."""
    path = folder / f"tiny-{version}-py3-none-any.whl"
    info = f"tiny-{version}.dist-info"
    files = {
        "tiny.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (files | {f"{info}/RECORD": record}).items():
            archive.writestr(name, content)
    return str(path)


def _runtime(pin: str) -> IsolatedRuntime:
    return IsolatedRuntime(name="tiny", version="1.0", adapter="x_adapter.py", pins=(pin,))


def test_an_environment_is_made_once_and_again_for_other_pins(tmp_path: Path) -> None:
    """It survives its rename, is not touched while its pins stay, and says what is in it."""
    said: list[str] = []
    first = _runtime(_wheel(tmp_path, "1.0"))
    environment = prepare(first, tmp_path / "compat", say=said.append)
    stamp = environment.folder / STAMP_FILE
    before = stamp.stat().st_mtime_ns
    again = prepare(first, tmp_path / "compat", say=said.append)

    assert again == environment
    assert environment.installed == {"tiny": "1.0"}
    assert stamp.stat().st_mtime_ns == before
    assert len(said) == 1
    answer = [*environment.interpreter, "-c", "import tiny; print(tiny.VERSION)"]
    done = subprocess.run(answer, capture_output=True, text=True, check=True)
    assert done.stdout == "1.0\n"

    other = prepare(_runtime(_wheel(tmp_path, "1.1")), tmp_path / "compat", say=said.append)
    assert other.installed == {"tiny": "1.1"}
    (environment.folder / "bin" / "python").unlink()
    healed = prepare(_runtime(_wheel(tmp_path, "1.1")), tmp_path / "compat", say=said.append)
    assert healed.installed == {"tiny": "1.1"}
    assert len(said) == 3


def test_what_cannot_be_installed_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line of pip's own as the reason; what a killed run left is cleared."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    (tmp_path / ".tmp-killed").mkdir()

    with pytest.raises(RuntimeUnavailable, match=r"pip.* failed: ERROR: .*no-such-package"):
        prepare(_runtime("no-such-package==1.0"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_heavy_runtime_gives_keras_answers_from_an_environment_of_its_own(
    trained, tmp_path: Path
) -> None:
    """OpenVINO, from nothing to `ok`, for a model of each kind; not imported here."""
    zoo = Path(sys.executable).with_name("zoo")
    models = ["dense_iris", "cnn_digits", "lstm_sunspots"]
    options = ["--runtimes", "openvino", "--compat", tmp_path, "--repository", trained.repository]
    done = subprocess.run(
        [str(part) for part in (zoo, "verify", *models, *options)],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    if "openvino: skipped: python -m pip failed" in done.stderr:
        pytest.skip(done.stderr.strip())

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("ok ") == 4  # the LSTM in both of its variants
    assert (tmp_path / "openvino-2026.4.1" / STAMP_FILE).is_file()
