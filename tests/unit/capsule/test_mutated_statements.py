"""A changed statement of a packer is refused, never a traceback."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutation import QUICK
from remake import opened

from kit.capsule import bag
from kit.capsule.statement import read_signed
from kit.core.errors import IntegrityError
from kit.result.keys import Trusted


@pytest.fixture(scope="module")
def signed(honest):
    return opened(honest).tags


@QUICK
@given(data=st.data())
def test_a_statement_with_any_byte_changed_is_refused(signed, data):
    tags = dict(signed)
    name = data.draw(st.sampled_from((bag.STATEMENT, bag.PACKER, bag.RUN_MD, bag.MANIFEST, bag.INFO)))
    at = data.draw(st.integers(0, len(tags[name]) - 1))
    new = data.draw(st.binary(max_size=3).filter(lambda b: b != tags[name][at : at + 1]))
    tags[name] = tags[name][:at] + new + tags[name][at + 1 :]
    with pytest.raises(IntegrityError, match=r"^capsule\.json: "):
        read_signed(tags, Trusted(()))


@QUICK
@given(data=st.binary(max_size=300))
def test_other_bytes_are_refused(signed, data):
    for name in bag.SIGNED:
        with pytest.raises(IntegrityError, match=r"^capsule\.json: "):
            read_signed({**signed, name: data}, Trusted(()))
