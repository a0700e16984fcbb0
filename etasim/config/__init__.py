"""Architectures: YAML in, validated frozen values out. Knows nothing of how a machine is simulated."""

from etasim.config.architecture import Architecture
from etasim.config.catalog import find_input, shipped, shipped_names
from etasim.config.dram_part import DramPart, parse_mapping
from etasim.config.errors import InputError, Problem, allowed_names, suggest
from etasim.config.loading import load_architecture
from etasim.config.pins import Pins
from etasim.config.reading import read_yaml
from etasim.config.variants import BaseArchitecture

__all__ = [
    "Architecture",
    "BaseArchitecture",
    "DramPart",
    "InputError",
    "Pins",
    "Problem",
    "allowed_names",
    "find_input",
    "load_architecture",
    "parse_mapping",
    "read_yaml",
    "shipped",
    "shipped_names",
    "suggest",
]
