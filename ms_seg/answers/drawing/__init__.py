"""Pictures under the colours of their classes or segments, with legends."""
