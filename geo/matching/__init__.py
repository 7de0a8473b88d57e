"""Which fences hold which pings, how certainly, and what follows: presence and visits."""
