"""The report page: whole, safe, honest about what was proven, and there whatever is missing."""

import math
import re
from html import unescape
from html.parser import HTMLParser

import pytest

from agent.evaluation.page import render_page

EMPTY = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
SPLITS = ("temporal", "leave-last", "users", "cold-items", "random", "a-split-of-tomorrow")


class Page(HTMLParser):
    """Checks that every element is closed in turn and keeps what a test asks for."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.attributes, self.words = [], [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self):
        return " ".join("".join(self.words).split())


ACCURACY, COST = ("ndcg", "recall", "auc", "ndcg-gap"), ("training", "peak-memory", "latency-p50", "latency-p95")
SHOWN = {"novelty": ".2f"} | dict.fromkeys(ACCURACY, ".4f") | dict.fromkeys(COST, ".3g")


def row(system, metric="ndcg", k=10, mean=0.1, **other):
    spread = {"low": None, "high": None} if mean is None else {"low": mean * 0.9, "high": mean * 1.1}
    place = {"data": "planted", "split": "temporal", "stratum": "all", "n_users": 50, "seed": None}
    return {**place, "system": system, "metric": metric, "k": k, "mean": mean, **spread, **other}


def comparison(system, reference, delta=0.02, p_holm=0.001, metric="ndcg"):
    sure = {"low": delta - 0.01, "high": delta + 0.01, "effect": 0.3, "p": p_holm / 2, "p_holm": p_holm}
    return {"system": system, "reference": reference, "metric": metric, "k": 10, "delta": delta, **sure, "n_users": 50}


def report(rows, comparisons=(), **meta):
    asked = {"command": "whyrec evaluate --seeds 2", "data": "planted", "split": "temporal", "seeds": [0, 1]}
    measured = {"primary": {"metric": "ndcg", "k": 10}, "relevant": "value ≥ 4", "created": "2026-11-23T00:12:41+00:00"}
    described = {
        "fingerprints": {"data": "9f3ac1d2", "split": {"0": "aa11bb22"}},
        "versions": {"numpy": "2.3.1"},
        "machine": {"cores": 2},
        "users": {"evaluated": 50, "without relevant items": 7},
        "parameters": {"ease": {"regularization": 250.5, "deep": {"er": [1, None]}}},
        "notes": ["The language model was left out."],
    }
    return {"meta": asked | measured | described | meta, "rows": list(rows), "comparisons": list(comparisons)}


def full_rows(systems):
    strata = ("item=warm", "item=cold", "history=1-5", "history=101+", "gender=F", "gender=M")
    metrics = ["recall", "coverage", "novelty", "diversity", "miscalibration", "popularity", "auc", *COST]
    for place, system in enumerate(systems):
        base = 0.1 - 0.004 * place
        yield row(system, mean=base)
        yield from (row(system, mean=base + seed / 1000, seed=seed) for seed in (0, 1))
        yield from (row(system, mean=base * (number + 1) / 3, stratum=name) for number, name in enumerate(strata))
        yield row(system, "ndcg-gap", 10, 0.0123 + place / 1000, stratum="gender")
        yield from (row(system, "ndcg", k, base + k / 997) for k in (5, 20))
        yield from (row(system, name, 10, base + place / 37 + len(name) / 91) for name in metrics)


SYSTEMS = ("ease", "ials", "item-knn", "mf", "bias-knn", "cosine", "soft-knn", "rrf", "borda", "popularity")


@pytest.fixture(scope="module")
def full():
    return report(full_rows(SYSTEMS), [comparison("ease", SYSTEMS[i], 0.004 * i, 0.9 / i**3) for i in range(1, 10)])


@pytest.fixture(scope="module")
def page(full):
    return render_page(full)


def summary(html):
    said = re.search(r'<div class="summary">(.*?)</div>', html, re.S)[1]
    return unescape(" ".join(re.sub(r"<[^>]+>", "", said).split()))


def test_the_page_is_whole_html_with_a_plot_for_every_question(page):
    read = Page(page)
    assert page.startswith("<!doctype html>")
    assert read.tags.count("html") == read.tags.count("main") == 1
    assert read.tags.count("figure") == 4 + 3  # ranking and three trade-offs; item, history and gender
    ids = sorted(value for name, value in read.attributes if name == "id")
    assert ids == sorted(set(re.findall(r'(?:url\(|href=")#([\w-]+)', page)))  # none twice, none missing


def test_every_plot_says_in_words_what_it_shows(page):
    labels = re.findall(r'<svg viewBox="[^"]*" role="img" aria-label="([^"]+)"', page)
    assert len(labels) == 7
    assert all("ease" in label for label in labels)


def test_nothing_is_loaded_from_elsewhere_and_nothing_runs(page):
    read = Page(page)
    assert not re.search(r"https?://|//[\w.]+/|@import|url\((?!#)", page)
    assert not {"script", "link", "img", "iframe"} & set(read.tags)
    assert all(not name.startswith("on") for name, _ in read.attributes)
    assert all(value.startswith("#") for name, value in read.attributes if name in ("href", "xlink:href", "src"))


def test_all_systems_and_all_figures_stand_on_the_page(page, full):
    text = Page(page).text
    for one in full["rows"]:
        assert one["system"] in text
        assert format(one["mean"], SHOWN.get(one["metric"], ".3f")) in text, one
    for one in full["comparisons"]:
        assert f"{one['delta']:+.4f}" in text
    for known in ("whyrec evaluate --seeds 2", "9f3ac1d2", "aa11bb22", "2.3.1", "250.5", "[1, null]", "7 without"):
        assert known in text


def test_tables_are_sorted_by_the_primary_metric(page):
    table = page[page.index('aria-label="Accuracy"') :]
    names = re.findall(r'<th scope="row">.*?<span>([^<]+)</span>', table[: table.index("</table>")])
    assert tuple(names) == SYSTEMS


def test_a_page_of_twenty_systems_is_small():
    systems = [f"a rather long name of a system, number {number}" for number in range(20)]
    html = render_page(report(full_rows(systems)))
    Page(html)
    assert len(html.encode()) < 1_500_000


def test_a_clear_winner_is_named_and_its_lead_called_proven():
    rows = [row("mf", mean=0.1), row("ease", mean=0.2), row("popularity", mean=0.05)]
    said = summary(render_page(report(rows, [comparison("ease", "mf", 0.1), comparison("ease", "popularity", 0.15)])))
    assert "Of 3 systems, ease recommends best: its NDCG@10 is 0.2000 (95 % interval 0.1800–0.2200)." in said
    assert "Its lead over the next, mf (0.1000), is proven" in said
    assert "All others are worse beyond chance." in said
    assert "cannot be told apart" not in said


def test_a_planted_tie_is_not_called_a_win():
    rows = [row("mf", mean=0.1), row("ease", mean=0.101), row("popularity", mean=0.05)]
    compared = [comparison("mf", "ease", -0.001, 0.7), comparison("ease", "popularity", 0.05)]
    html = render_page(report(rows, compared))
    assert "is not proven: the difference is +0.0010 (95 % interval −0.0090 to +0.0110), p = 0.70" in summary(html)
    assert "It cannot be told apart from mf; the other one is worse beyond chance." in summary(html)
    assert re.search(r"0\.1000<span class=\"level\"[^>]*> ≈</span>", html)


def test_what_was_not_compared_is_not_called_proven():
    said = summary(render_page(report([row("mf", mean=0.1), row("ease", mean=0.2)])))
    assert "was not tested" in said
    assert "No test compared it with mf." in said
    assert "worse" not in said


@pytest.mark.parametrize(
    ("p_values", "sentence"),
    [
        ((0.01, 0.01, 0.01), "All others are worse beyond chance."),
        ((0.6, 0.6, 0.6), "It cannot be told apart from b, c and d."),
        ((0.6, 0.01, 0.01), "It cannot be told apart from b; the other 2 are worse beyond chance."),
        ((0.01, 0.01, None), "Beyond chance, 2 of the others are worse; no test compared it with d."),
        ((0.6, 0.01, None), "It cannot be told apart from b; beyond chance, one of the others is worse; no test"),
        ((0.6, None, None), "It cannot be told apart from b; no test compared it with c and d."),
    ],
)
def test_the_summary_tells_level_worse_and_untested_apart(p_values, sentence):
    rows = [row(name, mean=0.2 - place / 50) for place, name in enumerate("abcd")]
    compared = [comparison("a", name, 0.02, p) for name, p in zip("bcd", p_values, strict=True) if p]
    assert sentence in summary(render_page(report(rows, compared)))


def test_of_two_comparisons_of_a_pair_the_less_sure_one_counts():
    rows = [row("mf", mean=0.1), row("ease", mean=0.12)]
    compared = [comparison("ease", "mf", 0.02, 0.01), comparison("mf", "ease", -0.02, 0.2)]
    assert "It cannot be told apart from mf." in summary(render_page(report(rows, compared)))


def test_a_primary_metric_may_be_better_when_lower():
    rows = [row("mf", "rmse", 0, 0.9), row("bias-knn", "rmse", 0, 0.8)]
    compared = [{**comparison("bias-knn", "mf", -0.1, metric="rmse"), "k": 0}]
    html = render_page(report(rows, compared, primary={"metric": "rmse", "k": 0}))
    assert "bias-knn recommends best: its RMSE is 0.8000" in summary(html)
    assert "is proven: the difference is +0.1000" in summary(html)


def test_equal_figures_share_the_first_place():
    said = summary(render_page(report([row(name, mean=0.1) for name in ("mf", "ease", "ials")])))
    assert "ease, ials and mf share the best NDCG@10" in said
    assert "cannot be told apart" in said


def test_one_system_is_not_called_a_winner():
    html = render_page(report(full_rows(["popularity"]), seeds=[0]))
    Page(html)
    assert "Only popularity was measured" in summary(html)
    assert "best" not in summary(html)
    assert 'class="best"' not in html


HOSTILE = '<script>alert("1")</script> & $x^2$ url(#a) id="b" {{ 7 * 7 }} 電影\n_'


def test_names_and_notes_are_text_and_never_markup():
    rows = [*full_rows([HOSTILE, "ease"]), row("ease", stratum=f"{HOSTILE}={HOSTILE}"), row("ease", HOSTILE)]
    hostile = dict.fromkeys(("command", "data", "split", "relevant", "created"), HOSTILE)
    nested = {"notes": [HOSTILE], "versions": {HOSTILE: HOSTILE}, "parameters": {HOSTILE: {HOSTILE: HOSTILE}}}
    html = render_page(report(rows, [comparison(HOSTILE, "ease", metric=HOSTILE)], **hostile, **nested))
    read = Page(html)
    assert "script" not in read.tags
    assert '<script>alert("1")</script> & $x^2$' in read.text
    assert "49" not in re.findall(r"\b49\b", read.text)


SMALL = report(full_rows(SYSTEMS[:2]), [comparison("ease", "ials")])
MISSING = "metric=ndcg metric=latency-p50 metric=popularity stratum=all stratum=item=cold stratum=gender".split()


@pytest.mark.parametrize("missing", MISSING)
def test_any_figure_may_be_missing(missing):
    key, _, value = missing.partition("=")
    Page(render_page({**SMALL, "rows": [one for one in SMALL["rows"] if one[key] != value]}))


def test_systems_need_not_have_the_same_figures():
    mixed = [one for place, one in enumerate(SMALL["rows"]) if place % 2 or one["metric"] == "ndcg"]
    Page(render_page({**SMALL, "rows": mixed}))
    measured = [one for one in mixed if one["system"] == "ease" or one["metric"] != "ndcg"]
    assert "Only ease was measured" in summary(render_page({**SMALL, "rows": measured}))


def test_a_report_without_any_figure_says_so():
    for rows in ([], [row("mf", mean=None)], [row("mf", mean=math.nan)]):
        html = render_page(report(rows, seeds=[], notes=[], parameters={}, fingerprints={}))
        Page(html)
        assert "No system has a figure for NDCG@10" in summary(html)
        assert "No two systems were compared." in html


@pytest.mark.parametrize("value", [None, math.nan])
def test_null_figures_are_dashes(value):
    rows = [row("mf"), row("ease", mean=None), row("mf", "recall", high=value), row("ease", "recall", mean=0.0)]
    unknown = dict.fromkeys(("delta", "low", "high", "effect", "p", "p_holm"), value)
    html = render_page(report(rows, [comparison("mf", "ease") | unknown | {"n_users": None}]))
    text = Page(html).text
    assert "Only mf was measured" in text
    assert "nan" not in text.casefold()
    assert "not tested" in text


def test_latencies_of_zero_are_left_out_of_the_logarithmic_plot():
    rows = [row("mf"), row("ease"), row("mf", "latency-p50", 10, 0.0), row("ease", "latency-p50", 10, 3.0)]
    assert "Accuracy against latency" in render_page(report(rows))
    assert "Accuracy against latency" not in render_page(report([one for one in rows if one["mean"] != 3.0]))


def test_a_metric_nobody_described_is_shown_under_its_own_name():
    rows = [row("mf"), row("mf", "serendipity", 10, 0.123), row("mf", "serendipity", 20, 0.456)]
    text = Page(render_page(report(rows))).text
    assert all(shown in text for shown in ("serendipity", "0.123", "0.456"))


def test_two_figures_for_the_same_thing_are_refused():
    with pytest.raises(ValueError, match="two figures of 'mf'"):
        render_page(report([row("mf"), row("mf", mean=0.2)]))


@pytest.mark.parametrize("split", SPLITS)
def test_every_split_is_explained(split):
    text = Page(render_page(report([row("mf")], split=split))).text
    assert ("Events were split into parts" in text) == (split == "a-split-of-tomorrow")


def test_the_same_report_gives_the_same_page():
    same = report([row("mf"), row("ease", mean=0.2), row("mf", "diversity"), row("mf", stratum="item=warm")])
    assert render_page(same) == render_page(same)
