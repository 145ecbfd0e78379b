"""``python -m report [--profile NAME] [--results DIR]``: the report of results that are there already.

``--run`` as the first option runs the notebooks before, as ./run_all.sh does. ``--readme`` alone writes the tables of
README.md and results/README.md, from the committed results of `board.PROFILES` and what is known of the paper.
"""
import sys

from helpers import profiles
from runner import __main__ as runner
from runner import cli


def main(argv):
    """Make a report, or the tables of the READMEs; returns 0, what the run did, or 2 where there is nothing to show."""
    code = runner.main(argv[1:]) if argv[:1] == ["--run"] else 0
    if code > 1:
        return code
    from report import board, pages  # with nbconvert and pandas, which the notebooks need not wait for

    if argv == ["--readme"]:
        for path in (cli.REPO / "README.md", cli.REPO / "results" / "README.md"):
            path.write_text(board.fill(path.read_text("utf-8"), board.committed(cli.REPO / "results")), "utf-8")
        return 0
    try:
        options = cli.parse([word for word in argv if word != "--run"])
        results = options.results / (profile := profiles.read(options.profile))["name"]
        if not (results / "executed").is_dir():
            raise FileNotFoundError(f"{results} has no executed notebooks: ./run_all.sh writes them.")
        report = pages.build(results, cli.REPO, profile["description"])
    except (ValueError, OSError) as error:
        print(f"report: {error}", file=sys.stderr)
        return 2
    print(f"Report: {report}")
    return code


if __name__ == "__main__":
    runner.command(main, sys.argv[1:])
