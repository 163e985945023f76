"""Configurations as text, built."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from gatewright.errors import ConfigError, Problem
from gatewright.snapshot.build import Built, build_snapshot

LISTENERS = "listeners: [{name: public, bind: 127.0.0.1:8000}]\n"


class Build:
    """Writes a configuration and builds it. Without a listener it gets one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(
        self,
        text: str,
        *,
        environ: Mapping[str, str] | None = None,
        addresses: Mapping[str, Sequence[str]] | None = None,
        version: int = 1,
    ) -> Built:
        file = self.folder / "gateway.yaml"
        file.write_text(text if "\nlisteners:" in f"\n{text}" else LISTENERS + text, encoding="utf-8")
        return build_snapshot([file], environ=environ or {}, addresses=addresses, version=version)

    def errors(self, text: str) -> list[Problem]:
        """The problems of a configuration that must be refused."""
        with pytest.raises(ConfigError) as caught:
            self(text)
        return caught.value.problems

    def messages(self, text: str) -> list[str]:
        """Their messages."""
        return [problem.message for problem in self.errors(text)]

    def warnings(self, text: str) -> list[str]:
        """The messages of the warnings of a configuration that must be good."""
        return [problem.message for problem in self(text).problems]


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., Built]:
    return Build(tmp_path)


@pytest.fixture(autouse=True)
def _system_trust(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system trusts somebody, whatever this machine has."""
    monkeypatch.setenv("SSL_CERT_FILE", __file__)
