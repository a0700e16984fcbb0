"""One cycle of all interfaces and routers, one by one."""

from etasim.core.channel import Channels
from etasim.core.jit import routine
from etasim.noc.interface import eject_flit, inject_flit
from etasim.noc.router import step_router
from etasim.noc.spec import NocSpec, NocState


@routine
def step_routers(spec: NocSpec, state: NocState, inject: Channels, eject: Channels, now: int) -> bool:
    """Step everything; returns whether anything moved."""
    state.handed[0, 0] = 0
    progress = False
    for interface in range(spec.n_interfaces):
        if inject_flit(spec, state, inject, interface, now):
            progress = True
        if eject_flit(spec, state, eject, interface, now):
            progress = True
    for router in range(spec.n_routers):
        if step_router(spec, state, router, now):
            progress = True
    return progress
