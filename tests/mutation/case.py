"""What a mutant is run on: small machines with every part at work, values beside the cycles. The last line says what stopped it."""


from small_networks import TINY, architecture, conv, layer, network

from etasim.machine import simulate
from etasim.machine.errors import ConservationError, DeadlockError, ProgramError

PICTURES = network(
    (2, 5, 5),
    conv("conv1", 4, kernel=3, stride=2, padding=1),
    layer("norm1", "norm"),
    layer("relu1", "relu"),
    layer("pool1", "maxpool", kernel=2, stride=1),
    classes=3,
    name="pictures",
)
NARROW = {"array__deinterleave_stride": False, "noc__multicast": False, "buffers__error__ports": "1RW", "dma__outstanding_bursts": 3}
DEEP = {
    "buffers__second__size": "2 KiB", "buffers__second__banks": 2, "buffers__second__ports": "1RW", "buffers__second__read_latency": 3,
    "host__link_rate": "500 MB/s", "host__latency": "100 ns", "host__commands_in_flight": 2,
}  # fmt: skip
"""A second level, and a host."""
CASES = (
    (architecture(), TINY, 1),
    (architecture(**NARROW), PICTURES, 2),
    (architecture(**DEEP), TINY, 2),
)
"""(machine, network, batch)."""


def outcome() -> str:
    """``survived``, or what caught the mutant: ``program``, ``conservation``, ``deadlock``, ``values``; ``crash`` where it fell over by
    itself."""
    for chosen, net, batch in CASES:
        try:
            result = simulate(chosen, net, batch=batch, functional=True)
        except ProgramError as error:
            return f"program: {str(error).splitlines()[1].strip()}"
        except ConservationError as error:
            return f"conservation: {str(error).splitlines()[1].strip()}"
        except DeadlockError as error:
            return f"deadlock: {str(error).splitlines()[0]}"
        except Exception as error:
            return f"crash: {type(error).__name__}: {error}"
        if result.values.mismatch is not None:
            return f"values: {result.values.mismatch}"
    return "survived"


if __name__ == "__main__":
    print(outcome().replace("\n", " "))

