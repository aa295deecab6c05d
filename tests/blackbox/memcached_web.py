"""memcached_web.py -- real web applications on memcached's port: sessions and a cache survive kill -9 of holdfast, not of the applications.

Goal:   a cache that is durable: nobody is logged out, nothing is asked of the origin again, when the cache's server dies and comes back.
Method: Express with express-session over connect-memcached (text) and connect-memjs (binary), a catalogue that is cached aside with
        memjs, and PHP's sessions over php-memcached, each behind its own HTTP server (clients/memcached_shop.*). Visitors with
        cookies count their visits; holdfast (durability commit) is killed and started on the same port; all counts go on. With
        --forget the same without durability, which has to fail: a test of the test.
Usage:  memcached_web.py [--forget]
"""
import concurrent.futures
import http.client
import json
import os
import signal
import subprocess
import sys
import time

from clients import HERE, NODE_DIRECTORY, install_node_packages
from harness import REPLY_SECONDS, free_port
from memcached_peer import Holdfast

VISITORS, VISITS, PRODUCTS = 8, 4, 10
RECOVERY_SECONDS = 30


class Steady(Holdfast):
    """Its memcached port is the same after a restart."""
    steady_port = None

    def arguments(self, port):
        words = super().arguments(port)
        self.steady_port = self.steady_port or self.memcached_port
        self.memcached_port = words[words.index("--memcached-port") + 1] = self.steady_port
        return [str(word) for word in words]


class Application:
    """A web server of another program, on the loopback."""

    def __init__(self, command, port=None):
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE if port is None else subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        env=dict(os.environ, NODE_MODULES=NODE_DIRECTORY))
        self.port = port or int(self.process.stdout.readline())

    def ask(self, path, cookies=None, method="GET"):
        """Status and answer; cookies: what the visitor has, changed by the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=REPLY_SECONDS)
        cookies = {} if cookies is None else cookies
        connection.request(method, path, headers={"Cookie": "; ".join("%s=%s" % pair for pair in cookies.items())} if cookies else {})
        response = connection.getresponse()
        body = response.read()
        for name, value in response.getheaders():
            if name.lower() == "set-cookie":
                name, value = value.split(";")[0].split("=", 1)
                cookies[name] = value
        connection.close()
        return response.status, json.loads(body) if response.status == 200 else None

    def get(self, path, cookies=None, method="GET"):
        status, answer = self.ask(path, cookies, method)
        if status != 200:
            raise AssertionError("%s: status %d" % (path, status))
        return answer

    def wait(self, path, good):
        """Until the application has found its server again."""
        end = time.monotonic() + RECOVERY_SECONDS
        while True:
            try:
                status, answer = self.ask(path)
                if status == 200 and good(answer):
                    return
            except (OSError, http.client.HTTPException, ValueError):
                pass
            assert time.monotonic() < end, "%s does not recover" % path
            time.sleep(0.05)

    def stop(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class Visitors:
    """Of one kind of sessions."""

    def __init__(self, application, prefix):
        self.application, self.prefix = application, prefix
        self.cookies = [{} for _ in range(VISITORS)]

    def visit(self, first):
        """Each of them some times; all at once, each in order."""
        def one(cookies):
            return [self.application.get(self.prefix + "/visit", cookies)["visits"] for _ in range(VISITS)]
        with concurrent.futures.ThreadPoolExecutor(VISITORS) as pool:
            for counts in pool.map(one, self.cookies):
                assert counts == list(range(first, first + VISITS)), (self.prefix, counts)

    def look(self):
        return [self.application.get(self.prefix + "/look", dict(cookies))["visits"] for cookies in self.cookies]

    def log_out_first(self):
        before = dict(self.cookies[0])
        self.application.get(self.prefix + "/logout", self.cookies[0])
        self.cookies[0] = before


def read_products(shop):
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda number: shop.get("/product/%d" % (number % PRODUCTS)), range(PRODUCTS * 6)))
    return [product["price"] for product in found[:PRODUCTS]]


def origin(shop):
    return shop.get("/origin")["asked"]


def run(server, shop, pages, forgets):
    groups = [Visitors(shop, "/text"), Visitors(shop, "/binary"), Visitors(pages, "")]
    for group in groups:
        group.visit(1)
    assert read_products(shop) == [1] * PRODUCTS
    assert origin(shop) == PRODUCTS, "each product is asked for once, however many want it"
    shop.get("/product/3/99", method="PUT")
    assert read_products(shop) == [1, 1, 1, 99] + [1] * (PRODUCTS - 4) and origin(shop) == PRODUCTS + 1
    for group in groups:
        group.log_out_first()
    server.kill9()
    server.start()
    for application, path in ((shop, "/text/visit"), (shop, "/binary/visit"), (shop, "/product/0"), (pages, "/visit")):
        application.wait(path, lambda answer: True)
    if forgets:
        assert all(group.look() == [0] * VISITORS for group in groups), "what was only in memory is gone"
        return
    for group in groups:
        assert group.look() == [0] + [VISITS] * (VISITORS - 1), (group.prefix, group.look())
        group.cookies.pop(0)
        group.visit(VISITS + 1)
    assert read_products(shop) == [1, 1, 1, 99] + [1] * (PRODUCTS - 4)
    assert origin(shop) == PRODUCTS + 1, "the cache is as full as it was"


def main():
    install_node_packages()
    forgets = "--forget" in sys.argv[1:]
    server = Steady(durability="none" if forgets else "commit")
    server.start()
    address = ("127.0.0.1", str(server.memcached_port))
    port = free_port()
    shop = Application(["node", os.path.join(HERE, "memcached_shop.mjs"), *address])
    pages = Application(["php", "-d", "session.save_handler=memcached", "-d", "session.save_path=%s:%s" % address, "-d", "memcached.sess_locking=On",
                         "-S", "127.0.0.1:%d" % port, os.path.join(HERE, "memcached_shop.php")], port)
    try:
        pages.wait("/look", lambda answer: True)
        run(server, shop, pages, forgets)
    finally:
        shop.stop()
        pages.stop()
        server.stop()
    print("memcached_web: sessions of 3 stores and a cache aside %s kill -9" % ("do not survive, without durability," if forgets else "survive"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
