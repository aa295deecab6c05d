"""celery_jobs.py -- Celery with a worker: the database is its broker and keeps its results.

Method: a worker process does tasks of the program itself; results, a retry, a chain, a group with a callback (chord), a delay
        and a revoked task are checked. Arguments: host port. An exception fails.
"""
import os
import subprocess
import sys
import time

import celery

HERE = os.path.dirname(os.path.abspath(__file__))
WAIT_SECONDS = 40
URL = "redis://%s/0" % os.environ.get("CELERY_AT", "127.0.0.1:1")
app = celery.Celery("celery_jobs", broker=URL, backend=URL)
app.conf.update(broker_connection_retry_on_startup=True, worker_prefetch_multiplier=1, result_expires=600)


@app.task
def add(a, b):
    return a + b


@app.task
def total(numbers):
    return sum(numbers)


@app.task(bind=True, max_retries=3)
def weak(self):
    if self.request.retries < 2:
        raise self.retry(countdown=0.05)
    return self.request.retries


@app.task
def fail():
    raise ValueError("as it should")


def check(tasks):
    wait = {"timeout": WAIT_SECONDS, "interval": 0.02}
    sums = [tasks.add.delay(i, i) for i in range(50)]
    assert [one.get(**wait) for one in sums] == [2 * i for i in range(50)]
    assert tasks.weak.delay().get(**wait) == 2
    failed = tasks.fail.delay()
    try:
        failed.get(**wait)
        raise AssertionError("no error")
    except ValueError as error:
        assert "as it should" in str(error)
    assert (tasks.add.s(1, 2) | tasks.add.s(10) | tasks.add.s(100)).apply_async().get(**wait) == 113
    assert celery.chord([tasks.add.s(i, 1) for i in range(8)], tasks.total.s()).apply_async().get(**wait) == sum(range(1, 9))
    began = time.monotonic()
    assert tasks.add.apply_async((2, 3), countdown=1).get(**wait) == 5
    assert time.monotonic() - began >= 0.95


def main():
    environment = dict(os.environ, CELERY_AT="%s:%s" % (sys.argv[1], sys.argv[2]), PYTHONPATH=HERE, PYTHONDONTWRITEBYTECODE="1")
    if "CELERY_AT" not in os.environ:    # once more, now knowing where the database is
        os.execve(sys.executable, [sys.executable] + sys.argv, environment)
    sys.path.insert(0, HERE)
    import celery_jobs as tasks
    worker = subprocess.Popen([sys.executable, "-m", "celery", "-A", "celery_jobs", "worker", "--pool", "threads", "--concurrency", "4",
                               "--loglevel", "CRITICAL"], env=environment, cwd=HERE)
    try:
        check(tasks)
    finally:
        worker.terminate()
        try:
            worker.wait(WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            worker.kill()
    print("celery %s: passed" % celery.__version__)


if __name__ == "__main__":
    main()
