"""rq_jobs.py -- RQ with a worker: jobs, dependencies, failures, schedules.

Method: jobs are put into a queue, a worker process (the program itself, called with "work") does them and ends when nothing is left.
        Results, the error of a job that fails, the order of dependent jobs and of a job that is scheduled are checked.
        Arguments: host port. An exception fails.
"""
import datetime
import os
import subprocess
import sys
import time

import redis
import rq
from rq.job import Retry

HERE = os.path.dirname(os.path.abspath(__file__))
WAIT_SECONDS = 40


def square(number):
    return number * number


def fail():
    raise ValueError("as it should")


def append(host, port, name):
    return redis.Redis(host, port).rpush("order", name)


def work(host, port):
    """A worker that ends when the queue and its schedule are empty."""
    db = redis.Redis(host, port)
    rq.SimpleWorker([rq.Queue("jobs", connection=db)], connection=db).work(burst=True, with_scheduler=True, logging_level="CRITICAL")


def run_worker(host, port):
    subprocess.run([sys.executable, os.path.abspath(__file__), host, str(port), "work"], check=True, timeout=WAIT_SECONDS)


def wait_for(what, condition):
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited too long: " + what
        time.sleep(0.02)


def main(host, port):
    # What the worker imports is this file under its module's name.
    sys.path.insert(0, HERE)
    import rq_jobs as tasks
    db = redis.Redis(host, port)
    db.flushall()
    queue = rq.Queue("jobs", connection=db)
    squares = [queue.enqueue(tasks.square, number) for number in range(20)]
    failing = queue.enqueue(tasks.fail)
    first = queue.enqueue(tasks.append, host, port, "first")
    queue.enqueue(tasks.append, host, port, "second", depends_on=first)
    retried = queue.enqueue(tasks.fail, retry=Retry(max=2))
    assert queue.count == 23
    run_worker(host, port)
    assert [job.return_value() if callable(getattr(job, "return_value", None)) else job.result for job in squares] == [n * n for n in range(20)]
    assert failing.get_status() == "failed" and failing.id in queue.failed_job_registry
    failing.refresh()
    assert "as it should" in failing.exc_info
    assert retried.get_status() == "failed"
    assert db.lrange("order", 0, -1) == [b"first", b"second"]
    assert queue.count == 0 and len(queue.finished_job_registry) == 22
    later = queue.enqueue_in(datetime.timedelta(seconds=1), tasks.square, 9)
    assert later.id in queue.scheduled_job_registry
    wait_for("a scheduled job", lambda: (run_worker(host, port), later.get_status() == "finished")[1])
    assert later.result == 81
    print("rq %s: passed" % rq.VERSION)


if __name__ == "__main__":
    if sys.argv[3:] == ["work"]:
        work(sys.argv[1], int(sys.argv[2]))
    else:
        main(sys.argv[1], int(sys.argv[2]))
