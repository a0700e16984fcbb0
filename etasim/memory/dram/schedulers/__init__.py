"""The DRAM schedulers of etasim, one file each; their order is that of the reports."""

from etasim.memory.dram.schedulers import fr_fcfs, fr_fcfs_row_hit, fr_fcfs_blocking, fcfs, bank_round_robin  # noqa: F401, I001
