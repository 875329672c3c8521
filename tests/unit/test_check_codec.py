"""`check_codec` finds out every cheat, and says which rule is broken in one sentence."""

from __future__ import annotations

import pytest

from cheats import CHEATS, Honest
from openjscc.testing import CheckFailed, check_codec


def test_an_honest_codec_passes():
    check_codec(Honest())


@pytest.mark.parametrize(("cheat", "sentence"), CHEATS.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_a_cheat_is_found_out(cheat: type[Honest], sentence: str):
    if not sentence:
        return check_codec(cheat())
    with pytest.raises(CheckFailed, match=sentence) as found:
        check_codec(cheat())
    assert "\n" not in str(found.value)
    return None
