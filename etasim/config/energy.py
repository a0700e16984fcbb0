"""The energy of what a machine does, block by block and cycle by cycle, and the power that it takes without doing anything.

Every figure carries its source and the technology it is of; a source that begins with "assumed" says that there is none, and reports print
the word. A figure that is not known is left out, or null; the report then says what it leaves out.
"""

from fractions import Fraction
from typing import Annotated, ClassVar

from pydantic import Field

from etasim.config.base import Section
from etasim.config.units import Energy, Power

ASSUMED = "assumed"

Source = Annotated[str, Field(min_length=1, max_length=500)]
Technology = Annotated[str, Field(min_length=1, max_length=100)]
Factor = Annotated[float, Field(strict=True, ge=0, le=1e3, allow_inf_nan=False)]


class Sourced(Section):
    """A figure, and where it comes from."""

    source: Source

    @property
    def is_assumed(self) -> bool:
        """Whether the figure has no source."""
        return self.source.startswith(ASSUMED)


class ActionEnergy(Sourced):
    """Energy of one action."""

    energy_joule: Energy = Field(alias="energy")
    technology: Technology


class StaticPower(Sourced):
    """Power that a resource takes all the time."""

    power_watt: Power = Field(alias="power")
    technology: Technology


class Activity(Sourced):
    """How often the signals of the logic toggle, in the activity that the energies of ``lut`` and ``nets`` are of."""

    factor: Factor

    @property
    def exact(self) -> Fraction:
        """The factor as it is written."""
        return Fraction(repr(self.factor))


class EnergyTable(Section):
    """Energies of the blocks that the machine is made of, each in a cycle in which it works. Those of the NoC's flits, if they are stated,
    and of DRAM are in their own sections.

    ``dsp_block``: a DSP block; ``memory_block``: a block memory that is enabled; ``lut``, ``nets``: a LUT and the wires behind it;
    ``flip_flop``: the clock's way to a flip-flop, in every cycle; ``static_power``: by a name of the resource.
    """

    MERGED_KEYS: ClassVar[tuple[str, ...]] = ("extends",)

    dsp_block: ActionEnergy | None = None
    memory_block: ActionEnergy | None = None
    lut: ActionEnergy | None = None
    nets: ActionEnergy | None = None
    activity: Activity | None = None
    flip_flop: ActionEnergy | None = None
    static_power: dict[str, StaticPower | None] = Field(default_factory=dict)

    @property
    def logic(self) -> ActionEnergy | None:
        """Energy of a LUT with its nets in a cycle, at the stated activity; None unless all three are known."""
        if self.lut is None or self.nets is None or self.activity is None:
            return None
        energy = (self.lut.energy_joule + self.nets.energy_joule) * self.activity.exact
        parts = (self.lut, self.nets, self.activity)
        source = "; ".join(dict.fromkeys(part.source for part in sorted(parts, key=lambda part: not part.is_assumed)))
        return self.lut.model_copy(update={"energy_joule": energy, "source": source})
