"""The energy of what a machine does, action by action, and the power that it takes without doing anything.

Every figure carries its source and the technology it is of. A figure that is not known is left out, or null; the report then
says what it leaves out.
"""

from collections.abc import Iterable
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from etasim.config.base import Section, Violation, require
from etasim.config.units import Energy, Power, Size

Source = Annotated[str, Field(min_length=1, max_length=500)]
Technology = Annotated[str, Field(min_length=1, max_length=100)]


class ActionEnergy(Section):
    """Energy of one action, and where the figure comes from."""

    energy_joule: Energy = Field(alias="energy")
    source: Source
    technology: Technology


class MemoryEnergy(ActionEnergy):
    """Energy of one byte read from, or written to, a memory of up to ``size``."""

    size_bytes: Size = Field(alias="size")


class StaticPower(Section):
    """Power that a resource takes all the time."""

    power_watt: Power = Field(alias="power")
    source: Source
    technology: Technology


class MacEnergy(Section):
    """Energy of a multiply-accumulate by the width of its wider operand."""

    bits_8: ActionEnergy | None = None
    bits_16: ActionEnergy | None = None
    bits_32: ActionEnergy | None = None
    bits_64: ActionEnergy | None = None


class EnergyTable(Section):
    """Energies of the actions that the machine counts. Those of the NoC and of DRAM are in their own sections.

    ``psum_update``: one accumulator read, added to and written; ``memory_byte``: by size, increasing; ``lane_operation``: of the
    unified core; ``static_power``: by a name of the resource.
    """

    MERGED_KEYS: ClassVar[tuple[str, ...]] = ("extends",)

    mac: MacEnergy = Field(default_factory=MacEnergy)
    psum_update: ActionEnergy | None = None
    memory_byte: tuple[MemoryEnergy, ...] = ()
    lane_operation: ActionEnergy | None = None
    static_power: dict[str, StaticPower | None] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        require(self._violations())
        return self

    def _violations(self) -> Iterable[Violation]:
        sizes = [entry.size_bytes for entry in self.memory_byte]
        for i in range(1, len(sizes)):
            if sizes[i] <= sizes[i - 1]:
                yield ("memory_byte", i, "size"), f"must be larger than the one before, {sizes[i - 1]} B, got {sizes[i]} B"

    def mac_of(self, bits: int) -> ActionEnergy | None:
        """Energy of a multiply-accumulate whose wider operand has ``bits``."""
        energy: ActionEnergy | None = getattr(self.mac, f"bits_{bits}")
        return energy

    def memory_of(self, size_bytes: int) -> MemoryEnergy | None:
        """Energy of a byte of a memory of ``size_bytes``: that of the next larger size in the table, None beyond the last."""
        return next((entry for entry in self.memory_byte if size_bytes <= entry.size_bytes), None)
