"""What a server counts as a whole: of one process, of several, and of one that has ended."""

from zoo_server.schedulers.response_cache import ResponseCache
from zoo_server.telemetry.metrics import Metrics
from zoo_server.telemetry.server_counts import Refusal, ServerCounts, add, lasting


def counted():
    """Return the counts of a process that refused two calls, and whose cache holds one entry."""
    cache = ResponseCache(5000)
    owner = cache.new_owner()
    for number in range(4):
        cache.lookup((owner, number))
        cache.insert((owner, number), number, 1000)
    cache.lookup((owner, 3))
    counts = ServerCounts(cache, 2)
    counts.refused(Refusal.TOKEN)
    counts.refused(Refusal.TOKEN)
    return counts.read()


def test_the_page_has_them():
    page = Metrics(list, counts=counted).page().decode()
    lines = page.splitlines()

    assert "# TYPE nv_server_request_refused counter" in lines
    assert 'nv_server_request_refused{reason="TOKEN"} 2.0' in lines
    assert 'nv_server_request_refused{reason="OVERLOAD"} 0.0' in lines
    assert "nv_cache_num_lookups 5.0" in lines
    assert "nv_cache_num_hits 1.0" in lines
    assert "nv_cache_num_misses 4.0" in lines
    assert "nv_cache_num_entries 2.0" in lines
    assert "nv_cache_num_evictions 2.0" in lines


def test_without_a_cache_there_is_nothing_of_one():
    page = Metrics(list, counts=ServerCounts().read).page().decode()
    assert "nv_cache_num_lookups" not in page


def test_several_processes_add_up():
    whole = add([counted(), counted()])

    assert whole['nv_server_request_refused{reason="TOKEN"}'] == 4
    assert whole["nv_cache_num_entries"] == 4
    # Each has half of the cache's bytes, and holds two entries of 2024 bytes in 5000.
    assert whole["nv_cache_util"] == 2 * 2024 / 5000


def test_of_a_process_that_has_ended_the_counters_stay():
    last = lasting(counted())

    assert last["nv_cache_num_evictions"] == 2
    assert "nv_cache_num_entries" not in last
    assert "nv_cache_util" not in last
