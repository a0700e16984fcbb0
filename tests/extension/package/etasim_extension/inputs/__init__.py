"""Input files that can be named like those of etasim: a DRAM part and a table of energies."""

from pathlib import Path

from etasim.core.registry import INPUT_FOLDERS

INPUT_FOLDERS.add("etasim_extension", Path(__file__).parent)
