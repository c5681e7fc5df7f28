"""The response cache by itself: what it keeps, in how many bytes, and what goes first."""

from zoo_server.schedulers.response_cache import ENTRY_BYTES, ResponseCache


def test_the_least_recently_used_goes_first():
    """Looking an answer up is a use; putting another in its place is one as well."""
    cache: ResponseCache[str] = ResponseCache(3 * (ENTRY_BYTES + 10))
    for name in "abc":
        cache.insert((1, name), name, 10)
    assert cache.lookup((1, "a")) == "a"
    cache.insert((1, "b"), "B", 10)
    cache.insert((1, "d"), "d", 10)

    assert [cache.lookup((1, name)) for name in "abcd"] == ["a", "B", None, "d"]
    assert cache.used_bytes == 3 * (ENTRY_BYTES + 10)


def test_never_more_bytes_than_it_may_have():
    """One large answer pushes out many small ones; one that is too large is said to be so."""
    cache: ResponseCache[int] = ResponseCache(100_000)
    for number in range(1000):
        cache.insert((1, number), number, number * 97 % 5000)
        assert cache.used_bytes <= 100_000
    assert not cache.has_room(100_000)
    assert cache.has_room(100_000 - ENTRY_BYTES)
    cache.insert((2, "whole"), 0, 100_000 - ENTRY_BYTES)

    assert (len(cache), cache.used_bytes) == (1, 100_000)


def test_what_a_model_that_is_gone_has_inserted_is_taken_out():
    """Many entries, and none of another's."""
    cache: ResponseCache[int] = ResponseCache(1 << 30)
    gone, stays = cache.new_owner(), cache.new_owner()
    for number in range(1000):
        cache.insert((gone, number), number, 100)
        cache.insert((stays, number), number, 100)
    cache.forget(gone)
    cache.forget(cache.new_owner())  # nothing of it is there
    cache.sweep()

    assert len(cache) == 1000
    assert cache.used_bytes == 1000 * (ENTRY_BYTES + 100)
    assert cache.lookup((gone, 1)) is None
    assert cache.lookup((stays, 1)) == 1
