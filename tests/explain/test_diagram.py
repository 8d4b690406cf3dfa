"""The diagram: what stands in it, that nothing lies on anything else, and its three languages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import combinations, pairwise
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from torch import nn

from netwright.errors import NetwrightError
from netwright.explain.diagram import Diagram, diagram_of
from netwright.explain.graph import Frame, inside
from netwright.explain.layout import Layout, lay_out

Made = Callable[[str], tuple[nn.Module, Any]]
SVG = "{http://www.w3.org/2000/svg}"


def frames(frame: Frame) -> Iterator[Frame]:
    for item in frame.items:
        if isinstance(item, Frame):
            yield item
            yield from frames(item)


def drawn(diagram: Diagram) -> list[tuple[str, str]]:
    """The arrows as the titles of their boxes."""
    boxes = {end: box for box in inside(diagram.graph.root) for end in box.ends}
    found = [(boxes[a], boxes[b]) for a, b in sorted(diagram.graph.arrows) if a in boxes and b in boxes]
    return [(a.lines[0], b.lines[0]) for a, b in found if a is not b]


def test_a_chain_with_its_activations_inside(made: Made) -> None:
    diagram = diagram_of(*made("mlp"))
    chain = ["input", "Flatten", "Linear", "Linear", "output"]
    assert sorted(drawn(diagram)) == sorted(pairwise(chain))
    linear = next(box for box in inside(diagram.graph.root) if box.lines[0] == "Linear")
    assert linear.lines == ["Linear", "ReLU", "Dropout"] and linear.shape == "2×64 → 2×16"


def test_skips_lead_around_what_they_skip(made: Made) -> None:
    arrows = drawn(diagram_of(*made("unet")))
    assert arrows.count(("MaxPool2d", "Conv2d 3×3")) == 2
    # Each concatenation takes what came up, and what was kept on the way down.
    assert arrows.count(("ConvTranspose2d 2×2, stride 2", "concatenate")) == 2
    assert arrows.count(("Conv2d 3×3", "concatenate")) == 2


def test_equal_blocks_are_drawn_once(made: Made) -> None:
    transformer = diagram_of(*made("transformer"))
    (only,) = frames(transformer.graph.root)
    assert (only.title, only.times) == ("TransformerEncoderLayer", 6)
    assert [box.lines[0] for box in inside(only)] == ["Attention, 4 heads", "+", "Linear", "Linear", "+"]
    assert "TransformerEncoderLayer × 6" in transformer.svg()
    resnet = diagram_of(*made("resnet"))
    assert [frame.times for frame in frames(resnet.graph.root) if frame.times > 1] == [2]


def test_blocks_whose_outputs_others_take_too_are_all_drawn() -> None:
    class Dense(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.Tanh()) for _ in range(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            kept = []
            for block in self.blocks:
                x = block(x)
                kept.append(x)
            return torch.cat(kept, 1)

    diagram = diagram_of(Dense(), torch.zeros(1, 4))
    assert [box.lines[0] for box in inside(diagram.graph.root)].count("Linear") == 3


def test_two_inputs(made: Made) -> None:
    arrows = drawn(diagram_of(*made("two")))
    assert ("input 1", "Linear") in arrows and ("input 2", "Linear") in arrows
    assert arrows.count(("Linear", "concatenate")) == 2


def test_many_boxes_are_closed() -> None:
    def block(width: int) -> nn.Module:
        return nn.Sequential(*(nn.Linear(width, width) for _ in range(6)), nn.Linear(width, width + 1))

    diagram = diagram_of(nn.Sequential(*(block(width) for width in range(1, 21))), torch.zeros(1, 1))
    boxes = list(inside(diagram.graph.root))
    assert len(boxes) == 22 and boxes[1].lines == ["Sequential", "7 layers"]


def test_a_long_list_is_cut_and_says_so() -> None:
    network = nn.Sequential(*(nn.Linear(width, width + 1) for width in range(1, 301)))
    diagram = diagram_of(network, torch.zeros(1, 1))
    assert len(list(inside(diagram.graph.root))) == 121
    assert any("182 more" in box.lines[0] for box in inside(diagram.graph.root))


def rectangles(layout: Layout) -> Iterator[None]:
    for one, other in combinations([place for place in layout.places if place.item is not None], 2):
        apart_x = abs(one.x - other.x) >= (one.width + other.width) / 2
        apart_y = one.y + one.height <= other.y or other.y + other.height <= one.y
        assert apart_x or apart_y, (one.item, other.item)
    for place in layout.places:
        assert place.x - place.width / 2 >= 0 and place.x + place.width / 2 <= layout.width
        assert place.y >= 0 and place.y + place.height <= layout.height
        if place.bends:
            beside = [other for other in layout.places if other.item is not None and other.row == place.row]
            assert all(abs(place.x - other.x) > other.width / 2 for other in beside), (
                "an arrow runs through a box"
            )
        if place.inner is not None:
            yield from rectangles(place.inner)
    yield


def test_nothing_lies_on_anything_else(made: Made, kind: str) -> None:
    assert list(rectangles(lay_out(diagram_of(*made(kind)).graph)))


def test_the_drawing_is_xml_with_a_title_and_texts(made: Made, kind: str) -> None:
    tree = ElementTree.fromstring(diagram_of(*made(kind)).svg())
    assert tree.get("role") == "img"
    title = tree.find(f"{SVG}title")
    assert title is not None and title.text is not None and title.text.startswith("Diagram of ")
    texts = [element.text for element in tree.iter(f"{SVG}text")]
    assert any(text and text.startswith("input") for text in texts) and "output" in texts


def test_names_cannot_leave_the_drawing() -> None:
    class Hostile(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.add_module('<script>alert("1")</script>\x1b', nn.Linear(2, 2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return next(self.children())(x)

    diagram = diagram_of(Hostile(), torch.zeros(1, 2))
    ElementTree.fromstring(diagram.svg())
    for text in (diagram.svg(), diagram.mermaid()):
        assert "<script" not in text and "\x1b" not in text
    assert r"\"1\"" in diagram.dot()


def test_mermaid_and_dot(made: Made, golden: Any) -> None:
    diagram = diagram_of(*made("transformer"))
    golden("transformer.mmd", diagram.text(".mmd"))
    golden("transformer.dot", diagram.text(".dot"))
    names = set(re.findall(r"^ *(b\d+) \[label", diagram.dot(), re.M))
    ends = set(re.findall(r"b\d+", " ".join(re.findall(r"^  (b\d+ -> b\d+);", diagram.dot(), re.M))))
    assert ends == names and len(names) == 11


def test_frames_in_frames_have_names_of_their_own(made: Made) -> None:
    text = diagram_of(*made("resnet")).mermaid()
    found = re.findall(r"subgraph (f\d+)", text)
    assert len(found) == len(set(found)) == 10


def test_an_ending_that_is_no_diagram(made: Made) -> None:
    with pytest.raises(NetwrightError, match=r"not \.png"):
        diagram_of(*made("mlp")).text(".png")


def test_a_single_layer_and_nothing_at_all() -> None:
    for network in (nn.Linear(3, 2), nn.Identity(), nn.Sequential()):
        diagram = diagram_of(network, torch.zeros(1, 3))
        assert next(inside(diagram.graph.root)).lines == ["input"]
        ElementTree.fromstring(diagram.svg())
