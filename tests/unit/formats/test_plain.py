import csv
import io

from auricle.formats.registry import render
from auricle.types import Segment, Transcript


def test_the_text_ends_with_one_newline(transcript):
    body = render(transcript, "text").text
    assert body.startswith("Ask not")
    assert body.endswith("。\n")
    assert not body.endswith("\n\n")


def test_a_tsv_row_stays_one_row_whatever_the_text_holds():
    segment = Segment(id=0, start=1.2345, end=2.0, text=' a\tb\nc "d"')
    body = render(Transcript(text="", segments=(segment,), language="en", duration=2.0), "tsv").text
    rows = list(csv.reader(io.StringIO(body), delimiter="\t", quoting=csv.QUOTE_NONE))
    assert rows == [["start", "end", "text"], ["1234", "2000", 'a b c "d"']]
