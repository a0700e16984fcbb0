"""A command of the unified core, carried out on bytes.

What a pass does is a kernel ``(values, vector, piece)``, named in its row of `etasim.ops.passes`. Operands of a pass that streams are
integers when it is called, in the rows of their numbers, and its results become elements afterwards; others read and write for themselves.
A piece is read before anything of it is written, so a result may take the place of an operand.
"""

import numpy as np

from etasim.core.arrays import Records
from etasim.core.jit import chooser, kernel, named
from etasim.functional.operands import PlanePiece, plane_of, read, unit_of, write
from etasim.functional.tables import CoreValues
from etasim.ops.passes import all_passes
from etasim.program import roles
from etasim.program.commands import MAX_READS
from etasim.program.roles import role_of

_WRITTEN_BY_THE_PASS = np.isin(np.arange(roles.N_ROLES), (roles.STATISTIC, roles.PARAMETER_GRADIENT, roles.MAGNITUDE))
"""Results that a command of a pass that streams may have room for before the last of them is known, or after."""

_STREAMS = np.array([step.streams for step in all_passes()])
_run = chooser("run_pass", ("values", "vector", "piece"), [named(step.kernel) for step in all_passes()])


@kernel
def execute_pass(values: CoreValues, vectors: Records, row: int) -> None:
    """Carry out command ``vectors[row]`` of the unified core on ``values`` (CoreValues)."""
    vector = vectors[row]
    kind, unit = vector["kind"], unit_of(vector)
    n_elements = vector["n_elements"][0 if vector["n_reads"] > 0 else MAX_READS]
    step = values.pieces.shape[1] if _STREAMS[kind] else n_elements
    for block in range(vector["n_blocks"]):
        for sample in range(vector["n_samples"]):
            plane = plane_of(values, vector, unit, block, sample)
            for first in range(0, n_elements, step):
                piece = PlanePiece(plane, first, min(n_elements - first, step), (vector["first_element"][0] + first) % values.lanes)
                if _STREAMS[kind]:
                    for i in range(vector["n_reads"]):
                        read(values, vector, i, plane, first, piece.n_elements)
                _run(kind, values, vector, piece)
                if _STREAMS[kind]:
                    for i in range(MAX_READS, MAX_READS + vector["n_writes"]):
                        if not _WRITTEN_BY_THE_PASS[role_of(vector["tensor"][i])]:
                            write(values, vector, i, i, plane, first, piece.n_elements)
