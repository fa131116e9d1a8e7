"""The same server on a cluster: Ray Serve starts its replicas, spreads requests over them, and replaces them.

Knows Ray Serve's applications. Does not know requests.

What is asked of all replicas is an order, the application's `user_config`; a replica that is started later gets it too.
"""

import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from garbage_cli import __version__
from garbage_cli.bundle import ModelBundle
from garbage_cli.errors import ClusterError, ServerError
from garbage_cli.server.foreground import Foreground
from garbage_cli.server.onray.doorway import IMPORT_PATH, VARIABLE
from garbage_cli.server.onray.keeper import Keeper, reason, said
from garbage_cli.server.onray.probe import answers
from garbage_cli.server.onray.replica import APPLICATION, Replica, State, cores_of, order
from garbage_cli.server.options import ServeOptions

LAST_CALL = 1.0
"""Seconds between the wish to stop and the end of the application: /readyz says 503 meanwhile."""
LOADING = 300.0
"""Seconds that replicas may take to load a model."""
_ALONE = 20.0
"""An application whose files nobody has looked after for so long was left behind by a command that was killed."""
_SPARE = 1024
"""Requests that a replica is sent beyond those it holds: it answers 503 itself, and reads slow bodies beside."""
_QUIET = {"log_level": "WARNING", "enable_access_log": False}

Tell = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to run: a model by some options, in so many replicas."""

    options: ServeOptions
    bundle: ModelBundle
    most: int | None = None
    """Replicas that there may be under load; None: always as many as workers."""


class Application:
    """One application on a cluster, from this process's side."""

    def __init__(
        self,
        ray: Any,
        wish: Wish,
        *,
        bind: Callable[[ServeOptions], int],
        renew: Callable[[ServeOptions], tuple[ServeOptions, ModelBundle]],
        tell: Tell,
    ) -> None:
        """`bind` says which port can be had, `renew` checks the model's folder anew."""
        from ray import serve

        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        self._ray, self._serve = ray, serve
        self._wish = wish
        self._bind, self._renew, self._tell = bind, renew, tell
        self._number, self._order = 0, ""
        self._began_serve = False
        self._files = Keeper(ray)
        self._free = 0.0
        """CPUs that nobody had before we came."""
        self._is_ready = False
        self._front = Foreground()

    def run(self, on_ready: Callable[[str, int], object]) -> None:
        """Serve until SIGTERM or Ctrl-C; raise KeyboardInterrupt after Ctrl-C, ClusterError if it can't be.

        `on_ready` gets the address at which the application answers.
        """
        with self._front.heeding():
            left = self._left_behind()
            try:
                self._open_port()
                if left:
                    self._tell("the application that a killed `garbage serve` has left on the cluster is taken over")
                    self._began_serve = len(self._serve.status().applications) == 1
                self._say_who_hears()
                self._files.hold(self._wish.bundle)
                self._deploy()
                self._await_replicas()
                where = self._await_answer()
                if self._front.stop is None:
                    self._is_ready = True
                    on_ready(*where)
                self._front.until_stopped(self._look_after)
            finally:
                self._end()

    # ---- starting

    def _left_behind(self) -> bool:
        """Whether an application of ours runs that nobody looks after; raise ClusterError if somebody does."""
        app = self._serve.status().applications.get(APPLICATION)
        if app is None or app.status in ("DELETING", "NOT_STARTED"):
            return False
        alone = self._files.seconds_alone()
        if alone is not None and alone < _ALONE:
            raise ClusterError(
                "another `garbage serve` runs on this cluster; stop it first (what one that was killed has left is "
                f"taken over after {_ALONE:g} s)"
            )
        return True

    def _say_who_hears(self) -> None:
        machines, host = len([each for each in self._ray.nodes() if each["Alive"]]), self._wish.options.host
        if machines > 1 and host in ("127.0.0.1", "localhost", "::1"):
            self._tell(
                f"each of the cluster's {machines} machines listens to itself only; --host 0.0.0.0 is for others"
            )

    def _open_port(self) -> None:
        """Have Ray Serve listen; where it does already, it must be where it is wanted."""
        from ray.serve.context import _get_global_client

        options = self._wish.options
        client = _get_global_client(raise_if_no_controller_running=False)
        if client is None:
            self._wish = replace(self._wish, options=replace(options, port=self._bind(options)))
            self._begin_serve()
            return
        host, port = client.http_config.host, client.http_config.port
        if (host, port) != (options.host, options.port or port):
            raise ClusterError(
                f"Ray Serve listens on {host} port {port} of this cluster already, for all its applications; "
                f"use --host {host} --port {port}, or end it with `serve shutdown`"
            )
        self._wish = replace(self._wish, options=replace(options, port=port))

    def _begin_serve(self) -> None:
        options = self._wish.options
        http: dict[str, Any] = {"host": options.host, "port": options.port, "keep_alive_timeout_s": 65}
        if options.certificate is not None:
            http["ssl_certfile"] = str(options.certificate)
            http["ssl_keyfile"] = str(options.private_key or options.certificate)
        try:
            try:
                self._start_serve(http, doorway=VARIABLE not in os.environ)  # whoever has one there, keeps it
            except self._ray.exceptions.RayError as error:
                if IMPORT_PATH not in str(error):
                    raise
                self._tell("a machine of the cluster has no garbage, or another; Ray Serve's proxy stays as Ray has it")
                self._serve.shutdown()
                self._start_serve(http, doorway=False)
        except (RuntimeError, TimeoutError, self._ray.exceptions.RayError) as error:
            self._began_serve = True
            raise ServerError(f"Ray Serve can't listen on {options.host} port {options.port}: {said(error)}") from None
        self._began_serve = True

    def _start_serve(self, http: dict[str, Any], *, doorway: bool) -> None:
        """Start the controller, which hands its environment on to the proxies of all machines, also of later ones."""
        variables = {"controller_options": {"runtime_env": {"env_vars": {VARIABLE: IMPORT_PATH}}}} if doorway else {}
        self._serve.start(proxy_location="EveryNode", http_options=http, logging_config=_QUIET, **variables)

    def _deploy(self) -> None:
        """Tell the cluster what is to run; it makes the difference."""
        if not self._number:
            self._free = self._ray.available_resources().get("CPU", 0.0)
        alone = self._number > 0 and self._count() == 1
        self._number += 1
        options, most = self._wish.options, self._wish.most
        cores = cores_of(options)
        scale: dict[str, Any] = {"num_replicas": options.workers}
        if most is not None:
            scale = {
                "autoscaling_config": {
                    "min_replicas": options.workers,
                    "max_replicas": most,
                    "target_ongoing_requests": cores + 1,  # as many as a replica answers at once
                    "upscale_delay_s": 5.0,
                    "downscale_delay_s": 120.0,
                    "look_back_period_s": 10.0,
                    "metrics_interval_s": 2.0,
                }
            }
        actor: dict[str, Any] = {"num_cpus": cores}
        if options.options.use_gpu:
            actor["num_gpus"] = 1
        deployment = self._serve.deployment(self._serve.ingress()(Replica)).options(
            name=APPLICATION,
            **scale,
            ray_actor_options=actor,
            user_config=order(options, self._files.digest, f"{self._number}-{time.time_ns()}", alone=alone),
            max_ongoing_requests=options.queue + _SPARE,
            max_constructor_retry_count=2,
            graceful_shutdown_wait_loop_s=0.2,
            graceful_shutdown_timeout_s=float(options.drain_seconds),
            health_check_period_s=5,
            health_check_timeout_s=30,
            logging_config=_QUIET,
            version=__version__,  # by Ray Serve's leave only; without, each update would replace all replicas
            _internal=True,
        )
        self._order = deployment.user_config["number"]
        target = self._serve.RunTarget(deployment.bind(), name=APPLICATION, route_prefix="/")
        try:
            self._serve.run_many([target], wait_for_applications_running=False)
        except (RuntimeError, ValueError, TimeoutError, self._ray.exceptions.RayError) as error:
            raise ClusterError(f"Ray Serve does not take the application: {said(error)}") from None

    def _await_replicas(self) -> None:
        until = time.monotonic() + LOADING
        while self._front.stop is None:
            app = self._serve.status().applications.get(APPLICATION)
            status = "NOT_STARTED" if app is None else app.status
            if status == "RUNNING":
                return
            told = "" if app is None else "\n".join([app.message, *(each.message for each in app.deployments.values())])
            if status in ("DEPLOY_FAILED", "UNHEALTHY"):
                raise ClusterError(f"no replica can start: {reason(told)}")
            if "to be scheduled" in told:
                raise ClusterError(self._no_room())
            if time.monotonic() > until:
                raise ClusterError(f"the replicas did not load the model within {LOADING:g} seconds: {reason(told)}")
            self._files.look_after()
            self._front.wait()

    def _no_room(self) -> str:
        options = self._wish.options
        total = self._ray.cluster_resources().get("CPU", 0.0)
        gpu = " and a GPU" if options.options.use_gpu else ""
        return (
            f"the cluster has no room for {options.workers} × {cores_of(options)} CPU{gpu}: of its {total:g} CPUs "
            f"{self._free:g} were free; use fewer --workers, or add machines"
        )

    def _await_answer(self) -> tuple[str, int]:
        """Wait until the application answers over HTTP; return at which address."""
        options = self._wish.options
        until = time.monotonic() + 30
        host = options.host
        while self._front.stop is None and time.monotonic() < until:
            host = self._host()
            if answers(host, options.port, tls=options.certificate is not None):
                return host, options.port
            self._front.wait()
        if self._front.stop is None:
            raise ServerError(f"Ray Serve does not answer on {host} port {options.port}; its logs say why")
        return host, options.port

    def _host(self) -> str:
        """Where a proxy listens: on this machine, if one does here."""
        here = self._ray.get_runtime_context().get_node_id()
        proxies = self._serve.status().proxies
        if here in proxies or not proxies:
            return self._wish.options.host
        return next(
            (str(node["NodeManagerAddress"]) for node in self._ray.nodes() if node["NodeID"] in proxies),
            self._wish.options.host,
        )

    # ---- looking after it

    def _look_after(self) -> None:
        self._files.look_after()
        if self._front.takes_reload():
            self._reload_all()

    def _reload_all(self) -> None:
        """Check the model's folder, and have each replica load it beside the old one."""
        before, held = self._wish, self._files.held
        try:
            options, bundle = self._renew(before.options)
            self._files.hold(bundle)
            self._wish = replace(before, options=options, bundle=bundle)
            self._deploy()
            failed, done = self._await_order()
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the new model, the old one answers
            failed, done = str(error) or type(error).__name__, 0
        if not failed:
            self._tell(f"reloaded {self._wish.options.model} in {done} worker{'' if done == 1 else 's'}")
            return
        self._tell(f"not reloaded, the model before goes on: {failed}")
        if self._wish is not before or self._files.held is not held:
            self._wish = before
            with suppress(ClusterError):
                self._files.hold_again(held)
                self._deploy()

    def _await_order(self) -> tuple[str, int]:
        """Wait until all replicas follow the last order; return why one can't, and how many do."""
        until = time.monotonic() + LOADING
        while self._front.stop is None and time.monotonic() < until:
            states = [each for each in self._broadcast("state") if isinstance(each, State)]
            failed = [each.failed for each in states if each.order == self._order and each.failed]
            if failed:
                return failed[0], 0
            if all(each.order == self._order for each in states) and len(states) == self._count():
                return "", len(states)
            self._files.look_after()
            time.sleep(0.2)
        return "the replicas did not say that they have loaded it", 0

    def _count(self) -> int:
        """How many replicas there are; -1 where that is not known. One that is loading is not asked meanwhile."""
        app = self._serve.status().applications.get(APPLICATION)
        deployment = None if app is None else app.deployments.get(APPLICATION)
        if deployment is None:
            return -1
        return sum(count for state, count in deployment.replica_states.items() if state != "STOPPING")

    def _broadcast(self, method: str) -> list[Any]:
        with suppress(Exception):
            handle = self._serve.get_deployment_handle(APPLICATION, app_name=APPLICATION)
            return list(handle.broadcast(method).results(timeout_s=5, return_exceptions=True))
        return []

    # ---- stopping

    def _end(self) -> None:
        """Have replicas finish what they accepted, and leave the cluster as it was; a second wish skips the waiting."""
        with suppress(Exception):
            if self._number:
                if self._is_ready:
                    self._broadcast("drain")
                    self._wait(LAST_CALL, lambda: False)
                self._serve.delete(APPLICATION, _blocking=False)
                patience = self._wish.options.drain_seconds + 10.0
                self._wait(patience, lambda: APPLICATION not in self._serve.status().applications)
        with suppress(Exception):
            if self._began_serve:
                self._serve.shutdown()
        with suppress(Exception):
            self._files.end()

    def _wait(self, seconds: float, done: Callable[[], bool]) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._front.hurry and not done():
            time.sleep(0.1)
