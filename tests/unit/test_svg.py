"""Figures take no more bytes than they need."""

import re

from openjscc.report.svg import shorter

HEAD = '<svg viewBox="0 0 515.519997 344.68"><style type="text/css">*{stroke-linejoin: round}</style>\n'


def test_two_decimals_in_tags_only() -> None:
    text = HEAD + '<path d="M 1.234567 -0.000001 \nL 10 2.5"/>\n   <text x="3.999999">0.123456 dB</text></svg>'
    found = shorter(text)
    assert '<path d="M 1.23 -0 \nL 10 2.5"/>\n<text x="4">0.123456 dB</text>' in found
    assert 'viewBox="0 0 515.52 344.68"' in found


def test_what_scales_is_left() -> None:
    text = HEAD + '<g transform="translate(1.23456 2) scale(0.015625 -0.015625)"/></svg>'
    assert shorter(text) == text.replace("515.519997", "515.52")


def test_names_and_colours_are_left() -> None:
    text = HEAD + '<g clip-path="url(#p1.23456)" fill="#1.2345"/></svg>'
    assert 'clip-path="url(#p1.23456)" fill="#1.2345"' in shorter(text)


def test_a_style_that_occurs_often_is_named_once() -> None:
    text = HEAD + 3 * '<path style="stroke: red"/>' + 2 * '<use style="fill: blue"/>' + "</svg>"
    found = shorter(text)
    assert found.count("stroke: red") == 1
    assert found.count("fill: blue") == 2
    (name,) = re.findall(r"\.(\w+)\{stroke: red\}", found)
    assert found.count(f'<path class="{name}"/>') == 3
    assert shorter(found) == found


def test_words_and_other_classes_are_left() -> None:
    seen = '<text>say style="stroke: red"</text>'
    text = HEAD + 3 * '<path style="stroke: red"/>' + seen + '<path class="mine" style="stroke: red"/></svg>'
    found = shorter(text)
    assert seen in found
    assert '<path class="mine" style="stroke: red"/>' in found


def test_styles_keep_their_numbers() -> None:
    text = HEAD + '<path d="M 1.23456 2" style="opacity: 0.0041" x="2.71828"/></svg>'
    assert '<path d="M 1.23 2" style="opacity: 0.0041" x="2.72"/>' in shorter(text)
