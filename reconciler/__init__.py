"""A declarative reconciler for scheduled tasks: git says what should run, and this keeps it so."""

__version__ = "0.1.0"
