"""Methods of DeepSpeed are replaced only in the version whose source is known."""

import pytest
from deepspeed.runtime.engine import DeepSpeedEngine

from pipeline.engine import replacing
from pipeline.engine.replacing import KNOWN, replace_method, require_known


@pytest.mark.parametrize(("kind", "name"), KNOWN, ids=lambda part: getattr(part, "__name__", part))
def test_the_installed_deepspeed_has_the_methods_that_are_replaced(kind, name):
    """If this fails after an update of DeepSpeed: read what changed in the method, see whether what replaces it or
    relies on it (pipeline/engine/passes.py, accumulation.py) still holds, and enter the new digest.
    """
    require_known(kind, name)


class Owner:
    """An object with a method to replace."""

    def method(self):
        return "theirs"


def test_a_method_is_replaced_on_one_object(monkeypatch):
    """The object has the new method, and others of its class the old one."""
    monkeypatch.setitem(KNOWN, (Owner, "method"), replacing.digest(Owner.method))
    owner = Owner()
    replace_method(owner, "method", lambda: "ours")
    assert (owner.method(), Owner().method()) == ("ours", "theirs")


@pytest.mark.parametrize("changed", [lambda self: "another", None])
def test_a_changed_method_is_an_error(monkeypatch, changed):
    """A method with another source, or none of its name, is an error that names it and the remedy."""
    monkeypatch.setattr(DeepSpeedEngine, "allreduce_gradients", changed)
    with pytest.raises(ValueError, match=r"DeepSpeedEngine\.allreduce_gradients is not the .*; install the version in"):
        require_known(DeepSpeedEngine, "allreduce_gradients")
