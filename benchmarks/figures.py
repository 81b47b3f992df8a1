"""A figure: two things measured in turn, several times, and the ratio pair by pair.

A machine's speed drifts; two measurements a second apart drift together, so the median of their ratios can be trusted
where neither number can.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Figure:
    """One line of the report. `aim` says in words what the ratio should be."""

    name: str
    unit: str
    ours: list[float]
    theirs: list[float]
    aim: str

    @property
    def ratios(self) -> list[float]:
        """Ours by theirs, pair by pair."""
        return [mine / other for mine, other in zip(self.ours, self.theirs, strict=True)]

    def cells(self) -> list[str]:
        """The line: both medians, the median ratio and its span, the aim."""
        ratios = self.ratios
        return [
            self.name,
            f"{median(self.ours):,.1f} {self.unit}",
            f"{median(self.theirs):,.1f} {self.unit}",
            f"{median(ratios):.2f}",
            f"{min(ratios):.2f}–{max(ratios):.2f}",
            self.aim,
        ]
