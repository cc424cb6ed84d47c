"""Git as a place that specs come from: which revision is there, its files, what it descends from, who signed it.

Only the `git` command is used, and nothing of a repository is run. What the files mean is not known here. All of it
blocks for as long as git takes: call it in a thread where a loop waits.
"""

from reconciler.gitrepo.origin import Origin, origin_of
from reconciler.gitrepo.revision import NO_REVISION, Descended, Descent, Removal, Revision
from reconciler.gitrepo.workingtree import revision_of

__all__ = ["NO_REVISION", "Descended", "Descent", "Origin", "Removal", "Revision", "origin_of", "revision_of"]
