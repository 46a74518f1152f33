"""Things that know no Ticksy rule. Nothing here imports models, services or resources."""
