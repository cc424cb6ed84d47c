"""The task library: what most schedules need, ready to be named in a spec.

Modules here import what is heavy only where it is used: every child process loads all of them.
"""
