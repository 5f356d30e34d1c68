"""Everything a Prefect server is told before a worker comes: the work pool, the deployments, the automation.

`python -m deploy.deploying` tells it to the server of PREFECT_API_URL, as in deploy/compose.yaml.
"""

import os
import subprocess
import sys
from collections.abc import Mapping

from deploy.errors import StackError
from deploy.place import ROOT
from deploy.server import POOL, Server

PREFECT = (sys.executable, "-m", "prefect")
RUNS_AT_ONCE = 2
COMMAND_SECONDS = 180


def tell(server: Server, environment: Mapping[str, str]) -> None:
    """Tell a server all of it; what it knows already stays, schedules switched as they are. StackError."""
    make_pool(server, environment)
    deploy(server, environment)
    server.watch_for_zombies()


def make_pool(server: Server, environment: Mapping[str, str]) -> None:
    if server.pool() is None:
        prefect(environment, "work-pool", "create", POOL, "--type", "process")
    pool = server.pool()
    if pool and pool.concurrency_limit is None:
        server.limit_pool(RUNS_AT_ONCE)
    say("work pool: there")


def deploy(server: Server, environment: Mapping[str, str]) -> None:
    """Deploy what the file says; schedules stay switched as somebody has switched them."""
    switched = server.switches()
    prefect(environment, "--no-prompt", "deploy", "--all", "--prefect-file", "deploy/prefect.yaml")
    server.switch(switched)
    on = sorted(f"{name} ({slug})" for (name, slug), active in server.switches().items() if active)
    say(f"deployments: there; schedules that are on: {', '.join(on) or 'none'}")


def prefect(environment: Mapping[str, str], *arguments: str) -> None:
    """Run Prefect's command in the repository's root. StackError with the end of what it said."""
    done = subprocess.run(
        [*PREFECT, *arguments],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    if done.returncode:
        said = (done.stdout + done.stderr).replace(environment["PREFECT_API_AUTH_STRING"], "***")[-1500:]
        raise StackError(f"prefect {' '.join(arguments)} ended with {done.returncode}:\n{said}")


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    try:
        tell(Server(os.environ["PREFECT_API_URL"], os.environ["PREFECT_API_AUTH_STRING"]), os.environ)
    except KeyError as error:
        sys.exit(f"{error.args[0]} is not set.")
    except StackError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
