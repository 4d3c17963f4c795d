"""Warnings on the command line: our own are words, others' are Python's."""

import warnings

import pytest

from pbpk import commands
from pbpk.errors import Note


def test_a_note_is_one_line_of_words(monkeypatch, capsys):
    def verb(standalone_mode):
        warnings.warn("the JAX engine solves this model", Note, stacklevel=1)
        warnings.warn("somebody else's", DeprecationWarning, stacklevel=1)

    monkeypatch.setattr(commands, "app", verb)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        commands.main()
    said = capsys.readouterr().err
    assert "note: the JAX engine solves this model\n" in said
    assert "DeprecationWarning: somebody else's" in said


def test_a_note_is_a_warning_that_can_be_caught():
    with pytest.warns(Note, match="slower"):
        warnings.warn("slower", Note, stacklevel=1)
