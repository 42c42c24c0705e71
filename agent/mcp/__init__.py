"""The Model Context Protocol: whyrec as tools of other agents."""
