"""Buyers, faults and kills, all at once; and a referee who believes nobody but the books."""
