"""The drawing of a block holds what a block holds."""

from vit_steps.looking.the_block import plot_block


def test_the_parts_of_a_block_stand_in_the_order_they_run(ax):
    boxes = plot_block(ax)
    places = [box.get_x() for box in boxes]
    assert places == sorted(places)
    upright = [text for text in ax.texts if text.get_style() == "normal"]
    inside = {round(text.get_position()[0], 3): text.get_text() for text in upright}
    middles = [round(box.get_x() + box.get_width() / 2, 3) for box in boxes]
    assert [inside[middle] for middle in middles] == ["norm", "attention", "norm", "MLP"]
    assert [box.get_linewidth() > 1 for box in boxes] == [False, True, False, False]
