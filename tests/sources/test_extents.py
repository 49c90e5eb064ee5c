from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from phenostream.sources.extents import Extent, missing, pieces

spans = st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda pair: (min(pair), max(pair)))
extents = st.lists(spans.map(lambda span: Extent(*span)), max_size=8)


def positions(spans):
    return {place for start, stop in spans for place in range(start, stop)}


@given(extents, spans)
def test_missing_is_what_is_not_covered(held, span):
    absent = positions([span]) - positions((one.start, one.stop) for one in held)
    assert positions(missing(held, *span)) == absent


@given(extents, spans, st.integers(0, 10))
def test_near_gaps_are_joined_and_far_ones_are_not(held, span, join):
    found = missing(held, *span, join=join)
    exact = missing(held, *span)
    assert all(before[1] + join < after[0] for before, after in pairwise(found))
    assert {start for start, _ in found} <= {start for start, _ in exact}
    assert positions(exact) <= positions(found) <= positions([span])


@given(extents, spans)
def test_pieces_give_every_byte_once_and_in_order(held, span):
    found = pieces(held, *span)
    if missing(held, *span):
        assert found is None
        return
    assert [place for _, start, stop in found for place in range(start, stop)] == list(range(*span))
    assert all(one in held and one.start <= start < stop <= one.stop for one, start, stop in found)
