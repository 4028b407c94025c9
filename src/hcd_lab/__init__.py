"""Laboratory: it trains networks, measures costs and reproduces the publication. ``hcd`` never imports it."""
