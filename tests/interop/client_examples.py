"""Run the Python examples of Triton's client repository, unmodified, against `zoo serve`.

    python tests/interop/client_examples.py CHECKOUT [NAME...]     (or: make examples CLIENT=CHECKOUT)

CHECKOUT is a copy of github.com/triton-inference-server/client; NAME picks examples by a part of their
file name. An example passes if it ends with status 0 and, where its source has a line that prints PASS,
has printed that. Prints a table; the exit status is 1 if one fails, 2 if there is no such checkout.
"""

import argparse
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import example_models
import trustme

FOLDER = Path("src", "python", "examples")
SECONDS = 120
#: What memory_growth_test.py has written into it.
FIXED_PORTS = (8001, 8000)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a server listens."""

    grpc: str
    http: str


@dataclass(frozen=True, slots=True)
class Example:
    """One run of a file: `{grpc}`, `{http}`, `{image}`, `{text}` and `{certificates}` stand in its arguments."""

    file: str
    arguments: str
    #: The server it needs: one of SERVERS.
    server: str = "all"
    #: Why it is not run; empty for those that are.
    skip: str = ""

    def __str__(self) -> str:
        more = re.sub(
            r"(-u )?\{(grpc|http)\}|\{image\}|\{text\}|\{certificates\}/", "", self.arguments
        )
        return " ".join([self.file, *more.split()])


_TLS = "-u {grpc} -s -r {certificates}/ca.pem"
_MTLS = f"{_TLS} -p {{certificates}}/client.key -x {{certificates}}/client.pem"
_HTTPS = "-u {http} -s --ca-certs {certificates}/ca.pem"
_IMAGE = "-m densenet_onnx -c 3"

EXAMPLES = (
    *(
        Example(f"{name}.py", "-u {grpc}")
        for name in (
            "simple_grpc_infer_client",
            "simple_grpc_async_infer_client",
            "simple_grpc_aio_infer_client",
            "simple_grpc_keepalive_client",
            "simple_grpc_custom_args_client",
            "simple_grpc_string_infer_client",
            "simple_grpc_health_metadata",
            "simple_grpc_sequence_stream_infer_client",
            "simple_grpc_sequence_sync_infer_client",
            "simple_grpc_aio_sequence_stream_infer_client",
            "simple_grpc_shm_client",
            "simple_grpc_shm_string_client",
            "grpc_explicit_int_content_client",
            "grpc_explicit_int8_content_client",
            "grpc_explicit_byte_content_client",
            "grpc_client",
        )
    ),
    Example("simple_grpc_infer_client.py", "-u {grpc} -C gzip"),
    Example("simple_grpc_infer_client.py", "-u {grpc} -C deflate"),
    Example("simple_grpc_infer_client.py", _TLS, "TLS"),
    Example("simple_grpc_infer_client.py", _MTLS, "mutual TLS"),
    Example("simple_grpc_sequence_stream_infer_client.py", "-u {grpc} -d -o 10"),
    Example("simple_grpc_sequence_sync_infer_client.py", "-u {grpc} -d -o 20"),
    Example("simple_grpc_aio_sequence_stream_infer_client.py", "-u {grpc} -d -o 30"),
    Example("simple_grpc_model_control.py", "-u {grpc}", "gRPC's eight models"),
    Example("reuse_infer_objects_client.py", "-i gRPC -u {grpc}"),
    Example("memory_growth_test.py", "-i gRPC", "fixed ports"),
    Example("grpc_image_client.py", f"-u {{grpc}} {_IMAGE} {{image}}"),
    Example("grpc_image_client.py", f"-u {{grpc}} {_IMAGE} -s INCEPTION --streaming {{image}}"),
    Example("image_client.py", f"-i gRPC -u {{grpc}} {_IMAGE} {{image}}"),
    Example("image_client.py", f"-i gRPC -u {{grpc}} {_IMAGE} --streaming {{image}}"),
    Example("image_client.py", f"-i gRPC -u {{grpc}} {_IMAGE} -a {{image}}"),
    *(
        Example(f"{name}.py", "-u {http}")
        for name in (
            "simple_http_infer_client",
            "simple_http_async_infer_client",
            "simple_http_aio_infer_client",
            "simple_http_string_infer_client",
            "simple_http_health_metadata",
            "simple_http_sequence_sync_infer_client",
            "simple_http_shm_client",
            "simple_http_shm_string_client",
        )
    ),
    Example(
        "simple_http_infer_client.py",
        "-u {http} --request-compression-algorithm gzip --response-compression-algorithm deflate",
    ),
    Example("simple_http_infer_client.py", _HTTPS, "TLS"),
    Example("simple_http_aio_infer_client.py", _HTTPS, "TLS"),
    Example("simple_http_sequence_sync_infer_client.py", "-u {http} -d -o 40"),
    Example("simple_http_model_control.py", "-u {http}", "HTTP's seven models"),
    Example("reuse_infer_objects_client.py", "-i HTTP -u {http}"),
    Example("memory_growth_test.py", "-i HTTP", "fixed ports"),
    Example("image_client.py", f"-i HTTP -u {{http}} {_IMAGE} {{image}}"),
    Example("image_client.py", f"-i HTTP -u {{http}} {_IMAGE} -a {{image}}"),
    Example("simple_grpc_cudashm_client.py", "", skip="needs a GPU shared with the server"),
    Example("simple_http_cudashm_client.py", "", skip="needs a GPU shared with the server"),
    Example("simple_grpc_custom_repeat.py", "", skip="decoupled: an ONNX graph answers once"),
    Example("ensemble_image_client.py", "-i gRPC -u {grpc} -c 2 {text}"),
    Example("ensemble_image_client.py", "-i HTTP -u {http} {text}"),
)

#: Options beyond the common ones, and the models in the repository (None for all).
SERVERS: dict[str, tuple[tuple[str, ...], tuple[str, ...] | None]] = {
    "all": ((), None),
    "TLS": (("--tls-certificate", "{certificates}/server.pem", "--tls-key", "{certificates}/server.key"), None),
    "mutual TLS": (
        ("--tls-certificate", "{certificates}/server.pem", "--tls-key", "{certificates}/server.key",
         "--tls-client-ca", "{certificates}/ca.pem"), None,
    ),
    "gRPC's eight models": ((), example_models.COUNTED_BY_GRPC),
    "HTTP's seven models": ((), example_models.COUNTED_BY_HTTP),
    "fixed ports": ((), None),
}  # fmt: skip


def write_certificates(folder: Path) -> None:
    """Write an authority's certificate, and one each with its key for server and client."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    for name, identity in (("server", "127.0.0.1"), ("client", "client")):
        leaf = authority.issue_cert(identity)
        chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
        (folder / f"{name}.pem").write_bytes(chain)
        leaf.private_key_pem.write_to_path(folder / f"{name}.key")


def write_image(file: Path) -> None:
    """Write a picture: one colour in each quarter."""
    from PIL import Image

    picture = Image.new("RGB", (64, 64), "navy")
    for corner, colour in (((0, 0), "orange"), ((32, 0), "teal"), ((0, 32), "white")):
        picture.paste(Image.new("RGB", (32, 32), colour), corner)
    picture.save(file)


def write_text_picture(file: Path) -> None:
    """Write a picture of one colour as text, as the model `preprocess` takes it."""
    pixels = [" 20 200 90"] * example_models.TEXT_SIDE**2
    file.write_text(example_models.TEXT_HEAD + "".join(pixels) + "\n")


@contextmanager
def served(kind: str, work: Path) -> Iterator[Addresses]:
    """Run `zoo serve` as one kind of example needs it."""
    options, names = SERVERS[kind]
    repository = work / kind.replace(" ", "_")
    example_models.write(repository, names)
    ports = FIXED_PORTS if kind == "fixed ports" else (0, 0)
    command = [
        str(Path(sys.executable).with_name("zoo")), "serve", str(repository),
        "--grpc-port", str(ports[0]), "--http-port", str(ports[1]), "--metrics-port", "off",
        "--server-name", "triton", "--model-control-mode", "explicit", "--load-model", "*",
        "--allow-shared-memory", *(text.format(certificates=work) for text in options),
    ]  # fmt: skip
    log = work / f"{repository.name}.log"
    with log.open("w") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT)
    try:
        yield _addresses(process, log)
    finally:
        process.terminate()
        process.wait(60)


def _addresses(process: "subprocess.Popen[bytes]", log: Path) -> Addresses:
    """Wait for the log's line that says where it listens; SystemExit if it ends before."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and process.poll() is None:
        text = log.read_text()
        grpc = re.search(r"ready: gRPC on (\S+?),", text)
        http = re.search(r"HTTP on (\S+?),", text)
        if grpc and http:
            return Addresses(grpc.group(1), http.group(1))
        time.sleep(0.05)
    raise SystemExit(f"the server did not start:\n{log.read_text()}")


def run(example: Example, folder: Path, addresses: Addresses, work: Path) -> tuple[bool, str]:
    """Run one example; return whether it passed, and the last line it printed."""
    arguments = example.arguments.format(
        grpc=addresses.grpc,
        http=addresses.http,
        certificates=work,
        image=work / "picture.png",
        text=work / "picture.ppm",
    )
    wants_pass = bool(re.search(r"""print\(["']PASS""", (folder / example.file).read_text()))
    try:
        done = subprocess.run(
            [sys.executable, str(folder / example.file), *arguments.split()],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=work,
            timeout=SECONDS,
            check=False,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )
    except subprocess.TimeoutExpired:
        return False, f"no end after {SECONDS} s"
    lines = done.stdout.strip().splitlines() or [""]
    said = next((line for line in lines if line.startswith("PASS")), "")
    passed = done.returncode == 0 and (bool(said) or not wants_pass)
    return passed, (said or "status 0") if passed else f"status {done.returncode}: {lines[-1]}"


def why_not(example: Example, folder: Path) -> str:
    """Return why an example cannot be run here, or nothing."""
    if example.skip:
        return example.skip
    if not (folder / example.file).exists():
        return "not in this checkout"
    if example.server == "fixed ports":
        for port in FIXED_PORTS:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return f"it asks port {port}, which another program uses"
    return ""


def run_all(folder: Path, names: list[str], work: Path) -> list[tuple[str, Example, str]]:
    """Run the examples, server by server; print and return a row each."""
    write_certificates(work)
    write_image(work / "picture.png")
    write_text_picture(work / "picture.ppm")
    rows: list[tuple[str, Example, str]] = []

    def tell(verdict: str, example: Example, text: str) -> None:
        rows.append((verdict, example, text))
        print(f"{verdict:4}  {example!s:72}  {example.server:20}  {text[:160]}", flush=True)

    chosen = [one for one in EXAMPLES if not names or any(name in one.file for name in names)]
    for kind in SERVERS:
        todo = []
        for example in (one for one in chosen if one.server == kind):
            reason = why_not(example, folder)
            if reason:
                tell("skip", example, reason)
            else:
                todo.append(example)
        if not todo:
            continue
        with served(kind, work) as addresses:
            for example in todo:
                passed, text = run(example, folder, addresses, work)
                tell("PASS" if passed else "FAIL", example, text)
    known = {example.file for example in EXAMPLES}
    for path in sorted(folder.glob("*.py")):
        if path.name not in known and not names:
            tell("skip", Example(path.name, ""), "not known to tests/interop/client_examples.py")
    return rows


def main() -> int:
    """Run what the command line asks for."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # through `finally`
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("checkout", type=Path)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    folder = options.checkout.resolve() / FOLDER
    if not folder.is_dir():
        print(f"{folder} is not there: give a checkout of triton-inference-server/client")
        return 2
    with tempfile.TemporaryDirectory(prefix="examples-") as work:
        rows = run_all(folder, options.names, Path(work))
    counts = {
        verdict: sum(row[0] == verdict for row in rows) for verdict in ("PASS", "FAIL", "skip")
    }
    print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    return 1 if counts["FAIL"] or not counts["PASS"] else 0


if __name__ == "__main__":
    sys.exit(main())
