"""Smaller variants of real models: measured, published where they win, served, refused by figures."""

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton

from zoo.files import sha256
from zoo.parity.runtimes import OnnxRuntime
from zoo.publish.versions import last_variants, read_manifest
from zoo.recipes.registry import Registry
from zoo.training.metrics import metric_value
from zoo.training.runs import RunFolder
from zoo_server.repository import layout

ZOO = Path(sys.executable).with_name("zoo")
GRAPHS = Path(__file__).with_name("graphs.py")


# -- the zoo's own models --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def smaller(zoo, trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository to which `--quantize auto` published two models again."""
    repository = tmp_path_factory.mktemp("smaller") / "models"
    shutil.copytree(trained.repository, repository)
    folders = ("--repository", repository, "--runs", trained.runs)
    done = zoo("export", "cnn_digits10", "lstm_sunspots", "--quantize", "auto", *folders)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    (repository / "printed.txt").write_text(done.stdout)
    return repository


def test_a_model_with_smaller_variant_is_a_new_version(smaller: Path) -> None:
    """The files stand beside the first, whose bytes are the same; the manifest has the figures."""
    version = smaller / "cnn_digits10/2"
    manifest = read_manifest(smaller, "cnn_digits10", 2)
    assert manifest is not None
    records = {f["file"]: f for f in manifest.values["variants"]}
    int8, fp16 = records["model.int8.onnx"], records["model.fp16.onnx"]

    assert manifest.is_intact
    assert (version / "model.onnx").read_bytes() == (
        smaller / "cnn_digits10/1/model.onnx"
    ).read_bytes()
    for record in (int8, fp16):
        assert record["sha256"] == sha256(version / record["file"])
        assert record["exact"] is False
        assert record["quantized"]["metric"]["name"] == "accuracy"
        assert record["quantized"]["metric"]["rows"] == manifest.values["data"]["rows"]["test"]
        assert record["quantized"]["metric"]["loss"] <= 0.5
    assert int8["quantized"]["calibration"] == {
        "method": "minmax",
        "source": "training split",
        "rows": 256,
        "batch": 16,
        "seed": Registry.default().get("cnn_digits10").seed,
    }
    assert int8["quantized"]["bytes"]["ratio"] < 0.4
    assert manifest.values["options"]["quantize"] == "auto"


def test_the_figures_are_true(trained, smaller: Path) -> None:
    """The metric of the file on disk, on the whole held-out split, is what the manifest says."""
    recipe = Registry.default().get("cnn_digits10")
    held_out = RunFolder(trained.runs, recipe.name).held_out()
    manifest = read_manifest(smaller, recipe.name, 2)
    assert manifest is not None
    answers = {}
    for file in ("model.onnx", "model.int8.onnx"):
        session = OnnxRuntime().load(manifest.folder / file)
        answers[file] = session({recipe.input_name: held_out.x})[recipe.output_name]
    (int8,) = [f["quantized"] for f in manifest.values["variants"] if "int8" in f["file"]]
    before, after = answers["model.onnx"], answers["model.int8.onnx"]

    assert int8["metric"]["fp32"] == metric_value(recipe, held_out, before)
    assert int8["metric"]["value"] == metric_value(recipe, held_out, after)
    assert int8["max_abs"] == pytest.approx(np.abs(before - after).max(), rel=1e-3)
    assert int8["flips"] == np.count_nonzero(before.argmax(axis=-1) != after.argmax(axis=-1))


def test_where_nothing_wins_nothing_is_added(smaller: Path) -> None:
    """An LSTM's Dense layer in 8 bits is larger: no version, and the reason is said."""
    assert layout.version_numbers(smaller / "lstm_sunspots") == [1]
    printed = (smaller / "printed.txt").read_text()

    assert re.search(r"^lstm_sunspots +int8 .*not published: ", printed, re.MULTILINE)
    assert re.search(r"^cnn_digits10 +int8 .* published$", printed, re.MULTILINE)
    (int8, *_) = [f for f in last_variants(smaller, "lstm_sunspots") if "int8" in f["file"]]
    assert int8["quantized"]["bytes"]["ratio"] > 1.1


def test_the_card_shows_the_figures(smaller: Path) -> None:
    """A table of its own, with how it was measured; differences from fp32 are meant."""
    card = (smaller / "cnn_digits10/2/README.md").read_text()

    assert "## Smaller variants" in card
    assert re.search(r"\| int8 \| accuracy \| .* \| published \|", card)
    assert "Ranges for int8 come from 256 rows of the training split" in card
    assert "`model.fp16.onnx`" in card


def test_a_second_run_is_up_to_date_and_repeats_the_figures(zoo, trained, smaller: Path) -> None:
    """For the same wish; another wish is another export."""
    folders = ("--repository", smaller, "--runs", trained.runs)
    again = zoo("export", "lstm_sunspots", "cnn_digits10", "--quantize", "auto", *folders)
    exported = zoo("export", "lstm_sunspots", "--json", *folders)

    assert again.stdout.count("up to date") == 2
    assert len(re.findall(r"^lstm_sunspots +(?:int8|fp16|w8|w4) ", again.stdout, re.MULTILINE)) == 4
    assert json.loads(exported.stdout)[0]["exported_now"] is True


def test_verify_is_content_with_a_smaller_variant(zoo, smaller: Path) -> None:
    """It is not meant to equal Keras: its checksum is checked, and damage to it noticed."""
    done = zoo("verify", "cnn_digits10", "--repository", smaller)
    assert done.returncode == 0, done.stdout + done.stderr

    copy = smaller.parent / "damaged"
    shutil.copytree(smaller, copy)
    (copy / "cnn_digits10/2/model.int8.onnx").write_bytes(b"")
    done = zoo("verify", "cnn_digits10", "--repository", copy)
    assert done.returncode == 1
    assert "missing or is not what was published" in done.stdout


def test_a_variant_asked_for_by_name_is_refused_with_its_figures(
    zoo, trained, tmp_path: Path
) -> None:
    """Exit status 1, one line, nothing published; a larger --max-loss publishes it."""
    folders = ("--repository", tmp_path / "models", "--runs", trained.runs)
    done = zoo("export", "lstm_sunspots_sequence", "--quantize", "int8", "--max-loss", 0, *folders)

    assert done.returncode == 1
    assert re.search(
        r"lstm_sunspots_sequence: not published: int8: mean absolute error grows by [\d.]+ %, and "
        r"0 % are allowed \(.* × the bytes\): --max-loss [\d.]+ allows it",
        done.stderr,
    )
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "models/lstm_sunspots_sequence").exists()

    (allowed,) = re.findall(r"--max-loss ([\d.]+) allows", done.stderr)
    name = "lstm_sunspots_sequence"
    done = zoo("export", name, "--quantize", "int8", "--max-loss", allowed, *folders)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "models/lstm_sunspots_sequence/1/model.int8.onnx").is_file()
    assert not (tmp_path / "models/lstm_sunspots_sequence/1/model.fp16.onnx").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("--max-loss", "1"),
            "--max-loss says what a smaller variant may lose: give --quantize too",
        ),
        (("--quantize", "int4"), "invalid choice: 'int4'"),
        (("--quantize", "auto", "--max-loss", "-1"), "--max-loss -1: must be a number"),
        (("--quantize", "auto", "--max-loss", "nan"), "--max-loss nan: must be a number"),
    ],
)
def test_a_wish_that_makes_no_sense_is_bad_usage(
    zoo, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    """Exit status 2, and nothing is trained for it."""
    done = zoo("export", "dense_iris", *arguments, cwd=tmp_path)

    assert done.returncode == 2
    assert words in done.stderr
    assert list(tmp_path.iterdir()) == []


#: Runs a command where files may not grow beyond 20 kB, with a temporary folder of its own. Python itself
#: would leave its bytecode cut off, and run it the next time.
ON_A_FULL_DISK = """
import resource, sys, tempfile
from zoo.cli import main
tempfile.tempdir, sys.dont_write_bytecode = sys.argv.pop(1), True
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
sys.exit(main(sys.argv[1:]))
"""


def test_a_disk_that_is_full_is_said_and_loses_nothing(python, trained, tmp_path: Path) -> None:
    """One line, and nothing in the repository or the temporary folder."""
    temporary, models = tmp_path / "temporary", tmp_path / "models"
    temporary.mkdir()
    folders = ("--runs", str(trained.runs), "--repository", str(models))
    command = ("export", "cnn_digits_bn", "--quantize", "int8", *folders)
    done = python("-c", ON_A_FULL_DISK, temporary, *command)

    assert done.returncode == 1
    # The first file that does not fit is the model itself, in a folder that no reader sees.
    last = done.stderr.splitlines()[-1]
    assert last == f"zoo: cnn_digits_bn: {models}: File too large: nothing was written"
    assert "Traceback" not in done.stderr
    assert list(temporary.iterdir()) == []
    assert [path.name for path in models.iterdir() if not path.name.startswith(".")] == []
    assert list(models.rglob("*.onnx")) == []


def test_the_server_serves_the_variant_that_the_configuration_names(
    trained, smaller: Path, tmp_path: Path, serving
) -> None:
    """`default_model_filename: "model.int8.onnx"`: its answers, to the bit, and no others.

    The self-test leaves it alone, since it is not meant to answer as Keras does.
    """
    shutil.copytree(smaller / "cnn_digits10", tmp_path / "models/cnn_digits10")
    config = tmp_path / "models/cnn_digits10/config.pbtxt"
    config.write_text(config.read_text() + 'default_model_filename: "model.int8.onnx"\n')
    feeds, keras = trained.keras("cnn_digits10")
    ((name, rows),) = feeds.items()
    expected = {
        file: OnnxRuntime().load(tmp_path / "models/cnn_digits10/2" / file)(feeds)["probabilities"]
        for file in ("model.onnx", "model.int8.onnx")
    }
    with serving(tmp_path / "models", "--self-test") as port:
        client = triton.InferenceServerClient(f"127.0.0.1:{port}")
        tensor = triton.InferInput(name, list(rows.shape), "FP32")
        tensor.set_data_from_numpy(rows)
        answer = client.infer("cnn_digits10", [tensor]).as_numpy("probabilities")
        client.close()

    assert np.array_equal(answer, expected["model.int8.onnx"])
    assert not np.array_equal(answer, expected["model.onnx"])
    assert np.mean(answer.argmax(axis=-1) == keras["probabilities"].argmax(axis=-1)) > 0.95


# -- a file of one's own ---------------------------------------------------------------------------

SAVE = """
import sys, keras
keras.utils.set_random_seed(4)
layers = [keras.Input((6, 6, 2), name="image"), keras.layers.Conv2D(24, 3, activation="relu"),
          keras.layers.Conv2D(48, 3, activation="relu"), keras.layers.GlobalAveragePooling2D(),
          keras.layers.Dense(5, name="scores")]
keras.Sequential(layers).save(sys.argv[1])
"""


@pytest.fixture(scope="module")
def own(python, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with mine.keras, many.npz and few.npz."""
    folder = tmp_path_factory.mktemp("own")
    path = folder / "mine.keras"
    python("-c", SAVE, path).check_returncode()
    random = np.random.default_rng(4)
    for name, count in (("many", 128), ("few", 20)):
        np.savez(folder / f"{name}.npz", image=random.normal(size=(count, 6, 6, 2)))
    return folder


def test_a_file_of_ones_own_is_judged_on_its_samples(zoo, own: Path, tmp_path: Path) -> None:
    """Without labels by the distance from fp32's answers, on rows that gave no ranges."""
    out = tmp_path / "out.onnx"
    done = zoo(
        "export", own / "mine.keras", "-o", out, "--samples", own / "many.npz",
        "--quantize", "auto", "--max-loss", 5, "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    smaller = [variant["quantized"] for variant in json.loads(done.stdout)["smaller"]]
    int8, fp16, *_ = smaller
    kinds = {p.name for p in tmp_path.iterdir()}

    assert int8["metric"]["name"] == "distance from fp32's answers"
    assert int8["calibration"]["source"] == "samples"
    assert (int8["metric"]["rows"], int8["calibration"]["rows"]) == (64, 64)
    assert fp16["published"]
    assert fp16["metric"]["loss"] < 0.5
    published = [f"out.{record['kind']}.onnx" for record in smaller if record["published"]]
    assert kinds == {"out.onnx", *published}
    rows = {"image": np.load(own / "many.npz")["image"].astype(np.float32)}
    first, second = (
        OnnxRuntime().load(tmp_path / name)(rows)["scores"]
        for name in ("out.onnx", "out.fp16.onnx")
    )
    assert np.abs(first - second).max() < 0.01 * np.abs(first).max()


def test_a_file_of_ones_own_is_published_with_its_variants(zoo, own: Path, tmp_path: Path) -> None:
    """Beside model.onnx in the version folder, with the figures in its manifest."""
    done = zoo(
        "export", own / "mine.keras", "--repository", tmp_path / "models",
        "--samples", own / "many.npz", "--quantize", "fp16",
    )  # fmt: skip
    version = tmp_path / "models/mine/1"

    assert done.returncode == 0, done.stderr
    assert (version / "model.fp16.onnx").is_file()
    (variant,) = json.loads((version / "manifest.json").read_text())["variants"]
    assert variant["sha256"] == sha256(version / "model.fp16.onnx")
    assert re.search(r"^mine +fp16 .* published$", done.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("samples", "status", "words"),
    [
        (None, 2, "--quantize wants rows of your own data (--samples F.npz)"),
        ("few.npz", 2, "--quantize wants 32 rows of --samples or more"),
        pytest.param(
            "many.npz", 1, "int8: distance from fp32's answers is ", marks=pytest.mark.slow
        ),
    ],
)
def test_what_the_samples_cannot_show_is_refused(
    zoo, own: Path, tmp_path: Path, samples: str | None, status: int, words: str
) -> None:
    """In one line; nothing is written."""
    rows = ("--samples", own / samples) if samples else ()
    done = zoo(
        "export", own / "mine.keras", "-o", tmp_path / "out.onnx", *rows,
        "--quantize", "int8", "--max-loss", 0,
    )  # fmt: skip

    assert done.returncode == status
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
