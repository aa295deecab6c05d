"""redis_py_cluster.py -- redis-py's RedisCluster, unmodified, on a cluster of one node.

Method: it learns slots and nodes by itself; reads and writes of keys all over the slots, a pipeline, tagged multi-key commands, a script,
        publish and subscribe. Arguments: host port. An exception fails.
"""
import logging
import sys

from redis.cluster import RedisCluster
from redis.exceptions import RedisClusterException, ResponseError


def main():
    logging.disable(logging.CRITICAL)   # it logs the refusal that is wanted below
    db = RedisCluster(host=sys.argv[1], port=int(sys.argv[2]), decode_responses=True)
    nodes = db.get_nodes()
    assert [node.server_type for node in nodes] == ["primary"], nodes
    for i in range(300):
        assert db.set("key:%d" % i, i)
    assert [db.get("key:%d" % i) for i in range(300)] == [str(i) for i in range(300)]
    assert db.mset_nonatomic({"a": 1, "b": 2, "c": 3}) and db.mget_nonatomic("a", "b", "c") == ["1", "2", "3"]
    pipe = db.pipeline()
    for i in range(100):
        pipe.incr("count:%d" % (i % 10))
    assert pipe.execute() == [i // 10 + 1 for i in range(100)]
    assert db.mset({"{user}:1": "x", "{user}:2": "y"}) and db.mget("{user}:1", "{user}:2") == ["x", "y"]
    assert db.eval("return redis.call('incr', KEYS[1]) + redis.call('incr', KEYS[2])", 2, "{n}a", "{n}b") == 2
    try:
        db.execute_command("MSET", "a", 1, "b", 2, target_nodes="primaries")
    except (RedisClusterException, ResponseError) as error:
        assert "slot" in str(error).lower(), error
    else:
        raise AssertionError("keys of two slots")
    slot = db.keyslot("{user}:1")
    assert db.cluster_countkeysinslot(slot) == 2
    assert sorted(db.cluster_get_keys_in_slot(slot, 10)) == ["{user}:1", "{user}:2"]
    assert db.dbsize() == sum(1 for _ in db.scan_iter(count=50))
    listener = db.pubsub()
    listener.subscribe("news")
    assert listener.get_message(timeout=10)["type"] == "subscribe"
    db.publish("news", "hello")
    assert listener.get_message(timeout=10)["data"] == "hello"
    listener.close()
    db.close()


main()
