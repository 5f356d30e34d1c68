"""A Prefect server, its deployments and a worker on one machine: `python -m deploy.stack up|down|status`."""

import argparse
import os
import socket
import sys
from contextlib import suppress
from datetime import UTC, datetime

from deploy import processes
from deploy.deploying import PREFECT, RUNS_AT_ONCE, say, tell
from deploy.errors import StackError
from deploy.place import HOST, ROOT, Place, find_place
from deploy.processes import Process
from deploy.server import POOL, Server, wait_until

NIGHTLY = "build-nightly"
START_SECONDS = 180
PATIENCE = 30  # seconds that a process which was asked to end may take


def up(place: Place) -> None:
    """Bring up what is not up yet, from nothing or from whatever is left. StackError."""
    with place.at_work():
        running = processes.recall(place.pid_file("server"))
        check_port(place, running)
        place.prepare()
        server = Server(place.api, place.secret)
        raise_server(place, server, running)
        tell(server, place.environment())
        raise_worker(place, server)
    tell_what_next(place, server)


def tell_what_next(place: Place, server: Server) -> None:
    say(f"The Prefect UI: {place.page}")
    say(f"It asks for an auth string, which is the one line of {shown(place, 'auth')}")
    say(f"For Prefect's commands in a shell: . {shown(place, 'env')}")
    say(f"A build now: .venv/bin/prefect deployment run build_lake/{NIGHTLY}")
    for deployment in server.deployments():
        for schedule in deployment.schedules:
            if deployment.name == NIGHTLY and not schedule.active:
                say(f"Every night: .venv/bin/prefect deployment schedule resume build_lake/{NIGHTLY} {schedule.id}")
    say(f"Paths such as ./lake are in {ROOT}; logs are in {place.state}; make down ends it all")


def check_port(place: Place, running: Process | None) -> None:
    """StackError when the port is another's, or another than that of the server which is running."""
    if running:
        if place.port != place.last_port:
            raise StackError(f"The server is up on port {place.last_port}; make down first to have it on {place.port}.")
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, place.port))
        except OSError as error:
            raise StackError(
                f"Port {place.port} of {HOST} is taken by something else; end that, or choose another port: "
                f"INTERLAKE_PREFECT_PORT={place.port + 1} make up"
            ) from error


def raise_server(place: Place, server: Server, running: Process | None) -> None:
    if running is None:
        command = (*PREFECT, "server", "start", "--host", HOST, "--port", str(place.port))
        running = processes.start(
            command, folder=place.state, environment=place.server_environment(), log=place.log("server")
        )
        processes.remember(place.pid_file("server"), running)
    process = running
    wait_until(
        server.is_healthy,
        seconds=START_SECONDS,
        alive=lambda: processes.is_running(process),
        otherwise=f"The Prefect server does not answer on {place.page}; its log says why: {place.log('server')}",
    )
    say("server: up")


def raise_worker(place: Place, server: Server) -> None:
    running = processes.recall(place.pid_file("worker"))
    since = datetime.min.replace(tzinfo=UTC)
    if running is None:
        since = datetime.now(UTC)
        command = (*PREFECT, "worker", "start", "--pool", POOL, "--name", POOL, "--limit", str(RUNS_AT_ONCE))
        running = processes.start(
            (*command, "--install-policy", "never"),
            folder=ROOT,
            environment=place.worker_environment(),
            log=place.log("worker"),
        )
        processes.remember(place.pid_file("worker"), running)
    process = running
    wait_until(
        lambda: any(seen.last_heartbeat_time and seen.last_heartbeat_time >= since for seen in server.workers()),
        seconds=START_SECONDS,
        alive=lambda: processes.is_running(process),
        otherwise=f"The worker does not reach the server; its log says why: {place.log('worker')}",
    )
    say("worker: up")


def down(place: Place) -> None:
    """End the worker and its runs, then the server, and nothing else. StackError."""
    if not place.state.exists():
        say("Nothing is up.")
        return
    with place.at_work():
        server = processes.recall(place.pid_file("server"))
        ours = processes.marked(place.mark) if place.mark else []
        # While the server is there, an interrupted run can still say so.
        processes.end([each for each in ours if each != server], patience=PATIENCE)
        processes.end([server] if server else [], patience=PATIENCE)
        left = processes.marked(place.mark) if place.mark else []
        processes.end(left, patience=PATIENCE)
        for part in ("server", "worker"):
            place.pid_file(part).unlink(missing_ok=True)
    ended = len({*ours, *left})
    say(f"{ended} processes ended; what the server knows stays in {place.state}" if ended else "Nothing is up.")


def status(place: Place) -> bool:
    """Say what is up; whether all of it is."""
    server, worker = (processes.recall(place.pid_file(part)) for part in ("server", "worker"))
    healthy = False
    if server:
        with suppress(FileNotFoundError):
            healthy = Server(place.api, place.secret).is_healthy()
    say(f"server: {f'up on {place.page}' if healthy else 'does not answer' if server else 'down'}")
    say(f"worker: {'up' if worker else 'down'}")
    return healthy and worker is not None


def shown(place: Place, name: str) -> str:
    """A file of the state folder as a person would name it in the repository's root."""
    file = place.state / name
    return str(file.relative_to(ROOT) if file.is_relative_to(ROOT) else file)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m deploy.stack", description=__doc__)
    parser.add_argument("what", choices=["up", "down", "status"])
    what = parser.parse_args().what
    try:
        place = find_place(os.environ)
        if what == "up":
            up(place)
        elif what == "down":
            down(place)
        elif not status(place):
            sys.exit(1)
    except StackError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
