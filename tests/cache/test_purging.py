import random
import re
import subprocess
import sys
from fnmatch import translate

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ramkit.cache.core import purging
from ramkit.cache.core.entry import Entry
from ramkit.cache.core.purging import SLOTS, PurgeTable, Verdict, message, slot
from ramkit.cache.policy import glob

VALID, STALE, GONE = Verdict.VALID, Verdict.STALE, Verdict.GONE


def entry(epoch: int, *names: str, subject: str = "/a/b", incarnation: int = 7) -> Entry:
    return Entry(incarnation, epoch, tuple(map(slot, names)), subject, 0.0, 0.0, 0.0, 0.0)


def table(*messages: tuple[int, bytes], birth: int = 0) -> PurgeTable:
    made = PurgeTable()
    made.reset(7, birth, None)
    for epoch, data in messages:
        made.apply(epoch, data)
    return made


def reloaded(original: PurgeTable) -> PurgeTable:
    made = PurgeTable()
    made.reset(original.incarnation, original.epoch, original.snapshot())
    return made


# -- names --------------------------------------------------------------------------------------------


def test_names_of_a_url_are_those_that_purge_it() -> None:
    names = purging.url_names("https", "example.org", "/posts/1/comments", "page=2")
    assert set(names) == {
        purging.url_name("https", "example.org", "/posts/1/comments", "page=2"),
        purging.host_path_name("example.org", "/posts/1/comments"),
        purging.path_name("/posts/1/comments"),
        *map(purging.prefix_name, ("/", "/posts", "/posts/1", "/posts/1/comments")),
    }


def test_prefixes_are_of_whole_segments() -> None:
    names = purging.url_names("https", "h", "/postscript", "")
    assert purging.prefix_name("/posts") not in names
    assert purging.prefix_name("/") in names


@pytest.mark.parametrize("path", ["/posts", "/posts/", "//posts", "/posts//1", "/posts/1/"])
@pytest.mark.parametrize("prefix", ["/posts", "/posts/", "//posts"])
def test_empty_segments_do_not_hide_from_a_prefix(path: str, prefix: str) -> None:
    assert purging.prefix_name(prefix) in purging.url_names("https", "h", path, "")


@pytest.mark.parametrize("depth", [31, 32, 33, 200])
def test_a_prefix_deeper_than_32_purges_from_there(depth: int) -> None:
    path = "/" + "/".join(f"s{number}" for number in range(depth))
    names = purging.url_names("https", "h", path, "")
    assert purging.prefix_name(path) in names
    assert purging.prefix_name(path + "/deeper") in purging.url_names("https", "h", path + "/deeper", "")
    assert len(names) <= 36


def test_kinds_do_not_meet() -> None:
    same = "/a"
    names = [
        purging.group_name(same),
        purging.path_name(same),
        purging.prefix_name(same),
        purging.host_path_name("", same),
        purging.url_name("", "", same, ""),
    ]
    assert len(set(names)) == len(names)


def test_slots_are_the_same_in_every_process() -> None:
    names = ["g:a", "x:/", "p:/straße", "u:https\0h\0/\0", "g:\udcff"]
    code = f"from ramkit.cache.core.purging import slot; print([slot(n) for n in {names!a}])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == str([slot(name) for name in names])
    assert all(0 <= slot(name) < SLOTS for name in names)


def test_slots_are_spread() -> None:
    assert len({slot(f"g:{number}") for number in range(1000)}) > 970


# -- judging ------------------------------------------------------------------------------------------


def test_before_a_log_was_heard_everything_is_gone() -> None:
    assert PurgeTable().judge(entry(5, incarnation=0)) is GONE


def test_another_incarnation_is_gone() -> None:
    made = table(birth=5)
    assert made.judge(entry(5)) is VALID
    assert made.judge(entry(5, incarnation=8)) is GONE


def test_without_a_snapshot_what_is_older_than_the_beginning_is_gone() -> None:
    made = table(birth=5)
    assert [made.judge(entry(epoch)) for epoch in (4, 5, 6)] == [GONE, VALID, VALID]


@pytest.mark.parametrize(("soft", "expected"), [(False, GONE), (True, STALE)])
def test_later_is_strictly_later(soft: bool, expected: Verdict) -> None:
    made = table((10, message(["g:a"], soft=soft)))
    assert made.judge(entry(9, "g:a")) is expected
    assert made.judge(entry(10, "g:a")) is VALID
    assert made.judge(entry(9, "g:b")) is VALID


def test_one_of_its_names_is_enough() -> None:
    made = table((10, message(["g:c", "g:x"])))
    assert made.judge(entry(9, "g:a", "g:b", "g:c")) is GONE


def test_hard_counts_beside_a_later_soft_purge_and_the_other_way_round() -> None:
    assert table((10, message(["g:a"])), (11, message(["g:a"], soft=True))).judge(entry(9, "g:a")) is GONE
    made = table((10, message(["g:a"], soft=True)), (11, message(["g:b"])))
    assert made.judge(entry(9, "g:a", "g:b")) is GONE
    made = table((10, message(["g:a"])), (12, message(["g:a"], soft=True)))
    assert made.judge(entry(11, "g:a")) is STALE


@pytest.mark.parametrize(("floor", "expected"), [(0, STALE), (9, STALE), (10, GONE), (11, GONE)])
def test_at_or_past_the_floor_soft_counts_as_hard(floor: int, expected: Verdict) -> None:
    names = table((10, message(["g:a"], soft=True)), (12, message(["g:z"])))
    bans = table((10, message((), patterns=["/a*"], soft=True)), (12, message(["g:z"])))
    for made in (names, bans, reloaded(bans)):
        assert made.judge(entry(8, "g:a"), floor) is expected
        assert made.judge(entry(10, "g:a"), floor) is VALID


def test_a_second_soft_purge_does_not_hide_the_first_from_its_purger() -> None:
    names = table((10, message(["g:a"], soft=True)), (20, message(["g:a"], soft=True)))
    bans = table(*((epoch, message((), patterns=["/a*"], soft=True)) for epoch in (10, 20)))
    for made in (names, bans, reloaded(names), reloaded(bans)):
        assert made.judge(entry(8, "g:a"), 10) is GONE
        assert made.judge(entry(8, "g:a"), 0) is STALE
        assert made.judge(entry(15, "g:a"), 15) is STALE
        assert made.judge(entry(15, "g:a"), 20) is GONE


def test_a_floor_of_something_else_leaves_a_softly_purged_entry_stale() -> None:
    assert table((10, message(["g:a"], soft=True))).judge(entry(3, "g:a"), 9) is STALE


def test_a_watch_sees_what_may_be_about_its_slots_while_it_lasts() -> None:
    made = table()
    with made.watch([slot("g:a")]) as seen, made.watch([slot("g:a")]) as other:
        made.apply(1, message(["g:a"]))
        made.apply(2, message(["g:b"]))
        made.apply(3, message((), patterns=["/x"]))
        made.apply(4, message(["g:b", "g:a"], soft=True))
        made.apply(5, b"damaged")
        made.reset(8, 6, None)
        assert seen == other == [1, 3, 4, 5, 6]
    made.apply(7, message(["g:a"]))
    assert seen == other == [1, 3, 4, 5, 6]


def test_slots_out_of_range_are_gone() -> None:
    damaged = entry(5)
    damaged.slots = (SLOTS,)
    assert table().judge(damaged) is GONE


def test_the_version_changes_with_whatever_is_folded() -> None:
    made = table()
    seen = {made.version}
    for epoch, data in enumerate((message(["g:a"]), message((), patterns=["/x"]), message([]), b"?"), 1):
        made.apply(epoch, data)
        assert made.epoch == epoch
        seen.add(made.version)
    made.reset(7, 3, None)
    seen.add(made.version)
    made.reset(9, 1, reloaded(made).snapshot())
    seen.add(made.version)
    assert len(seen) == 7


# -- bans ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("/posts*", ["/posts", "/posts/1", "/postscript"], ["/post", "/a/posts"]),
        ("/posts/*/comments", ["/posts/1/comments", "/posts/1/2/comments", "/posts//comments"],
         ["/posts/comments", "/posts/1/comments/2"]),
        ("/?", ["/a", "/ä", "/\n"], ["/", "/ab"]),
        ("*.png", ["/a.png", ".png", "/a.png.png"], ["/a.png2", "/apng"]),
        ("/a[b]+(c)$", ["/a[b]+(c)$"], ["/ab"]),
        ("*a*a*", ["aa", "/a/a/"], ["a", "/a"]),
        ("/a**b", ["/ab", "/axb"], ["/a"]),
    ],
)  # fmt: skip
def test_patterns(pattern: str, matching: list[str], others: list[str]) -> None:
    made = table((10, message((), patterns=[pattern])))
    assert [subject for subject in matching if made.judge(entry(9, subject=subject)) is not GONE] == []
    assert [subject for subject in others if made.judge(entry(9, subject=subject)) is not VALID] == []
    assert made.judge(entry(10, subject=matching[0])) is VALID


@given(st.text("ab*?", max_size=12), st.text("ab", max_size=12))
def test_patterns_mean_what_fnmatch_means(pattern: str, subject: str) -> None:
    expected = re.match(translate(pattern), subject) is not None
    assert (glob(pattern).fullmatch(subject) is not None) == expected


def test_a_pattern_made_to_go_back_and_forth_does_not() -> None:
    # Backtracking over twenty stars would take 10^20 steps and more: that this ends is the test.
    made = table((10, message((), patterns=["*a" * 20 + "*b"])))
    assert made.judge(entry(9, subject="a" * 5000)) is VALID


def test_a_star_alone_is_everything() -> None:
    made = table((10, message(["g:a"], soft=True)), (11, message((), patterns=["*"])))
    assert made.judge(entry(10, subject="")) is GONE
    assert made.judge(entry(11, subject="")) is VALID


def test_the_65th_ban_folds_the_oldest_into_the_birth_epoch() -> None:
    bans = [(epoch, message((), patterns=[f"/x{epoch}"], soft=epoch % 2 == 0)) for epoch in range(10, 74)]
    made = table(*bans)
    assert made.judge(entry(9)) is VALID
    made.apply(80, message((), patterns=["/other"]))
    assert made.judge(entry(9)) is GONE
    assert made.judge(entry(10)) is VALID
    assert made.judge(entry(10, subject="/x11")) is GONE
    assert made.judge(entry(10, subject="/x12")) is STALE


def test_the_same_pattern_again_takes_no_room() -> None:
    made = table(*((epoch, message((), patterns=["/same*"])) for epoch in range(10, 200)))
    assert made.judge(entry(9)) is VALID
    assert made.judge(entry(198, subject="/same")) is GONE


def test_an_entry_found_valid_meets_only_later_bans() -> None:
    made = table((10, message((), patterns=["/x"])))
    checked = entry(9)
    assert made.judge(checked) is VALID
    checked.checked = made.version
    made.apply(11, message(["g:z"]))
    assert made.judge(checked) is VALID
    made.apply(12, message((), patterns=["/a/*"]))
    assert made.judge(checked) is GONE
    checked.checked = made.version - 1
    made.reset(7, 12, made.snapshot())
    assert made.judge(checked) is GONE


# -- messages and snapshots ---------------------------------------------------------------------------


def test_a_purge_with_too_much_in_it_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"names: 10001"):
        message(f"g:{number}" for number in range(10_001))
    with pytest.raises(ValueError, match="patterns: 65"):
        message((), patterns=["/a"] * 65)
    for pattern in ("", "/" + "a" * 512):
        with pytest.raises(ValueError, match="patterns: "):
            message((), patterns=[pattern])
    assert len(message(f"g:{number}" for number in range(10_000))) < 40_000


def test_a_message_names_nothing_in_clear() -> None:
    assert b"secret" not in message(["g:secret"])


def test_what_is_not_understood_purges_everything() -> None:
    whole = message(["g:a"], patterns=["/x"])
    encode = msgspec.msgpack.encode
    unknown = [
        b"",
        b"\x01" + whole[1:],
        whole[:-1],
        whole + b"\x00",
        b"\x03" + encode((False, [SLOTS], [], {}, 0)),
        b"\x03" + encode((False, [-1], [], {}, 0)),
        b"\x03" + encode((False, [1], [], {"main": -1}, 0)),
        b"\x03" + encode((False, [1], [], {}, -1)),
        b"\x03" + encode((False, [1], [])),
        b"\x03" + encode({"slots": []}),
        b"\x03\x95\xc2\x90\x91\xa2\xff\xfe\x80\x00",
    ]
    for data in unknown:
        made = table((10, data))
        assert made.judge(entry(9)) is GONE, data
        assert made.judge(entry(10)) is VALID, data


def test_a_snapshot_that_is_not_understood_is_a_birth_epoch() -> None:
    whole = table((10, message(["g:a"], patterns=["/a"]))).snapshot()
    encode = msgspec.msgpack.encode
    unknown = [
        None,
        b"",
        b"\x00" + whole[1:],
        whole[:-1],
        b"\x03" + encode((0, {SLOTS: 5}, {}, [], {}, {}, 0)),
        b"\x03" + encode((-1, {}, {}, [], {}, {}, 0)),
        b"\x03" + encode((0, {}, {}, [[5, False, 6, {}]], {}, {}, 0)),
        b"\x03" + encode((0, {}, {}, [], {"main": {1: -1}}, {}, 0)),
    ]
    for data in unknown:
        made = table((3, message(["g:a"])))
        made.reset(7, 20, data)
        assert made.judge(entry(19)) is GONE, data
        assert made.judge(entry(20)) is VALID, data


def test_for_how_long_anything_was_stored() -> None:
    made = table((10, message((), longest=64)), (11, message((), longest=16)), (12, message(["g:a"])))
    assert made.longest == reloaded(made).longest == 64
    assert made.judge(entry(9)) is VALID, "that purges nothing"
    for data in (b"?", made.snapshot()[:-1]):
        made.reset(7, 20, data)
        assert made.longest > 2**31, "nobody knows"
    made.reset(8, 1, None)
    assert made.longest == 0, "what was stored under another incarnation is gone"
    made.apply(2, b"?")
    assert made.longest > 2**31


@given(st.binary(max_size=40))
def test_no_bytes_raise(data: bytes) -> None:
    made = table((10, data), (11, b"\x03" + data))
    assert made.epoch == 11
    made.reset(7, 20, b"\x03" + data)
    assert made.judge(entry(1, subject="")) in Verdict


def test_a_reset_forgets() -> None:
    made = table((10, message(["g:a"], patterns=["/a*"])), (11, message(["g:a"], soft=True)))
    made.reset(8, 1, None)
    assert made.judge(entry(1, "g:a", incarnation=8)) is VALID
    assert made.judge(entry(11, "g:a")) is GONE


def test_a_snapshot_judges_as_what_it_was_made_of() -> None:
    rng = random.Random(3)
    made = table(birth=4)
    for epoch in range(5, 400):
        names = [f"g:{rng.randrange(60)}" for _ in range(rng.randrange(3))]
        patterns = [f"/{rng.randrange(60)}*"] if rng.random() < 0.1 else []
        made.apply(epoch, message(names, patterns=patterns, soft=rng.random() < 0.5))
    later = reloaded(made)
    assert later.epoch == made.epoch
    assert later.incarnation == made.incarnation
    judged = []
    for _ in range(3000):
        names = [f"g:{rng.randrange(60)}" for _ in range(rng.randrange(3))]
        one = entry(rng.randrange(1, 400), *names, subject=f"/{rng.randrange(99)}")
        assert later.judge(one) is made.judge(one)
        floor = rng.randrange(400)
        # What lay between soft purges is not in it: it may only be stricter.
        assert later.judge(one, floor).value >= made.judge(one, floor).value
        judged.append(made.judge(one))
    assert set(judged) == set(Verdict)


def test_a_snapshot_is_bounded() -> None:
    made = table()
    for epoch, soft in ((2**60, False), (2**60 + 1, True)):
        made.apply(epoch, b"\x03" + msgspec.msgpack.encode((soft, list(range(SLOTS)), [], {}, 0)))
    for number in range(64):
        made.apply(2**61 + number, message((), patterns=[f"/{number}{'x' * 500}"]))
    snapshot = made.snapshot()
    assert 1_500_000 < len(snapshot) < 1_750_000
    made.reset(7, 2**62, snapshot)
    assert [made.judge(entry(epoch, "g:a")) for epoch in (2**60 - 1, 2**60, 2**60 + 1)] == [
        GONE,
        STALE,
        VALID,
    ]


def test_the_highest_position_of_a_slots_purges_is_kept() -> None:
    made = table(
        (2, message(["g:a"], positions={"main": 70})),
        (3, message(["g:a", "g:b"], soft=True, positions={"main": 50, "other": 5})),
        (4, message(["g:c"])),
    )
    for each in (made, later_than(made)):
        assert each.writes
        assert each.written([slot("g:a")], "/a") == {"main": 70, "other": 5}
        assert each.written([slot("g:b")], "/a") == {"main": 50, "other": 5}
        assert each.written([slot("g:c"), slot("g:d")], "/a") == {}
        assert each.written([slot("g:c"), slot("g:b")], "/a") == {"main": 50, "other": 5}
        each.apply(5, message((), patterns=["/x*"], positions={"main": 60}))
        for table_ in (each, later_than(each)):
            assert table_.written([slot("g:c")], "/xy") == {"main": 60}
            assert table_.written([slot("g:c")], "/yx") == {}
        each.apply(6, message((), patterns=["/x*"], positions={"other": 7}))
        assert each.written([], "/xy") == {"main": 60, "other": 7}
        each.apply(7, message((), patterns=["*"], positions={"other": 9}))
        for table_ in (each, later_than(each)):
            assert table_.written([], "/yx") == {"main": 60, "other": 9}, (
                "of what is no more it is known at least"
            )
        each.reset(8, 1, None)
        assert each.written([], "/") == {"main": 70, "other": 9}, "a lost log takes no writes back"
    assert not table((2, message(["g:a"]))).writes


def later_than(made: PurgeTable) -> PurgeTable:
    """A process that begins with the other's snapshot."""
    later = PurgeTable()
    later.reset(made.incarnation, made.epoch, made.snapshot())
    return later
