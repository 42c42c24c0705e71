"""`python -m agent.cli`, for launchers that start modules."""

from agent.cli import main

main()
