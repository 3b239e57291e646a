from ramkit.limits import keys
from ramkit.limits.keys import store_key


def test_a_key_is_a_hash_in_a_hash_tag_and_the_policys_name():
    key = store_key("daily", "secret")
    assert key.startswith(b"l:{")
    assert key.endswith(b"}:daily")
    assert b"secret" not in key
    assert len(key) == len(b"l:{}:daily") + 32
    assert store_key("burst", "secret").split(b"}")[0] == key.split(b"}")[0]  # one slot


def test_long_keys_are_told_apart_and_not_remembered():
    before = keys._remembered.cache_info().currsize
    long = [b"x" * 60_000 + b"%d" % number for number in range(50)]
    assert len({store_key("p", each) for each in long}) == 50
    assert store_key("p", long[0]) == store_key("p", long[0])
    assert keys._remembered.cache_info().currsize == before
