"""Medians, ratios and targets, from results that are made up."""

import json

import pytest

from benches.session import session
from harness.figures import as_json, ratio, summary
from harness.targets import targets


def test_a_summary_is_the_median_and_the_distance_of_the_extremes() -> None:
    found = summary(session(), "send-1048576", "ssl", "gb_s")
    assert found is not None
    assert (found.median, found.low, found.high) == (1.5, 1.0, 2.0)
    assert found.spread == pytest.approx(1 / 1.5)


@pytest.mark.parametrize(
    ("case", "contender", "figure"),
    [
        ("send-64", "ssl", "gb_s"),
        ("send-1048576", "nobody", "gb_s"),
        ("send-1048576", "pyOpenSSL", "gb_s"),
        ("send-1048576", "ssl", "p50_us"),
    ],
)
def test_what_was_not_measured_has_no_summary(case: str, contender: str, figure: str) -> None:
    assert summary(session(), case, contender, figure) is None


def test_a_ratio_is_that_of_the_medians() -> None:
    assert ratio(session(), "send-1048576", "gb_s", "ktls pool ring", "ssl") == 3.0
    assert ratio(session(), "send-1048576", "gb_s", "ktls pool ring", "pyOpenSSL") is None


def test_targets_compare_within_the_session() -> None:
    found = {target.title: target for target in targets(session(), "ring")}
    large = found["sendall of 1 MiB, times ssl"]
    assert (large.value, large.limit, large.held) == (3.0, 2.5, True)
    share = found["memory of an idle connection, times ssl"]
    assert (share.value, share.limit, share.held) == (0.25, 0.5, True)
    memory = found["memory of an idle connection, KiB"]
    assert (memory.value, memory.limit, memory.held) == (5.0, 7.0, True)
    assert found["sendall of 16 KiB, times ssl"].held is None


def test_a_target_that_is_missed_says_so() -> None:
    results = session()
    results["idle"]["ktls"].samples[0]["connection_bytes"] = 40960.0
    results["send-1048576"]["ssl"].samples[:] = [{"gb_s": 4.0}]
    found = {target.title: target for target in targets(results, "ring")}
    assert found["sendall of 1 MiB, times ssl"].held is False
    assert found["memory of an idle connection, KiB"].held is False


def test_the_raw_samples_are_kept_beside_the_medians() -> None:
    document = json.loads(json.dumps(as_json(session())))
    entry = document["send-1048576"]["ktls pool ring"]
    assert [sample["gb_s"] for sample in entry["samples"]] == [4.5, 4.5, 3.0]
    assert entry["medians"]["gb_s"] == 4.5
    assert document["send-1048576"]["pyOpenSSL"]["failure"] == "pyOpenSSL is not installed"
