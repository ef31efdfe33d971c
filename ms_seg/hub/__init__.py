"""From a model's name on a hub to its files on this machine.

A hub is asked for the files that a model needs and for no others. Nothing of what it sends is run, and nothing is kept
under its name that is not whole and, where the publisher says so, has the published checksum.
"""

from ms_seg.hub.address import Address, address_of_model, find_address
from ms_seg.hub.fetching import fetch, on_this_machine
from ms_seg.hub.named import choose_model
from ms_seg.hub.transfer import HubError

__all__ = ["Address", "HubError", "address_of_model", "choose_model", "fetch", "find_address", "on_this_machine"]
