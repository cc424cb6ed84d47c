"""From specs to the two stores: one pass, and pass after pass."""
