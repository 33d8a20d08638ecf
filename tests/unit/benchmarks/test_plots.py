"""The plots of the docs."""

from pathlib import Path
from xml.etree import ElementTree

import pytest
from benchmarks.plots import draw_chart, draw_run, y_steps

SVG = "{http://www.w3.org/2000/svg}"


def _document(*results: dict) -> dict:
    return {"model": {"shape": "base", "quantization": "int8"}, "settings": {"threads": 2}, "results": list(results)}


def _curve(subject: str) -> dict:
    levels = [{"concurrency": count, "rtfx": 5.0 * count, "p95_s": 0.5 * count} for count in (1, 2, 4)]
    return {"id": "CURVE", "subject": subject, "details": {"levels": levels}}


def test_every_line_is_drawn_and_named():
    lines = {"a <b> & c": [(1.0, 2.0), (4.0, 8.0)], "other": [(1.0, 1.0), (2.0, 0.0), (4.0, 10.0)]}
    root = ElementTree.fromstring(draw_chart("Title", "x", "y", lines))

    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert {"Title", "x", "y", "a <b> & c", "other", "1", "2", "4", "10"} <= set(texts)
    assert len(root.findall(f"{SVG}polyline")) == 2
    assert len(root.findall(f"{SVG}circle")) == 5


def test_the_axes_are_logarithmic_across_and_begin_at_nothing_below():
    points = [(1.0, 0.0), (4.0, 5.0), (16.0, 10.0)]
    root = ElementTree.fromstring(draw_chart("", "", "", {"line": points}))
    places = [(float(c.attrib["cx"]), float(c.attrib["cy"])) for c in root.iter(f"{SVG}circle")]

    (x1, y1), (x2, y2), (x3, y3) = places
    assert x2 - x1 == pytest.approx(x3 - x2)
    assert y1 - y2 == pytest.approx(y2 - y3)
    assert (y1, y3) == (348, 44)


@pytest.mark.parametrize("highest", [0.0007, 0.3, 1, 1.01, 9.99, 10, 47, 251, 10_000])
def test_steps_are_few_and_reach_the_highest(highest: float):
    steps = y_steps(highest)

    assert steps[0] == 0
    assert steps[-1] >= highest * (1 - 1e-9)
    assert 3 <= len(steps) <= 8


def test_a_chart_of_nothing_is_refused():
    with pytest.raises(ValueError, match="nothing"):
        draw_chart("", "", "", {})


def test_a_single_point_is_drawn():
    assert "<circle" in draw_chart("", "", "", {"one": [(5.0, 0.0)]})


def test_a_run_with_curves_gives_images_that_exist(tmp_path: Path):
    points = [{"audio_s": 10, "seconds": 1.0}, {"audio_s": 60, "seconds": 3.0}]
    length = {"id": "LENGTH", "subject": "auricle", "details": {"points": points}}

    images = draw_run(_document(_curve("auricle"), _curve("one-lock"), length), tmp_path / "plots")

    assert len(images) == 3
    for image in images:
        assert (tmp_path / image.partition("](")[2].rstrip(")")).is_file()


def test_a_run_without_curves_draws_nothing(tmp_path: Path):
    other = {"id": "C1", "subject": "auricle", "details": {}}
    assert draw_run(_document(other), tmp_path / "plots") == []
    assert not (tmp_path / "plots").exists()
