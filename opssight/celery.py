"""The Celery app, and what `manage.py up` needs from a worker: a sign that it is ready, and a quick end."""

import logging
import os
import signal
import warnings
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from celery import Celery, bootsteps
from celery.exceptions import WorkerShutdown, WorkerTerminate
from celery.signals import (
    before_task_publish,
    task_postrun,
    task_prerun,
    worker_ready,
    worker_shutdown,
    worker_shutting_down,
)
from kombu.exceptions import OperationalError

from opssight.settings import env

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opssight.settings.prod")
# Celery's reason against root is pickle, which is not accepted here; messages are JSON and carry an id.
warnings.filterwarnings("ignore", "You're running the worker with superuser privileges")

app = Celery("opssight")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
# Celery's "current app" belongs to a thread; without a default, the web's other threads would find an empty one.
app.set_default()


REQUEST_ID = "opssight_request_id"  # the header of a message
_acting: dict[str, ExitStack] = {}  # by task id


@before_task_publish.connect
def _carry_request_id(headers: dict[str, Any], **kwargs: Any) -> None:
    from opssight.kernel.actor import current

    headers[REQUEST_ID] = current().request_id


@task_prerun.connect
def _act_as_system(task_id: str, task: Any, **kwargs: Any) -> None:
    """A task acts as OpsSight itself, under the id of the request that asked for it: its entries stand together."""
    from opssight.kernel.actor import Actor, acting

    _acting[task_id] = stack = ExitStack()
    stack.enter_context(acting(Actor(request_id=str(task.request.get(REQUEST_ID) or "")[:64])))


@task_postrun.connect
def _act_no_more(task_id: str, **kwargs: Any) -> None:
    _acting.pop(task_id, ExitStack()).close()


def _ready_file(worker: Any) -> Path:
    """`scans@host` says that it is ready in run/scans.ready; opssight/up.py waits for it."""
    return env.HOME / "run" / f"{worker.hostname.partition('@')[0]}.ready"


@worker_ready.connect
def _say_ready(sender: Any, **kwargs: Any) -> None:
    env.ensure_home()  # a worker may be the first to start on its machine
    _ready_file(sender).touch()


@worker_shutdown.connect
def _say_gone(sender: Any, **kwargs: Any) -> None:
    _ready_file(sender).unlink(missing_ok=True)


@worker_shutting_down.connect
def _leave_the_poll(how: str, exitcode: int, **kwargs: Any) -> None:
    """On the polled queue Celery sits out two polls of 2 s before it stops. What it may drop here is only a hint."""
    if not env.BROKER_URL:
        raise (WorkerShutdown if how == "Warm" else WorkerTerminate)(exitcode)


class Heartbeat(bootsteps.StartStopStep):
    """A row that says the worker lives, renewed from its main process: the pool may be busy for minutes."""

    requires = ("celery.worker.components:Timer",)
    every = 15.0  # seconds

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        self.timer: Any = None

    def start(self, parent: Any) -> None:
        if _forks(parent):
            from django.db import connection

            # psycopg's pool does not survive a fork: a child made later would close the main process's connections.
            connection.settings_dict["OPTIONS"].pop("pool", None)
        self._beat(parent)
        self.timer = parent.timer.call_repeatedly(self.every, self._beat, (parent,))

    def stop(self, parent: Any) -> None:
        if self.timer:
            self.timer.cancel()

    @staticmethod
    def _beat(worker: Any) -> None:
        from django.db import DatabaseError, close_old_connections

        from opssight.models import Heartbeat as Row

        close_old_connections()
        try:
            Row.beat(worker.hostname.partition("@")[0])
        except DatabaseError as error:  # a sign of life that can't be given must not end the worker
            logging.getLogger("opssight").warning("no heartbeat: %s", error)


class PoolWatch(bootsteps.StartStopStep):
    """Ends a worker whose child was killed; whoever started it starts it anew.

    On the queue of files the children share one pipe, whose lock dies with the child that waits on it. The worker would
    then take messages and do nothing, with every sign of life. Other brokers give each child a pipe of its own.
    """

    requires = ("celery.worker.components:Pool", "celery.worker.components:Timer")
    every = 1.0  # seconds

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        self.timer: Any = None
        self.children: set[int] = set()

    def include_if(self, parent: Any) -> bool:
        return not env.BROKER_URL and _forks(parent)

    def start(self, parent: Any) -> None:
        self.children = set(parent.pool.info["processes"])
        self.timer = parent.timer.call_repeatedly(self.every, self._look, (parent,))

    def stop(self, parent: Any) -> None:
        if self.timer:
            self.timer.cancel()

    terminate = stop  # else a quick end, which ends the children first, would look like their accident

    def _look(self, worker: Any) -> None:
        if not self.children <= set(worker.pool.info["processes"]):
            logging.getLogger("opssight").error("a process of the pool was killed; this worker ends with it")
            os.kill(os.getpid(), signal.SIGKILL)  # asked to stop, it would wait for that lock; jobs are rows


class OnRabbitMQ(bootsteps.StartStopStep):
    """Two things that Celery leaves undone there."""

    requires = ("celery.worker.components:Timer",)
    every = 1.0  # seconds

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        self.timer: Any = None

    def include_if(self, parent: Any) -> bool:
        return env.BROKER_URL.startswith("amqp")

    def start(self, parent: Any) -> None:
        # Its event loop hears of a request to stop at the next message or timer only.
        self.timer = parent.timer.call_repeatedly(self.every, lambda: None)
        # It looks for the default queue too, which may wait for another worker to make it.
        with suppress(OperationalError), app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=5)
            for queue in app.amqp.queues.values():
                queue(connection.default_channel).declare()

    def stop(self, parent: Any) -> None:
        if self.timer:
            self.timer.cancel()

    terminate = stop


def _forks(worker: Any) -> bool:
    return "prefork" in worker.pool_cls.__module__


app.steps["worker"].update((Heartbeat, PoolWatch, OnRabbitMQ))
