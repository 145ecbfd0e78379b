"""What belongs to this reproduction: what the paper prints, its claims, and where a notebook's results go.

Notebooks and their report import it; `helpers` does not know it.
"""
