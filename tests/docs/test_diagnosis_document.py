"""docs/diagnosis.md: the code on it runs, and gives what its comments say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

PAGE = (Path(__file__).parents[2] / "docs" / "diagnosis.md").read_text(encoding="utf-8")


def test_the_code_on_the_page_gives_what_it_says() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(block, names)
    diagnosis = names["diagnosis"]
    assert f'diagnosis.named.kind  # "{diagnosis.named.kind}"' in block
    assert list(diagnosis.named.prescription.options) == ["learning_rate"]
    assert diagnosis["neurons"].sentence
