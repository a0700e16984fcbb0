"""The section ``array``: clusters of PEs, their shapes, and what stands between their chunks."""

from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from etasim.config.base import Clusters, Count, Delay, Section, Switch, Violation, require
from etasim.config.units import Size, Width

WIDEST_ACCUMULATOR_BITS = 96
"""Two DSP48E1 accumulators in a row."""

AccumulatorWidth = Annotated[Width, Field(le=WIDEST_ACCUMULATOR_BITS)]
"""Bits of a psum."""


class Pipeline(Section):
    """Stages of a PE in cycles; the adder tree adds log2(lanes)."""

    operand_read: Delay
    multiply: Delay
    accumulate: Delay


class GradientShape(Section):
    """The array in WG, made of the same multipliers: input channels and pixels that a PE meets in a cycle."""

    columns: Count
    lanes: Count


class Fill(Section):
    """Cycles in which the array takes nothing in: behind each ``sweep``, as a systolic array whose operands come skewed; behind each
    ``pass``, as for its results or a stage that aligns products of different scales; once for each ``phase`` that it turns to."""

    sweep_cycles: Delay = Field(0, alias="sweep")
    pass_cycles: Delay = Field(0, alias="pass")
    phase_cycles: Delay = Field(0, alias="phase")


NO_FILL = Fill.model_validate({})


class Array(Section):
    """Clusters of PEs, each PE of ``columns`` x ``lanes`` multipliers, in WG of those of ``weight_gradient``, where it is given.

    ``zero_insertion``: the errors of a strided convolution are stored stretched by the stride, and BP and WG are convolutions of stride 1
    over them, zeros included. ``prefetch: within_pass``: the operands of a pass are sent when the pass before is multiplied; null: while it
    is. ``accumulator: float``: sums that do not overflow, whose values are not computed; null: integers.
    """

    clusters: Clusters
    pes_per_cluster: Count
    columns: Count
    lanes: Count
    accumulator_width_bits: AccumulatorWidth = Field(alias="accumulator_width")
    psum_depth: Count
    stream_scratchpad_bytes: Size = Field(alias="stream_scratchpad")
    stationary_scratchpad_bytes: Size = Field(alias="stationary_scratchpad")
    deinterleave_stride: Switch
    zero_insertion: Switch = False
    weight_gradient: GradientShape | None = None
    prefetch: Literal["within_pass"] | None = None
    accumulator: Literal["float"] | None = None
    fill: Fill | None = None
    pipeline: Pipeline

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        require(self._violations())
        return self

    def _violations(self) -> Iterable[Violation]:
        shape, here, given = self.weight_gradient, self.columns * self.lanes, "array.columns * array.lanes"
        if shape is not None and shape.columns * shape.lanes != here:
            yield ("weight_gradient",), f"columns * lanes must be {given} = {here}, the same multipliers, got {shape.columns * shape.lanes}"

    @property
    def gradient(self) -> GradientShape:
        """The shape in WG."""
        return self.weight_gradient or GradientShape(columns=self.columns, lanes=self.lanes)

    @property
    def macs_per_cycle(self) -> int:
        """Multipliers of the whole array."""
        return self.clusters * self.pes_per_cluster * self.columns * self.lanes
