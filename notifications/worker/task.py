"""The class of the app's tasks: what scheduling and notifications each want of one."""

from scheduling import execution


class Task(execution.Task):
    """A task that runs each fire once, and whose slot time counts in its queue's share."""

    abstract = True
    Request = "notifications.queueing.worker_slots:TimedRequest"
