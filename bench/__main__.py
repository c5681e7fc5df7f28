"""python -m bench: start each server, drive all of them in turn, write medians and ratios."""

import argparse
import os
import re
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench import load, report
from bench.environments import ROOT, PeerUnavailable
from bench.process import stop_servers_on_sigterm
from bench.repository import prepare
from bench.run import Run, versions
from bench.scenarios import SCENARIOS, Setting
from bench.servers import SERVERS

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs/performance.md"

#: --quick: one repeat of short drives, to see that everything works; no figures to quote.
_QUICK = (1, 0.4)
_FULL = (5, 1.5)


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--repository", type=Path, default=Path("models"), help="published models")
    parser.add_argument("--only", default="", metavar="REGEX", help="servers whose name matches")
    parser.add_argument("--scenario", default="", metavar="REGEX", help="scenarios that match")
    parser.add_argument("--repeats", type=int, metavar="N", help=f"default: {_FULL[0]}")
    parser.add_argument(
        "--seconds", type=float, metavar="S", help=f"of each drive (default: {_FULL[1]})"
    )
    parser.add_argument("--quick", action="store_true", help="one short repeat, as a check")
    parser.add_argument("--output", type=Path, default=RESULTS, metavar="FOLDER")
    parser.add_argument(
        "--page", action="store_true", help="put the table into docs/performance.md, too"
    )
    parser.add_argument("--list", action="store_true", help="name servers and scenarios, and end")
    chosen = parser.parse_args()
    repeats, seconds = _QUICK if chosen.quick else _FULL
    chosen.repeats = repeats if chosen.repeats is None else chosen.repeats
    chosen.seconds = seconds if chosen.seconds is None else chosen.seconds
    if chosen.repeats < 1 or not 0.1 <= chosen.seconds <= 60:
        parser.error("--repeats must be 1 or more, and --seconds 0.1 to 60")
    return chosen


def main() -> int:
    """Measure; return the exit status."""
    chosen = options()
    if chosen.list:
        print("\n".join([*(server.name for server in SERVERS), ""]))
        print("\n".join(scenario.name for scenario in SCENARIOS))
        return 0
    try:
        if why := load.generator_missing():
            raise load.LoadError(why)
        server_core, load_core = load.split_cores()
        measure(chosen, server_core, load_core)
    except (load.LoadError, report.ReportError) as error:
        print(error, file=sys.stderr)
        return 1
    print((chosen.output / "serve.md").read_text(encoding="utf-8"))
    return 0


def measure(chosen: argparse.Namespace, server_core: int, load_core: int) -> None:
    """Run everything that was chosen, and write what was found after each repeat."""
    servers = [server for server in SERVERS if re.search(chosen.only, server.name)]
    scenarios = [scenario for scenario in SCENARIOS if re.search(chosen.scenario, scenario.name)]
    with ExitStack() as stack:
        stop_servers_on_sigterm()
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        repositories = prepare(ROOT / "models", chosen.repository)
        setting = Setting(
            work=work, seconds=chosen.seconds, server_core=server_core, repositories=repositories
        )
        run = Run(setting, chosen.repository)
        stack.callback(run.stop)
        for server in servers:
            try:
                if server.environment is not None:
                    server.environment.python()  # while installers may still use every core
            except PeerUnavailable:
                pass  # said when it is started
        facts = {**report.machine(), "peers": versions(servers)}
        # The plain clients, h2load and everything else of ours but the servers.
        os.sched_setaffinity(0, {load_core})
        for server in servers:
            run.start(server)
        for turn in range(chosen.repeats):
            print(f"repeat {turn + 1} of {chosen.repeats}", file=sys.stderr)
            for scenario in scenarios:
                run.measure(scenario, turn)
            if re.search(chosen.scenario, "start"):
                run.measure_starts(turn)
            save(chosen, run, facts)


def save(chosen: argparse.Namespace, run: Run, facts: dict[str, Any]) -> None:
    """Write the results so far: a run that is cut off keeps its whole repeats."""
    if not run.repeats:
        raise load.LoadError("nothing was measured")
    facts["load average at the end"] = report.load_average()
    report.write(chosen.output, run.repeats, run.skipped, facts)
    if chosen.page:
        report.into_page(PAGE, report.overview(report.medians(run.repeats), facts))


if __name__ == "__main__":
    sys.exit(main())
