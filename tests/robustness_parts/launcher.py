"""launcher=backwards."""

from typing import ClassVar

from imgrec import execution
from imgrec.components import Launcher, register


@register("launcher", "backwards")
class Backwards(Launcher):
    """The last run first."""

    in_process: ClassVar[bool] = True

    def build(self):
        return Runner()


class Runner:
    def at_a_time(self, configs):
        return 1

    def run(self, jobs, watch):
        for job in reversed(jobs):
            watch.began(job)
            execution.run(job, swept=True)
            watch.ended(job)
