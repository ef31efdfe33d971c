"""OpenMMLab's configurations: the network, and how pictures are prepared for it."""
