"""The report of a profile: a static site that reads offline, on a phone and on paper, without any script."""
