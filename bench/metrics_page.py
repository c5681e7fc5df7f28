"""What a scrape of a replica's metrics holds and costs: python -m bench.metrics_page.

python -m bench.metrics_page --models 1 100      seconds; prints series, bytes and CPU time of a scrape
"""

import argparse
import os
import tempfile
import urllib.request
from pathlib import Path

from bench.many_models import write_models
from bench.process import ServerProcess, stop_servers_on_sigterm
from bench.servers import ZOO, free_port

#: Scrapes whose time is measured; the time of a process is counted in ticks of 10 ms.
_SCRAPES = 200


def page(port: int) -> bytes:
    """Return the page; OSError if there is none yet."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        content: bytes = answer.read()
        return content


def answers(port: int) -> bool:
    try:
        return b"nv_" in page(port)
    except OSError:
        return False


def measure(models: int, place: Path) -> str:
    """Serve so many tiny models; return a line of figures."""
    port = free_port()
    write_models(place / "models", models)
    command = [str(ZOO), "serve", str(place / "models"), "--grpc-port", "0", "--http-port", "off"]
    process = ServerProcess(
        [*command, "--metrics-port", str(port)],
        f"0-{(os.cpu_count() or 1) - 1}",
        {},
        place / "log.txt",
    )
    try:
        process.wait_until(lambda: answers(port), 120)
        content, before = page(port), process.cpu_seconds()
        for _ in range(_SCRAPES):
            page(port)
        seconds = process.cpu_seconds() - before
    finally:
        process.stop()
    series = sum(line[:1] not in (b"", b"#") for line in content.splitlines())
    return f"{models} models: {series} series, {len(content)} bytes, {1000 * seconds / _SCRAPES:.1f} ms of CPU"


def main() -> None:
    """Measure and print."""
    stop_servers_on_sigterm()
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", type=int, nargs="+", default=[1, 100], metavar="N")
    for models in parser.parse_args().models:
        with tempfile.TemporaryDirectory(prefix="zoo-metrics-page-") as place:
            print(measure(models, Path(place)))


if __name__ == "__main__":
    main()
