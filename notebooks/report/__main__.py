"""``python -m report [--profile NAME] [--results DIR]``: the report of results that are there already.

``python -m report --readme`` writes the board of README.md from the committed results of the profile `reduced`.
"""

import sys

from helpers import profiles
from report import board, pages
from runner import cli


def main(argv):
    """Make a report, or the board of README.md; return 0, or 2 for a bad option or a folder without results."""
    if argv == ["--readme"]:
        board.update(cli.REPO / "README.md", board.read(cli.REPO / "results" / "reduced" / "claims.csv"))
        return 0
    try:
        options = cli.parse(argv)
        profile = profiles.read(options.profile)
        results = options.results / profile["name"]
        if not (results / "executed").is_dir():
            raise FileNotFoundError(f"{results} has no executed notebooks: ./run_all.sh --profile {profile['name']} "
                                    "writes them.")
    except (ValueError, OSError) as error:
        print(f"report: {error}", file=sys.stderr)
        return 2
    print(f"Report: {pages.build(results, cli.REPO, profile['description'])}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
