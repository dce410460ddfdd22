"""The pad of a model, in a page without a kernel: it answers as Python does."""

import lab_driver
import pytest
import torch
from test_widgets_alone import Said, drawn, press, sentence, show, vit

from vit_steps.looking.widgets import digit_pad

if lab_driver.missing():
    pytest.skip(lab_driver.missing(), allow_module_level=True)


@pytest.mark.parametrize(
    "kind", [{"pool": "cls"}, {"pool": "mean"}, {"num_registers": 2}, {"pool": "mean", "num_registers": 3}]
)
def test_a_model_answers_in_the_browser_as_in_python(page, kind):
    model = vit(**kind).double()
    show(page, digit_pad(model, labels=["ant", "bee", "cat"]))
    before = drawn(page)
    page.get_by_role("application").focus()
    press(page, "Space ArrowDown ArrowDown ArrowRight")
    ink = torch.tensor(page.evaluate("window.model.get('ink')"), dtype=torch.float64).reshape(1, 1, 8, 6)
    assert ink.any()
    wanted, reply = (
        digit_pad(model, ink, labels=["ant", "bee", "cat"]).reply,
        page.evaluate("window.model.get('reply')"),
    )
    assert sentence(page) == Said(wanted["sentence"])
    for name in ("scores", "attention"):  # Python's were drawn in single precision
        torch.testing.assert_close(torch.tensor(reply[name]), torch.tensor(wanted[name]), rtol=0, atol=1e-6)
    assert (drawn(page) != before).any()
    assert page.evaluate("window.model.sent") == 4, "what is answered here is sent with its ink"
    assert not page.complaints
