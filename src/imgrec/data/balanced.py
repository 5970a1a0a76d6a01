"""Choose which image stands in each place of a class-balanced epoch (data.sampler=balanced).

An epoch has a place for each image of the training set, and its places belong to the classes in turn. So every class
has the same number of places, and an image of a rare class stands in several. The images of a class take its places
pass by pass over the whole training: no image comes again before all others of its class have come.
"""

# N images of the training set

import numpy as np
from numpy.typing import NDArray

from imgrec.data.augment_params import class_order


def standing(labels_n: NDArray[np.int64], *, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the image in each place of an epoch: int64 (N,).

    Classes without an image have no places. Where N is no multiple of the number of classes, the classes with one place
    more take turns from epoch to epoch.

    Args:
        labels_n: The class of each image.
        seed: The run's seed.
        epoch: The epoch's number.
    """
    count = len(labels_n)
    members = [np.flatnonzero(labels_n == label) for label in np.unique(labels_n)]
    image_n = np.empty(count, np.int64)
    for number, own in enumerate(members):
        places = np.arange((number - epoch * count) % len(members), count, len(members))
        visit_p = (epoch * count + places) // len(members)  # which of the class' visits of the whole training, from 0
        pass_p, rank_p = np.divmod(visit_p, len(own))
        for each in np.unique(pass_p).tolist():
            taken = pass_p == each
            order = class_order(len(own), seed=seed, label=number, number=each)
            image_n[places[taken]] = own[order[rank_p[taken]]]
    return image_n
